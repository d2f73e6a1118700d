"""The plan for a reader: rows of one screen, or one JSON object (docs/plan-json.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kohya_runner import errors
from kohya_runner.findings import Severity, finding_json
from kohya_runner.plan import commands
from kohya_runner.plan.space import timelines
from kohya_runner.text import masked, masked_option, masked_text, size

if TYPE_CHECKING:
    from kohya_runner.plan.value import Plan


def rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """(label, text) for each line of the screen, in reading order."""
    kind = f"{plan.support.title} {plan.support.method}, {plan.support.script}" if plan.support else "unknown family"
    mode = "   PRACTICE: nothing is trained" if plan.request.practice else ""
    yield "run", f"{plan.name}   {kind}{mode}"
    if plan.loaded.recipe is not None:
        model = plan.loaded.recipe.model
        fetched = f"   {len(plan.fetches)} file(s) to fetch first" if plan.fetches else ""
        random = "" if isinstance(model, str) else f"random weights ({model.random}): it paints nothing"
        yield "model", f"{random or model}{fetched}"
    yield from _data(plan)
    yield from _steps(plan)
    if plan.series is not None:
        yield "resume", str(plan.series)
    yield from _room(plan)
    if plan.forecast is not None:
        yield from plan.forecast.rows()
    if plan.left_open:
        shown = ", ".join(f"{name} {'unset' if default is None else default}" for name, default, _ in plan.left_open)
        yield "not set", f"the trainer's defaults apply: {shown}"
    yield "trainer", _trainer(plan)
    if plan.not_checked:
        yield "unchecked", "; ".join(plan.not_checked)


def _room(plan: Plan) -> Iterator[tuple[str, str]]:
    """Each disk with the largest first, and how it fills where that is not the same at the end as at the fullest."""
    if plan.disk is None:
        return
    for use in plan.disk.uses:
        largest = sorted(use.items, key=lambda item: -item.bytes)
        parts = ", ".join(f"{item.what} {size(item.bytes)}" for item in largest if item.bytes)
        there = (
            f"{use.system.mount if use.system else 'unknown disk'}: {size(use.needed)} needed, {size(use.free)} free"
        )
        yield "disk", f"{size(use.needed) + ' needed' if plan.request.elsewhere else there}   ({parts})"
    if plan.request.elsewhere and plan.steps is not None:
        torch = f"{CONTAINER_GB[1]} GB where the image has no usable torch"
        yield (
            "rent",
            f"a volume of {volume_gb(plan)} GB for the workspace, a container disk of {CONTAINER_GB[0]} GB ({torch})",
        )
    if plan.steps is None:
        return
    for line in timelines(plan.disk.uses, plan.steps.saves):
        if line.peak != line.end:
            told = (line.downloaded, line.cached, line.peak, line.end)
            words = ("downloads", "caches", "peak", "end")
            yield "over time", ", ".join(f"{word} {size(count)}" for word, count in zip(words, told, strict=True))


CONTAINER_GB = (20, 30)
"""For the environments; measured: 1.1 GB beside the image's own torch, 7.5 GB with one, a third more meanwhile."""
VOLUME_STEP = 10 * 10**9


def volume_gb(plan: Plan) -> int:
    """What the run writes, the pictures and models that are brought there, and a third more, in whole tens of GB."""
    written = sum(use.needed for use in plan.disk.uses) if plan.disk else 0
    brought = sum(image.bytes for scan in plan.scans for image in scan.images)
    return 10 * math.ceil((written + brought) * 4 / 3 / VOLUME_STEP)


