"""Writes random-weight models of a few MB for the shrunk trainer, in the trainer's own Python.

    PYTHONPATH=tests/engine/shrink PYTHON tests/engine/tiny_models.py CHECKOUT FAMILY FOLDER

FLUX and the other transformers: ``dit`` and the components under their own names (.safetensors); SD 1.5, SD 2 and SDXL:
``model.safetensors``, and ``inpainting.safetensors``, whose U-Net reads 9 channels. Beside them ``tokenizers`` for
--tokenizer_cache_dir, so that nothing is asked of the Hub.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import tiny_transformers
from tiny_transformers import save, tensors

WORKER = Path(__file__).parents[2] / "kohya_runner" / "install" / "random_weights_worker.py"
SEED = 42


def write_flux(folder: Path, worker: ModuleType) -> None:
    """Every part through the trainer's own class or loader, in the checkpoints' own layout (BFL's)."""
    from library import chroma_models, flux_models, flux_utils

    config = flux_models.configs[flux_utils.MODEL_NAME_DEV]
    save(folder / "dit.safetensors", tensors(flux_models.Flux(config.params)))
    save(folder / "chroma.safetensors", tensors(chroma_models.Chroma(chroma_models.chroma_params)))
    save(folder / "ae.safetensors", tensors(flux_models.AutoEncoder(config.ae_params)))
    save(folder / "clip_l.safetensors", tensors(flux_utils.load_clip_l(None, None, "cpu", state_dict={})))
    save(folder / "t5xxl.safetensors", tensors(flux_utils.load_t5xxl("", None, "cpu", state_dict={})))
    tokenizers = folder / "tokenizers"
    worker.write_tokenizer(tokenizers / worker.CLIP_L_REPOSITORY, pad="<|endoftext|>")
    tiny_transformers.write_fast_tokenizer(tokenizers / "google_t5-v1_1-xxl", "T5TokenizerFast", extra_ids=0)


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


def write_inpainting(folder: Path) -> None:
    """The same model with five more input channels, of random weights as well."""
    import torch
    from safetensors.torch import load_file, save_file

    weights, name = load_file(folder / "model.safetensors"), "model.diffusion_model.input_blocks.0.0.weight"
    first = weights[name]
    more = torch.randn(first.shape[0], 5, *first.shape[2:]).to(first.dtype) * 0.1
    save_file(weights | {name: torch.cat([first, more], 1).contiguous()}, folder / "inpainting.safetensors")


def main(checkout: str, family: str, folder: str) -> None:
    worker = read_worker()
    if family in worker.WRITERS:
        worker.main(checkout, family, folder, "model.safetensors")
        write_inpainting(Path(folder))
        return
    sys.path[0] = checkout
    import torch

    torch.manual_seed(SEED)
    ({"flux": write_flux} | tiny_transformers.WRITERS)[family](Path(folder), worker)


if __name__ == "__main__":
    main(*sys.argv[1:])
