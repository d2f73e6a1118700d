"""Rules that one family alone has: SD 2, SD3, Lumina, HunyuanImage and Anima, each on its own script's lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.rule_context import FLOW, INFO, LOADED, LORA, SILENT, TU, WARNING, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.engines.rule_context import Context

DB, FT, CN, TI = "train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py"
XL, XL_CN, LLLITE = "sdxl_train.py", "sdxl_train_control_net.py", "sdxl_train_control_net_lllite.py"
XL_TI, FLUX, FLUX_CN = "sdxl_train_textual_inversion.py", "flux_train.py", "flux_train_control_net.py"
SD3, LUMINA, ANIMA = "sd3_train.py", "lumina_train.py", "anima_train.py"
SDXL_LOADER = "library/sdxl_train_util.py"
WORKERS = {
    DB: f"{DB}:208", FT: f"{FT}:240", CN: f"{CN}:273", TI: f"{TI}:408", XL: f"{XL}:427", XL_CN: f"{XL_CN}:277",
    LLLITE: f"{LLLITE}:268", XL_TI: f"{TI}:408", FLUX: f"{FLUX}:394", FLUX_CN: f"{FLUX_CN}:401",
    SD3: f"{SD3}:498", LUMINA: f"{LUMINA}:441", ANIMA: f"{ANIMA}:310",
}  # fmt: skip
SDXL_SCRIPTS = (XL, XL_CN, LLLITE, XL_TI)

LINES: Mapping[str, Mapping[str, str]] = {
    "args.cached_latents_augmentation": {
        DB: f"{DB}:114", FT: f"{FT}:118", TI: f"{TI}:371", XL: f"{XL}:202", XL_TI: f"{TI}:371", FLUX: f"{FLUX}:177",
        SD3: f"{SD3}:189", LUMINA: f"{LUMINA}:183", ANIMA: f"{ANIMA}:152",
    },
    "args.cached_text_batch": {
        FLUX: f"{FLUX}:240", FLUX_CN: f"{FLUX_CN}:234", SD3: f"{SD3}:282", LUMINA: f"{LUMINA}:248",
        ANIMA: f"{ANIMA}:194",
    },
    "args.full_fp16": {
        DB: f"{DB}:237", FT: f"{FT}:266", CN: f"{CN}:300", TI: f"{TI}:472", FLUX: f"{FLUX}:425",
        FLUX_CN: f"{FLUX_CN}:432", **dict.fromkeys(SDXL_SCRIPTS, f"{SDXL_LOADER}:168"),
        SD3: f"{SD3}:530", LUMINA: f"{LUMINA}:482", ANIMA: f"{ANIMA}:335",
    },
    "args.full_bf16": {
        FLUX: f"{FLUX}:434", FLUX_CN: f"{FLUX_CN}:442", **dict.fromkeys(SDXL_SCRIPTS, f"{SDXL_LOADER}:173"),
        SD3: f"{SD3}:542", LUMINA: f"{LUMINA}:490", ANIMA: f"{ANIMA}:338",
    },
    "args.half_vae": {
        XL: f"{XL}:216", XL_CN: f"{XL_CN}:163", LLLITE: f"{LLLITE}:166", XL_TI: f"{TI}:213",
    },
    "args.blocks_to_swap_negative": {
        FLUX: f"{FLUX}:301", FLUX_CN: f"{FLUX_CN}:303", SD3: f"{SD3}:371", ANIMA: f"{ANIMA}:258",
    },
    "args.blocks_to_swap_offload": {FLUX: f"{FLUX}:81", FLUX_CN: f"{FLUX_CN}:92", ANIMA: f"{ANIMA}:67"},
    "args.persistent_workers": WORKERS,
    "args.loader_workers": WORKERS,
    "args.vae": {FLUX: f"{FLUX}:197", FLUX_CN: f"{FLUX_CN}:191", LUMINA: f"{LUMINA}:204"},
    "args.sample_rounded": {
        FLUX: "library/flux_train_utils.py:180", SD3: "library/sd3_train_utils.py:513",
        LUMINA: "library/lumina_train_util.py:60", ANIMA: "library/anima_train_utils.py:500",
    },
    "args.sample_missing": {
        FLUX: f"{FLUX}:253", FLUX_CN: f"{FLUX_CN}:247",
        SD3: f"{SD3}:294", LUMINA: f"{LUMINA}:261", ANIMA: f"{ANIMA}:202",
    },
    "args.steps_overridden": {
        DB: f"{DB}:219", FT: f"{FT}:251", CN: f"{CN}:285", TI: f"{TI}:419", XL: f"{XL}:438", XL_CN: f"{XL_CN}:289",
        LLLITE: f"{LLLITE}:280", XL_TI: f"{TI}:419", FLUX: f"{FLUX}:405", FLUX_CN: f"{FLUX_CN}:412",
        SD3: f"{SD3}:510", LUMINA: f"{LUMINA}:455", ANIMA: f"{ANIMA}:322",
    },
    "args.fused_backward_inert": dict.fromkeys((DB, FT, LLLITE, TI, XL_TI), "library/train_util.py:4848"),
    "args.text_rates_inert": {DB: f"{DB}:172", FT: f"{FT}:221", SD3: f"{SD3}:238"},
    "args.full_bf16_ignored": {FT: f"{FT}:266", CN: f"{CN}:300"},
    "args.fused_free": {FLUX_CN: f"{FLUX_CN}:387", SD3: f"{SD3}:484", LUMINA: f"{LUMINA}:421"},
    "args.fused_accumulation": {
        FLUX: f"{FLUX}:524", FLUX_CN: f"{FLUX_CN}:531", SD3: f"{SD3}:624", LUMINA: f"{LUMINA}:560",
    },
    "args.fused_twice": {FLUX: f"{FLUX}:476", FLUX_CN: f"{FLUX_CN}:483", SD3: f"{SD3}:603", LUMINA: f"{LUMINA}:537"},
    "args.fused_groups_inert": {FLUX_CN: f"{FLUX_CN}:843", SD3: f"{SD3}:1052", LUMINA: f"{LUMINA}:933"},
    "args.tokenizer_cache": {FLUX_CN: f"{FLUX_CN}:212", SD3: f"{SD3}:217", LUMINA: f"{LUMINA}:224"},
    "args.blocks_old": {FLUX_CN: f"{FLUX_CN}:288"},
    "args.weighted_inert": {XL_CN: f"{XL_CN}:496", LLLITE: f"{LLLITE}:447", FLUX_CN: f"{FLUX_CN}:626"},
    "args.weighted_inert_flux": {SD3: f"{SD3}:787", ANIMA: f"{ANIMA}:517"},
    "args.anima_unsloth_offload": {ANIMA: f"{ANIMA}:65"},
    "args.anima_unsloth_swap": {ANIMA: f"{ANIMA}:71"},
    "args.anima_unsloth_checkpointing": {ANIMA: f"{ANIMA}:62"},
    "args.save_format": {
        SD3: "library/sd3_train_utils.py:105", LUMINA: "library/lumina_train_util.py:965",
        ANIMA: "library/anima_train_utils.py:267",
    },
    "args.whole_rate": {SD3: "library/sd3_train_utils.py:57", ANIMA: f"{ANIMA}:281"},
    "args.loss_inert": {DB: f"{DB}:396", FT: f"{FT}:398"},
}  # fmt: skip
"""By the rule's code and the script. What is not here stands on the line that the rule itself names."""


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
    """``attn_mode`` goes before ``xformers`` (hunyuan_image_train_network.py:389)."""
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
         "that it has put away", "write args.network_train_unet_only: true", "flux_train_network.py:207", "first step",
         families=("flux",)),
    Rule("args.chroma_guidance", ("guidance_scale", "model_type"),
         lambda c: _chroma(c) and c.number("guidance_scale") != 0,
         "guidance_scale: {guidance_scale}: Chroma is not distilled; the trainer's guide asks for 0",
         "write args.guidance_scale: 0.0", "flux_train_network.py:342", SILENT, WARNING, ("flux",)),
    Rule("args.chroma_offload", ("cpu_offload_checkpointing", "model_type"),
         lambda c: _chroma(c) and c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing does nothing for Chroma", "leave it out", "library/chroma_models.py:626", SILENT,
         WARNING, ("flux",)),
    Rule("args.v2_missing", ("v2",), lambda c: not c.on("v2"),
         "without v2 the trainer builds a Stable Diffusion 1 model, which a Stable Diffusion 2 checkpoint does not fit",
         "leave args.v2 out: it is set for this family", f"{TU}:5531", LOADED, families=("sd2",)),
    Rule("args.v2_wrong", ("v2",), lambda c: c.on("v2"), "v2 is for Stable Diffusion 2, and this is family sd15",
         "write family: sd2, or leave args.v2 out", f"{TU}:5531", LOADED, WARNING, ("sd15",)),
    Rule("args.v2_inert", ("v2",), lambda c: c.on("v2"),
         "v2 is for Stable Diffusion 2; here it only writes a wrong ss_v2", "leave args.v2 out",
         "train_network.py:1026", SILENT, WARNING, FLOW),
    Rule("args.sd3_unused", SD3_INERT, _given(*SD3_INERT), "{what}: this script does nothing with it", "leave it out",
         "library/sd3_train_utils.py:182", SILENT, WARNING, ("sd3",)),
    Rule("args.sd3_swap", SWAP, _more(SD3_BLOCKS),
         "blocks_to_swap: {blocks_to_swap} is more than the 36 that can be swapped",
         "write args.blocks_to_swap: 36 or less", "library/sd3_models.py:1078", LOADED, families=("sd3",)),
    Rule("args.sd3_swap_medium", SWAP, lambda c: SD3_MEDIUM < c.number("blocks_to_swap") <= SD3_BLOCKS,
         "blocks_to_swap: {blocks_to_swap}: SD 3 and 3.5 medium can swap 22 at most; 3.5 large 36",
         "write args.blocks_to_swap: 22 or less for a medium model", "library/sd3_models.py:1078", LOADED, WARNING,
         ("sd3",)),
    Rule("args.sd3_shift", ("training_shift",),
         lambda c: c.get("training_shift") is not None and c.number("training_shift") <= 0,
         "training_shift: {training_shift} puts all timesteps out of their range", "write more than 0, usually 1 to 3",
         "library/sd3_train_utils.py:935", SILENT, WARNING, ("sd3",)),
    Rule("args.lumina_cached_captions",
         ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate", *CACHE),
         _lumina_ignores, "{what}: does nothing to cached text encoder outputs, and this script does not say so",
         "leave one of the two out", "lumina_train_network.py:39", SILENT, WARNING, ("lumina",), LORA),
    Rule("args.lumina_cache_unused", (*CACHE, *UNET_ONLY), _encodes_anew,
         "text encoder outputs are cached and then not used: Gemma 2 is trained, and reads every caption again",
         "write args.network_train_unet_only: true, or leave the caching out", "train_network.py:426", SILENT, WARNING,
         ("lumina",), LORA),
    Rule("args.lumina_swap", SWAP, _more(24),
         "blocks_to_swap: {blocks_to_swap} is more than the 24 that can be swapped",
         "write args.blocks_to_swap: 24 or less",
         "library/lumina_models.py:1289", LOADED, families=("lumina",), methods=LORA),
    Rule("args.lumina_sage", ("use_sage_attn",), lambda c: c.on("use_sage_attn"),
         "use_sage_attn: SageAttention has no backward pass, it is for making images", "leave it out",
         "library/lumina_models.py:872", SILENT, WARNING, ("lumina",)),
    Rule("args.lumina_weighted", ("weighted_captions",),
         lambda c: c.on("weighted_captions") and c.caches_text and c.on("network_train_unet_only"),
         "weighted_captions: this family's text encoder takes no weights, the signs stay in the caption",
         "leave it out", "library/strategy_lumina.py:86", SILENT, WARNING, ("lumina",)),
    Rule("args.lumina_timesteps", ("timestep_sampling",),
         lambda c: bool(c.given("timestep_sampling")) and c.get("timestep_sampling") != "nextdit_shift",
         "timestep_sampling: {timestep_sampling}: the trainer's guide recommends nextdit_shift for this family",
         "write args.timestep_sampling: nextdit_shift", "library/lumina_train_util.py:829", SILENT, INFO, ("lumina",)),
    Rule("args.hunyuan_text_training", (*UNET_ONLY, *CACHE), _encodes_anew,
         "text encoder outputs are cached, and without network_train_unet_only the script looks for text encoders that "
         "it has put away", "write args.network_train_unet_only: true", "hunyuan_image_train_network.py:430",
         "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_text_memory", CACHE,
         lambda c: c.on(CACHE[0]) and not c.on(CACHE[1]) and c.on("network_train_unet_only"),
         "text encoder outputs that are cached in memory hold a number which the script cannot make a tensor of",
         "write args.cache_text_encoder_outputs_to_disk: true", f"{TU}:1763", "first step",
         families=("hunyuan_image",)),
    Rule("args.hunyuan_text_only", ("network_train_text_encoder_only",),
         lambda c: c.on("network_train_text_encoder_only") and not c.on("network_train_unet_only"),
         "network_train_text_encoder_only: no text encoder of this family can be trained, so nothing is left",
         "write args.network_train_unet_only: true instead", "networks/lora_hunyuan_image.py:271", LOADED,
         families=("hunyuan_image",)),
    Rule("args.hunyuan_unet_only", UNET_ONLY,
         lambda c: not c.on("network_train_unet_only") and not c.caches_text
         and not c.on("network_train_text_encoder_only"),
         "no text encoder of this family can be trained: the trainer's guide asks for network_train_unet_only",
         "write args.network_train_unet_only: true", "hunyuan_image_train_network.py:436", SILENT, INFO,
         ("hunyuan_image",)),
    Rule("args.hunyuan_precision", ("mixed_precision",), _whole_precision,
         "mixed_precision: {mixed_precision}: the text encoders give half precision, and the model does not take it",
         "write args.mixed_precision: bf16", "hunyuan_image_train_network.py:565", "first step",
         families=("hunyuan_image",)),
    Rule("args.hunyuan_fp16", ("mixed_precision",), lambda c: c.get("mixed_precision") == "fp16",
         "mixed_precision: fp16: bf16 is recommended for this family", "write args.mixed_precision: bf16",
         "hunyuan_image_train_network.py:325", SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.hunyuan_fp8", (*FP8, "fp8_scaled"),
         lambda c: "" if c.on("fp8_scaled") else _on(*FP8)(c),
         "{what}: not supported for this family", "write args.fp8_scaled: true instead",
         "hunyuan_image_train_network.py:330", SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.hunyuan_fp8_both", (*FP8, "fp8_scaled"), lambda c: _on(*FP8)(c) if c.on("fp8_scaled") else "",
         "{what}: not looked at with fp8_scaled", "leave it out", "hunyuan_image_train_network.py:334", SILENT, INFO,
         ("hunyuan_image",)),
    Rule("args.hunyuan_swap", SWAP, _more(37),
         "blocks_to_swap: {blocks_to_swap} is more than the 37 that can be swapped",
         "write args.blocks_to_swap: 37 or less",
         "library/hunyuan_image_models.py:177", LOADED, families=("hunyuan_image",)),
    Rule("args.hunyuan_offload", ("cpu_offload_checkpointing",),
         lambda c: c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing: the model of this family calls a function that the trainer does not have",
         "leave it out", "library/hunyuan_image_modules.py:715", "first step", families=("hunyuan_image",)),
    Rule("args.hunyuan_text_rate", ("text_encoder_lr",), lambda c: bool(c.given("text_encoder_lr")),
         "text_encoder_lr: {text_encoder_lr}: no text encoder of this family can be trained", "leave it out",
         "hunyuan_image_train_network.py:436", SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_half_vae", ("no_half_vae",), lambda c: c.on("no_half_vae"),
         "no_half_vae: the autoencoder of this family always runs in fp16", "leave it out",
         "hunyuan_image_train_network.py:604", SILENT, INFO, ("hunyuan_image",)),
    Rule("args.hunyuan_t5_cpu", ("text_encoder_cpu", *CACHE), lambda c: c.on("text_encoder_cpu") and not c.caches_text,
         "text_encoder_cpu: a 7 B model reads every caption on the CPU at every step",
         "write args.cache_text_encoder_outputs_to_disk: true, so that it reads each caption once",
         "hunyuan_image_train_network.py:449", SILENT, WARNING, ("hunyuan_image",)),
    Rule("args.xformers_split", ATTENTION, _xformers_whole,
         "attention by xformers needs split_attn", "write args.split_attn: true, or args.attn_mode: torch",
         "library/attention.py:83", "first step", WARNING, ("hunyuan_image", "anima")),
    Rule("args.attention_sage", ("attn_mode",), lambda c: c.get("attn_mode") == "sageattn",
         "attn_mode: sageattn has no backward pass, it is for making images", "write args.attn_mode: torch",
         "hunyuan_image_train_network.py:694", SILENT, WARNING, ("hunyuan_image", "anima")),
    Rule("args.anima_fp8", FP8, _on(*FP8), "{what}: this family has no fp8; it is switched off", "leave it out",
         "anima_train_network.py:44", SILENT, WARNING, ("anima",), LORA),
    Rule("args.anima_swap", SWAP, _more(26),
         "blocks_to_swap: {blocks_to_swap} is more than the 26 that can be swapped",
         "write args.blocks_to_swap: 26 or less", "library/anima_models.py:1243", LOADED, families=("anima",)),
    Rule("args.anima_unsloth_offload", (UNSLOTH, "cpu_offload_checkpointing"),
         lambda c: c.on(UNSLOTH) and c.on("cpu_offload_checkpointing"),
         "unsloth_offload_checkpointing does not go with cpu_offload_checkpointing", "leave one of the two out",
         "anima_train_network.py:71", "start", families=("anima",)),
    Rule("args.anima_unsloth_swap", (UNSLOTH, *SWAP), lambda c: c.on(UNSLOTH) and c.number("blocks_to_swap") != 0,
         "unsloth_offload_checkpointing does not go with blocks_to_swap: {blocks_to_swap}", "leave one of the two out",
         "anima_train_network.py:74", "start", families=("anima",)),
    Rule("args.anima_unsloth_checkpointing", (UNSLOTH, "gradient_checkpointing"),
         lambda c: c.on(UNSLOTH) and not c.on("gradient_checkpointing"),
         "unsloth_offload_checkpointing switches gradient_checkpointing on",
         "write args.gradient_checkpointing: true, too", "anima_train_network.py:68", SILENT, INFO, ("anima",)),
    Rule("args.anima_rates", COMPONENT_RATES, _given(*COMPONENT_RATES),
         "{what}: only a full fine-tune looks at it",
         'write args.network_args: {{network_reg_lrs: ".*self_attn.*=1e-4"}}',
         "library/anima_train_utils.py:161", SILENT, WARNING, ("anima",), LORA),
    Rule("args.anima_adapter", ("llm_adapter_path",), lambda c: bool(c.given("llm_adapter_path")),
         "llm_adapter_path: {llm_adapter_path} is not read: the adapter is taken from the model's own file",
         "leave it out", "library/anima_utils.py:107", SILENT, WARNING, ("anima",)),
)  # fmt: skip
