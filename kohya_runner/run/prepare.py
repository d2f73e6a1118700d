"""What must be on the disk before the trainer starts: model files, laid-out folders, the prompts to compare with.

Stages whose caches an earlier launch left are passed over. The folder stands for the data, the options and the
encoders' places; ``filled.json`` in it for the rest: the commands, the trainer's commit, the encoders' own files, and
every file that was left. The training takes whatever lies there (dataset/image_video_dataset.py:508), so one file too
many counts as one too few.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kohya_runner import hub, safe_files
from kohya_runner.dataset.edit import one_line
from kohya_runner.dataset.layout import Layout
from kohya_runner.dataset.tree_build import build, prune
from kohya_runner.engines.arguments import PATHS
from kohya_runner.engines.protocol import CACHES
from kohya_runner.errors import TrainerError
from kohya_runner.install.random_model import ensure_random_model, random_model_paths
from kohya_runner.machine.downloads import pipeline_files, wants_fp16_variant
from kohya_runner.machine.fetch import DownloadProgress, fetch, fetch_pipeline
from kohya_runner.plan.report import plan_json
from kohya_runner.plan.resume_options import wanted
from kohya_runner.plan.space import is_cached
from kohya_runner.plan.value import Plan
from kohya_runner.recipe.finish import Compare
from kohya_runner.recipe.models import HUB_ID
from kohya_runner.recipe.starter import resolved_recipe
from kohya_runner.record import ledger
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import write_json
from kohya_runner.text import duration, size

Say = Callable[..., None]


def models(plan: Plan, environ: Mapping[str, str], say: Say) -> None:
    """Fetch the Hub files and write the random-weight model, whichever the recipe asks for.

    Raises:
        PreflightError: a file cannot be had, does not fit, or is not what the Hub says.
        TrainerError: the random model cannot be written.
    """
    files_of_hub(plan, environ, say)
    recipe = plan.loaded.recipe
    if recipe is None or isinstance(recipe.model, str):
        return
    family = recipe.model.random
    if random_model_paths(family, plan.workspace.models).exists():
        return
    if plan.python is None or plan.checkout is None:
        raise TrainerError("the random-weight model needs the trainer", hint="run: kohya-runner setup")
    say(f"writing a random-weight {family} model, once (15 s to 2 min)", lasting=True)
    ensure_random_model(family, plan.workspace, python=plan.python.path, checkout=plan.checkout.root)


def files_of_hub(plan: Plan, environ: Mapping[str, str], say: Say) -> None:
    """Every file of the Hub that the run needs and that is not here: it can be done before there is a trainer.

    Raises ``PreflightError``: a file cannot be had, does not fit, or is not what the Hub says.
    """
    reach, show = hub.access(environ), _fetch_progress(say)
    if plan.fetches:
        fetch([item.file for item in plan.fetches], plan.workspace.models, reach=reach, on_progress=show)
    recipe, support = plan.loaded.recipe, plan.support
    if recipe is None or support is None or not isinstance(recipe.model, str) or not HUB_ID.match(recipe.model):
        return
    precision = next((str(arg.value) for arg in plan.args if arg.name == "mixed_precision"), "no")
    if is_cached(recipe.model, support, plan.workspace, precision):
        return
    (fact,) = hub.hub_facts([recipe.model], reach)
    if fact.status == "ok":  # else the plan has said so, or the trainer's own words tell it
        fp16, sizes = wants_fp16_variant(support.family, precision), dict(fact.files)
        names = pipeline_files(sizes, family=support.family, fp16=fp16)
        cache = plan.workspace.cache / "huggingface" / "hub"
        fetch_pipeline(recipe.model, {n: sizes[n] for n in names}, cache, reach=reach, on_progress=show)


def ahead(plan: Plan, environ: Mapping[str, str], say: Say) -> None:
    """What a launch will need beside the trainer: model files of the Hub, and the dataset, laid out."""
    if not plan.request.practice:
        files_of_hub(plan, environ, say)
    if plan.layout is not None and plan.command is not None:
        cache_folders(plan.command.env)
        views = ledger.runs(plan.workspace.runs)
        dataset(plan.layout, in_use(views), say)


def in_use(views: Iterable[ledger.RunView]) -> set[str]:
    """The laid-out trees of runs that go on."""
    return {str(view.record.dataset.get("key")) for view in views if view.record and view.state in LIVE}


def _fetch_progress(say: Say) -> Callable[[DownloadProgress], None]:
    """A line per file: how much of how much, and how long it will still take."""
    begun: dict[str, tuple[float, int]] = {}

    def show(progress: DownloadProgress) -> None:
        now = time.monotonic()
        start, first = begun.setdefault(progress.file, (now, progress.done))
        rate = (progress.done - first) / max(now - start, 0.001)
        left = f", {duration((progress.total - progress.done) / rate)} left" if rate > 0 else ""
        done = progress.done >= progress.total
        say(
            f"fetching {progress.file}: {size(progress.done)} of {size(progress.total)}{'' if done else left}",
            lasting=done,
        )

    return show


def dataset(layout: Layout, in_use: Collection[str], say: Say) -> None:
    """Lay the folders out; trees of this recipe that no run uses are removed, their caches carried over first."""
    built = build(layout)
    if built.created:
        images = sum(folder.images for folder in layout.folders)
        say(f"laid out {images} images in {layout.tree}", lasting=True)
    if built.set_aside:
        say(
            f"{len(built.set_aside)} file(s) that did not belong there moved to {built.set_aside[0].parent}",
            lasting=True,
        )
    keep = {layout.key, *in_use}
    prune(layout.root, keep)
    for cache in layout.root.glob(f"{CACHES}*"):
        if cache.name.removeprefix(CACHES) not in keep:
            shutil.rmtree(cache, ignore_errors=True)


def files(plan: Plan) -> None:
    """What an engine's scripts read beside the folders."""
    for file in plan.files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        safe_files.write_text(file.path, file.text)


