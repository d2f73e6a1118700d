"""The options of the trainer that a resumable run needs, those that make it none, and how one script goes on.

Its counters begin at 0 again (training/trainer_base.py:1919; sdxl_train.py and its like, too), and so would a learning
rate that is a curve over ``max_train_steps``. Such a curve is named by its own function, with the whole run's number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kohya_runner.engines.arguments import Arg, ParsedOptions, option_arg
from kohya_runner.engines.protocol import Engine
from kohya_runner.engines.steps_plan import SaveSettings, StepsPlan, every_n_epochs
from kohya_runner.engines.support import way_of
from kohya_runner.findings import Finding, error, warning
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.recipe.load import Loaded
from kohya_runner.record.run_paths import ResumeWay
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    from kohya_runner.plan.options import GivenOptions
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.record.resume_point import ResumePoint

STEPWISE = ("save_every_n_steps", "stop_text_encoder_training", "token_warmup_step", "caption_dropout_every_n_epochs")
"""Options that count steps or epochs, from 0 again in every attempt; the first matters to every trainer."""
STATES = 2
"""Kept under ``launch --resume``: the newest, and the one before, should the machine have died while writing."""


def wanted(loaded: Loaded, *, asked: bool) -> int:
    """How many states the run keeps by the runner's doing. ``asked`` is ``launch --resume``."""
    stated = loaded.recipe.resume.states if loaded.recipe else None
    return (STATES if asked else 0) if stated is None else stated


def state_args(
    loaded: Loaded, options: ScriptOptions, ways: tuple[ResumeWay, ...], given: Mapping[str, Any], *, asked: bool
) -> tuple[Arg, ...]:
    """``--save_state`` and how many are kept; what the recipe itself says under ``args`` goes first."""
    keep, way = wanted(loaded, asked=asked), way_of(options, ways)
    if not keep or way is None or "save_state" not in options:
        return ()
    stated = loaded.recipe is not None and loaded.recipe.resume.states is not None
    source = loaded.where("resume", "states") if stated else "runner: launch --resume"
    chosen = {"save_state": True, "save_last_n_epochs_state": keep}
    return tuple(option_arg(options, n, value, source) for n, value in chosen.items() if given.get(n) is None)


def findings(  # noqa: PLR0913 - what each rule looks at
    loaded: Loaded,
    engine: Engine,
    options: ScriptOptions,
    given: Mapping[str, Any],
    steps: StepsPlan | None,
    *,
    asked: bool,
) -> Iterator[Finding]:
    """What stands against continuing such a run; nothing where nobody means to."""
    by_hand = options.script in engine.BROKEN_RESUME and given.get("resume")
    if not asked and not wanted(loaded, asked=asked) and not by_hand:
        return
    way, broken = way_of(options, engine.RESUME_WAYS), engine.BROKEN_RESUME.get(options.script)
    if way is None or broken:
        message = f"{options.script} keeps no count of its steps: continued, it would begin at the first epoch again"
        message = f"{options.script} cannot go on: {broken}" if way is not None else message
        yield error("recipe.resume", message, where=loaded.where("resume"), hint="launch without --resume and resume:")
        return
    yield from _option_findings(loaded, way, given, asked=asked)
    if steps is not None:
        yield from _of_steps(loaded, steps, way)


def _option_findings(loaded: Loaded, way: ResumeWay, given: Mapping[str, Any], *, asked: bool) -> Iterator[Finding]:
    if given.get("save_state") is False:
        where = loaded.where("args", "save_state")
        yield error("args.save_state", "args.save_state: false, and resume needs states", where=where)
    if way.recounts and str(given.get("save_model_as") or "").startswith("diffusers"):
        text = "args.save_model_as: a folder of diffusers' form keeps the name of the attempt that wrote it"
        where = loaded.where("args", "save_model_as")
        yield error("args.save_model_as", text, where=where, hint="write args.save_model_as: safetensors")
    for name in STEPWISE if way.recounts else STEPWISE[:1]:
        if given.get(name) not in (None, 0, False):  # train_network.py:1471, training/trainer_base.py:1923
            message = f"args.{name}: after a resume the trainer counts steps and epochs from 0 again"
            hint = "leave it out; or launch without --resume and resume:"
            if name == "save_every_n_steps":
                hint = (
                    "its files would replace the earlier ones of the same number; write save_every_n_epochs: 1 instead"
                )
            yield error("args.step_states", message, where=loaded.where("args", name), hint=hint)
    for name in way.sets if asked else ():
        if given.get(name) not in (None, False):
            yield error("args.owned", f"args.{name}: --resume sets it", where=loaded.where("args", name))


