"""LoRA files of the right shape for a tiny base model, and single pictures by the unmodified scripts, for comparison.

In the trainer's own Python, with ``shrink`` on PYTHONPATH:

    compare_child.py loras CHECKOUT NAME MODELS FOLDER NUMBER
    compare_child.py plain TOKENIZERS SCRIPT [ARGUMENTS]         the script itself, its tokenizers from a folder
"""

from __future__ import annotations

import importlib
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def _sd(models: Path, *, v2: bool) -> tuple[str, Any, Any, Any]:
    from library import model_util

    file = str(models / "model.safetensors")
    found = model_util.load_models_from_stable_diffusion_checkpoint(v2, file, unet_use_linear_projection_in_v2=False)
    encoder, vae, unet = found  # with the projections of the training (library/model_io.py:351)
    return "networks.lora", vae, encoder, unet


def _sdxl(models: Path) -> tuple[str, Any, Any, Any]:
    from library import sdxl_model_util

    file = str(models / "model.safetensors")
    found = sdxl_model_util.load_models_from_sdxl_checkpoint("sdxl_base_v1-0", file, "cpu")
    return "networks.lora", found[2], [found[0], found[1]], found[3]


def _flux(models: Path, kind: str = "flux") -> tuple[str, Any, Any, Any]:
    from library import flux_utils

    clip_l = flux_utils.load_clip_l(str(models / "clip_l.safetensors"), None, "cpu") if kind == "flux" else None
    t5 = flux_utils.load_t5xxl(str(models / "t5xxl.safetensors"), None, "cpu")
    file = models / f"{'dit' if kind == 'flux' else kind}.safetensors"
    _, flow = flux_utils.load_flow_model(str(file), None, "cpu", disable_mmap=True, model_type=kind)
    return "networks.lora_flux", None, [clip_l, t5], flow


def _sd3(models: Path) -> tuple[str, Any, Any, Any]:
    import torch
    from library import sd3_utils
    from safetensors.torch import load_file

    def part(name: str) -> tuple[str, Any, str]:
        return str(models / f"{name}.safetensors"), torch.float32, "cpu"

    encoders = [sd3_utils.load_clip_l(*part("clip_l")), sd3_utils.load_clip_g(*part("clip_g"))]
    encoders.append(sd3_utils.load_t5xxl(*part("t5xxl")))
    mmdit = sd3_utils.load_mmdit(load_file(models / "dit.safetensors"), torch.float32, "cpu")
    return "networks.lora_sd3", None, encoders, mmdit


def _lumina(models: Path) -> tuple[str, Any, Any, Any]:
    from library import lumina_util

    model = lumina_util.load_lumina_model(str(models / "dit.safetensors"), None, "cpu")
    gemma2 = lumina_util.load_gemma2(str(models / "gemma2.safetensors"), None, "cpu")
    return "networks.lora_lumina", None, [gemma2], model


def _hunyuan_image(models: Path) -> tuple[str, Any, Any, Any]:
    import torch
    from library import hunyuan_image_models

    file = str(models / "dit.safetensors")
    model = hunyuan_image_models.load_hunyuan_image_model("cpu", file, "torch", False, "cpu", torch.bfloat16)
    return "networks.lora_hunyuan_image", None, [], model


def _anima(models: Path) -> tuple[str, Any, Any, Any]:
    import torch
    from library import anima_utils

    file = str(models / "dit.safetensors")
    model = anima_utils.load_anima_model("cpu", file, "torch", False, "cpu", torch.bfloat16)
    text = anima_utils.load_qwen3_text_encoder(str(models / "qwen3.safetensors"), dtype=torch.bfloat16, device="cpu")[0]
    return "networks.lora_anima", None, [text], model


BASES: dict[str, Callable[[Path], tuple[str, Any, Any, Any]]] = {
    "sd15": partial(_sd, v2=False),
    "sd2": partial(_sd, v2=True),
    "sdxl": _sdxl,
    "flux": _flux,
    "chroma": partial(_flux, kind="chroma"),
    "sd3": _sd3,
    "lumina": _lumina,
    "hunyuan_image": _hunyuan_image,
    "anima": _anima,
}
"""The network module, and VAE, text encoders and U-Net or transformer as it takes them."""


def write_loras(family: str, models: Path, folder: Path, number: int) -> None:
    """``my lora-000001.safetensors`` ... ``my lora.safetensors``, each with numbers of its own, alpha 2 of rank 4."""
    import torch

    name, vae, encoders, unet = BASES[family](models)
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
