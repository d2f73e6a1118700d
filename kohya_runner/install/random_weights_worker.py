"""Writes a random-weight base model of the real architecture. Runs inside the trainer's own Python.

    python random_weights_worker.py CHECKOUT FAMILY FOLDER CHECKPOINT_NAME

The shapes are the trainer's own classes and numbers and the files are written by its own savers, so its loaders accept
them. The two CLIP text models are the exception: their numbers stand inside the trainer's loading functions
(library/model_util.py:1060, library/sdxl_model_util.py:215 and :239) and are repeated here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SEED = 42
VOCABULARY = 49408
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "hidden_act": "quick_gelu", "projection_dim": 768}  # fmt: skip
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
          "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip
CLIP_L_REPOSITORY = "openai_clip-vit-large-patch14"  # library/strategy_sd.py:19
CLIP_G_REPOSITORY = "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k"  # library/strategy_sdxl.py:18
TOKENIZER_CONFIG = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
                    "add_prefix_space": False, "errors": "replace"}  # fmt: skip
TOKENIZERS = {"sd15": (CLIP_L_REPOSITORY,), "sdxl": (CLIP_L_REPOSITORY, CLIP_G_REPOSITORY)}


def _clip_config(shape: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=VOCABULARY, max_position_embeddings=77, layer_norm_eps=1e-05, dropout=0.0, attention_dropout=0.0,
        initializer_range=0.02, initializer_factor=1.0, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        model_type="clip_text_model", **shape,
    )  # fmt: skip


def speaking(text_model: Any) -> Any:
    """With a mean that is not 0: gen_img.py:1323 divides by it, and what an untrained layer norm gives has none."""
    text_model.text_model.final_layer_norm.bias.data.fill_(0.1)
    return text_model


def write_sd15(path: Path, metadata: dict[str, str]) -> None:
    """SD 1.5 in half precision: 2.13 GB."""
    import torch
    from diffusers import AutoencoderKL
    from library import model_util
    from library.original_unet import UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(**model_util.create_unet_diffusers_config(v2=False))
    vae = AutoencoderKL(**model_util.create_vae_diffusers_config())
    text_model = speaking(CLIPTextModel(_clip_config(CLIP_L)))
    model_util.save_stable_diffusion_checkpoint(
        False, str(path), text_model, unet, None, 0, 0, metadata, torch.float16, vae
    )  # fmt: skip


def write_sdxl(path: Path, metadata: dict[str, str]) -> None:
    """SDXL in half precision: 6.94 GB. The logit scale is CLIP's usual log(100)."""
    import torch
    from diffusers import AutoencoderKL
    from library import model_util, sdxl_model_util, sdxl_original_unet
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    unet = sdxl_original_unet.SdxlUNet2DConditionModel()
    vae = AutoencoderKL(**model_util.create_vae_diffusers_config())
    text_model1 = speaking(CLIPTextModel(_clip_config(CLIP_L)))
    text_model2 = speaking(CLIPTextModelWithProjection(_clip_config(CLIP_G)))
    scale = torch.tensor(4.6052)
    sdxl_model_util.save_stable_diffusion_checkpoint(
        str(path), text_model1, text_model2, unet, 0, 0, None, vae, scale, metadata, torch.float16
    )  # fmt: skip


WRITERS = {"sd15": write_sd15, "sdxl": write_sdxl}


def vocabulary() -> dict[str, int]:
    """CLIP's 49408 entries without its words: every byte, every byte that ends a word, fillers, start and end.

    Each character becomes one token, so token counts are not those of the real model.
    """
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    entries += [f"<filler{number}>" for number in range(VOCABULARY - 2 - len(entries))]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    return {entry: number for number, entry in enumerate(entries)}


def write_tokenizer(folder: Path, *, pad: str) -> None:
    """The four files ``CLIPTokenizer.from_pretrained`` reads, with an empty merge list."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": pad}
    folder.mkdir(parents=True)
    files: dict[str, str] = {
        "vocab.json": json.dumps(vocabulary(), ensure_ascii=False),
        "merges.txt": "#version: 0.2\n",
        "special_tokens_map.json": json.dumps(special, indent=2),
        "tokenizer_config.json": json.dumps({**TOKENIZER_CONFIG, **special}, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(checkout: str, family: str, folder: str, name: str) -> None:
    """Fill ``folder`` with the tokenizers and the checkpoint."""
    sys.path[0] = checkout  # as when a script of the checkout is run; this file's own folder has no business there
    import torch

    for repository in TOKENIZERS[family]:
        pad = "!" if repository == CLIP_G_REPOSITORY else "<|endoftext|>"
        write_tokenizer(Path(folder) / "tokenizers" / repository, pad=pad)
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.float16)
    metadata = {"kohya_runner.random": family, "modelspec.title": f"random weights, {family}"}
    WRITERS[family](Path(folder) / name, metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
