"""musubi-tuner's part of a plan: two stages that fill caches, and a training that reads nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.buckets import BucketSettings
from kohya_runner.dataset.trainer_view import Rules
from kohya_runner.dataset.tree.layout import plan_layout
from kohya_runner.engines import arguments, method_data
from kohya_runner.engines.built import Built, Dialect, Stage
from kohya_runner.engines.musubi.arguments import by_runner, stage_args
from kohya_runner.engines.musubi.dataset_config import cache_key, cache_root, dataset_config
from kohya_runner.engines.musubi.dataset_options import disagreements, of_folder, read_options
from kohya_runner.engines.musubi.steps import Length, Part, plan_steps
from kohya_runner.engines.rules.table import evaluate
from kohya_runner.engines.saves import SaveSettings
from kohya_runner.engines.sd_scripts.build import context, with_args
from kohya_runner.engines.table import options_for
from kohya_runner.plan import resume_options
from kohya_runner.record.numbering import next_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.musubi.buckets import Size
    from kohya_runner.engines.musubi.dataset_options import DatasetOptions
    from kohya_runner.engines.settings import Settings
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.findings import Finding
    from kohya_runner.plan.draft import Draft, Known
    from kohya_runner.recipe.load import Loaded

EXTENSION = ".txt"
"""Of laid-out captions; the trainer has no default (dataset/media_utils.py:58)."""


def build(draft: Draft, known: Known, scans: tuple[Scan, ...]) -> Built:
    """Folders, steps, stages and options; the faults of ``datasets[].options`` are found here, too."""
    loaded, recipe, support = draft.loaded, known.recipe, known.support
    options, faults = read_options(loaded)
    key = cache_key(known.settings, support, options, known.models.components)
    laid = plan_layout(scans, draft.workspace.datasets / recipe.name, key, caption_extension=EXTENSION)
    layout = method_data.arranged(laid, support, known.pairs)
    draft.findings += [*faults, *(f for folder in layout.folders for f in disagreements(loaded, options, folder))]
    steps, every = _steps(draft, known, layout, options)
    series = resume_options.going_on(draft, known)
    run_dir = series.path if series else next_run(draft.workspace.runs / recipe.name)
    config = dataset_config(loaded, layout, options)
    args = (*by_runner(loaded, known, config.path, run_dir=run_dir, save_every=every), *known.given)
    final = with_args(known, args)
    draft.findings += evaluate(context(final, steps))
    stages = tuple(
        Stage(row.phase, row.script, stage_args(loaded, final, row, config.path, options_for(row.script, None)))
        for row in support.stages
    )
    built = Built(final, layout, steps, run_dir, series, stages=stages, files=(config,), caches=cache_root(layout))
    return resume_options.resumed(draft, built)


def _steps(
    draft: Draft, known: Known, layout: Layout, options: Mapping[int, DatasetOptions]
) -> tuple[StepsPlan | None, int]:
    """The numbers, and the runner's own save cadence, which depends on the number of epochs."""
    parts = tuple(_parts(draft.loaded, layout, options))
    own = not arguments.has_cadence(known.settings.given)

    def planned(every: int | None) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
        more = {} if every is None else {"save_every_n_epochs": every}
        return plan_steps(parts, length(known.settings.all() | more, known.recipe.name, processes))

    processes = known.recipe.launch.num_processes
    if len(parts) != len(layout.folders) or not parts:  # a dataset without a resolution, or none: said already
        return None, 1
    steps, findings = planned(1 if own else None)
    every = arguments.cadence(steps.epochs) if own and steps else 1
    if every > 1:
        steps, findings = planned(every)
    places = {f"args.{name}": draft.loaded.where("args", name) for name in known.settings.given}
    draft.findings += [replace(found, where=found.where or places.get(found.code, "")) for found in findings]
    return steps, every


def _parts(loaded: Loaded, layout: Layout, options: Mapping[int, DatasetOptions]) -> list[Part]:
    controls = {folder.name: folder.entries for folder in layout.conditions}
    found = []
    for folder in layout.folders:
        chosen, beside = of_folder(loaded, options, folder), controls.get(folder.name, ())
        sizes: list[tuple[Size, tuple[Size, ...]]] = [
            (entry.size, tuple(other.size for other in beside[index : index + 1]))
            for index, entry in enumerate(folder.entries)
        ]
        if chosen.known:
            found.append(Part(tuple(sizes), folder.repeats, chosen.batch_size, chosen.buckets))
    return found


def length(values: Mapping[str, Any], name: str, processes: int) -> Length:
    """What of the options decides the number of steps and saves."""
    saves = {field.name for field in fields(SaveSettings)} - {"output_name"}
    given = {key: value for key, value in values.items() if key in saves and value is not None}
    names = ("max_train_steps", "max_train_epochs", "gradient_accumulation_steps")
    stated = {key: values[key] for key in names if values.get(key) is not None}
    return Length(SaveSettings(name, **given), num_processes=processes, **stated)


def picture_rules(loaded: Loaded, _: Settings) -> Rules:
    """By the first entry's options: what most recipes say for all of them."""
    first = next(iter(read_options(loaded)[0].values()), None)
    if first is None or not first.known:
        return Rules(takes_interpolation=False)
    sides = [side for size in first.buckets.sizes for side in size]
    buckets = BucketSettings(
        first.buckets.resolution, enable_bucket=first.buckets.enable_bucket, bucket_reso_steps=16,
        bucket_no_upscale=first.buckets.bucket_no_upscale, min_bucket_reso=min(sides), max_bucket_reso=max(sides),
    )  # fmt: skip
    return Rules(buckets=buckets, takes_interpolation=False)


DIALECT = Dialect(picture_rules=picture_rules, can_build=lambda *_: True, build=build)
