"""What a safetensors file is, told from its header: which model, in which layout, or which part of one.

The names and shapes are those that the pinned trainer's own loaders look for or its own modules have
(library/model_util.py, sdxl_model_util.py, sd3_utils.py, flux_utils.py, lumina_util.py, hunyuan_image_models.py,
anima_utils.py). What is not known is None: nothing is said against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kohya_runner.artefact.safetensors_header import Header

Shape = tuple[int, ...]

MODEL_PREFIXES = ("model.diffusion_model.", "net.")
"""What single files put before the denoiser's names (library/flux_utils.py:59, library/anima_utils.py:106)."""
LORA_PARTS = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight", ".hada_w1_a",
    ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".lora_A.default.weight",
)  # fmt: skip
SCALES = (".scale_weight", ".weight_scale", ".scale_input")
PACKED = (".quant_state.", ".absmax", ".quant_map")


@dataclass(frozen=True, slots=True)
class Identity:
    """``key`` is what a slot accepts; ``fault`` is why the trainer cannot load the file, even in its right slot.

    A fault without a place in brackets gets that of the slot's own loader. ``more`` is what a text encoder's file holds
    besides: loaders that are strict refuse it. ``channels``: what a U-Net reads, 9 for inpainting.
    """

    key: str
    what: str
    fault: str = ""
    hint: str = ""
    more: str = ""
    channels: int = 0


@dataclass(frozen=True, slots=True)
class _Names:
    """The header's names with their shapes: as they stand, and without a denoiser's prefix."""

    raw: Mapping[str, Shape]
    bare: Mapping[str, Shape]

    def any_starts(self, *prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in self.raw)

    def any_ends(self, endings: tuple[str, ...]) -> bool:
        return any(name.endswith(endings) for name in self.raw)


def identify(header: Header) -> Identity | None:
    """What the file holds; None where it is none of the known."""
    raw = {tensor.name: tensor.shape for tensor in header.tensors}
    prefix = next((p for p in MODEL_PREFIXES if any(name.startswith(p) for name in raw)), "")
    names = _Names(raw, {name.removeprefix(prefix): shape for name, shape in raw.items()})
    found = next((identity for rule in RULES if (identity := rule(names)) is not None), None)
    if found is None or found.fault:
        return found
    fault = _encoding_fault(names)
    return replace(found, fault=fault[0], hint=fault[1]) if fault else found


def main_dtype(header: Header) -> str:
    """The type that most of the bytes have: ``BF16``; "" for an empty file."""
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        sizes[tensor.dtype] += tensor.end - tensor.begin
    return max(sizes, key=sizes.__getitem__, default="")


def _encoding_fault(names: _Names) -> tuple[str, str] | None:
    """Weights that mean something only together with numbers which the trainer's loaders drop or refuse."""
    if "scaled_fp8" in names.raw or names.any_ends(SCALES):
        why = "holds scaled fp8 weights, whose scales the trainer does not read"
        return why, "take the plain fp8, fp16 or bf16 file of the same model"
    if any(part in name for name in names.raw for part in PACKED):
        return "is quantised (bitsandbytes), which the trainer cannot load", "take the fp16, bf16 or fp8 file"
    return None


def _addition(names: _Names) -> Identity | None:
    """What goes on top of a base model."""
    if names.any_ends(LORA_PARTS):
        return Identity("lora", "a LoRA")
    if "emb_params" in names.raw or set(names.raw) == {"clip_l", "clip_g"}:
        return Identity("embedding", "a textual inversion embedding")
    if names.any_starts("control_model.", "controlnet_cond_embedding.", "lllite_", "controlnet_blocks."):
        return Identity("controlnet", "a ControlNet")
    return None


CONTEXT: dict[int, tuple[str, str]] = {
    768: ("sd15", "a Stable Diffusion 1.x"),
    1024: ("sd2", "a Stable Diffusion 2.x"),
    1280: ("sdxl_refiner", "the SDXL refiner's"),
    2048: ("sdxl", "an SDXL"),
}
"""The width of the text that a U-Net looks at."""
UNET_KEY = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
UNET_KEY_DIFFUSERS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
UNET_CHANNELS, INPAINTING_CHANNELS = 4, 9
PARTS = {
    "sd15": ("first_stage_model.", "cond_stage_model."),
    "sd2": ("first_stage_model.", "cond_stage_model."),
    "sdxl": ("first_stage_model.", "conditioner."),
}


