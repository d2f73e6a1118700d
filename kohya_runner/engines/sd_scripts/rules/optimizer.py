"""Rules about the optimizer, its arguments, the learning rates and their scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kohya_runner.engines.rule_context import LORA, TORCH_OPTIMIZERS, TORCH_SCHEDULERS, UNET, Context
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.text import did_you_mean, number

TEXT_RATES = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2", "learning_rate_te3")


def trains_text(context: Context) -> bool:
    """train_db.py trains it unless it is told not to, fine_tune.py and sdxl_train.py where they are told to."""
    if context.script == "train_db.py":
        return context.get("stop_text_encoder_training") is None or context.number("stop_text_encoder_training") >= 0
    return context.on("train_text_encoder")


def method_rates(context: Context) -> tuple[float, ...]:
    """The learning rates of the parts that are trained, text encoders first."""
    base = context.number("learning_rate")
    names = [
        *TABLE["rules"]["text_rates"].get(context.script, ()),
        *(TEXT_RATES[3:] if context.on("train_t5xxl") else ()),
    ]
    text = [base if context.get(n) is None else context.number(n) for n in names if trains_text(context)]
    if context.get("control_net_lr") is not None:  # sdxl_train_control_net.py:283
        text = [context.number("control_net_lr")]
    return (*text, *(block_rates(context) or (base,)))


def block_rates(context: Context) -> tuple[float, ...] | None:
    """``block_lr`` as sdxl_train.py:135 reads it; None for none, or for what is no list of numbers."""
    text = context.get("block_lr")
    try:
        return tuple(float(part) for part in str(text).split(",")) if text else None
    except ValueError:
        return None


ALIASES = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}
KEY = "args.optimizer_type: "
REQUIRED = ("torch", "transformers")
"""Packages of the trainer's own requirements: what their classes take is sure; that of others changes with them."""
FUSES: list[str] = TABLE["rules"]["fuses"]
RATE_FILTERS: list[str] = TABLE["rules"]["rate_filters"]


def _unknown(context: Context) -> str:
    """Why the name leads to no optimizer, with what to write."""
    name = str(context.get("optimizer_type") or "AdamW")
    known, exact = context.optimizers, context.packages.classes(TORCH_OPTIMIZERS)
    if context.optimizer != name.lower() or name.lower() in known or name in exact or not (known and exact):
        return ""
    if "." in name and not name.lower().startswith("dadapt"):  # a class of any package
        return ""
    same = next((other for other in exact if other.lower() == name.lower()), None)
    if same:
        return f"write {KEY}{same}"
    usual = (*(row[0] for row in known.values()), *exact)
    return did_you_mean(name, usual, KEY) or f"write {KEY}AdamW, or package.Class"


def _alias_twice(context: Context) -> str:
    given = [name for name in ALIASES if context.on(name)]
    kind = [f"optimizer_type: {context.get('optimizer_type')}"] if context.get("optimizer_type") else []
    return " and ".join(given + kind) if given and len(given + kind) > 1 else ""


def _not_taken(context: Context, *, sure: bool) -> str:
    """Keys that the class does not take, or that the trainer passes itself."""
    written = str(context.get("optimizer_type") or "")
    full = written if "." in written else f"{TORCH_OPTIMIZERS}.{written}"
    row = context.optimizers.get(context.optimizer) or ("", full)
    takes = context.packages.takes(row[1])
    if takes is None or takes.more or sure is not (context.packages.sure(row[1]) or row[1].startswith(REQUIRED)):
        return ""
    free = [key for key in takes.names if key not in row[2:]]
    wrong = [key for key in context.literals("optimizer_args") if key not in (*free, "lr", "params")]
    return "; ".join(f"{key} {did_you_mean(key, free)}".strip() for key in wrong)


def _rate_twice(context: Context) -> str:
    classes = context.packages.classes(TORCH_OPTIMIZERS)
    builtin = context.optimizer in context.optimizers or str(context.get("optimizer_type")) in classes
    return ", ".join(key for key in ("lr", "params") if key in context.literals("optimizer_args") and builtin)


def _momentum(context: Context) -> str:
    given = context.literals("optimizer_args")
    wrong = {key: given[key] for key in ("momentum", "dampening") if key in given}
    bad = not wrong.get("momentum", 0.9) or wrong.get("dampening", 0)
    return ", ".join(f"{k}={v}" for k, v in wrong.items()) if bad and context.optimizer == "sgdnesterov" else ""


