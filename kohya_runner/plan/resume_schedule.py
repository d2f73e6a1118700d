"""Going on with a script that cannot be told how far a run had come: it is asked for what is left.

Its counters begin at 0 again (training/trainer_base.py:1919; sdxl_train.py and its like, too), and so would a learning
rate that is a curve over ``max_train_steps``. Such a curve is named by its own function, with the whole run's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.arguments import Arg
from kohya_runner.engines.steps_plan import SaveSettings, every_n_epochs
from kohya_runner.options import values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kohya_runner.engines.arguments import ParsedOptions
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.record.resume_point import ResumePoint

LENGTHS = ("max_train_steps", "max_train_epochs", "output_name", "save_n_epoch_ratio", "resume")
"""Options that say how long a run is and what its files are called: said anew."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning rate over the whole run: its function in ``transformers.optimization``, and what it takes beside.

    ``options``: its parameters, and the options that give them. ``halved``: the number of cycles is halved first.
    """

    function: str
    options: Mapping[str, str]
    halved: bool = False
    decays: bool = False  # its length is said in three parts


CURVES: Mapping[str, Curve] = {
    "linear": Curve("get_linear_schedule_with_warmup", {}),
    "cosine": Curve("get_cosine_schedule_with_warmup", {}),
    "cosine_with_restarts": Curve(
        "get_cosine_with_hard_restarts_schedule_with_warmup", {"num_cycles": "lr_scheduler_num_cycles"}
    ),
    "polynomial": Curve("get_polynomial_decay_schedule_with_warmup", {"power": "lr_scheduler_power"}),
    "cosine_with_min_lr": Curve(
        "get_cosine_with_min_lr_schedule_with_warmup",
        {"num_cycles": "lr_scheduler_num_cycles", "min_lr_rate": "lr_scheduler_min_lr_ratio"},
        halved=True,
    ),
    "warmup_stable_decay": Curve(
        "get_wsd_schedule",
        {"num_cycles": "lr_scheduler_num_cycles", "min_lr_ratio": "lr_scheduler_min_lr_ratio"},
        halved=True,
        decays=True,
    ),
}
"""The schedulers that are drawn over ``max_train_steps`` (training/trainer_base.py:278, library/train_util.py:5370)."""


def remaining_args(
    settings: ParsedOptions, args: tuple[Arg, ...], series: ResumePoint, steps: StepsPlan, processes: int
) -> tuple[Arg, ...]:
    """The options of an attempt that trains what is left; ``args`` and ``settings`` are those of the whole run."""
    wished: dict[str, Any] = {
        "output_name": series.output_name,
        "max_train_steps": steps.total - series.first_step(steps.steps_per_epoch),
        "resume": str(series.state.path),
    }
    if settings.get("save_n_epoch_ratio") is not None:
        ratio = SaveSettings("", save_n_epoch_ratio=settings.get("save_n_epoch_ratio"))
        wished["save_every_n_epochs"] = every_n_epochs(ratio, steps.epochs)
    wished |= _learning_rate(settings, steps.total * processes)
    source = f"runner: --resume, after epoch {series.epoch}"
    options = settings.options
    kept = (arg for arg in args if arg.name not in wished and arg.name not in LENGTHS)
    return (*kept, *(Arg(name, value, values.tokens(options[name], value), source) for name, value in wished.items()))


def _learning_rate(settings: ParsedOptions, whole: int) -> dict[str, Any]:
    """The options that make the curve the whole run's; ``whole``: its steps, counted as the scheduler counts them."""
    if settings.get("lr_scheduler_type"):  # says its own lengths
        return {}
    stated = settings.get("lr_warmup_steps")
    warmup = _steps(stated, whole)
    curve = CURVES.get(str(settings.get("lr_scheduler")))
    if curve is None:
        return {"lr_warmup_steps": warmup} if isinstance(stated, float) else {}
    said = {**_lengths(settings, curve, warmup, whole), **dict(_beside(settings, curve))}
    return {
        "lr_scheduler_type": f"transformers.optimization.{curve.function}",
        "lr_scheduler_args": [*(f"{name}={value}" for name, value in said.items()), *_stated_args(settings)],
        "lr_warmup_steps": 0,  # said above; sd-scripts takes none beside a type (library/train_util.py:5311)
    }


def _lengths(settings: ParsedOptions, curve: Curve, warmup: int, whole: int) -> dict[str, Any]:
    if not curve.decays:
        return {"num_warmup_steps": warmup, "num_training_steps": whole}
    decay = _steps(settings.get("lr_decay_steps"), whole)
    return {"num_warmup_steps": warmup, "num_stable_steps": whole - warmup - decay, "num_decay_steps": decay}


def _beside(settings: ParsedOptions, curve: Curve) -> Iterator[tuple[str, Any]]:
    for parameter, option in curve.options.items():
        value = settings.get(option)
        if value is not None:
            yield parameter, value / 2 if curve.halved and parameter == "num_cycles" else value


def _stated_args(settings: ParsedOptions) -> tuple[str, ...]:
    return tuple(settings.get("lr_scheduler_args") or ())


def _steps(stated: Any, whole: int) -> int:
    """A share of the run, or steps (training/trainer_base.py:289)."""
    return int(stated * whole) if isinstance(stated, float) else int(stated or 0)