def _unet(names: _Names) -> Identity | None:
    shape = names.bare.get(UNET_KEY) or names.bare.get(UNET_KEY_DIFFUSERS)
    known = CONTEXT.get(shape[1]) if shape is not None and len(shape) == 2 else None
    if known is None:
        return None
    key, name = known
    if UNET_KEY not in names.bare:
        fault = "is in diffusers' layout, one part of a folder; as a file the trainer reads the original layout alone"
        return Identity(key, f"{name} U-Net", fault, "name the folder, its Hub id, or the single-file checkpoint")
    channels = (names.bare.get("input_blocks.0.0.weight") or (0, UNET_CHANNELS))[1]
    if channels not in (UNET_CHANNELS, INPAINTING_CHANNELS):
        fault = f"has {channels} input channels, the trainer's U-Net {UNET_CHANNELS} or {INPAINTING_CHANNELS}"
        return Identity(key, f"{name} model for editing", fault, "take the ordinary checkpoint of the same model")
    missing = not names.any_starts(MODEL_PREFIXES[0]) or any(not names.any_starts(p) for p in PARTS.get(key, ()))
    if missing:
        fault = "lacks the autoencoder or text encoder that the trainer reads from it (library/model_util.py:418)"
        return Identity(key, f"{name} U-Net alone", fault, "take the whole checkpoint (several GB)")
    kind = "inpainting checkpoint" if channels == INPAINTING_CHANNELS else "checkpoint"
    return Identity(key, f"{name} {kind}", channels=channels)


FLUX_CHANNELS = 64


def _flux(names: _Names) -> Identity | None:
    shape = names.bare.get("double_blocks.0.img_attn.qkv.weight")
    if shape is None or "img_in.weight" not in names.bare:
        return None
    if "double_stream_modulation_img.lin.weight" in names.bare:
        return Identity("flux2", "a FLUX.2 model")
    if "distilled_guidance_layer.in_proj.weight" in names.bare:
        return Identity("chroma", "a Chroma model")
    channels = (names.bare.get("img_in.weight") or (0, FLUX_CHANNELS))[-1]
    if channels != FLUX_CHANNELS:
        fault = f"has {channels} input channels, the trainer's model {FLUX_CHANNELS}"
        return Identity("flux", "a FLUX.1 Fill, Depth or Canny model", fault, "take FLUX.1-dev or FLUX.1-schnell")
    return Identity("flux", "a FLUX.1 model")


def _diffusers_transformer(names: _Names) -> Identity | None:
    """The trainer converts FLUX.1 in diffusers' layout itself (library/flux_utils.py:62); SD3 it does not."""
    if "transformer_blocks.0.attn.add_k_proj.weight" not in names.bare:
        return None
    parts = ("single_transformer_blocks.0.attn.to_k.weight", "time_text_embed.text_embedder.linear_1.weight")
    if all(part in names.bare for part in parts):
        return Identity("flux", "a FLUX.1 model in diffusers' layout")
    if "pos_embed.proj.weight" in names.bare and "context_embedder.weight" in names.bare:
        fault = "is in diffusers' layout, which the trainer does not read (library/sd3_utils.py:90)"
        return Identity("sd3", "a Stable Diffusion 3 transformer", fault, "take the original single file")
    return None


def _sd3(names: _Names) -> Identity | None:
    """The size is told as the trainer tells it (library/sd3_utils.py:29-60)."""
    if "joint_blocks.0.context_block.attn.qkv.weight" not in names.bare:
        return None
    version = "3"
    if "joint_blocks.0.context_block.attn.ln_k.weight" in names.bare:
        version = "3.5 medium" if "joint_blocks.0.x_block.attn2.ln_k.weight" in names.bare else "3.5 large"
    return Identity("sd3", f"a Stable Diffusion {version} model")


def _musubi_transformers(names: _Names) -> Identity | None:
    """Krea 2, Z-Image in both layouts, and the variants of Qwen-Image, of which only two are told by their names."""
    if "txtfusion.projector.weight" in names.bare:
        return Identity("krea2", "a Krea 2 model")
    if "x_pad_token" in names.bare and names.any_starts("noise_refiner.", "model.diffusion_model.noise_refiner."):
        return Identity("z_image", "a Z-Image model")
    if "txt_norm.weight" not in names.bare or "transformer_blocks.0.attn.add_k_proj.weight" not in names.bare:
        return None
    if "time_text_embed.addition_t_embedding.weight" in names.bare:
        return Identity("qwen_image_layered", "a Qwen-Image-Layered model")
    later = "__index_timestep_zero__" in names.bare  # ComfyUI's mark of 2511 (qwen_image/qwen_image_model.py:1498)
    key, what = ("qwen_image_edit", "a Qwen-Image-Edit-2511") if later else ("qwen_image", "a Qwen-Image")
    return Identity(key, f"{what} model")


def _other_transformers(names: _Names) -> Identity | None:
    if names.bare.get("cap_embedder.1.weight") == (2304, 2304) and "noise_refiner.0.attention.qkv.weight" in names.bare:
        return Identity("lumina", "a Lumina Image 2.0 model")
    if names.bare.get("img_in.proj.weight") == (3584, 64, 1, 1):
        return Identity("hunyuan_image", "a HunyuanImage 2.1 model")
    if "llm_adapter.embed.weight" in names.bare and "x_embedder.proj.1.weight" in names.bare:
        return Identity("anima", "an Anima model")
    return None


