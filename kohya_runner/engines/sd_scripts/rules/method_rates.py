"""The learning rates of the methods that train no network: which options there are, and when each one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engines.rules.context import Context

TEXT_RATES = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2", "learning_rate_te3")
TEXT_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "sdxl_train.py": TEXT_RATES[1:3],
    "sd3_train.py": TEXT_RATES[1:3],
    "train_db.py": TEXT_RATES[:1],
    "fine_tune.py": TEXT_RATES[:1],
}
"""The rates of the text encoders by script; T5's, learning_rate_te3, needs train_t5xxl."""
NO_TEXT_ENCODER = -1


def trains_text(context: Context) -> bool:
    """train_db.py trains it unless it is told not to, fine_tune.py and sdxl_train.py where they are told to."""
    if context.script == "train_db.py":
        return context.get("stop_text_encoder_training") is None or context.number("stop_text_encoder_training") >= 0
    return context.on("train_text_encoder")


def method_rates(context: Context) -> tuple[float, ...]:
    """The learning rates of the parts that are trained, text encoders first."""
    base = context.number("learning_rate")
    text = [_rate(context, name, base) for name in _text_options(context) if trains_text(context)]
    if context.get("control_net_lr") is not None:  # sdxl_train_control_net.py:262
        text = [context.number("control_net_lr")]
    return (*text, *(block_rates(context) or (base,)))


def block_rates(context: Context) -> tuple[float, ...] | None:
    """``block_lr`` as sdxl_train.py:114 reads it; None for none, or for what is no list of numbers."""
    text = context.get("block_lr")
    try:
        return tuple(float(part) for part in str(text).split(",")) if text else None
    except ValueError:
        return None


def _text_options(context: Context) -> tuple[str, ...]:
    return TEXT_OPTIONS.get(context.script, ()) + (TEXT_RATES[3:] if context.on("train_t5xxl") else ())


def _rate(context: Context, name: str, base: float) -> float:
    return base if context.get(name) is None else context.number(name)
