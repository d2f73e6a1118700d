"""A run beside another, or a replay beside its run: options, data, trainer, packages and GPU.

A record may come from a stranger: it is compared and shown, and nothing in it is opened or run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kohya_runner.dataset.layout import content_key
from kohya_runner.engines import arguments
from kohya_runner.errors import TrainerError
from kohya_runner.findings import Finding, info, warning
from kohya_runner.install.probe import PACKAGES
from kohya_runner.plan.resume_drift import LOCATIONS, after_script, grouped, shown, with_workspace
from kohya_runner.record import record as records
from kohya_runner.record.record import Record
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.text import package_name

if TYPE_CHECKING:
    from kohya_runner.machine.host import Gpu
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.machine import Asked
    from kohya_runner.plan.pipeline import Opened

KINDS = ("options", "data", "trainer", "packages", "GPU")
MOST = 8  # differences that one sentence names
_LONGEST = 120


class Difference(NamedTuple):
    """One thing that two runs do not have in common; ``kind`` is one of ``KINDS``."""

    kind: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        before, after = (text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..." for text in self[2:])
        return f"{self.name}: was {before}, is {after}"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What decides how a run turns out. None and "" are not known, and not compared."""

    options: Mapping[str, tuple[str, ...]]
    content: str
    counts: str
    trainer: str
    packages: Mapping[str, str]
    gpus: tuple[str, ...] | None

    @classmethod
    def of(cls, record: Record) -> RunFacts:
        data, trainer = record.dataset, record.trainer
        return cls(
            _portable(record.options or after_script(record.argv)), str(data.get("content") or ""), _counts(data),
            "practice" if record.practice else trainer.commit, trainer.packages,
            tuple(str(gpu.get("name")) for gpu in record.gpus),
        )  # fmt: skip

    def differences(self, after: RunFacts) -> Iterator[Difference]:
        """Everything that is known of both and not the same, by kind."""
        for name in sorted({*self.options, *after.options} - LOCATIONS):
            before, now = self.options.get(name), after.options.get(name)
            if before != now:
                yield Difference("options", name, shown(before), shown(now))
        if self.counts != after.counts:
            yield Difference("data", "pictures", self.counts, after.counts)
        elif self.content and after.content and self.content != after.content:
            name = "pictures or captions, by their content"
            yield Difference("data", name, self.content, after.content)
        if self.trainer and after.trainer and self.trainer != after.trainer:
            yield Difference("trainer", "commit", self.trainer[:10], after.trainer[:10])
        if self.packages and after.packages:
            for name in sorted({*self.packages, *after.packages}):
                old, new = (side.packages.get(name, "not installed") for side in (self, after))
                if old != new:
                    yield Difference("packages", name, old, new)
        if self.gpus is not None and after.gpus is not None and self.gpus != after.gpus:
            yield Difference("GPU", "GPU", ", ".join(self.gpus) or "none", ", ".join(after.gpus) or "none")

    def compared(self, after: RunFacts) -> tuple[str, ...]:
        sides = (self, after)
        known = {
            "trainer": all(side.trainer for side in sides),
            "packages": all(side.packages for side in sides),
            "GPU": all(side.gpus is not None for side in sides),
        }
        return tuple(kind for kind in KINDS if known.get(kind, True))


def _portable(tokens: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return with_workspace(grouped(tokens), "<workspace>")


def _counts(data: Mapping[str, Any]) -> str:
    return f"{data.get('images')} pictures, {data.get('captions')} captions"


def replay_findings(opened: Opened, run: Assembled, gpus: Sequence[Gpu], facts: Asked) -> Iterator[Finding]:
    """What differs from the run beside whose record the recipe lies; nothing of any other recipe."""
    recipe = opened.request.recipe
    paths = RunPaths(recipe.absolute().parent)
    if not paths.record.is_file():
        return
    title, where = "/".join(paths.run_dir.parts[-2:]), str(recipe)
    try:
        before = RunFacts.of(records.read(paths.record))
    except records.RecordError as fault:
        yield info("recipe.replay", f"not compared with {title}: {fault.message}", where=where)
        return
    layout = run.arranged.layout
    after = _now(opened, run, gpus, facts)
    found = tuple(before.differences(after))
    if not layout.folders:  # there are no pictures, which is an error already
        found = tuple(one for one in found if one.kind != "data")
    for kind in KINDS:
        named = [str(one) for one in found if one.kind == kind]
        if named:
            rest = f"; and {len(named) - MOST} more" if len(named) > MOST else ""
            yield _finding(kind, f"not as in {title}: {kind}: {'; '.join(named[:MOST])}{rest}", where)
    same = [kind for kind in before.compared(after) if not any(one.kind == kind for one in found)]
    kept = ", ".join(same) or "nothing"
    yield info("recipe.replay", f"a replay of {title}, and the same as there: {kept}", where=where)


def _finding(kind: str, message: str, where: str) -> Finding:
    match kind:
        case "options":
            return warning("args.replay", message, where=where)
        case "data":
            return warning("dataset.replay", message, where=where)
        case "trainer":
            return warning("trainer.replay", message, where=where)
        case "packages":
            return info("trainer.replay", message, where=where)
        case _:
            return info("device.replay", message, where=where)


def _now(opened: Opened, run: Assembled, gpus: Sequence[Gpu], facts: Asked) -> RunFacts:
    request, images = opened.request, [e.image for f in run.arranged.layout.folders for e in f.entries]
    packages: dict[str, str] = {}
    try:
        known = facts()
    except TrainerError:  # which the plan has said
        known = None
    if known is not None:
        own = opened.loaded.recipe.launch.packages if opened.loaded.recipe else ()
        kept = {*PACKAGES, *map(package_name, own)}
        packages = {"python": known.python, **{n: v for n, v in known.packages.items() if v and n in kept}}
    commit = (opened.checkout.commit or "") if opened.checkout else ""
    return RunFacts(
        _portable(arguments.tokens(run.begun)),
        content_key(run.arranged.layout),
        _counts({"images": len(images), "captions": sum(image.caption is not None for image in images)}),
        "practice" if request.practice else commit,
        packages,
        None if request.elsewhere else tuple(gpu.name for gpu in gpus),
    )
