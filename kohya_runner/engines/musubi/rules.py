"""Conditions of the rules of musubi-tuner's scripts, which ``rules.toml`` holds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import TORCH_OPTIMIZERS, Context, schedule_free
from kohya_runner.engines.rule_table import Condition, read_rules
from kohya_runner.text import did_you_mean, nearest

ATTENTION = ("sdpa", "flash_attn", "xformers", "flash3")
NETWORKS = ("networks.lora_flux", "networks.lora_flux_2", "networks.lora_krea2", "networks.lora_qwen_image",
            "networks.lora_zimage")  # fmt: skip
OTHERS = tuple(f"networks.{name}" for name in (
    "lora", "lora_framepack", "lora_hidream_o1", "lora_hv_1_5", "lora_ideogram4", "lora_kandinsky", "lora_wan",
))  # fmt: skip
ALIKE: Mapping[str, tuple[str, ...]] = {
    "flux_kontext": ("networks.lora_flux_2",),
    "flux2": ("networks.lora_flux",),
    "krea2": ("networks.lora_flux", "networks.lora_flux_2"),
}
"""Networks of other families that find blocks of the same name; that of Krea 2 takes all linear layers everywhere."""
NETWORK_KEYS = (
    "conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "verbose", "exclude_patterns", "include_patterns",
    "loraplus_lr_ratio",
)  # fmt: skip
MOST_SWAPPED = {"dev": 29, "klein-9b": 16, "klein-base-9b": 16, "klein-4b": 13, "klein-base-4b": 13}
SHIFTS: Mapping[str, tuple[str, ...]] = {
    "flux_kontext": ("flux_shift",), "flux2": ("flux2_shift",), "krea2": ("krea2_shift", "shift"),
    "z_image": ("shift", "flux_shift"), "qwen_image": ("qwen_shift", "shift"),
    "qwen_image_edit": ("qwen_shift", "shift"),
}  # fmt: skip
"""What the trainer's guide for each family names; flux_shift is the shift of Z-Image's own sampler, too."""
FLOW_SHIFTS = {"krea2": 2.5, "z_image": 2.0, "qwen_image": 2.2, "qwen_image_edit": 2.2}
"""Those of the guides, for ``shift``."""
SAMPLES = ("sample_every_n_epochs", "sample_every_n_steps", "sample_at_first")
SAVES = ("save_every_n_epochs", "save_every_n_steps", "sample_every_n_epochs", "sample_every_n_steps")
ENCODERS = {"flux_kontext": ("text_encoder1", "text_encoder2", "vae")}
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
QWEN_VERSIONS = ("original", "edit", "edit-2509", "edit-2511")


def version(context: Context) -> str:
    return str(context.get("model_version") or "dev")


def qwen_version(context: Context) -> str:
    """The variant, as the script reads it; "" where it must be named and is not."""
    chosen = context.get("model_version") or ("" if context.support.needs else "original")
    return str(chosen).lower()


def other_version(context: Context) -> bool:
    """Whether the variant is of another family: by its name, or by the older switches."""
    switched = context.on("edit") or context.on("edit_plus")
    named = qwen_version(context) in QWEN_VERSIONS and qwen_version(context) not in context.support.variants
    return named or (switched and not context.get("model_version"))


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
    return context.network_module in NETWORKS


def foreign(context: Context) -> bool:
    """Whether the network is another family's; ``alike``: it finds something to train all the same."""
    return context.network_module in (*NETWORKS, *OTHERS) and context.network_module != context.support.network_module


def alike(context: Context) -> bool:
    return context.network_module in ("networks.lora_krea2", *ALIKE.get(context.family, ()))


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


def shrunk(context: Context) -> str:
    """Only fractions are taken of ``max_train_steps * num_processes`` (training/trainer_base.py:288-294)."""
    name = str(context.get("lr_scheduler") or "constant")
    used = ("lr_warmup_steps", *(["lr_decay_steps"] if name == "warmup_stable_decay" else []))
    whole = [n for n in used if isinstance(context.get(n), int) and context.number(n) > 0]
    flat = name in CONSTANTS or relative(context) or own_scheduler(context)
    return context.listed(whole) if context.several and not flat else ""


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
    """Whether the shift is that of another family."""
    sampling = str(context.get("timestep_sampling"))
    return sampling.endswith("_shift") and sampling not in SHIFTS[context.family]


def not_of_guide(context: Context) -> str:
    """What the guide names instead of another sampling that is no shift of a family."""
    sampling = str(context.get("timestep_sampling"))
    return "" if sampling.endswith("_shift") or sampling in SHIFTS[context.family] else SHIFTS[context.family][0]


def no_encoders(context: Context) -> str:
    if not context.get("sample_prompts"):
        return ""
    return ", ".join(name for name in ENCODERS.get(context.family, ("text_encoder", "vae")) if not context.get(name))


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
    "musubi_version": lambda c: qwen_version(c) not in ("", *QWEN_VERSIONS),
    "musubi_version_family": other_version,
    "musubi_whole_fused": lambda c: c.on("fused_backward_pass") and not adafactor(c),
    "musubi_optimizer_8bit": unknown_8bit,
    "musubi_optimizer": unknown_optimizer,
    "musubi_scheduler": unknown_scheduler,
    "musubi_step_rules": no_step_rules,
    "musubi_warmup": warms_up,
    "musubi_warmup_processes": shrunk,
    "musubi_adafactor_scheduler": scheduler_of_adafactor,
    "musubi_scheduler_fails": fails_always,
    "musubi_min_lr": lambda c: (
        c.get("lr_scheduler") == "cosine_with_min_lr"
        and c.get("lr_scheduler_min_lr_ratio") is None
        and not c.get("lr_scheduler_args")
        and not own_scheduler(c)
        and not relative(c)
    ),
    "musubi_network": lambda c: foreign(c) and not alike(c),
    "musubi_network_family": lambda c: foreign(c) and alike(c),
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
    "musubi_other_shift": lambda c: SHIFTS[c.family][0] if other_shift(c) else "",
    "musubi_timesteps": not_of_guide,
    "musubi_flow_shift_missing": lambda c: (
        str(FLOW_SHIFTS.get(c.family, ""))
        if c.get("timestep_sampling") == "shift" and not c.given("discrete_flow_shift")
        else ""
    ),
    "musubi_timestep_range": reversed_range,
    "musubi_distilled": lambda c: version(c) in DISTILLED,
}
RULES = read_rules(Path(__file__).with_name("rules.toml"), CONDITIONS, "musubi-tuner")
