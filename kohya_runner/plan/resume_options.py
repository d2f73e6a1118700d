"""The options of the trainer that a resumable run needs, and those that make it none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.findings import Finding, error
from kohya_runner.trainers import values
from kohya_runner.trainers.arguments import Arg
from kohya_runner.trainers.engines import engine_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kohya_runner.dataset.steps import StepsPlan
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.run.resumption import Series
    from kohya_runner.trainers.options import ScriptOptions

STATES = 2
"""Kept under ``launch --resume``: the newest, and the one before, should the machine have died while writing."""
BY_RESUME = ("resume", "initial_step", "initial_epoch", "skip_until_initial_step")


BY_HAND: Mapping[str, str] = {
    "musubi-tuner": "launch without --resume; by hand, go on from its last file: another name:, "
    "args.network_weights: FILE and the epochs that are left",
}
"""What to do where an engine cannot be told how far a run had come (training/trainer_base.py:1919)."""


def wanted(loaded: Loaded, *, asked: bool) -> int:
    """How many states the run keeps by the runner's doing. ``asked`` is ``launch --resume``."""
    stated = loaded.recipe.resume.states if loaded.recipe else None
    return (STATES if asked else 0) if stated is None else stated


def state_args(loaded: Loaded, options: ScriptOptions, given: Mapping[str, Any], *, asked: bool) -> tuple[Arg, ...]:
    """``--save_state`` and how many are kept; what the recipe itself says under ``args`` goes first."""
    keep = wanted(loaded, asked=asked)
    if not keep or "initial_step" not in options:
        return ()
    stated = loaded.recipe is not None and loaded.recipe.resume.states is not None
    source = loaded.where("resume", "states") if stated else "runner: launch --resume"
    chosen = {"save_state": True, "save_last_n_epochs_state": keep}
    return tuple(
        Arg(name, value, values.tokens(options[name], value), source)
        for name, value in chosen.items()
        if given.get(name) is None
    )


def findings(
    loaded: Loaded, options: ScriptOptions, given: Mapping[str, Any], steps: StepsPlan | None, *, asked: bool
) -> tuple[Finding, ...]:
    """What stands against continuing such a run; nothing where nobody means to."""
    if not asked and not wanted(loaded, asked=asked):
        return ()
    return tuple(_findings(loaded, options, given, steps, asked=asked))


def _findings(
    loaded: Loaded, options: ScriptOptions, given: Mapping[str, Any], steps: StepsPlan | None, *, asked: bool
) -> Iterator[Finding]:
    if "initial_step" not in options:
        message = f"{options.script} keeps no count of its steps: continued, it would begin at the first epoch again"
        hint = BY_HAND.get(engine_of(options.script).name, "launch without --resume and resume:")
        yield error("recipe.resume", message, where=loaded.where("resume"), hint=hint)
        return
    if given.get("save_state") is False:
        where = loaded.where("args", "save_state")
        yield error("args.save_state", "args.save_state: false, and resume needs states", where=where)
    if given.get("save_every_n_steps") is not None:
        message = (
            "args.save_every_n_steps: after a resume the trainer counts steps from 0 again (train_network.py:1275)"
        )
        hint = "its files would replace the earlier ones of the same number; write save_every_n_epochs: 1 instead"
        yield error("args.step_states", message, where=loaded.where("args", "save_every_n_steps"), hint=hint)
    for name in BY_RESUME if asked else ():
        if given.get(name) not in (None, False):
            yield error("args.owned", f"args.{name}: --resume sets it", where=loaded.where("args", name))
    if steps is not None and steps.total % steps.steps_per_epoch:
        yield _part_of_an_epoch(loaded, steps)


def _part_of_an_epoch(loaded: Loaded, steps: StepsPlan) -> Finding:
    whole = steps.total // steps.steps_per_epoch * steps.steps_per_epoch or steps.steps_per_epoch
    message = (
        f"{steps.total} steps end inside an epoch of {steps.steps_per_epoch}, and a resumed run ends with an epoch"
    )
    hint = f"write max_train_steps: {whole}, or max_train_epochs: {steps.epochs}"
    return error("steps.resume", message, where=loaded.where("args", "max_train_steps"), hint=hint)


def resume_args(options: ScriptOptions, series: Series, steps: StepsPlan) -> tuple[Arg, ...]:
    """Where the trainer goes on.

    ``--resume`` alone takes the step count of the state, which begins at 0 in every attempt: right once, wrong from the
    second time on (train_network.py:1247-1252; kohya-ss/sd-scripts#2248). ``--initial_step`` says it.
    """
    chosen = {"resume": str(series.state.path), "initial_step": series.first_step(steps.steps_per_epoch)}
    source = f"runner: --resume, after epoch {series.epoch}"
    return tuple(Arg(name, value, values.tokens(options[name], value), source) for name, value in chosen.items())
