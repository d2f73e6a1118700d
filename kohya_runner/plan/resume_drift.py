"""What is no longer as it was when a run was cut: a run that goes on must be the run that began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.layout import Layout, content_key
from kohya_runner.engines import arguments
from kohya_runner.engines.arguments import Arg
from kohya_runner.findings import Finding, error
from kohya_runner.tables import read_table
from kohya_runner.text import masked_text

if TYPE_CHECKING:
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.install.checkout import Checkout
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.record.resume_point import ResumePoint

_HARMLESS: Mapping[str, list[str]] = read_table(Path(__file__).with_name("resume.toml"))["harmless"]
LOCATIONS = frozenset(_HARMLESS["places"])
"""Options that say where things are: the data are compared by their own hashes."""
HARMLESS = frozenset(name for names in _HARMLESS.values() for name in names)
"""Options that may differ between the attempts of a run."""
HARMLESS_PREFIXES = ("sample_", "metadata_", "console_log", "huggingface_", "async_upload")

HINT = "put it back, launch without --resume to begin anew, or take it with --allow {code}"


@dataclass(frozen=True, slots=True)
class Now:
    loaded: Loaded
    args: Sequence[Arg]
    layout: Layout
    steps: StepsPlan
    checkout: Checkout | None
    runs: Path  # the workspace's folder of runs

    @property
    def world_size(self) -> int:
        return self.loaded.recipe.launch.world if self.loaded.recipe else 1


def changes(series: ResumePoint, now: Now) -> tuple[Finding, ...]:
    """Everything that differs and matters: what it was, what it is, and where the recipe says so.

    ``now.args`` are those of a run that begins: what ``--resume`` adds is not compared.
    """
    return (*_options(series, now), *_data(series, now), *_counts(series, now), *_trainer(series, now))


def grouped(tokens: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Option -> its values, from command-line tokens."""
    found: dict[str, list[str]] = {}
    name = ""
    for token in tokens:
        if token.startswith("--"):
            name, equals, value = token.removeprefix("--").partition("=")
            found[name] = [value] if equals else []
        elif name:
            found[name].append(token)
    return {option: tuple(values) for option, values in found.items()}


def _options(series: ResumePoint, now: Now) -> Iterator[Finding]:
    tokens = series.record.options or after_script(series.record.argv)
    moved = with_workspace(grouped(tokens), str(now.runs.parent))
    after = grouped(arguments.tokens(now.args))
    places = {arg.name: arg.source for arg in now.args}
    for name in sorted({*moved, *after}):
        before, current = moved.get(name), after.get(name)
        if before == current or name in HARMLESS or name.startswith(HARMLESS_PREFIXES):
            continue
        where = places.get(name) or now.loaded.where("args", name)
        message = f"{name}: was {shown(before)}, is {shown(current)}"
        yield error("args.resume", message, where=where, hint=HINT.format(code="args.resume"))
    if not tokens:
        yield error("args.resume", "the record does not say with which options the run began", where=str(series.path))


def after_script(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The options in a command line; of a record that does not hold them alone."""
    script = next((n for n, token in enumerate(argv) if token.endswith(".py")), None)
    return () if script is None else argv[script + 1 :]


def with_workspace(values: Mapping[str, tuple[str, ...]], here: str) -> dict[str, tuple[str, ...]]:
    """Options with the workspace's own folder called ``here`` in their paths."""
    output = (values.get("output_dir") or ("",))[0]
    room = output.rsplit("/", 4)[0] if output.count("/") >= 4 else ""  # <workspace>/runs/<name>/<id>/output
    return {
        name: tuple(f"{here}{v[len(room) :]}" if room and v.startswith(f"{room}/") else v for v in found)
        for name, found in values.items()
    }


def shown(values: tuple[str, ...] | None) -> str:
    if values is None:
        return "not given"
    return masked_text(" ".join(values)) if values else "on"


def _data(series: ResumePoint, now: Now) -> Iterator[Finding]:
    before = series.record.dataset
    if before.get("key") in (None, now.layout.key) or before.get("content") == content_key(now.layout):
        return
    where = now.loaded.where("datasets")
    message = "the data changed since: " + (", ".join(_differences(before, now.layout)) or "a picture or a caption")
    yield error("dataset.resume", message, where=where, hint=HINT.format(code="dataset.resume"))


def _differences(before: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    folders = before.get("folders")
    old = {f["name"]: f.get("images") for f in folders if isinstance(f, dict) and "name" in f} if folders else {}
    new = {folder.name: folder.images for folder in layout.folders}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name}: was {old.get(name, 0)} images, is {new.get(name, 0)}"


def _counts(series: ResumePoint, now: Now) -> Iterator[Finding]:
    """Processes and steps of an epoch: with others, a state would be put at another place of the run."""
    writer = series.known.writer_of(series.epoch)
    if writer is None:
        return
    where = now.loaded.where("launch", "num_processes")
    if writer.world_size != now.world_size:
        message = f"launch.num_processes: was {writer.world_size}, is {now.world_size} on all machines"
        yield error("recipe.resume", message, where=where, hint="put it back: --resume counts steps by it")
    elif writer.steps_per_epoch != now.steps.steps_per_epoch:
        message = f"steps an epoch: were {writer.steps_per_epoch}, are {now.steps.steps_per_epoch}"
        yield error("steps.resume", message, hint=HINT.format(code="steps.resume"))
    elif series.state.counted not in (None, (series.epoch - writer.epoch) * writer.steps_per_epoch):
        done = (series.epoch - writer.epoch) * writer.steps_per_epoch
        message = f"{series.state.path.name} says {series.state.counted} steps, and its attempt had done {done}"
        yield error("steps.resume", message, where=str(series.state.path), hint=HINT.format(code="steps.resume"))


def _trainer(series: ResumePoint, now: Now) -> Iterator[Finding]:
    before, current = series.record.trainer.commit, (now.checkout.commit or "") if now.checkout else ""
    if now.checkout and before and current and before != current:
        message = f"{now.checkout.engine.name}: was {before[:10]}, is {current[:10]}"
        yield error("trainer.resume", message, hint=HINT.format(code="trainer.resume"))