def _of_steps(loaded: Loaded, steps: StepsPlan, way: ResumeWay) -> Iterator[Finding]:
    """A run that ends inside an epoch; one that leaves no state, so that it begins anew when it is cut."""
    if not way.steps_inside and steps.total % steps.steps_per_epoch:
        whole = steps.total // steps.steps_per_epoch * steps.steps_per_epoch or steps.steps_per_epoch
        ends = f"{steps.total} steps end inside an epoch of {steps.steps_per_epoch}"
        hint = f"write args.max_train_steps: {whole}, or args.max_train_epochs: {steps.epochs}"
        where = loaded.where("args", "max_train_steps")
        yield error("steps.resume", f"{ends}, and a resumed run ends with an epoch", where=where, hint=hint)
    last = {f"{loaded.word('name')}-state", f"checkpoint-{steps.total}"}
    if steps.epochs == 1 or any(name not in last for name in steps.saves.states):
        return
    names = ("checkpointing_steps", "save_every_n_epochs")
    name = next((one for one in names if loaded.args.get(one) is not None), names[-1])
    less = steps.steps_per_epoch if name == names[0] else 1
    message = f"no state is written before the last of {steps.total} steps: a run that is cut begins anew"
    hint = f"write args.{name}: {less}, if there is room for the states"
    yield warning("steps.states", message, where=loaded.where("args", name), hint=hint)


def resume_args(
    settings: ParsedOptions, args: tuple[Arg, ...], series: ResumePoint, steps: StepsPlan, processes: int
) -> tuple[Arg, ...]:
    """All options of an attempt that goes on; ``args`` are those of the whole run.

    ``--resume`` alone takes the step count of the state, which begins at 0 in every attempt: right once, wrong from the
    second time on (train_network.py:1443-1448; kohya-ss/sd-scripts#2248). ``--initial_step`` says it.
    """
    state, done = series.state, series.first_step(steps.steps_per_epoch)
    if state.way.recounts:
        return remaining_args(settings, args, series, steps, processes)
    said = {"resume": str(state.path), "initial_step": done, "resume_from_checkpoint": state.path.name}
    source = f"runner: --resume, after epoch {series.epoch}"
    chosen = {name: said[name] for name in state.way.sets if name in said}
    return (*args, *(option_arg(settings.options, name, value, source) for name, value in chosen.items()))


def going_on(opened: Opened, given: GivenOptions, name: str) -> tuple[ResumePoint | None, tuple[Finding, ...]]:
    """The run that ``--resume`` goes on with, and what cannot be read of the newest one: that is not taken for none."""
    asked = opened.request.resume
    if not asked and not os.path.isdir(opened.workspace.runs):
        return None, ()
    from kohya_runner.record import attempts, ledger, resume_point

    views = ledger.runs(opened.workspace.runs)
    if not asked:
        return None, tuple(
            warning("disk.record", f"{one.problem}; whether this run was done before is not known", where=str(one.path))
            for one in views if one.name == name and one.state == "unreadable"
        )  # fmt: skip
    way = way_of(given.parsed.options, opened.engine.RESUME_WAYS)
    hint = "put the file back from a copy; or begin anew, in a folder of its own, with --allow disk.record"
    try:
        found = resume_point.unreadable(views, name, way)
        if found is None:
            return resume_point.find(views, name, way, practice=opened.request.practice), ()
    except OSError as fault:
        message = f"what the last run saved cannot be read: {fault.strerror}"
        hint = "make it readable, or begin anew, in a folder of its own, with --allow disk.record"
        return None, (error("disk.record", message, where=str(fault.filename), hint=hint),)
    view, states = found
    left = f"it left the whole state {states[0]}" if states else "it left no whole state"
    message = f"{attempts.problem(view.path) if view.record else view.problem}; {left}"
    kind = error if states else warning
    return None, (kind("disk.record", message, where=str(view.path), hint=hint if states else ""),)


