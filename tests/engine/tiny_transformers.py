"""Random-weight models of SD 2, SD3, Lumina, HunyuanImage and Anima for the shrunk trainer; called by tiny_models.py.

Every part is built by the trainer's own loader or class and written with the names that the loader reads. Lumina's and
HunyuanImage's loaders ask the Hub's cache (``HF_HUB_CACHE``) for their tokenizers, whatever --tokenizer_cache_dir says.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

REVISION = "0" * 40
LETTERS = [chr(code) for code in range(32, 127)]


def tensors(model: Any) -> dict[str, Any]:
    """A state dict in bf16: small random numbers for what was built without any (on the meta device)."""
    import torch

    def value(name: str, tensor: Any) -> Any:
        if tensor.device.type != "meta":
            return tensor.detach().clone()
        size = 0.5 if "adaln" in name else 0.02  # with less, what a block adds is lost in the rounding of bf16
        return torch.ones(tensor.shape) if "norm" in name else torch.randn(tensor.shape) * size

    found = {name: value(name, tensor).to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in found.items() if not name.endswith(("position_ids", "inv_freq"))}


def save(path: Path, weights: Mapping[str, Any], prefix: str = "") -> None:
    from safetensors.torch import save_file

    save_file({prefix + name: tensor.contiguous() for name, tensor in weights.items()}, str(path))


@contextlib.contextmanager
def nothing_read(*modules: ModuleType) -> Iterator[None]:
    """Loaders build their model and are given no weights for it."""
    import torch
    from torch.nn.modules.module import _IncompatibleKeys

    readers = ("load_safetensors", "load_safetensors_with_lora_and_fp8", "load_file")
    real = torch.nn.Module.load_state_dict
    kept = [(module, name, getattr(module, name)) for module in modules for name in readers if hasattr(module, name)]
    torch.nn.Module.load_state_dict = lambda *_, **__: _IncompatibleKeys([], [])  # type: ignore[method-assign]
    for module, name, _ in kept:
        setattr(module, name, lambda *_, **__: {})
    try:
        yield
    finally:
        torch.nn.Module.load_state_dict = real  # type: ignore[method-assign]
        for module, name, reader in kept:
            setattr(module, name, reader)


def write_sd2(folder: Path, worker: ModuleType) -> None:
    """As the package's writer makes SD 1.5, with the other U-Net and text model; 23 layers, as the trainer keeps."""
    import torch
    from diffusers import AutoencoderKL
    from library import model_util
    from library.original_unet import UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(**model_util.create_unet_diffusers_config(v2=True))
    vae = AutoencoderKL(**model_util.create_vae_diffusers_config())
    shape = worker.CLIP_G | {"num_hidden_layers": 23}
    text_model = worker.speaking(CLIPTextModel(worker._clip_config(shape)))
    model_util.save_stable_diffusion_checkpoint(
        True, str(folder / "model.safetensors"), text_model, unet, None, 0, 0, {}, torch.float16, vae
    )
    worker.write_tokenizer(folder / "tokenizers" / "stabilityai_stable-diffusion-2", pad="!")


def write_sd3(folder: Path, worker: ModuleType) -> None:
    """One file with the transformer (3.5 medium's kind) and the autoencoder, and the three text encoders."""
    import torch
    from library import flux_utils, sd3_models, sd3_utils
    from shrunk_transformers import SD3_BLOCKS
    from sitecustomize import CLIP_G, CLIP_L

    pooled = CLIP_L["projection_dim"] + CLIP_G["projection_dim"]
    params = sd3_models.SD3Params(
        patch_size=2, depth=SD3_BLOCKS, num_patches=24 * 24, pos_embed_max_size=24, adm_in_channels=pooled,
        qk_norm="rms", x_block_self_attn_layers=[0, 1], context_embedder_in_features=4096,
        context_embedder_out_features=64 * SD3_BLOCKS, model_type="5-medium",
    )  # fmt: skip
    with torch.device("meta"):  # some of it would be left as the memory happens to be
        parts = {
            "model.diffusion_model.": sd3_models.create_sd3_mmdit(params),
            "first_stage_model.": sd3_models.SDVAE(),
        }
    weights = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in tensors(part).items()}
    save(folder / "dit.safetensors", weights)
    with nothing_read(sd3_utils):
        save(folder / "clip_l.safetensors", tensors(sd3_utils.load_clip_l("clip_l", None, "cpu")))
        save(folder / "clip_g.safetensors", tensors(sd3_utils.load_clip_g("clip_g", None, "cpu")))
    save(folder / "t5xxl.safetensors", tensors(flux_utils.load_t5xxl("", None, "cpu", state_dict={})))
    tokenizers = folder / "tokenizers"
    worker.write_tokenizer(tokenizers / worker.CLIP_L_REPOSITORY, pad="<|endoftext|>")
    worker.write_tokenizer(tokenizers / worker.CLIP_G_REPOSITORY, pad="!")
    write_fast_tokenizer(tokenizers / "google_t5-v1_1-xxl", "T5TokenizerFast", extra_ids=0)


