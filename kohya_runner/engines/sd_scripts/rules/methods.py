"""Conditions of the rules about whole models, ControlNet and textual inversion, and of those one family alone has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import Context
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.engines.sd_scripts.rules.optimizer import TEXT_RATES, method_rates, trains_text

STOP = "stop_text_encoder_training"
SINGLE_FILES = (".safetensors", ".ckpt", ".pt")
FUSED = ("blockwise_fused_optimizers", "fused_optimizer_groups")


def _nothing(context: Context) -> bool:
    """sdxl_train.py:307 trains no part whose rate is 0."""
    text = method_rates(context)[:2] if trains_text(context) else ()
    return context.script == "sdxl_train.py" and not context.number("learning_rate") and not any(text)


def _stops(context: Context) -> bool:
    """At that step the list of models becomes a model, which cannot be unpacked."""
    stop, total = context.get(STOP), context.total_steps
    return stop is not None and stop >= 0 and (total is None or stop < total)


def _fuses(context: Context) -> str:
    used = FUSED if context.script == "sdxl_train.py" else FUSED[:1]
    return context.listed(name for name in used if context.get(name))


CAPTIONS = ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate")
OWN_WORDS = ("<|startoftext|>", "<|endoftext|>")


def _unused(context: Context) -> str:
    names = TABLE["rules"]["unused"].get(context.script, ())
    return context.listed(name for name in context.given(*names) if context.get(name) not in (0, False))


def _random_caption(context: Context) -> str:
    """The wrapper around the pairs has no captions of its own to look at, so that the check passes."""
    changing = [name for name in CAPTIONS if context.on(name) or context.number(name) > 0]
    return context.listed(changing) if context.caches_text else ""


def _in_vocabulary(context: Context) -> bool:
    """Single signs are tokens of every CLIP vocabulary; of longer words only its merges tell."""
    word = str(context.get("token_string") or "")
    return word in OWN_WORDS or (len(word) == 1 and word.isascii() and word.isprintable() and word != " ")


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


def _is_folder(context: Context) -> bool:
    base = context.get("pretrained_model_name_or_path")
    return context.on("train_inpainting") and base is not None and Path(str(base)).suffix not in SINGLE_FILES


LAYER_SETS = ("self_attn_q", "self_attn_qkv", "self_attn_qkv_cross_q")
LAYERS = ("self_attn_q_pre", "self_attn_kv_pre", "cross_attn_q_pre", "mlp_fc1_pre")


def _unknown_layers(context: Context) -> str:
    """networks/control_net_lllite_anima.py:47: one of the sets, or a list of layers."""
    stated = context.get("lllite_target_layers")
    if stated is None or stated.strip() in LAYER_SETS:
        return ""
    names = [name.strip() for name in stated.split(",") if name.strip()]
    return ", ".join(name for name in names if name not in LAYERS) if names else "nothing"


CONDITIONS: Mapping[str, Condition] = {
    "lumina_cached_captions": _lumina_ignores,
    "xformers_split": _xformers_whole,
    "text_rates_inert": lambda c: "" if trains_text(c) else c.listed(c.given(*TEXT_RATES)),
    "learning_rates_zero": _nothing,
    "learning_rate_none": lambda c: c.script != "sdxl_train.py" and not any(method_rates(c)),
    "stop_text_encoder": _stops,
    "accumulation_models": lambda c: (
        c.number("gradient_accumulation_steps") > 1 and c.script == "train_db.py" and trains_text(c)
    ),
    "fused_accumulation": lambda c: _fuses(c) if c.number("gradient_accumulation_steps") > 1 else "",
    "fused_twice": lambda c: _fuses(c) if c.on("fused_backward_pass") else "",
    "save_folders": lambda c: str(c.get("save_model_as")).startswith("diffusers"),
    "sd3_t5_cached": lambda c: (
        c.on("train_t5xxl") and c.on("train_text_encoder") and (c.on("use_t5xxl_cache_only") or c.caches_text)
    ),
    "pairs_captions": _random_caption,
    "loss_inert": _unused,
    "token_known": _in_vocabulary,
    "inpaint_folder": _is_folder,
    "lllite_layers": _unknown_layers,
    "lllite_trunk": lambda c: (
        c.get("lllite_cond_dim") is not None
        and (c.number("lllite_cond_dim") < 2 or c.number("lllite_cond_dim") % 2 != 0)
    ),
    "inpaint_preserve": lambda c: (
        c.on("train_inpainting") and bool((c.get("custom_attributes") or {}).get("diff_output_preservation"))
    ),
    "inpaint_samples": lambda c: str(c.prompts_without_picture or "") if c.on("train_inpainting") else "",
}
