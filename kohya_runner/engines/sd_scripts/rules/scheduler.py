"""Rules about the learning rate scheduler and its warm-up."""

from __future__ import annotations

from collections.abc import Mapping

from kohya_runner.engines.rule_context import TORCH_SCHEDULERS, Context
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.engines.sd_scripts.rules.optimizer import name_of, relative_step
from kohya_runner.text import did_you_mean, number

OWN_OPTIONS: Mapping[str, list[str]] = TABLE["rules"]["scheduler_options"]
NO_WARMUP = ("constant", "piecewise_constant")
LR_END = 1e-7


def _name(context: Context) -> str:
    """The scheduler that counts; "" where an optimizer or ``lr_scheduler_type`` takes its place."""
    replaced = context.schedule_free or relative_step(context) or context.get("lr_scheduler_type")
    return "" if replaced else str(context.get("lr_scheduler"))


def _warmup(context: Context) -> int:
    """Steps; a fraction is one of all steps (library/optimizer.py:483). Unknown totals count as many."""
    value = context.number("lr_warmup_steps")
    if not isinstance(value, float):
        return int(value)
    total = context.total_steps
    return int(value > 0) if total is None else int(value * total * context.num_processes)


def _unknown(context: Context) -> str:
    name, known = _name(context), context.schedulers
    if not name or name in known or not known or name.startswith("adafactor"):
        return ""
    usual = tuple(other for other, arguments in known.items() if arguments is not None)
    return did_you_mean(name, usual, "args.lr_scheduler: ") or "write args.lr_scheduler: constant or cosine"


def _needless_warmup(context: Context) -> str:
    if context.schedule_free or not _warmup(context):
        return ""
    if context.get("lr_scheduler_type"):
        return f"lr_scheduler_type: {context.get('lr_scheduler_type')}"
    if relative_step(context):
        return "Adafactor with relative_step"
    name = _name(context)
    return f"lr_scheduler: {name}" if name == "constant" or name.startswith("adafactor:") else ""


def _adafactor(context: Context) -> str:
    """The name alone has no rate behind a colon to read (library/optimizer.py:526)."""
    name = _name(context)
    if not name.startswith("adafactor"):
        return ""
    if name_of(context) != "adafactor":
        return "goes with optimizer_type: Adafactor only"
    rate = (*name.split(":"), "")[1]
    return "" if number(rate) is not None else "has no rate to read"


def _min_lr(context: Context) -> str:
    if _name(context) != "cosine_with_min_lr":
        return ""
    ways = [context.get("lr_scheduler_min_lr_ratio"), context.literals("lr_scheduler_args").get("min_lr")]
    return {0: "and has none", 1: ""}.get(sum(way is not None for way in ways), "and has two")


def _arguments(context: Context) -> str:
    known = context.schedulers.get(_name(context))
    return ", ".join(key for key in context.literals("lr_scheduler_args") if known is not None and key not in known)


def _inert(context: Context) -> str:
    used, names = _name(context), context.given(*OWN_OPTIONS)
    known = context.schedulers.get(used) is not None
    return context.listed(n for n in names if known and used not in OWN_OPTIONS[n] and context.get(n) != 0)


def _torch_arguments(context: Context) -> str:
    name = str(context.get("lr_scheduler_type") or "")
    given = context.literals("lr_scheduler_args")
    takes = context.packages.takes(f"{TORCH_SCHEDULERS}.{name}") if name else None
    missing = [key for key in takes.needed[1:] if key not in given] if takes else []
    if name == "ReduceLROnPlateau":
        return "the loss at each step, which the trainer does not give"
    return "" if context.schedule_free else ", ".join(missing)


def _torch_unknown(context: Context) -> str:
    name = str(context.get("lr_scheduler_type") or "")
    known = context.packages.classes(TORCH_SCHEDULERS)
    if not name or "." in name or name in known or not known or context.schedule_free:
        return ""
    return did_you_mean(name, known, "args.lr_scheduler_type: ") or "write package.Class, or leave it out"


def _ignored(context: Context) -> str:
    """What a person set of the scheduler although something else decides."""
    names = context.given("lr_scheduler", "lr_scheduler_type", "lr_warmup_steps", "lr_scheduler_args", *OWN_OPTIONS)
    dull = ("constant", 0, "")
    return context.listed(n for n in names if context.schedule_free and context.get(n) not in dull)


def _replaced(context: Context) -> bool:
    given = context.given("lr_scheduler") and not str(context.get("lr_scheduler")).startswith("adafactor")
    return bool(given) and relative_step(context) and context.get("lr_scheduler") != "constant"


def _warms(context: Context) -> bool:
    return context.schedulers.get(_name(context)) is not None and _name(context) not in NO_WARMUP


def _shrunk(context: Context) -> str:
    """Only fractions are taken of ``max_train_steps * num_processes`` (library/optimizer.py:483-490)."""
    used = ("lr_warmup_steps", *(["lr_decay_steps"] if _name(context) == "warmup_stable_decay" else []))
    whole = (n for n in used if isinstance(context.get(n), int) and context.number(n) > 0)
    return context.listed(whole) if context.several and _warms(context) else ""


CONDITIONS: Mapping[str, Condition] = {
    "scheduler_unknown": _unknown,
    "scheduler_broken": lambda c: c.schedulers.get(_name(c), ()) is None,
    "warmup_needless": _needless_warmup,
    "scheduler_adafactor": _adafactor,
    "scheduler_min_lr": _min_lr,
    "scheduler_steps": lambda c: (
        _name(c) == "piecewise_constant" and "step_rules" not in c.literals("lr_scheduler_args")
    ),
    "scheduler_args": _arguments,
    "scheduler_end": lambda c: (
        _name(c) == "polynomial"
        and "lr_end" not in c.literals("lr_scheduler_args")
        and c.number("learning_rate") <= LR_END
    ),
    "scheduler_type_unknown": _torch_unknown,
    "scheduler_type_args": _torch_arguments,
    "scheduler_free": _ignored,
    "scheduler_replaced": _replaced,
    "scheduler_inert": _inert,
    "warmup_inert": lambda c: _name(c) == "piecewise_constant" and _warmup(c) > 0,
    "warmup_processes": _shrunk,
    "warmup_long": lambda c: _warms(c) and 0 < (c.total_steps or 0) * c.num_processes <= _warmup(c),
}
