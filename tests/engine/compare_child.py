"""LoRA files of the right shape for a tiny base model, and single pictures by the unmodified scripts, for comparison.

In the trainer's own Python, with ``shrink`` on PYTHONPATH:

    compare_child.py loras CHECKOUT FAMILY MODELS FOLDER NUMBER
    compare_child.py plain TOKENIZERS SCRIPT [ARGUMENTS]         the script itself, its tokenizers from a folder
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any


def base_of(family: str, models: Path) -> tuple[str, Any, Any, Any]:
    """The network module, and VAE, text encoders and U-Net or transformer as it takes them."""
    if family == "flux":
        from library import flux_utils

        clip_l = flux_utils.load_clip_l(str(models / "clip_l.safetensors"), None, "cpu")
        t5 = flux_utils.load_t5xxl(str(models / "t5xxl.safetensors"), None, "cpu")
        _, flow = flux_utils.load_flow_model(str(models / "dit.safetensors"), None, "cpu", disable_mmap=True)
        return "networks.lora_flux", None, [clip_l, t5], flow
    file = str(models / "model.safetensors")
    if family == "sdxl":
        from library import sdxl_model_util

        found = sdxl_model_util.load_models_from_sdxl_checkpoint("sdxl_base_v1-0", file, "cpu")
        return "networks.lora", found[2], [found[0], found[1]], found[3]
    from library import model_util

    encoder, vae, unet = model_util.load_models_from_stable_diffusion_checkpoint(False, file)
    return "networks.lora", vae, encoder, unet


def write_loras(family: str, models: Path, folder: Path, number: int) -> None:
    """``my lora-000001.safetensors`` ... ``my lora.safetensors``, each with numbers of its own, alpha 2 of rank 4."""
    import torch

    name, vae, encoders, unet = base_of(family, models)
    network = importlib.import_module(name).create_network(1.0, 4, 2.0, vae, encoders, unet)
    network.apply_to(encoders, unet, True, True)
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in range(1, number + 1):
        torch.manual_seed(epoch)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        file = folder / ("my lora.safetensors" if epoch == number else f"my lora-{epoch:06d}.safetensors")
        network.save_weights(str(file), torch.float16, {"ss_epoch": str(epoch)})


def plain(tokenizers: str, script: str, arguments: list[str]) -> None:
    """The script as it is; only where its tokenizers come from is changed, because it would ask the Hub."""
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    from library.strategy_base import TokenizeStrategy

    real = TokenizeStrategy._load_tokenizer

    def load(self: Any, model_class: Any, model_id: str, subfolder: Any = None, tokenizer_cache_dir: Any = None) -> Any:
        return real(self, model_class, model_id, subfolder, tokenizer_cache_dir or tokenizers)

    TokenizeStrategy._load_tokenizer = load
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.path[0] = sys.argv[2]
        write_loras(sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]), int(sys.argv[6]))
