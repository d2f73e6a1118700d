"""musubi-tuner's part of a plan: two stages that fill caches, and a training that reads nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.buckets import BucketSettings
from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.edit import EditSet, Paired
from kohya_runner.dataset.edit_layout import with_controls, with_edits
from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.trainer_view import Rules
from kohya_runner.engines.arguments import Arg, StatedOption, option_arg, runner_options
from kohya_runner.engines.musubi import MUSUBI_TUNER, dataset_options
from kohya_runner.engines.musubi.steps import MusubiLength, Part, Size, plan_steps
from kohya_runner.engines.protocol import Arranged, EarlierStage, Planned, ResolvedRecipe
from kohya_runner.engines.steps_plan import SaveSettings
from kohya_runner.engines.support import StageRow
from kohya_runner.options.snapshot import engine_options
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from kohya_runner.recipe.load import Loaded

EXTENSION = ".txt"
"""Of laid-out captions; the trainer has no default (dataset/media_utils.py:58)."""
ATTENTION = ("sdpa", "flash_attn", "xformers", "flash3", "sage_attn")


def arrange(resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
    """Pictures and controls in folders of their own, and the dataset config that names them."""
    loaded, pairs = resolved.loaded, resolved.pairs
    options, faults = dataset_options.read_options(loaded)
    key = dataset_options.cache_key(resolved.parsed, resolved.support, options, resolved.models.components)
    laid = plan_layout(scans, tree, key, caption_extension=EXTENSION)
    edits = tuple(pair for pair in pairs if isinstance(pair, EditSet))
    if edits:
        layout = with_edits(laid, edits, fit=False)
    else:
        layout = with_controls(laid, tuple(pair for pair in pairs if isinstance(pair, Paired)))
    own = {folder.name: dataset_options.of_folder(loaded, options, folder).given for folder in layout.folders}
    layout = replace(layout, own=json.dumps(own, default=str))
    found = (*faults, *(f for folder in layout.folders for f in dataset_options.disagreements(loaded, options, folder)))
    return Arranged(
        layout, found, (dataset_options.dataset_config(loaded, layout, options),), dataset_options.cache_root(layout)
    )


def steps(resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
    """The numbers; none for a dataset without a resolution, or without any: said already."""
    parts = tuple(_parts(resolved.loaded, layout, dataset_options.read_options(resolved.loaded)[0]))
    if len(parts) != len(layout.folders) or not parts:
        return None, ()
    return plan_steps(parts, length(values, resolved.recipe.name, resolved.recipe.launch.world))


def arguments(
    resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
) -> tuple[Arg, ...]:
    """Models, data, outputs, and the options without which the scripts fail late (training/trainer_base.py).

    Autoencoder and text encoders are read only where samples are painted; ``compare`` finds them there.
    """
    data = ("dataset_config", str(arranged.files[0].path), resolved.loaded.where("datasets"))
    chosen = any(resolved.parsed.on(name) for name in ATTENTION)
    own = [] if chosen else [("sdpa", True, "runner: the script has no attention of its own choice")]
    return runner_options(resolved, run, [data], saving, own)


def stage(resolved: ResolvedRecipe, row: StageRow, config: Path) -> EarlierStage:
    """The data, the encoders and what of the recipe's options the stage takes as well."""
    components, loaded = resolved.models.components, resolved.loaded
    stated: list[StatedOption] = [("dataset_config", str(config), loaded.where("datasets"))]
    stated += [
        (resolved.support.flag_of(name), str(components[name]), loaded.where("components", name))
        for name in row.components
        if name in components
    ]
    given = [(name, resolved.parsed.given.get(name)) for name in row.options]
    stated += [(name, value, loaded.where("args", name)) for name, value in given if value is not None]
    options = engine_options(MUSUBI_TUNER, row.script, None)
    args = tuple(option_arg(options, name, value, source) for name, value, source in stated)
    return EarlierStage(row.phase, row.script, args)


def _parts(loaded: Loaded, layout: Layout, options: Mapping[int, dataset_options.DatasetOptions]) -> list[Part]:
    controls = {folder.name: folder.entries for folder in layout.conditions}
    found = []
    for folder in layout.folders:
        chosen, beside = dataset_options.of_folder(loaded, options, folder), defaultdict[str, list[Size]](list)
        for other in controls.get(folder.name, ()):
            beside[stem(other.name).partition("_")[0] if layout.edits else stem(other.name)].append(other.size)
        sizes = [(entry.size, tuple(beside[stem(entry.name)])) for entry in folder.entries]
        if chosen.known:
            found.append(Part(tuple(sizes), folder.repeats, chosen.batch_size, chosen.buckets))
    return found


def length(values: Mapping[str, Any], name: str, processes: int) -> MusubiLength:
    """What of the options decides the number of steps and saves."""
    saves = {field.name for field in fields(SaveSettings)} - {"output_name"}
    given = {key: value for key, value in values.items() if key in saves and value is not None}
    names = ("max_train_steps", "max_train_epochs", "gradient_accumulation_steps")
    stated = {key: values[key] for key in names if values.get(key) is not None}
    return MusubiLength(SaveSettings(name, **given), num_processes=processes, **stated)


def picture_rules(loaded: Loaded) -> Rules:
    """By the first entry's options: what most recipes say for all of them."""
    first = next(iter(dataset_options.read_options(loaded)[0].values()), None)
    if first is None or not first.known:
        return Rules(takes_interpolation=False)
    sides = [side for size in first.buckets.sizes for side in size]
    buckets = BucketSettings(
        first.buckets.resolution, enable_bucket=first.buckets.enable_bucket, bucket_reso_steps=16,
        bucket_no_upscale=first.buckets.bucket_no_upscale, min_bucket_reso=min(sides), max_bucket_reso=max(sides),
    )  # fmt: skip
    return Rules(buckets=buckets, takes_interpolation=False)