def trained_rates(context: Context) -> tuple[float, ...]:
    """The learning rates of the parts that are trained: text encoder first, then U-Net or DiT."""
    if context.method not in LORA:
        return method_rates(context)
    default = context.number("learning_rate")
    rates: list[float] = []
    if not context.on("network_train_unet_only") and "oft" not in context.network_module:
        given = context.get("text_encoder_lr") or []
        encoders = 2 if context.network_args.get("train_t5xxl") == "True" else 1
        rates += [float(item) for item in given[:encoders]] or [default]
    if not context.on("network_train_text_encoder_only"):
        rates.append(default if context.get("unet_lr") is None else context.number("unet_lr"))
    return tuple(rates)


def _all_zero(context: Context) -> bool:
    rates = trained_rates(context)
    own = any(key.startswith("network_reg_lrs") for key in context.network_args)
    return bool(rates) and not any(rates) and context.network_module in RATE_FILTERS and not own


def _surplus_rates(context: Context) -> bool:
    """train_network.py:1072: a module without rates per encoder gets the first one alone."""
    rates: Any = context.get("text_encoder_lr")
    single = context.family in UNET
    return isinstance(rates, list) and len(set(rates)) > 1 and single and context.network_module.startswith("networks.")


def _low_rate(context: Context) -> bool:
    adaptive = context.optimizer == "prodigy" or context.optimizer.startswith("dadapt")
    rates = [rate for rate in trained_rates(context) if rate]
    return adaptive and bool(rates) and rates[0] <= 0.1


def _rates_differ(context: Context) -> bool:
    return len({rate for rate in trained_rates(context) if rate}) > 1


SWITCHED_OFF = {"text_encoder_lr": "network_train_unet_only", "unet_lr": "network_train_text_encoder_only"}


OWN_OPTIONS: Mapping[str, list[str]] = TABLE["rules"]["scheduler_options"]
NO_WARMUP = ("constant", "piecewise_constant")
LR_END = 1e-7


def _warmup(context: Context) -> int:
    """Steps; a fraction is one of all steps (library/optimizer.py:483). Unknown totals count as many."""
    value = context.number("lr_warmup_steps")
    if not isinstance(value, float):
        return int(value)
    total = context.total_steps
    return int(value > 0) if total is None else int(value * total * context.num_processes)


def _unknown_scheduler(context: Context) -> str:
    name, known = context.scheduler, context.schedulers
    if not name or name in known or not known or name.startswith("adafactor"):
        return ""
    usual = tuple(other for other, arguments in known.items() if arguments is not None)
    return did_you_mean(name, usual, "args.lr_scheduler: ") or "write args.lr_scheduler: constant or cosine"


def _needless_warmup(context: Context) -> str:
    if context.schedule_free or not _warmup(context):
        return ""
    if context.get("lr_scheduler_type"):
        return f"lr_scheduler_type: {context.get('lr_scheduler_type')}"
    if context.relative_step:
        return "Adafactor with relative_step"
    name = context.scheduler
    return f"lr_scheduler: {name}" if name == "constant" or name.startswith("adafactor:") else ""


def _adafactor(context: Context) -> str:
    """The name alone has no rate behind a colon to read (library/optimizer.py:526)."""
    name = context.scheduler
    if not name.startswith("adafactor"):
        return ""
    if context.optimizer != "adafactor":
        return "goes with optimizer_type: Adafactor only"
    rate = (*name.split(":"), "")[1]
    return "" if number(rate) is not None else "has no rate to read"


def _min_lr(context: Context) -> str:
    if context.scheduler != "cosine_with_min_lr":
        return ""
    ways = [context.get("lr_scheduler_min_lr_ratio"), context.literals("lr_scheduler_args").get("min_lr")]
    return {0: "and has none", 1: ""}.get(sum(way is not None for way in ways), "and has two")


def _arguments(context: Context) -> str:
    known = context.schedulers.get(context.scheduler)
    return ", ".join(key for key in context.literals("lr_scheduler_args") if known is not None and key not in known)


def _inert(context: Context) -> str:
    used, names = context.scheduler, context.given(*OWN_OPTIONS)
    known = context.schedulers.get(used) is not None
    return context.listed(n for n in names if known and used not in OWN_OPTIONS[n] and context.get(n) != 0)


