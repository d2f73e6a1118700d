"""Loads component files in right and wrong layouts with the trainer's own loaders, in the trainer's Python.

For each a line of JSON: the slot, the names and shapes in the file, and whether the trainer ends with a whole module.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[2])
sys.path.insert(0, f"{sys.argv[2]}/src")

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

ENGINE, FOLDER = sys.argv[1], Path(sys.argv[3])
HALF = torch.float16


def meta(make: Callable[[], torch.nn.Module]) -> dict[str, Any]:
    with torch.device("meta"):
        return dict(make().state_dict())


def clip() -> dict[str, Any]:
    return meta(lambda: CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)))


def whole_clip() -> dict[str, Any]:
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = meta(lambda: CLIPModel(CLIPConfig(text_config=text, vision_config=small, projection_dim=768)))
    return {name: value for name, value in made.items() if name.startswith(("text_model.", "vision_model."))}


def opened(names: Mapping[str, Any]) -> dict[str, Any]:
    """CLIP as OpenAI's own files name it, as far as it matters."""
    return {
        name.replace("text_model.embeddings.token_embedding", "token_embedding")
        .replace("text_model.encoder.layers.", "transformer.resblocks."): value
        for name, value in names.items()
    }  # fmt: skip


def scaled(names: Mapping[str, Any]) -> dict[str, Any]:
    return {**names, "scaled_fp8": torch.zeros(2)}


def sd_scripts() -> dict[tuple[str, str, str], tuple[Callable[[], dict[str, Any]], Callable[[str], torch.nn.Module]]]:
    from diffusers import AutoencoderKL
    from library import flux_models, flux_utils, model_util, sd3_models, sd3_utils

    config = model_util.create_vae_diffusers_config()

    def other(**more: Any) -> dict[str, Any]:
        return meta(lambda: AutoencoderKL(**{**config, **more}))

    def original() -> dict[str, Any]:
        names = AutoencoderKL(**config).to(HALF).state_dict()  # its converter reshapes real tensors
        return dict(model_util.convert_vae_state_dict(names))

    def flux() -> dict[str, Any]:
        return meta(lambda: flux_models.AutoEncoder(flux_models.configs["dev"].ae_params))

    def sd3() -> dict[str, Any]:
        return meta(lambda: sd3_models.SDVAE(HALF, "meta"))

    big = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}

    def load_sd(path: str) -> torch.nn.Module:
        return model_util.load_vae(path, HALF)

    def load_flux(path: str) -> torch.nn.Module:
        return flux_utils.load_ae(path, HALF, "cpu")

    def load_sd3(path: str) -> torch.nn.Module:
        return sd3_utils.load_vae(path, HALF, "cpu")

    def load_clip(path: str) -> torch.nn.Module:
        return flux_utils.load_clip_l(path, HALF, "cpu")

    return {
        ("sd15", "vae", "original"): (original, load_sd), ("sd15", "vae", "diffusers"): (other, load_sd),
        ("flux", "ae", "original"): (flux, load_flux), ("flux", "ae", "diffusers"): (lambda: other(**big), load_flux),
        ("sd3", "vae", "original"): (sd3, load_sd3), ("sd3", "vae", "diffusers"): (lambda: other(**big), load_sd3),
        ("flux", "clip_l", "ordinary"): (clip, load_clip), ("flux", "clip_l", "whole"): (whole_clip, load_clip),
        ("flux", "clip_l", "OpenAI's"): (lambda: opened(clip()), load_clip),
    }  # fmt: skip


def musubi() -> dict[tuple[str, str, str], tuple[Callable[[], dict[str, Any]], Callable[[str], torch.nn.Module]]]:
    from diffusers import AutoencoderKL
    from musubi_tuner.flux import flux_models, flux_utils

    flux_utils.CLIPTokenizer.from_pretrained = lambda *_, **__: None  # what is loaded after the weights

    def ae() -> dict[str, Any]:
        return meta(lambda: flux_models.AutoEncoder(flux_models.configs_flux_dev_context.ae_params))

    def other() -> dict[str, Any]:
        return meta(lambda: AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=16,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, use_quant_conv=False,
            use_post_quant_conv=False,
        ))  # fmt: skip

    def load_ae(path: str) -> torch.nn.Module:
        return flux_utils.load_ae(path, HALF, "cpu")

    def load_clip(path: str) -> torch.nn.Module:
        return flux_utils.load_clip_l(path, HALF, "cpu")[1]

    return {
        ("flux_kontext", "vae", "original"): (ae, load_ae), ("flux_kontext", "vae", "diffusers"): (other, load_ae),
        ("flux_kontext", "text_encoder2", "ordinary"): (clip, load_clip),
        ("flux_kontext", "text_encoder2", "whole"): (whole_clip, load_clip),
        ("flux_kontext", "text_encoder2", "scaled fp8"): (lambda: scaled(clip()), load_clip),
        ("flux_kontext", "text_encoder2", "OpenAI's"): (lambda: opened(clip()), load_clip),
    }  # fmt: skip


def whole(load: Callable[[str], torch.nn.Module], path: Path) -> bool:
    """Whether the loader takes the file and fills every parameter."""
    try:
        return not any(value.is_meta for value in load(str(path)).parameters())
    except (RuntimeError, KeyError, NotImplementedError) as fault:
        sys.stderr.write(f"{path.name}: {type(fault).__name__}\n")
        return False


for (family, slot, kind), (names, load) in (musubi() if ENGINE == "musubi" else sd_scripts()).items():
    made = names()
    path = FOLDER / "component.safetensors"
    save_file({name: torch.zeros(value.shape, dtype=HALF) for name, value in made.items()}, path)
    fate = whole(load, path)
    path.unlink()
    shapes = {name: list(value.shape) for name, value in made.items()}
    row = {"family": family, "slot": slot, "kind": kind, "whole": fate, "shapes": shapes}
    sys.stdout.write(json.dumps(row) + "\n")
