"""Writes random-weight models of a few MB for the shrunk trainer, in the trainer's own Python.

    PYTHONPATH=tests/engine/shrink PYTHON tests/engine/tiny_models.py CHECKOUT FAMILY FOLDER

FLUX: ``dit``, ``clip_l``, ``t5xxl`` and ``ae`` (.safetensors); SD 1.5 and SDXL: ``model.safetensors``. Beside them
``tokenizers`` for --tokenizer_cache_dir, so that nothing is asked of the Hub.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

WORKER = Path(__file__).parents[2] / "kohya_runner" / "run" / "random_weights_worker.py"
SEED = 42


def write_flux(folder: Path, worker: ModuleType) -> None:
    """Every part through the trainer's own class or loader, in the checkpoints' own layout (BFL's)."""
    from library import flux_models, flux_utils

    config = flux_models.configs[flux_utils.MODEL_NAME_DEV]
    save(folder / "dit.safetensors", flux_models.Flux(config.params))
    save(folder / "ae.safetensors", flux_models.AutoEncoder(config.ae_params))
    save(folder / "clip_l.safetensors", filled(flux_utils.load_clip_l(None, None, "cpu", state_dict={})))
    save(folder / "t5xxl.safetensors", filled(flux_utils.load_t5xxl("", None, "cpu", state_dict={})))
    tokenizers = folder / "tokenizers"
    worker.write_tokenizer(tokenizers / worker.CLIP_L_REPOSITORY, pad="<|endoftext|>")
    write_t5_tokenizer(tokenizers / "google_t5-v1_1-xxl")


def filled(model: Any) -> Any:
    """Real numbers for a model that was built without any (on the meta device)."""
    import torch

    model = model.to_empty(device="cpu")
    for name, parameter in model.named_parameters():
        torch.nn.init.ones_(parameter) if "norm" in name else torch.nn.init.normal_(parameter, std=0.02)
    return model


def save(path: Path, model: Any) -> None:
    """In bf16; a tensor of two names is written twice."""
    import torch
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().to(torch.bfloat16).clone() for name, tensor in model.state_dict().items()}
    save_file({name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}, str(path))


def write_t5_tokenizer(folder: Path) -> None:
    """One token a character: pad 0, end 1, unknown 2, then every printable ASCII sign."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {sign: number for number, sign in enumerate(["<pad>", "</s>", "<unk>", *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "T5TokenizerFast", "model_max_length": 512, "extra_ids": 0, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def read_worker() -> ModuleType:
    """The package's own writer of random models, with the small text encoders in place of the real ones."""
    import sitecustomize as shrink

    spec = importlib.util.spec_from_file_location("random_weights_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    worker.CLIP_L |= shrink.CLIP_L
    worker.CLIP_G |= shrink.CLIP_G
    return worker


def main(checkout: str, family: str, folder: str) -> None:
    worker = read_worker()
    if family != "flux":
        worker.main(checkout, family, folder, "model.safetensors")
        return
    sys.path[0] = checkout
    import torch

    torch.manual_seed(SEED)
    write_flux(Path(folder), worker)


if __name__ == "__main__":
    main(*sys.argv[1:])