CLIPS = {768: ("clip_l", "a CLIP-L text encoder"), 1024: ("clip_h", "a CLIP-H text encoder (SD 2.x)"),
         1280: ("clip_g", "a CLIP-G text encoder")}  # fmt: skip
CLIP_POSITIONS = 77


def _clip(names: _Names) -> Identity | None:
    shape = names.bare.get("text_model.embeddings.token_embedding.weight")
    opened = names.bare.get("token_embedding.weight") if names.any_starts("transformer.resblocks.") else None
    known = CLIPS.get((shape or opened or (0,))[-1])
    if known is None:
        return None
    if opened:
        fault = "is in OpenAI's layout, of whose names the trainer knows none"
        return Identity(*known, fault, "take the file with names such as text_model.encoder.layers.0.mlp.fc1.weight")
    positions = (names.bare.get("text_model.embeddings.position_embedding.weight") or (CLIP_POSITIONS, 0))[0]
    if positions != CLIP_POSITIONS:
        fault = f"has {positions} positions, the trainer's {CLIP_POSITIONS}"
        return Identity(*known, fault, "take the ordinary one: it does not read long prompts")
    return Identity(*known, more="a picture encoder" if names.any_starts("vision_model.") else "")


T5S = {1472: ("byt5", "a ByT5 text encoder"), 4096: ("t5xxl", "a T5-XXL text encoder")}
OTHER_T5S = {256_384: ("umt5", "a UMT5 text encoder (Wan's)"), 250_112: ("mt5", "an mT5 text encoder")}
LANGUAGE_MODELS = {
    (256_000, 2304): ("gemma2", "the Gemma 2 2B text encoder"),
    (151_936, 1024): ("qwen3", "the Qwen3 0.6B text encoder"),
    (151_936, 2560): ("qwen3_4b", "the Qwen3 4B text encoder"),
    (151_936, 4096): ("qwen3_8b", "the Qwen3 8B text encoder"),
    (152_064, 3584): ("qwen2_5_vl", "the Qwen2.5-VL 7B text encoder"),
}


def _language_model(names: _Names) -> Identity | None:
    shared = names.bare.get("shared.weight") or names.bare.get("encoder.embed_tokens.weight")
    if shared and names.any_starts("encoder.block.0.layer.0.SelfAttention."):
        t5 = OTHER_T5S.get(shared[0]) or T5S.get(shared[1]) or ("t5", f"a T5 text encoder of width {shared[1]}")
        return Identity(*t5, more="a decoder" if names.any_starts("decoder.") else "")
    places = ("model.embed_tokens.weight", "embed_tokens.weight", "model.language_model.embed_tokens.weight")
    embedded = next(filter(None, map(names.bare.get, places)), None)
    known = LANGUAGE_MODELS.get((embedded[0], embedded[1])) if embedded and len(embedded) == 2 else None
    if known and known[0] == "qwen3_4b" and names.any_starts("visual.", "model.visual."):
        return Identity("qwen3_vl_4b", "the Qwen3-VL 4B text encoder")
    return Identity(*known) if known else None


def _autoencoder(names: _Names) -> Identity | None:
    """By the latent's channels and the layout (LDM's ``down.0.block``, diffusers' ``down_blocks``)."""
    shape = names.bare.get("decoder.conv_in.weight") or names.bare.get("decoder.conv1.weight")
    if shape is None or not names.any_starts("encoder."):
        return None
    if len(shape) == 5:
        return Identity("qwen_vae", "the Qwen-Image (Wan 2.1) autoencoder") if shape[1] == 16 else None
    known = {4: ("vae", "an SD or SDXL autoencoder"), 16: ("ae", "a 16-channel autoencoder (FLUX.1, SD3)"),
             32: ("flux2_vae", "the FLUX.2 autoencoder"),
             64: ("hunyuan_vae", "the HunyuanImage autoencoder")}.get(shape[1])  # fmt: skip
    fault = "is in diffusers' layout (down_blocks); the trainer reads the original one (down.0.block) here"
    diffusers = names.any_starts("encoder.down_blocks.")
    return Identity(*known, *((fault, ORIGINALS[shape[1]]) if diffusers else ())) if known else None


ORIGINALS = {
    4: "take a file such as sdxl_vae.safetensors or vae-ft-mse-840000-ema-pruned.safetensors",
    16: "take ae.safetensors of the original repository (for SD3 the VAE of its single file)",
    32: "take ae.safetensors of black-forest-labs/FLUX.2-dev",
    64: "take the VAE of tencent/HunyuanImage-2.1, or ComfyUI's repackaged one",
}
"""The autoencoder in the layout that is read, by its latent's channels."""

RULES: tuple[Callable[[_Names], Identity | None], ...] = (
    _addition, _unet, _flux, _diffusers_transformer, _sd3, _musubi_transformers,
    _other_transformers, _clip, _language_model, _autoencoder,
)  # fmt: skip
"""In this order: what goes on top of a model first, whole models before their parts."""