def folders(plan: Plan) -> None:
    """The caches and the run's own folders."""
    cache_folders(plan.ready.command.env)
    RunPaths(plan.ready.run_dir).output.mkdir(parents=True, exist_ok=True)


def cache_folders(env: Mapping[str, str]) -> None:
    """The folders that these variables name: some libraries do not make their parents."""
    for name, value in env.items():
        if name.endswith(("_HOME", "_CACHE", "_DIR")) or name == "TMPDIR":
            os.makedirs(value, exist_ok=True)  # noqa: PTH103 - a text from an environment


def described(plan: Plan) -> None:
    """Write the plan, and the recipe that launches it again, before anything else can fail."""
    paths, made = RunPaths(plan.ready.run_dir), [arg for arg in plan.anew if arg.source.startswith("runner")]
    safe_files.write_json(paths.plan, plan_json(plan), safe_files.PRIVATE)
    title, loaded, recipe = f"{plan.name}/{plan.ready.run_dir.name}", plan.loaded, plan.loaded.recipe
    if recipe is not None and any("--resume" in arg.source for arg in made):  # it keeps states as this run does
        kept = recipe.resume.model_copy(update={"states": wanted(loaded, asked=True)})
        loaded = replace(loaded, recipe=recipe.model_copy(update={"resume": kept}))
    text = resolved_recipe(loaded, PATHS, title, [token for arg in made for token in arg.tokens])
    safe_files.write_text(paths.recipe, text, safe_files.PRIVATE)


def prompt_lines(compare: Compare) -> list[str]:
    """The prompts as gen_img.py reads them with --from_file (gen_img.py:2810-3000): a line per prompt and seed."""
    width, height = compare.size.split("x")
    negative = f" --n {one_line(compare.negative)}" if compare.negative else ""
    flags = f"--w {width} --h {height} --s {compare.steps} --l {compare.guidance}"
    return [f"{one_line(p)} {flags} --d {seed}{negative}" for p in compare.prompts for seed in compare.seeds]


def prompts(plan: Plan) -> None:
    compare = plan.loaded.recipe.compare if plan.loaded.recipe else None
    if compare is not None and compare.prompts:
        safe_files.write_text(RunPaths(plan.ready.run_dir).prompts, "\n".join(prompt_lines(compare)) + "\n")


CACHE_MANIFEST = "filled.json"
SMALLEST_ENCODER = 1 << 20  # bytes; no encoder is so small


def caches_are_current(plan: Plan) -> bool:
    """Whether nothing is to be done; never where everything is to be read afresh."""
    if plan.caches is None or plan.request.fresh:
        return False
    with contextlib.suppress(OSError, ValueError):
        return safe_files.read_json(plan.caches / CACHE_MANIFEST) == _caches_made_of(plan, plan.caches)
    return False


def invalidate_caches(plan: Plan) -> None:
    """What is filled again counts as nothing until it is done."""
    if plan.caches is not None:
        with contextlib.suppress(OSError):
            (plan.caches / CACHE_MANIFEST).unlink()


def write_cache_manifest(plan: Plan) -> None:
    """Write down what the stages left; where that fails, they are run again one day."""
    if plan.caches is not None and plan.caches.is_dir():
        with contextlib.suppress(OSError):
            write_json(plan.caches / CACHE_MANIFEST, _caches_made_of(plan, plan.caches))


def _caches_made_of(plan: Plan, folder: Path) -> dict[str, object]:
    commands = [list(stage.command.argv) for stage in plan.stages]
    commit = plan.checkout.commit if plan.checkout else None
    read = sorted({place for argv in commands for token in argv for place in _files_named(token)})
    text = json.dumps([commands, commit, [[str(path), _identity(path)] for path in read]])
    kept = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / CACHE_MANIFEST)
    found = {path.relative_to(folder).as_posix(): _size_and_time(path) for path in kept}
    return {"version": 1, "key": hashlib.sha256(text.encode()).hexdigest(), "files": found}


def _files_named(token: str) -> Iterator[Path]:
    """The files that an option names, and those beside it that a model in pieces has."""
    path = Path(token.partition("=")[2] or token)
    if path.is_absolute() and path.is_file():
        yield path
        if "-of-" in path.stem:
            yield from path.parent.glob(f"*{path.suffix}")


def _identity(path: Path) -> str | list[int]:
    """Of a small file, such as the one that lists the data, what is in it: it is written at every launch."""
    small = path.stat().st_size <= SMALLEST_ENCODER
    return hashlib.sha256(path.read_bytes()).hexdigest() if small else _size_and_time(path)


def _size_and_time(path: Path) -> list[int]:
    """Size and time, which a file that is written again does not keep."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
