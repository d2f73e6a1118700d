"""Conditions of the rules of musubi-tuner's FLUX.1 Kontext and FLUX.2 scripts, which ``rules.toml`` holds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import TORCH_OPTIMIZERS, Context, schedule_free
from kohya_runner.engines.rule_table import Condition, read_rules
from kohya_runner.text import did_you_mean, nearest

KONTEXT, FLUX2 = ("flux_kontext",), ("flux2",)
ATTENTION = ("sdpa", "flash_attn", "xformers", "flash3")
NETWORKS = ("networks.lora_flux", "networks.lora_flux_2", "networks.loha", "networks.lokr")
NETWORK_KEYS = (
    "conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "verbose", "exclude_patterns", "include_patterns",
    "loraplus_lr_ratio",
)  # fmt: skip
MOST_SWAPPED = {"dev": 29, "klein-9b": 16, "klein-base-9b": 16, "klein-4b": 13, "klein-base-4b": 13}
SHIFTS = {"flux_kontext": "flux_shift", "flux2": "flux2_shift"}
SAMPLES = ("sample_every_n_epochs", "sample_every_n_steps", "sample_at_first")
SAVES = ("save_every_n_epochs", "save_every_n_steps", "sample_every_n_epochs", "sample_every_n_steps")
ENCODERS = {"flux_kontext": ("text_encoder1", "text_encoder2", "vae"), "flux2": ("text_encoder", "vae")}
CONSTANTS = ("constant", "adafactor")
ELSEWHERE = {
    "lion": "lion_pytorch.Lion", "prodigy": "prodigyopt.Prodigy", "sgdnesterov": "SGD",
    "pagedadamw": "bitsandbytes.optim.PagedAdamW", "pagedadamw32bit": "bitsandbytes.optim.PagedAdamW32bit",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree", "radamschedulefree": "schedulefree.RAdamScheduleFree",
    "sgdschedulefree": "schedulefree.SGDScheduleFree", "dadaptadam": "dadaptation.DAdaptAdam",
    "dadaptation": "dadaptation.DAdaptAdam",
}  # fmt: skip
"""What sd-scripts knows by a short name, and this trainer by its class alone."""
DISTILLED = ("klein-4b", "klein-9b")


def version(context: Context) -> str:
    return str(context.get("model_version") or "dev")


def attentions(context: Context) -> tuple[str, ...]:
    return tuple(name for name in ATTENTION if context.on(name))


def unknown_8bit(context: Context) -> bool:
    kind = str(context.get("optimizer_type") or "")
    return kind.lower().endswith("8bit") and kind.lower() != "adamw8bit" and "." not in kind


def uneven_items(context: Context) -> str:
    """Items that cannot be split into two at "=": a text with a second one."""
    items = context.get("network_args")
    texts = [str(item) for item in items] if isinstance(items, list | tuple) else []
    return ", ".join(text for text in texts if text.count("=") != 1)


def unknown_optimizer(context: Context) -> str:
    """What to write instead of a name that torch.optim does not have."""
    kind, exact = str(context.get("optimizer_type") or ""), context.packages.classes(TORCH_OPTIMIZERS)
    here = kind.lower() in context.optimizers or kind in exact or not exact
    if not kind or here or "." in kind or kind.lower().endswith("8bit"):
        return ""
    known = ELSEWHERE.get(kind.lower())
    known = known or nearest(kind, exact)
    return f"write args.optimizer_type: {known or 'package.Class'}"


def unknown_scheduler(context: Context) -> str:
    """What to write instead; Adafactor brings its own."""
    name = str(context.get("lr_scheduler") or "constant")
    there = (*context.schedulers, "rex")
    known = name in there or name.lower() == "rex" or name.startswith("adafactor") or len(there) == 1
    if known or own_scheduler(context) or relative(context):
        return ""
    return did_you_mean(name, there, "args.lr_scheduler: ") or "write args.lr_scheduler: constant, cosine or linear"


def no_step_rules(context: Context) -> bool:
    stated = context.get("lr_scheduler") == "piecewise_constant" and not own_scheduler(context)
    return stated and not relative(context) and "step_rules" not in context.literals("lr_scheduler_args")


def judged(context: Context) -> bool:
    """Whether the network is one of the trainer's own LoRAs."""
    return context.network_module in NETWORKS[:2]


def unknown_keys(context: Context) -> str:
    found = [key for key in context.network_args if key not in NETWORK_KEYS] if judged(context) else []
    return ", ".join(f"{key} ({did_you_mean(key, NETWORK_KEYS) or 'not one of them'})" for key in found)


