"""Rules that one family alone has: SD 2, SD3, Lumina, HunyuanImage and Anima, each on its own script's lines."""

from __future__ import annotations

from collections.abc import Callable

from kohya_runner.engines.rule_context import FLOW, INFO, LOADED, LORA, SILENT, WARNING, Context, Rule

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
UNET_ONLY = ("network_train_unet_only",)
SWAP = ("blocks_to_swap",)
SD3_BLOCKS, SD3_MEDIUM = 36, 22
"""Two blocks stay: 38 of 3.5 large, 24 of 3 and 3.5 medium."""
FP8 = ("fp8_base", "fp8_base_unet")
SD3_INERT = ("save_clip", "save_t5xxl", "t5xxl_device", "t5xxl_dtype")
COMPONENT_RATES = ("self_attn_lr", "cross_attn_lr", "mlp_lr", "mod_lr", "llm_adapter_lr")
ATTENTION = ("attn_mode", "xformers", "split_attn")
UNSLOTH = "unsloth_offload_checkpointing"


def _more(most: int) -> Callable[[Context], bool]:
    return lambda c: c.number("blocks_to_swap") > most


def _given(*names: str) -> Callable[[Context], str]:
    return lambda c: c.listed(c.given(*names))


def _on(*names: str) -> Callable[[Context], str]:
    return lambda c: c.listed(name for name in names if c.on(name))


def _encodes_anew(context: Context) -> bool:
    return context.caches_text and not context.on("network_train_unet_only")


def _xformers_whole(context: Context) -> bool:
    """``attn_mode`` goes before ``xformers`` (hunyuan_image_train_network.py:395)."""
    mode = context.get("attn_mode") or ("xformers" if context.on("xformers") else "torch")
    return mode == "xformers" and not context.on("split_attn")


def _lumina_ignores(context: Context) -> str:
    """Nothing of this is refused, and the cached outputs know nothing of it."""
    if not context.uses_cached_text:
        return ""
    rates = ("caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate")
    names = [name for name in rates if context.number(name) > 0]
    return context.listed(["shuffle_caption"] * context.on("shuffle_caption") + names)


def _whole_precision(context: Context) -> bool:
    """The text encoders give bf16 and fp16, and without autocast the model's fp32 weights do not take them."""
    return context.get("mixed_precision") in (None, "no") and not context.caches_text


def _chroma(context: Context) -> bool:
    return bool(context.get("model_type") == "chroma")