def _torch_arguments(context: Context) -> str:
    name = str(context.get("lr_scheduler_type") or "")
    takes = context.packages.takes(f"{TORCH_SCHEDULERS}.{name}") if name else None
    missing = [key for key in takes.needed[1:] if key not in context.literals("lr_scheduler_args")] if takes else []
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
    return context.listed(n for n in names if context.schedule_free and context.get(n) not in ("constant", 0, ""))


def _replaced(context: Context) -> bool:
    given = context.given("lr_scheduler") and not str(context.get("lr_scheduler")).startswith("adafactor")
    return bool(given) and context.relative_step and context.get("lr_scheduler") != "constant"


def _warms(context: Context) -> bool:
    return context.schedulers.get(context.scheduler) is not None and context.scheduler not in NO_WARMUP


def _shrunk(context: Context) -> str:
    """Only fractions are taken of ``max_train_steps * num_processes`` (library/optimizer.py:483-490)."""
    used = ("lr_warmup_steps", *(["lr_decay_steps"] if context.scheduler == "warmup_stable_decay" else []))
    whole = (n for n in used if isinstance(context.get(n), int) and context.number(n) > 0)
    return context.listed(whole) if context.several and _warms(context) else ""


CONDITIONS: Mapping[str, Condition] = {
    "optimizer_unknown": _unknown,
    "optimizer_twice": _alias_twice,
    "optimizer_alias": lambda c: "" if _alias_twice(c) else ", ".join(new for old, new in ALIASES.items() if c.on(old)),
    "optimizer_args": lambda c: _not_taken(c, sure=True),
    "optimizer_args_plugin": lambda c: _not_taken(c, sure=False),
    "optimizer_args_lr": _rate_twice,
    "optimizer_momentum": _momentum,
    "fused_backward": lambda c: (
        c.on("fused_backward_pass") and (c.optimizer != "adafactor" or c.get("gradient_accumulation_steps") != 1)
    ),
    "fused_backward_inert": lambda c: (
        c.on("fused_backward_pass")
        and c.optimizer == "adafactor"
        and c.script not in FUSES
        and c.get("gradient_accumulation_steps") == 1
    ),
    "adafactor_rates": lambda c: c.listed(c.given("unet_lr", "text_encoder_lr")) if c.relative_step else "",
    "learning_rate_zero": _all_zero,
    "unet_lr": lambda c: (
        not c.on("network_train_text_encoder_only")
        and c.get("unet_lr") == 0
        and c.network_module in RATE_FILTERS
        and not _all_zero(c)
    ),
    "learning_rate_unused": lambda c: c.listed(n for n in c.given(*SWITCHED_OFF) if c.on(SWITCHED_OFF[n])),
    "text_encoder_lr": _surplus_rates,
    "learning_rate_low": _low_rate,
    "learning_rate_differ": lambda c: c.optimizer == "prodigy" and _rates_differ(c),
    "learning_rate_dadapt": lambda c: c.optimizer.startswith("dadapt") and _rates_differ(c),
    "scheduler_unknown": _unknown_scheduler,
    "scheduler_broken": lambda c: c.schedulers.get(c.scheduler, ()) is None,
    "warmup_needless": _needless_warmup,
    "scheduler_adafactor": _adafactor,
    "scheduler_min_lr": _min_lr,
    "scheduler_steps": lambda c: (
        c.scheduler == "piecewise_constant" and "step_rules" not in c.literals("lr_scheduler_args")
    ),
    "scheduler_args": _arguments,
    "scheduler_end": lambda c: (
        c.scheduler == "polynomial"
        and "lr_end" not in c.literals("lr_scheduler_args")
        and c.number("learning_rate") <= LR_END
    ),
    "scheduler_type_unknown": _torch_unknown,
    "scheduler_type_args": _torch_arguments,
    "scheduler_free": _ignored,
    "scheduler_replaced": _replaced,
    "scheduler_inert": _inert,
    "warmup_inert": lambda c: c.scheduler == "piecewise_constant" and _warmup(c) > 0,
    "warmup_processes": _shrunk,
    "warmup_long": lambda c: _warms(c) and 0 < (c.total_steps or 0) * c.num_processes <= _warmup(c),
}
