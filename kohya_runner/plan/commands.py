"""The processes of a plan: what runs before the training, and the training itself."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines import arguments, command
from kohya_runner.install.checkout import project_root
from kohya_runner.install.environment import CPU_MEMORY
from kohya_runner.plan.environment import child_env

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.command import Command
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.opening import Opened


@dataclass(frozen=True, slots=True)
class StageCommand:
    """A process before the training, and what it does in words."""

    phase: str
    command: Command


def commands(opened: Opened, run: Assembled, *, on_cpu: bool) -> tuple[tuple[StageCommand, ...], Command]:
    """The stages in their order, and the training."""
    resolved = run.resolved
    launch, script = resolved.recipe.launch, resolved.support.script
    engine = opened.engine.INFO
    offline = not isinstance(resolved.recipe.model, str)  # random weights: nothing is to be downloaded
    env = child_env(opened.workspace, opened.environ, offline=offline) | (CPU_MEMORY if on_cpu else {})
    stages = tuple(
        StageCommand(stage.phase, _alone(opened, engine, stage.script, arguments.tokens(stage.args), env))
        for stage in run.stages
    )
    tokens = arguments.tokens(resolved.args)
    if opened.request.practice:
        more = {"KOHYA_PRACTICE_PROCESSES": str(launch.num_processes)} if launch.num_processes > 1 else {}
        return stages, _alone(opened, engine, script, tokens, env | more)
    root, path = _script(opened, engine, script)
    argv = command.argv(_python(opened), path, tokens, launch=launch, mixed_precision=resolved.precision)
    return stages, command.Command(argv, root, env | _imports(opened, engine, root))


def _alone(opened: Opened, engine: EngineInfo, script: str, tokens: tuple[str, ...], env: Mapping[str, str]) -> Command:
    """One process without a launcher; the practice stand-in takes the same script and options."""
    if opened.request.practice:
        return command.Command(
            (sys.executable, "-m", "kohya_runner.practice.trainer", script, *tokens), Path.cwd(), env
        )
    root, path = _script(opened, engine, script)
    return command.Command((str(_python(opened)), str(path), *tokens), root, {**env, **_imports(opened, engine, root)})


def _script(opened: Opened, engine: EngineInfo, script: str) -> tuple[Path, Path]:
    """The working folder and the script; without a checkout it is relative to that folder, wherever it will be."""
    checkout = opened.checkout
    root = checkout.root if checkout else (project_root() or Path.cwd()) / engine.submodule
    inside = Path(engine.script_path(script))
    return root, root / inside if checkout else inside


def _python(opened: Opened) -> Path:
    python = opened.python
    return python.path if python else Path("python3")


def _imports(opened: Opened, engine: EngineInfo, root: Path) -> dict[str, str]:
    """The engine's variables; a PYTHONPATH of the shell stays behind its own."""
    found = dict(engine.env(root))
    before = opened.environ.get("PYTHONPATH")
    if "PYTHONPATH" in found and before:
        found["PYTHONPATH"] += os.pathsep + before
    return found
