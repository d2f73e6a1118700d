"""A rehearsal, planned: the same run with a few steps and one save, in a scratch folder of its own.

``max_train_epochs`` overrides ``max_train_steps`` (train_network.py:1206), so it is taken out; the learning rate then
falls over fewer steps, which changes nothing of how long a step takes or what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kohya_runner.engines import arguments
from kohya_runner.engines.arguments import Arg, option_arg
from kohya_runner.engines.support import TABLE
from kohya_runner.engines.table import options_for
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.record.run_paths import next_run

if TYPE_CHECKING:
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.plan.value import Plan

STEPS = 20
WARM_UP = 5
"""Steps that are not measured: kernels are compiled and memory is laid out in the first ones."""
LEFT_OUT = frozenset(TABLE["rehearsal"]["left_out"])
SOURCE = "runner: --rehearse"


@dataclass(frozen=True, slots=True)
class Saves:
    """How often the whole run does what the rehearsal does once."""

    checkpoints: int
    states: int
    samples: int


def saves_of(plan: Plan) -> Saves:
    """Checkpoints, states and rounds of sample pictures of the whole run."""
    steps, given = plan.ready.steps, {arg.name: arg.value for arg in plan.args}
    return Saves(len(steps.saves.checkpoints), len(steps.saves.states), _rounds(steps, given))


def _rounds(steps: StepsPlan, given: dict[str, object]) -> int:
    """sample_every_n_epochs goes before sample_every_n_steps (library/sampling.py:272)."""
    if given.get("sample_prompts") is None:
        return 0
    first = 1 if given.get("sample_at_first") is True else 0
    for name, whole in (("sample_every_n_epochs", steps.epochs), ("sample_every_n_steps", steps.total)):
        every = given.get(name)
        if isinstance(every, int) and every > 0:
            return first + whole // every
    return first


def rehearsed(plan: Plan) -> Plan:
    ready, support = plan.ready, plan.support
    assert support is not None  # noqa: S101 - a plan that is ready has one
    options = options_for(support.script, plan.checkout.root if plan.checkout else None)
    run_dir = next_run(plan.workspace.rehearsals / plan.name)
    number = min(STEPS, ready.steps.total)
    steps = _steps(ready.steps, number, plan.name)
    args = tuple(_changed(plan, options, steps, run_dir=str(run_dir)))
    old = arguments.tokens(plan.args)
    argv = (*ready.command.argv[: len(ready.command.argv) - len(old)], *arguments.tokens(args))
    env = {**ready.command.env, "TQDM_MININTERVAL": "0"}  # every step is drawn: the bar then knows when each was done
    return replace(
        plan,
        request=replace(plan.request, rehearse=True, resume=False),
        run_dir=run_dir,
        args=args,
        steps=steps,
        command=replace(ready.command, argv=argv, env=env),
        series=None,
        fingerprint="",
    )


def _steps(steps: StepsPlan, number: int, name: str) -> StepsPlan:
    final = steps.saves.checkpoints[-1]
    after = steps.saves.states[-1] if steps.saves.states else ""
    states = (f"checkpoint-{number}" if after.startswith("checkpoint-") else f"{name}-state",) if after else ()
    saves = replace(
        steps.saves, checkpoints=(final,), checkpoints_kept=(final,), most_checkpoints=1, states=states,
        states_kept=states, most_states=len(states),
    )  # fmt: skip
    return replace(steps, epochs=math.ceil(number / steps.steps_per_epoch), total=number, saves=saves)


def _changed(plan: Plan, options: ScriptOptions, steps: StepsPlan, *, run_dir: str) -> Iterator[Arg]:
    made = partial(option_arg, options, source=SOURCE)
    for arg in plan.args:
        if arg.name == "output_dir":
            yield made("output_dir", f"{run_dir}/output")
        elif arg.name == "logging_dir":
            yield made("logging_dir", f"{run_dir}/logs")
        elif arg.name not in LEFT_OUT:
            yield arg
    yield made("max_train_steps", steps.total)
    if "checkpointing_steps" in options:  # diffusers' examples: a state is saved every so many steps
        yield made("checkpointing_steps", steps.total if steps.saves.states else steps.total + 1)
    elif steps.saves.states:
        yield made("save_state_on_train_end", value=True)
    if saves_of(plan).samples:
        yield made("sample_every_n_epochs", steps.epochs)  # one round, after the last step