def _data(plan: Plan) -> Iterator[tuple[str, str]]:
    for scan in plan.scans:
        source = scan.source
        if source.edit:
            yield "data", f"{len(scan.images)} edit pairs   {source.repeats}_{source.concept}   {source.folder}"
            continue
        captions = sum(image.caption is not None for image in scan.images)
        kind = "class images" if source.regularization else "images"
        painted = len(source.made.missing()) if source.made else 0
        yield (
            "data",
            f"{len(scan.images)} {kind}, {captions} captions   {source.repeats}_{source.concept}   {source.folder}"
            + (f"   {painted} to be painted first" if painted else ""),
        )
    for folder in plan.layout.conditions if plan.layout else ():
        if plan.layout and plan.layout.edits:
            fitted = sum(entry.fit is not None for entry in folder.entries)
            yield "data", f"{folder.images} inputs, {fitted} of them resized   {plan.layout.folder_path(folder)}"
            continue
        places = ", ".join(dict.fromkeys(str(entry.image.path.parent) for entry in folder.entries))
        yield "data", f"{folder.images} condition images   {places}"


def _steps(plan: Plan) -> Iterator[tuple[str, str]]:
    steps = plan.steps
    if steps is None:
        return
    regularization = f" + {steps.regularization_images} class images" if steps.regularization_images else ""
    epoch = f"{steps.images_per_epoch} images{regularization} an epoch, {steps.batches_per_epoch} batches"
    pictures = steps.images_per_epoch > 0
    yield "steps", f"{epoch}, {steps.epochs} epochs: {steps.total} steps" if pictures else f"{steps.total} steps"
    if plan.world > 1:
        machines = plan.loaded.recipe.launch.nodes if plan.loaded.recipe else 1
        each = f"{plan.world // (machines or 1)} on each of {machines} machines" if (machines or 1) > 1 else plan.world
        yield "processes", f"{each}, each with batches of its own: {_together(plan)}the learning rate is not scaled"
    few = 6
    sizes = [f"{b.width}x{b.height}" + (f": {b.images}" if pictures else "") for b in steps.buckets]
    yield "buckets", ", ".join(sizes[:few]) + (f" and {len(sizes) - few} more" if len(sizes) > few else "")
    kept = steps.checkpoints
    if kept:
        yield "saves", f"{len(kept)} checkpoint(s): {kept[0]}" + (f" ... {kept[-1]}" if len(kept) > 1 else "")


def _together(plan: Plan) -> str:
    given = {arg.name: arg.value for arg in plan.args}
    batch, times = given.get("train_batch_size"), given.get("gradient_accumulation_steps") or 1
    if not (isinstance(batch, int) and isinstance(times, int)):
        return ""
    return f"a step takes {batch} x {plan.world} x {times} = {batch * plan.world * times} images, "


def _trainer(plan: Plan) -> str:
    if plan.request.elsewhere:
        return "not checked: the run is for another machine"
    if plan.request.practice:
        return "the practice stand-in"
    engine = plan.engine.name
    if plan.checkout is None:
        return f"{engine} is not installed yet: kohya-runner setup"
    commit = (plan.checkout.commit or "unknown commit")[:10]
    python = plan.python.path if plan.python else "no Python for it yet"
    return f"{engine} {commit} in {plan.checkout.root} ({plan.checkout.named_by}); {python}"


def verdict(plan: Plan) -> tuple[str, Severity]:
    errors = sum(f.severity is Severity.ERROR for f in plan.findings)
    warnings = sum(f.severity is Severity.WARNING for f in plan.findings)
    if plan.unprepared:
        return f"ready to be prepared: {warnings} warning(s); launch does it, and plans anew", Severity.INFO
    if not plan.ok:
        return f"not ready: {errors} error(s), {warnings} warning(s)", Severity.ERROR
    return f"ready: {warnings} warning(s)", Severity.INFO if not warnings else Severity.WARNING


def exit_code(plan: Plan) -> int:
    """0, or the exit code of the first stage that has errors."""
    return 0 if plan.ok or plan.unprepared else errors.exit_code(plan.findings) or errors.PreflightError.exit_code


