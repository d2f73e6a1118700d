"""Conditions of the rules of musubi-tuner's scripts, which ``rules.toml`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kohya_runner.engines.musubi import TABLE
from kohya_runner.engines.rule_context import TORCH_OPTIMIZERS, Context
from kohya_runner.engines.rule_table import Condition, read_rules
from kohya_runner.options.keyvalues import literal
from kohya_runner.text import did_you_mean, nearest

ATTENTION = ("sdpa", "flash_attn", "xformers", "flash3")
FACTS: Mapping[str, Any] = TABLE["rules"]
NETWORKS: list[str] = FACTS["networks"]
MOST_SWAPPED = {"dev": 29, "klein-9b": 16, "klein-base-9b": 16, "klein-4b": 13, "klein-base-4b": 13}
SHIFTS: Mapping[str, list[str]] = FACTS["shifts"]
FLOW_SHIFTS = {"krea2": 2.5, "z_image": 2.0, "qwen_image": 2.2, "qwen_image_edit": 2.2}
"""Those of the guides, for ``shift``."""
SAMPLES = ("sample_every_n_epochs", "sample_every_n_steps", "sample_at_first")
PROMPT_FILES = (".txt", ".toml", ".json")
SAVES = ("save_every_n_epochs", "save_every_n_steps", "sample_every_n_epochs", "sample_every_n_steps")
ENCODERS = {"flux_kontext": ("text_encoder1", "text_encoder2", "vae")}
CONSTANTS = ("constant", "adafactor")
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


def unknown_optimizer(context: Context) -> str:
    kind, exact = str(context.get("optimizer_type") or ""), context.packages.classes(TORCH_OPTIMIZERS)
    here = kind.lower() in context.optimizers or kind in exact or not exact
    if not kind or here or "." in kind or kind.lower().endswith("8bit"):
        return ""
    known = FACTS["optimizers"].get(kind.lower()) or nearest(kind, exact)
    return f"write args.optimizer_type: {known or 'package.Class'}"


def unknown_scheduler(context: Context) -> str:
    """What to write instead; Adafactor brings its own."""
    name, there = context.scheduler, (*context.schedulers, "rex")
    known = name in there or name.lower() == "rex" or name.startswith("adafactor") or len(there) == 1
    if known or not name:
        return ""
    return did_you_mean(name, there, "args.lr_scheduler: ") or "write args.lr_scheduler: constant, cosine or linear"


def foreign(context: Context, *, alike: bool) -> bool:
    """Whether the network is another family's; ``alike``: such a one that finds something to train all the same."""
    module = context.network_module
    found = module in (*NETWORKS, *FACTS["other_networks"]) and module != context.support.network_module
    return found and alike is (module in FACTS["alike"][context.family])


def unknown_keys(context: Context) -> str:
    """Of the trainer's own LoRAs."""
    known = FACTS["network_keys"]
    found = [key for key in context.network_args if key not in known and context.network_module in NETWORKS]
    return ", ".join(f"{key} ({did_you_mean(key, known) or 'not one of them'})" for key in found)


def bad_patterns(context: Context) -> bool:
    """The network adds a pattern of its own to the list."""
    try:
        return not isinstance(literal(context.network_args.get("exclude_patterns", "[]")), list)
    except ValueError:
        return True


def warms_up(context: Context) -> bool:
    flat = context.scheduler in CONSTANTS or (context.relative_step and not context.get("lr_scheduler_type"))
    return flat and context.number("lr_warmup_steps") != 0


def shrunk(context: Context) -> str:
    """Only fractions are taken of ``max_train_steps * num_processes`` (training/trainer_base.py:288-294)."""
    used = ("lr_warmup_steps", *(["lr_decay_steps"] if context.scheduler == "warmup_stable_decay" else []))
    whole = [n for n in used if isinstance(context.get(n), int) and context.number(n) > 0]
    return context.listed(whole) if context.several and context.scheduler not in ("", *CONSTANTS) else ""


def not_of_guide(context: Context, *, shift: bool) -> str:
    """What the guide names instead of another sampling, be it the shift of another family or none."""
    sampling, named = str(context.get("timestep_sampling")), SHIFTS[context.family]
    return named[0] if sampling not in named and sampling.endswith("_shift") is shift else ""


def no_encoders(context: Context) -> str:
    needed = ENCODERS.get(context.family, ("text_encoder", "vae")) if context.get("sample_prompts") else ()
    return ", ".join(name for name in needed if not context.get(name))


def reversed_range(context: Context) -> bool:
    low, high = context.get("min_timestep"), context.get("max_timestep")
    first, last = 0 if low is None else low, 1000 if high is None else high
    return first < 0 or last > 1000 or first >= last


CONDITIONS: Mapping[str, Condition] = {
    "musubi_attentions": lambda c: ", ".join(attentions(c)) if len(attentions(c)) > 1 else "",
    "musubi_swap_flux2": lambda c: c.number("blocks_to_swap") > MOST_SWAPPED.get(version(c), MOST_SWAPPED["dev"]),
    "musubi_version": lambda c: qwen_version(c) not in ("", *QWEN_VERSIONS),
    "musubi_version_family": other_version,
    "musubi_whole_fused": lambda c: c.on("fused_backward_pass") and c.optimizer != "adafactor",
    "musubi_optimizer_8bit": unknown_8bit,
    "musubi_optimizer": unknown_optimizer,
    "musubi_scheduler": unknown_scheduler,
    "musubi_step_rules": lambda c: (
        c.scheduler == "piecewise_constant" and "step_rules" not in c.literals("lr_scheduler_args")
    ),
    "musubi_warmup": warms_up,
    "musubi_warmup_processes": shrunk,
    "musubi_adafactor_scheduler": lambda c: c.scheduler.startswith("adafactor"),
    "musubi_scheduler_fails": lambda c: c.schedulers.get(c.scheduler, ()) is None,
    "musubi_min_lr": lambda c: (
        c.scheduler == "cosine_with_min_lr" and not c.given("lr_scheduler_min_lr_ratio", "lr_scheduler_args")
    ),
    "musubi_network": lambda c: foreign(c, alike=False),
    "musubi_network_family": lambda c: foreign(c, alike=True),
    "musubi_network_args": lambda c: (  # a text with a second "=" cannot be split into two
        ", ".join(text for text in c.get("network_args") or () if text.count("=") != 1)
    ),
    "musubi_network_keys": unknown_keys,
    "musubi_network_patterns": bad_patterns,
    "musubi_zero": lambda c: c.listed(name for name in SAVES if c.get(name) == 0),
    "musubi_prompts_kind": lambda c: (
        bool(c.get("sample_prompts")) and not c.get("sample_prompts").endswith(PROMPT_FILES)
    ),
    "musubi_prompts_missing": lambda c: (
        bool(c.get("sample_prompts")) and c.get("sample_prompts").endswith(PROMPT_FILES) and c.prompts_found is False
    ),
    "musubi_prompts_encoders": no_encoders,
    "musubi_samples_none": lambda c: any(map(c.get, SAMPLES)) and not c.get("sample_prompts"),
    "musubi_other_shift": lambda c: not_of_guide(c, shift=True),
    "musubi_timesteps": lambda c: not_of_guide(c, shift=False),
    "musubi_flow_shift_missing": lambda c: (
        str(FLOW_SHIFTS.get(c.family, ""))
        if c.get("timestep_sampling") == "shift" and not c.given("discrete_flow_shift")
        else ""
    ),
    "musubi_timestep_range": reversed_range,
}
RULES = read_rules(Path(__file__).with_name("rules.toml"), CONDITIONS, "musubi-tuner")