def ahead(steps: StepsPlan, series: ResumePoint | None) -> StepsPlan:
    """What of the run is still to come: for its time, its cost and the room on the disk."""
    if series is None:
        return steps
    output = series.path / series.record.output_dir
    files = sum((output / name).is_file() for name in steps.saves.checkpoints)
    folders = sum((output / name).is_dir() for name in steps.saves.states)
    saves = replace(
        steps.saves,
        most_checkpoints=max(1, steps.saves.most_checkpoints - files),
        most_states=max(0, steps.saves.most_states - folders),
    )
    return replace(steps, total=max(1, steps.total - series.first_step(steps.steps_per_epoch)), saves=saves)


LENGTHS = ("max_train_steps", "max_train_epochs", "output_name", "save_n_epoch_ratio", "resume")
"""Options that say how long a run is and what its files are called: said anew."""


class Curve(NamedTuple):
    """A learning rate over the whole run: its function in ``transformers.optimization``, and what it takes beside.

    ``options``: its parameters, and the options that give them. ``halved``: the number of cycles is halved first.
    """

    function: str
    options: Mapping[str, str]
    halved: bool = False
    decays: bool = False  # its length is said in three parts


@lru_cache
def curves() -> Mapping[str, Curve]:
    """Schedulers that are drawn over ``max_train_steps`` (training/trainer_base.py:278, library/optimizer.py:579)."""
    rows = read_table(Path(__file__).with_name("resume.toml"))["curves"]
    return {name: Curve(**{"options": {}} | row) for name, row in rows.items()}


def remaining_args(
    settings: ParsedOptions, args: tuple[Arg, ...], series: ResumePoint, steps: StepsPlan, processes: int
) -> tuple[Arg, ...]:
    """The options of an attempt that trains what is left; ``args`` and ``settings`` are those of the whole run."""
    changed: dict[str, Any] = {
        "output_name": series.output_name,
        "max_train_steps": steps.total - series.first_step(steps.steps_per_epoch),
        "resume": str(series.state.path),
    }
    if settings.get("save_n_epoch_ratio") is not None:
        ratio = SaveSettings("", save_n_epoch_ratio=settings.get("save_n_epoch_ratio"))
        changed["save_every_n_epochs"] = every_n_epochs(ratio, steps.epochs)
    changed |= _learning_rate(settings, steps.total * processes)
    source = f"runner: --resume, after epoch {series.epoch}"
    kept = (arg for arg in args if arg.name not in changed and arg.name not in LENGTHS)
    return (*kept, *(option_arg(settings.options, name, value, source) for name, value in changed.items()))


def _learning_rate(settings: ParsedOptions, whole: int) -> dict[str, Any]:
    """The options that make the curve the whole run's; ``whole``: its steps, counted as the scheduler counts them."""
    if settings.get("lr_scheduler_type"):  # says its own lengths
        return {}
    stated = settings.get("lr_warmup_steps")
    warmup = _steps(stated, whole)
    curve = curves().get(str(settings.get("lr_scheduler")))
    if curve is None:
        return {"lr_warmup_steps": warmup} if isinstance(stated, float) else {}
    said: dict[str, Any] = {"num_warmup_steps": warmup, "num_training_steps": whole}
    if curve.decays:
        decay = _steps(settings.get("lr_decay_steps"), whole)
        said = {"num_warmup_steps": warmup, "num_stable_steps": whole - warmup - decay, "num_decay_steps": decay}
    for parameter, option in curve.options.items():
        if (value := settings.get(option)) is not None:
            said[parameter] = value / 2 if curve.halved and parameter == "num_cycles" else value
    return {
        "lr_scheduler_type": f"transformers.optimization.{curve.function}",
        "lr_scheduler_args": [
            *(f"{name}={value}" for name, value in said.items()),
            *(settings.get("lr_scheduler_args") or ()),
        ],
        "lr_warmup_steps": 0,  # said above; sd-scripts takes none beside a type (library/optimizer.py:520)
    }


def _steps(stated: Any, whole: int) -> int:
    """A share of the run, or steps (training/trainer_base.py:289)."""
    return int(stated * whole) if isinstance(stated, float) else int(stated or 0)
