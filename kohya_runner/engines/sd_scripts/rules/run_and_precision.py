"""Rules about samples, saves, logs and resuming, and about precision, memory and loading."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from kohya_runner.engines.rule_context import FLOW, Context
from kohya_runner.engines.rule_table import Condition

CADENCES = ("sample_every_n_steps", "sample_every_n_epochs")
PROMPT_FILES = (".txt", ".toml", ".json")


def _samples(context: Context) -> str:
    """What will make samples: epochs go before steps, 0 and less is off (library/args.py:871, sampling.py:266)."""
    names = [name for name in CADENCES if context.number(name) > 0]
    name = names[-1] if names else ""
    comes = [name] if name and context.number(name) <= _last(context, name) else []
    return context.listed(["sample_at_first"] * context.on("sample_at_first") + comes)


def _last(context: Context, cadence: str) -> float:
    """The last step or epoch of the run; endless where that is not known."""
    total, steps = context.total_steps, context.steps_per_epoch
    if total is None or not steps:
        return math.inf
    return total if cadence == "sample_every_n_steps" else math.ceil(total / steps)


def _caches_prompts(context: Context) -> bool:
    """A flow model's script reads the prompts while it caches the captions (flux_train_network.py:270)."""
    return context.family in FLOW and context.caches_text


def _wrong_file(context: Context) -> bool:
    name = context.get("sample_prompts")
    read = bool(_samples(context)) or _caches_prompts(context)
    return bool(name) and not str(name).endswith(PROMPT_FILES) and read and context.prompts_found is not False


def _missing_file(context: Context) -> bool:
    asked = bool(_samples(context)) or _caches_prompts(context)
    return bool(context.get("sample_prompts")) and context.prompts_found is False and asked


def _off(context: Context) -> str:
    return context.listed(name for name in context.given(*CADENCES) if context.number(name) <= 0)


def start_step(context: Context) -> float | None:
    """The step the script counts as done (train_network.py:1751-1767)."""
    if context.get("initial_step") is not None:
        return context.number("initial_step")
    epoch, steps = context.get("initial_epoch"), context.steps_per_epoch
    if epoch is None:
        return context.resume_step
    known = steps is not None and context.num_processes == 1  # with more the script divides twice
    return float((epoch - 1) * steps) if known and steps else None


def _past_the_end(context: Context) -> str:
    first, total = start_step(context), context.total_steps
    return f"{int(first)} of {total}" if first and total is not None and first > 0 and total <= first else ""


def _seeds_refused(context: Context) -> str:
    refused = [seed for seed in context.prompt_seeds if seed <= 0]
    return ", ".join(map(str, refused)) if _samples(context) else ""


ROUNDED = {"sd15": 8, "sd2": 8, "sdxl": 8, "sd3": 8, "flux": 16, "lumina": 8, "anima": 16}
"""What the sampling rounds the sides of a picture down to, with 64 as the least."""


def _sizes(context: Context, wrong: Callable[[int, int], bool], told: Callable[[int, int], str]) -> str:
    """The stated sides with what is wrong with them; ``wrong`` and ``told`` are of a side and of that side rounded."""
    step = ROUNDED.get(context.family, 1)
    sides = dict.fromkeys(side for size in context.prompt_sizes for side in size if side is not None)
    pairs = [(side, max(64, side - side % step)) for side in sides]
    return ", ".join(told(*pair) for pair in pairs if wrong(*pair)) if _samples(context) else ""


def _unpaintable(step: int) -> Callable[[Context], str]:
    return lambda context: _sizes(context, lambda _, made: made % step > 0, lambda side, _: str(side))


TAKES_XFORMERS = ("hunyuan_image", "anima")
"""Transformer families whose attention may be that of xformers (library/attention.py)."""
ATTENTION = ("mem_eff_attn", "xformers", "sdpa")


def _fp8(context: Context) -> str:
    """HunyuanImage's fp8_scaled switches both off (hunyuan_image_train_network.py:344)."""
    names = [name for name in ("fp8_base", "fp8_base_unet") if context.on(name) and not context.on("fp8_scaled")]
    return context.listed(names) if context.get("mixed_precision") in (None, "no") else ""


def _attention(context: Context) -> str:
    names = [name for name in ATTENTION if context.on(name)]
    return " and ".join(names) if len(names) > 1 else ""


def _inert_attention(context: Context) -> str:
    names = ("mem_eff_attn",) if context.family in TAKES_XFORMERS else ("mem_eff_attn", "xformers")
    return " and ".join(name for name in names if context.on(name))


CONDITIONS: Mapping[str, Condition] = {
    "sample_prompts": lambda c: "" if c.get("sample_prompts") else _samples(c),
    "sample_file": _wrong_file,
    "sample_missing": _missing_file,
    "sample_seed": _seeds_refused,
    "sample_size": _unpaintable(32),
    "sample_size_lumina": _unpaintable(16),
    "sample_rounded": lambda c: _sizes(c, lambda side, made: side != made, lambda side, made: f"{side} becomes {made}"),
    "sample_unused": lambda c: bool(c.get("sample_prompts")) and not _samples(c) and not _missing_file(c),
    "sample_off": _off,
    "initial_step": _past_the_end,
    "fp8_precision": _fp8,
    "attention_twice": _attention,
    "attention_inert": _inert_attention,
}