def plan_json(plan: Plan) -> dict[str, Any]:
    """The contract's object; what an error in the recipe leaves unknown is null or empty."""
    return {
        "version": 1,
        "ok": plan.ok,
        "recipe": _recipe(plan),
        "consequences": [{**asdict(one), "effect": one.effect.value} for one in plan.consequences],
        "commands": [
            {"argv": [masked_text(token) for token in c.argv], "cwd": str(c.cwd), "env": masked(c.env)}
            for c in (*(stage.command for stage in commands.stages(plan)), *plan.commands)
        ],
        "dataset": _dataset(plan),
        "steps": _steps_json(plan),
        "resume": plan.series.as_json(plan.steps.steps_per_epoch) if plan.series and plan.steps else None,
        "checkpoints": list(plan.steps.checkpoints) if plan.steps else [],
        "defaults": [{"option": n, "default": d, "effect": e} for n, d, e in plan.left_open],
        "disk": _disk(plan),
        **_forecast(plan),
        "not_checked": list(plan.not_checked),
        "findings": [finding_json(f) for f in plan.findings],
    }


def _forecast(plan: Plan) -> dict[str, Any]:
    if plan.forecast is None:
        return {"models": [], "memory": None, "time": None, "rent": None}
    told = dict(plan.forecast.as_json())
    disks = {} if plan.steps is None else {"volume_gb": volume_gb(plan), "container_gb": list(CONTAINER_GB)}
    return {**told, "rent": {**plan.forecast.rent.as_json(), **disks} if plan.forecast.rent else None}


def _recipe(plan: Plan) -> dict[str, Any]:
    """Every value with its source, nested as in the recipe; what the models add says ``default``."""
    resolved: dict[str, Any] = {}
    if plan.loaded.recipe is not None:
        defaults = plan.loaded.recipe.model_dump(mode="json")
        _put_defaults(resolved, {k: v for k, v in defaults.items() if v is not None}, ())
    for path, node in plan.loaded.tree.leaves():
        if node.value is not None:
            value = masked_option(str(path[-1]) if path else "", node.plain())
            into = resolved
            for key in path[:-1]:  # lists become objects keyed by index, so that each entry can carry its source
                into = into.setdefault(str(key), {})
            into |= {str(key): {"value": value, "source": str(node.place)} for key in path[-1:]}
    for arg in plan.args:
        if arg.source.startswith("runner"):
            resolved.setdefault("args", {})[arg.name] = {"value": arg.value, "source": arg.source}
    return resolved


def _put_defaults(into: dict[str, Any], values: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """Plain values as leaves; lists are left to the tree, which has their places."""
    for key, value in values.items():
        if isinstance(value, dict):
            _put_defaults(into.setdefault(key, {}), value, (*path, key))
        elif not isinstance(value, list) and value is not None:
            into[key] = {"value": value, "source": "default"}


FOLDER_KEYS = ("name", "images", "captions", "repeats", "regularization")


def _dataset(plan: Plan) -> dict[str, Any]:
    folders = plan.layout.folders if plan.layout else ()
    buckets = plan.steps.buckets if plan.steps else ()
    return {
        "images": sum(len(scan.images) for scan in plan.scans),
        "captions": sum(image.caption is not None for scan in plan.scans for image in scan.images),
        "folders": [{name: getattr(folder, name) for name in FOLDER_KEYS} for folder in folders],
        "conditions": sum(folder.images for folder in plan.layout.conditions) if plan.layout else 0,
        "buckets": [{"width": b.width, "height": b.height, "images": b.images} for b in buckets],
    }


def _steps_json(plan: Plan) -> dict[str, Any] | None:
    names = "images_per_epoch", "regularization_images", "batches_per_epoch", "steps_per_epoch", "epochs", "total"
    return {name: getattr(plan.steps, name) for name in names} if plan.steps else None


def _disk(plan: Plan) -> dict[str, Any]:
    if plan.disk is None:
        return {"free_bytes": None, "needed_bytes": None, "items": []}
    lines = timelines(plan.disk.uses, plan.steps.saves) if plan.steps else ()
    return {**plan.disk.as_json(), "timeline": [line.as_json() for line in lines]}