RULES: tuple[Rule, ...] = (
    Rule("args.chroma_text_training", ("model_type", *UNET_ONLY, *CACHE), lambda c: _chroma(c) and _encodes_anew(c),
         "model_type: chroma has no CLIP-L to train, and T5's outputs are cached: the script looks for text encoders "
         "that it has put away", "write args.network_train_unet_only: true", "first step", families=("flux",)),
    Rule("args.chroma_guidance", ("guidance_scale", "model_type"),
         lambda c: _chroma(c) and c.number("guidance_scale") != 0,
         "guidance_scale: {guidance_scale}: Chroma is not distilled; the trainer's guide asks for 0",
         "write args.guidance_scale: 0.0", SILENT, WARNING, ("flux",)),
    Rule("args.chroma_offload", ("cpu_offload_checkpointing", "model_type"),
         lambda c: _chroma(c) and c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing does nothing for Chroma", "leave it out", SILENT, WARNING, ("flux",)),
    Rule("args.v2_missing", ("v2",), lambda c: not c.on("v2"),
         "without v2 the trainer builds a Stable Diffusion 1 model, which a Stable Diffusion 2 checkpoint does not fit",
         "leave args.v2 out: it is set for this family", LOADED, families=("sd2",)),
    Rule("args.v2_wrong", ("v2",), lambda c: c.on("v2"), "v2 is for Stable Diffusion 2, and this is family sd15",
         "write family: sd2, or leave args.v2 out", LOADED, WARNING, ("sd15",)),
    Rule("args.v2_inert", ("v2",), lambda c: c.on("v2"),
         "v2 is for Stable Diffusion 2; here it only writes a wrong ss_v2", "leave args.v2 out", SILENT, WARNING, FLOW),
    Rule("args.sd3_unused", SD3_INERT, _given(*SD3_INERT), "{what}: this script does nothing with it", "leave it out",
         SILENT, WARNING, ("sd3",)),
    Rule("args.sd3_swap", SWAP, _more(SD3_BLOCKS),
         "blocks_to_swap: {blocks_to_swap} is more than the 36 that can be swapped",
         "write args.blocks_to_swap: 36 or less", LOADED, families=("sd3",)),
    Rule("args.sd3_swap_medium", SWAP, lambda c: SD3_MEDIUM < c.number("blocks_to_swap") <= SD3_BLOCKS,
         "blocks_to_swap: {blocks_to_swap}: SD 3 and 3.5 medium can swap 22 at most; 3.5 large 36",
         "write args.blocks_to_swap: 22 or less for a medium model", LOADED, WARNING, ("sd3",)),
    Rule("args.sd3_shift", ("training_shift",),
         lambda c: c.get("training_shift") is not None and c.number("training_shift") <= 0,
         "training_shift: {training_shift} puts all timesteps out of their range", "write more than 0, usually 1 to 3",
         SILENT, WARNING, ("sd3",)),
    Rule("args.lumina_cached_captions",
         ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate", *CACHE),
         _lumina_ignores, "{what}: does nothing to cached text encoder outputs, and this script does not say so",
         "leave one of the two out", SILENT, WARNING, ("lumina",), LORA),
    Rule("args.lumina_cache_unused", (*CACHE, *UNET_ONLY), _encodes_anew,
         "text encoder outputs are cached and then not used: Gemma 2 is trained, and reads every caption again",
         "write args.network_train_unet_only: true, or leave the caching out", SILENT, WARNING, ("lumina",), LORA),
    Rule("args.lumina_swap", SWAP, _more(24),
         "blocks_to_swap: {blocks_to_swap} is more than the 24 that can be swapped",
         "write args.blocks_to_swap: 24 or less", LOADED, families=("lumina",), methods=LORA),
    Rule("args.lumina_sage", ("use_sage_attn",), lambda c: c.on("use_sage_attn"),
         "use_sage_attn: SageAttention has no backward pass, it is for making images", "leave it out",
         SILENT, WARNING, ("lumina",)),
    Rule("args.lumina_weighted", ("weighted_captions",),
         lambda c: c.on("weighted_captions") and c.caches_text and c.on("network_train_unet_only"),
         "weighted_captions: this family's text encoder takes no weights, the signs stay in the caption",
         "leave it out", SILENT, WARNING, ("lumina",)),
    Rule("args.lumina_timesteps", ("timestep_sampling",),
         lambda c: bool(c.given("timestep_sampling")) and c.get("timestep_sampling") != "nextdit_shift",
         "timestep_sampling: {timestep_sampling}: the trainer's guide recommends nextdit_shift for this family",
         "write args.timestep_sampling: nextdit_shift", SILENT, INFO, ("lumina",)),
    Rule("args.hunyuan_text_training", (*UNET_ONLY, *CACHE), _encodes_anew,
         "text encoder outputs are cached, and without network_train_unet_only the script looks for text encoders that "
         "it has put away", "write args.network_train_unet_only: true", "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_text_memory", CACHE,
         lambda c: c.on(CACHE[0]) and not c.on(CACHE[1]) and c.on("network_train_unet_only"),
         "text encoder outputs that are cached in memory hold a number which the script cannot make a tensor of",
         "write args.cache_text_encoder_outputs_to_disk: true", "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_text_only", ("network_train_text_encoder_only",),
         lambda c: c.on("network_train_text_encoder_only") and not c.on("network_train_unet_only"),
         "network_train_text_encoder_only: no text encoder of this family can be trained, so nothing is left",
         "write args.network_train_unet_only: true instead", LOADED, families=("hunyuan_image",)),
    Rule("args.hunyuan_unet_only", UNET_ONLY,
         lambda c: not c.on("network_train_unet_only") and not c.caches_text
         and not c.on("network_train_text_encoder_only"),
         "no text encoder of this family can be trained: the trainer's guide asks for network_train_unet_only",
         "write args.network_train_unet_only: true", SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_precision", ("mixed_precision",), _whole_precision,
         "mixed_precision: {mixed_precision}: the text encoders give half precision, and the model does not take it",
         "write args.mixed_precision: bf16", "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_fp16", ("mixed_precision",), lambda c: c.get("mixed_precision") == "fp16",
         "mixed_precision: fp16: bf16 is recommended for this family", "write args.mixed_precision: bf16",
         SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.hunyuan_fp8", (*FP8, "fp8_scaled"),
         lambda c: "" if c.on("fp8_scaled") else _on(*FP8)(c),
         "{what}: not supported for this family", "write args.fp8_scaled: true instead",
         SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.hunyuan_fp8_both", (*FP8, "fp8_scaled"), lambda c: _on(*FP8)(c) if c.on("fp8_scaled") else "",
         "{what}: not looked at with fp8_scaled", "leave it out", SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_swap", SWAP, _more(37),
         "blocks_to_swap: {blocks_to_swap} is more than the 37 that can be swapped",
         "write args.blocks_to_swap: 37 or less", LOADED, families=("hunyuan_image",)),
    Rule("args.hunyuan_offload", ("cpu_offload_checkpointing",),
         lambda c: c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing: the model of this family calls a function that the trainer does not have",
         "leave it out", "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_text_rate", ("text_encoder_lr",), lambda c: bool(c.given("text_encoder_lr")),
         "text_encoder_lr: {text_encoder_lr}: no text encoder of this family can be trained", "leave it out",
         SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_half_vae", ("no_half_vae",), lambda c: c.on("no_half_vae"),
         "no_half_vae: the autoencoder of this family always runs in fp16", "leave it out",
         SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_t5_cpu", ("text_encoder_cpu", *CACHE), lambda c: c.on("text_encoder_cpu") and not c.caches_text,
         "text_encoder_cpu: a 7 B model reads every caption on the CPU at every step",
         "write args.cache_text_encoder_outputs_to_disk: true, so that it reads each caption once",
         SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.xformers_split", ATTENTION, _xformers_whole,
         "attention by xformers needs split_attn", "write args.split_attn: true, or args.attn_mode: torch",
         "first step", WARNING, ("hunyuan_image", "anima")),
    Rule("args.attention_sage", ("attn_mode",), lambda c: c.get("attn_mode") == "sageattn",
         "attn_mode: sageattn has no backward pass, it is for making images", "write args.attn_mode: torch",
         SILENT, WARNING, ("hunyuan_image", "anima")),
    Rule("args.anima_fp8", FP8, _on(*FP8), "{what}: this family has no fp8; it is switched off", "leave it out",
         SILENT, WARNING, ("anima",), LORA),
    Rule("args.anima_swap", SWAP, _more(26),
         "blocks_to_swap: {blocks_to_swap} is more than the 26 that can be swapped",
         "write args.blocks_to_swap: 26 or less", LOADED, families=("anima",)),
    Rule("args.anima_unsloth_offload", (UNSLOTH, "cpu_offload_checkpointing"),
         lambda c: c.on(UNSLOTH) and c.on("cpu_offload_checkpointing"),
         "unsloth_offload_checkpointing does not go with cpu_offload_checkpointing", "leave one of the two out",
         "start", families=("anima",)),
    Rule("args.anima_unsloth_swap", (UNSLOTH, *SWAP), lambda c: c.on(UNSLOTH) and c.number("blocks_to_swap") != 0,
         "unsloth_offload_checkpointing does not go with blocks_to_swap: {blocks_to_swap}", "leave one of the two out",
         "start", families=("anima",)),
    Rule("args.anima_unsloth_checkpointing", (UNSLOTH, "gradient_checkpointing"),
         lambda c: c.on(UNSLOTH) and not c.on("gradient_checkpointing"),
         "unsloth_offload_checkpointing switches gradient_checkpointing on",
         "write args.gradient_checkpointing: true, too", SILENT, INFO, ("anima",)),
    Rule("args.anima_rates", COMPONENT_RATES, _given(*COMPONENT_RATES),
         "{what}: only a full fine-tune looks at it",
         'write args.network_args: {{network_reg_lrs: ".*self_attn.*=1e-4"}}', SILENT, WARNING, ("anima",), LORA),
    Rule("args.anima_adapter", ("llm_adapter_path",), lambda c: bool(c.given("llm_adapter_path")),
         "llm_adapter_path: {llm_adapter_path} is not read: the adapter is taken from the model's own file",
         "leave it out", SILENT, WARNING, ("anima",)),
)  # fmt: skip