def write_lumina(folder: Path, _: ModuleType) -> None:
    import torch
    from library import lumina_util

    with nothing_read(lumina_util):
        save(folder / "dit.safetensors", tensors(lumina_util.load_lumina_model("", torch.float32, torch.device("cpu"))))
        save(folder / "ae.safetensors", tensors(lumina_util.load_ae("", torch.float32, "cpu")))
        save(folder / "gemma2.safetensors", tensors(lumina_util.load_gemma2("", torch.float32, "cpu")))
    write_fast_tokenizer(in_hub("google/gemma-2-2b"), "PreTrainedTokenizerFast")


def write_hunyuan_image(folder: Path, worker: ModuleType) -> None:
    import torch
    from library import hunyuan_image_models, hunyuan_image_text_encoder, hunyuan_image_vae

    tokenizers = {"Qwen/Qwen2.5-VL-7B-Instruct": write_bytes_tokenizer, "google/byt5-small": write_byt5_tokenizer}
    for repository, write in tokenizers.items():
        write(in_hub(repository), worker)
        write(folder / "tokenizers" / repository.replace("/", "_"), worker)
    save(folder / "dit.safetensors", tensors(hunyuan_image_models.create_model("torch", False, torch.bfloat16)))
    save(folder / "vae.safetensors", tensors(hunyuan_image_vae.HunyuanVAE2D()))
    with nothing_read(hunyuan_image_text_encoder):
        vlm = hunyuan_image_text_encoder.load_qwen2_5_vl("", None, "meta", state_dict={})[1]
        glyphs = hunyuan_image_text_encoder.load_byt5("", None, "meta", state_dict={"shared.weight": None})[1]
    save(folder / "text_encoder.safetensors", _as_published(tensors(vlm)))
    letters = {name.replace("embed_tokens", "shared"): tensor for name, tensor in tensors(glyphs).items()}
    save(folder / "byt5.safetensors", letters)


def _as_published(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The names of the published file, which the loader converts (library/hunyuan_image_text_encoder.py:394)."""
    renamed = {"model.language_model.": "model.", "model.visual.": "visual."}

    def name(text: str) -> str:
        return next((new + text.removeprefix(old) for old, new in renamed.items() if text.startswith(old)), text)

    return {name(text): tensor for text, tensor in weights.items()}


def write_anima(folder: Path, _: ModuleType) -> None:
    """The tokenizers are the trainer's own (configs/)."""
    import torch
    from library import anima_utils, qwen_image_autoencoder_kl

    with nothing_read(anima_utils, qwen_image_autoencoder_kl):
        transformer = anima_utils.load_anima_model("cpu", "", "torch", False, "cpu", torch.bfloat16)
        text = anima_utils.load_qwen3_text_encoder("qwen3.safetensors")[0]
        autoencoder = qwen_image_autoencoder_kl.load_vae("")
    passed = ("seq", "dim_spatial_range", "dim_temporal_range")
    weights = {name: tensor for name, tensor in tensors(transformer).items() if not name.endswith(passed)}
    save(folder / "dit.safetensors", weights, prefix="net.")
    save(folder / "qwen3.safetensors", tensors(text), prefix="model.")
    save(folder / "vae.safetensors", tensors(autoencoder))


WRITERS: dict[str, Callable[[Path, ModuleType], None]] = {
    "sd2": write_sd2,
    "sd3": write_sd3,
    "lumina": write_lumina,
    "hunyuan_image": write_hunyuan_image,
    "anima": write_anima,
}


def in_hub(repository: str) -> Path:
    """A repository's folder in the Hub cache (``HF_HUB_CACHE``), which answers without the network."""
    place = Path(os.environ["HF_HUB_CACHE"]) / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISION, encoding="utf-8")
    files = place / "snapshots" / REVISION
    files.mkdir(parents=True)
    return files


def write_fast_tokenizer(folder: Path, kind: str, **options: object) -> None:
    """One token a character: pad 0, end 1, unknown 2, then every printable ASCII sign."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {sign: number for number, sign in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": kind, "model_max_length": 512, **options, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def write_bytes_tokenizer(folder: Path, worker: ModuleType) -> None:
    """Qwen's kind with the byte alphabet and no merges: one token a byte."""
    alphabet = list(worker.vocabulary())[:256]
    special = "<|endoftext|>"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "vocab.json": json.dumps({letter: number for number, letter in enumerate([*alphabet, special])}),
        "merges.txt": "#version: 0.2\n",
        "tokenizer_config.json": json.dumps({"tokenizer_class": "Qwen2Tokenizer", "pad_token": special}),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_byt5_tokenizer(folder: Path, _: ModuleType) -> None:
    """It has no vocabulary of its own: a token is a byte."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}), encoding="utf-8")
