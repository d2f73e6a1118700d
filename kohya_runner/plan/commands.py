"""The processes of a plan: what runs before the training, and the training itself."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines import arguments, command
from kohya_runner.engines.table import info_of
from kohya_runner.install.checkout import project_root
from kohya_runner.install.environment import CPU_MEMORY
from kohya_runner.plan.environment import child_env

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.built import Built
    from kohya_runner.engines.command import Command
    from kohya_runner.plan.draft import Draft


@dataclass(frozen=True, slots=True)
class StageCommand:
    """A process before the training, and what it does in words."""

    phase: str
    command: Command


def commands(draft: Draft, built: Built, *, on_cpu: bool) -> tuple[tuple[StageCommand, ...], Command]:
    """The stages in their order, and the training."""
    known = built.known
    launch, script = known.recipe.launch, known.support.script
    engine = info_of(script)
    offline = not isinstance(known.recipe.model, str)  # random weights: nothing is to be downloaded
    env = child_env(draft.workspace, draft.environ, offline=offline) | (CPU_MEMORY if on_cpu else {})
    stages = tuple(
        StageCommand(stage.phase, _alone(draft, engine, stage.script, arguments.tokens(stage.args), env))
        for stage in built.stages
    )
    tokens = arguments.tokens(known.given)
    if draft.request.practice:
        more = {"KOHYA_PRACTICE_PROCESSES": str(launch.num_processes)} if launch.num_processes > 1 else {}
        return stages, _alone(draft, engine, script, tokens, env | more)
    root, path = _script(draft, engine, script)
    argv = command.argv(_python(draft), path, tokens, launch=launch, mixed_precision=known.precision)
    return stages, command.Command(argv, root, env | _imports(draft, engine, root))


def _alone(draft: Draft, engine: EngineInfo, script: str, tokens: tuple[str, ...], env: Mapping[str, str]) -> Command:
    """One process without a launcher; the practice stand-in takes the same script and options."""
    if draft.request.practice:
        return command.Command(
            (sys.executable, "-m", "kohya_runner.practice.trainer", script, *tokens), Path.cwd(), env
        )
    root, path = _script(draft, engine, script)
    return command.Command((str(_python(draft)), str(path), *tokens), root, {**env, **_imports(draft, engine, root)})


def _script(draft: Draft, engine: EngineInfo, script: str) -> tuple[Path, Path]:
    """The working folder and the script; without a checkout it is relative to that folder, wherever it will be."""
    checkout = draft.parts["checkout"]
    root = checkout.root if checkout else (project_root() or Path.cwd()) / engine.submodule
    inside = Path(engine.script_path(script))
    return root, root / inside if checkout else inside


def _python(draft: Draft) -> Path:
    python = draft.parts["python"]
    return python.path if python else Path("python3")


def _imports(draft: Draft, engine: EngineInfo, root: Path) -> dict[str, str]:
    """The engine's variables; a PYTHONPATH of the shell stays behind its own."""
    found = dict(engine.env(root))
    before = draft.environ.get("PYTHONPATH")
    if "PYTHONPATH" in found and before:
        found["PYTHONPATH"] += os.pathsep + before
    return found
