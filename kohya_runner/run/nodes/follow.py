"""One run on several machines: the first claims, prepares and records it; the others train with it, and end with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kohya_runner import errors, hub
from kohya_runner.engines.arguments import CONFIG, RANK, Command
from kohya_runner.findings import Severity
from kohya_runner.machine.rendezvous import Rendezvous
from kohya_runner.plan.pipeline import Opened, open_recipe
from kohya_runner.plan.value import Request
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run.nodes.station import Order, Station, WorldWatch
from kohya_runner.run.observers import Reporter
from kohya_runner.run.stop_sequence import end_left_over
from kohya_runner.run.supervise import Outcome, Watch, supervise


def meeting(request: Request, place: Rendezvous, environ: Mapping[str, str]) -> tuple[Opened, Station]:
    """The recipe, and this machine's place."""
    opened = open_recipe(request, environ)
    name = opened.loaded.recipe.name if opened.loaded.recipe else request.recipe.stem
    return opened, Station(opened.workspace.runs / name, place, environ)


def follow(request: Request, place: Rendezvous, screen: Reporter, environ: Mapping[str, str]) -> int:
    """Train with the first machine, and end as it does; the exit code.

    Raises:
        PreflightError: it was not seen. TrainingFailedError: the trainer here failed, or the first machine is lost.
        CancelledError, TerminatedError: this launch was stopped.
    """
    opened, station = meeting(request, place, environ)
    faults = tuple(f for f in opened.findings if f.severity is Severity.ERROR)
    with station:
        if faults:
            raise errors.PreflightError(f"machine {place.rank} cannot take part: {faults[0]}", findings=faults)
        screen.event(f"{place}: waiting for machine 0 in {opened.workspace.runs}", lasting=True)
        if order := station.ordered():
            _train(order, opened, station, screen, environ)
        last = station.outlast()
        if last is None:
            raise errors.TrainingFailedError("machine 0 is lost", hint="launch --resume on every machine")
        station.say(code=last.code)
        screen.event(f"machine 0 ended with {last.code}{': ' if last.why else ''}{last.why}", lasting=True)
        return last.code or 0


def _train(order: Order, opened: Opened, station: Station, screen: Reporter, environ: Mapping[str, str]) -> None:
    command, place = _own(order, opened, station.place), station.place
    paths = RunPaths(Path(order.log).parent)
    if not paths.run_dir.is_dir():
        text = f"{paths.run_dir} is not on this machine"
        raise errors.PreflightError(text, hint="the workspace must have the same path on every machine")
    log = paths.node_log(place.rank, Path(order.log).name)
    log.parent.mkdir(exist_ok=True)
    end_left_over(paths.node_log(place.rank, paths.log.name))
    world = WorldWatch(command, log, place, order.world)
    screen.event(f"training as {place}: log in {log}", lasting=True)
    watch = Watch(log, log.parent, (station, world), world.started)
    token = hub.access(environ).token
    env = {**environ, "HF_TOKEN": token} if token and not environ.get("HF_TOKEN") else environ
    outcome = supervise(command, watch, environ=env)
    if why := _failed(outcome, log):
        station.say(code=errors.TrainingFailedError.exit_code, why=why)
    outcome.raise_stop() if outcome.stopped and outcome.stop is None else None
    if why and outcome.stop is None:
        raise errors.TrainingFailedError(f"machine {place.rank}: {why}", hint=f"the whole log: {log}")


def _failed(outcome: Outcome, log: Path) -> str:
    """Why the trainer here ended before its time; "" where it did not, or only followed the first machine."""
    if outcome.stop is not None and outcome.stop.code.startswith("node."):
        return ""
    if outcome.stopped:
        return f"stopped: {outcome.stopped}"
    if outcome.returncode == 0:
        return ""
    said = next((line.strip() for line in reversed(last_lines(log, 100)) if _is_exception_line(line)), "")
    return f"the trainer ended with exit code {outcome.returncode}{': ' if said else ''}{said[:300]}"


def _is_exception_line(line: str) -> bool:
    """An exception's own line: torch's launcher writes a page about it below."""
    word = line.strip().partition(":")[0]
    return word.endswith(("Error", "Exception", "Interrupt")) and "ChildFailedError" not in word


def _own(order: Order, opened: Opened, place: Rendezvous) -> Command:
    """The first machine's command with this one's rank, Python and checkout, which may lie elsewhere."""
    root = str(opened.checkout.root) if opened.checkout else order.cwd

    def here(text: str) -> str:
        return text.replace(order.cwd, root)

    python = str(opened.python.path) if opened.python else order.argv[0]
    own = {f"--{RANK}": str(place.rank), "--config_file": str(CONFIG)}
    script = next(n for n, token in enumerate(order.argv) if token.endswith(".py"))
    launcher = (f"{name}={own[name]}" if (name := t.partition("=")[0]) in own else t for t in order.argv[1:script])
    argv = (python, *launcher, here(order.argv[script]), *order.argv[script + 1 :])
    env = {name: here(value) for name, value in order.env.items()}
    return Command(argv, Path(root), env, frozenset(order.needs))