def bad_patterns(context: Context) -> bool:
    """The network adds a pattern of its own to the list."""
    given = context.network_args.get("exclude_patterns")
    return given is not None and not is_list(given)


def is_list(text: str) -> bool:
    try:
        return isinstance(ast.literal_eval(text), list)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def warms_up(context: Context) -> bool:
    scheduler = str(context.get("lr_scheduler") or "constant")
    flat = scheduler in CONSTANTS or relative(context)
    return flat and context.number("lr_warmup_steps") != 0 and not own_scheduler(context)


def own_scheduler(context: Context) -> bool:
    return bool(context.get("lr_scheduler_type")) or schedule_free(context)


def adafactor(context: Context) -> bool:
    return str(context.get("optimizer_type") or "").lower() == "adafactor"


def relative(context: Context) -> bool:
    """Adafactor that sets its own learning rate, which is what it does unless told otherwise."""
    options = context.literals("optimizer_args")
    return adafactor(context) and bool(options.get("relative_step", True) or options.get("warmup_init", False))


def scheduler_of_adafactor(context: Context) -> bool:
    wanted = str(context.get("lr_scheduler") or "").startswith("adafactor")
    return wanted and not relative(context) and not own_scheduler(context)


def fails_always(context: Context) -> bool:
    fails = context.schedulers.get(str(context.get("lr_scheduler")), ()) is None
    return fails and not own_scheduler(context) and not relative(context)


def other_shift(context: Context) -> bool:
    sampling = context.get("timestep_sampling")
    return sampling in SHIFTS.values() and sampling != SHIFTS[context.family]


def no_encoders(context: Context) -> str:
    if not context.get("sample_prompts"):
        return ""
    return ", ".join(name for name in ENCODERS[context.family] if not context.get(name))


def samples(context: Context) -> bool:
    return any(context.get(name) for name in SAMPLES)


def unknown_prompts(context: Context) -> bool:
    name = context.get("sample_prompts")
    return bool(name) and not str(name).endswith((".txt", ".toml", ".json"))


def reversed_range(context: Context) -> bool:
    low, high = context.get("min_timestep"), context.get("max_timestep")
    first, last = 0 if low is None else low, 1000 if high is None else high
    return first < 0 or last > 1000 or first >= last


CONDITIONS: Mapping[str, Condition] = {
    "musubi_attention": lambda c: not attentions(c) and not c.on("sage_attn"),
    "musubi_attentions": lambda c: ", ".join(attentions(c)) if len(attentions(c)) > 1 else "",
    "musubi_flash3": lambda c: c.on("flash3") and attentions(c)[0] == "flash3",
    "musubi_fp8_mistral": lambda c: c.on("fp8_text_encoder") and version(c) == "dev",
    "musubi_swap_flux2": lambda c: c.number("blocks_to_swap") > MOST_SWAPPED.get(version(c), MOST_SWAPPED["dev"]),
    "musubi_optimizer_8bit": unknown_8bit,
    "musubi_optimizer": unknown_optimizer,
    "musubi_scheduler": unknown_scheduler,
    "musubi_step_rules": no_step_rules,
    "musubi_warmup": warms_up,
    "musubi_adafactor_scheduler": scheduler_of_adafactor,
    "musubi_scheduler_fails": fails_always,
    "musubi_min_lr": lambda c: (
        c.get("lr_scheduler") == "cosine_with_min_lr"
        and c.get("lr_scheduler_min_lr_ratio") is None
        and not c.get("lr_scheduler_args")
        and not own_scheduler(c)
        and not relative(c)
    ),
    "musubi_network_family": lambda c: (
        c.network_module in NETWORKS[:2] and c.network_module != c.support.network_module
    ),
    "musubi_network_args": uneven_items,
    "musubi_network_keys": unknown_keys,
    "musubi_network_patterns": bad_patterns,
    "musubi_zero": lambda c: c.listed(name for name in SAVES if c.get(name) == 0),
    "musubi_prompts_kind": unknown_prompts,
    "musubi_prompts_missing": lambda c: (
        bool(c.get("sample_prompts")) and c.prompts_found is False and not unknown_prompts(c)
    ),
    "musubi_prompts_encoders": no_encoders,
    "musubi_samples_none": lambda c: samples(c) and not c.get("sample_prompts"),
    "musubi_samples_never": lambda c: bool(c.get("sample_prompts")) and not samples(c),
    "musubi_other_shift": other_shift,
    "musubi_timestep_range": reversed_range,
    "musubi_distilled": lambda c: version(c) in DISTILLED,
}
RULES = read_rules(Path(__file__).with_name("rules.toml"), CONDITIONS, "musubi-tuner")
