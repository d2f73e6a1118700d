"""The processes of a plan, and the variables that they get beside those of the shell."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines import arguments, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.command import Command
    from kohya_runner.engines.protocol import ResolvedRecipe
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.opening import Opened
    from kohya_runner.workspace import Workspace


def child_env(workspace: Workspace, environ: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """Caches into the workspace, output as the runner follows it; no secret: those stay in the shell's own.

    RunPod's images set ``HF_HUB_ENABLE_HF_TRANSFER=1``, with which the pinned huggingface_hub 0.34.3 fails where
    hf_transfer is not installed (file_download.py), so it is switched off.
    """
    env = workspace.environment() | child_environment() | {"HF_HUB_DISABLE_TELEMETRY": "1"}
    if environ.get("HF_HUB_ENABLE_HF_TRANSFER", "0") not in ("", "0"):
        env["HF_HUB_ENABLE_HF_TRANSFER"] = "0"
    if offline:
        env["HF_HUB_OFFLINE"] = "1"
    return env


def child_environment() -> dict[str, str]:
    """What the runner adds so that the output can be followed.

    Bars at most once a second (tqdm reads ``TQDM_*``), output at once, log records 160 columns wide, and UTF-8: the
    scripts print Japanese (train_network.py:987), which another encoding would turn into a crash.
    """
    return {
        "COLUMNS": "160",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "TQDM_MININTERVAL": "1",
    }


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
    env = child_env(opened.workspace, opened.environ, offline=offline) | (_cpu_memory() if on_cpu else {})
    needs = frozenset() if offline else _needs(opened, resolved)
    stages = tuple(
        StageCommand(
            stage.phase, replace(_alone(opened, engine, stage.script, arguments.tokens(stage.args), env), needs=needs)
        )
        for stage in run.stages
    )
    tokens = arguments.tokens(resolved.args)
    if opened.request.practice:
        more = {"KOHYA_PRACTICE_PROCESSES": str(launch.num_processes)} if launch.num_processes > 1 else {}
        return stages, _alone(opened, engine, script, tokens, env | more)
    root, path = _script(opened, engine, script)
    argv = command.argv(_python(opened), path, tokens, launch=launch, mixed_precision=resolved.precision)
    return stages, command.Command(argv, root, env | _imports(opened, engine, root), needs)


UPLOADS = ("huggingface_repo_id", "resume_from_huggingface")


def _needs(opened: Opened, resolved: ResolvedRecipe) -> frozenset[str]:
    """Whose secrets the processes get: the Hub's where they ask it for something, those of a tracker that is on."""
    from kohya_runner.machine.downloads import repo_folder

    given = resolved.parsed.given
    cache = Path(opened.workspace.environment()["HF_HUB_CACHE"])
    lacking = [repo for repo in resolved.support.tokenizers_of(given) if not os.path.exists(repo_folder(cache, repo))]
    asks = resolved.models.kind == "hub" or any(given.get(name) for name in UPLOADS)
    hub = {"hub"} if asks or (lacking and not given.get("tokenizer_cache_dir")) else set()
    trackers = {str(given.get(name)) for name in ("log_with", "report_to")}
    return frozenset(hub | ({"wandb"} if trackers & {"wandb", "all"} else set()))


def _cpu_memory() -> dict[str, str]:
    from kohya_runner.install.environment import CPU_MEMORY

    return CPU_MEMORY


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
    from kohya_runner.install.checkout import project_root

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
