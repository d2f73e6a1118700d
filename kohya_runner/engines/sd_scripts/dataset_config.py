"""Options of one dataset alone: which there are, of what kind, and the dataset file that they are passed in.

The keys are those of the trainer's own schemas (library/config_util.py:163-233 of the pinned commit). What is set
per dataset decides buckets and batches, what is set per folder of it decides pictures and captions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kohya_runner.dataset.buckets import parse_resolution
from kohya_runner.dataset.facts import Folder, Source
from kohya_runner.dataset.layout import Layout
from kohya_runner.dataset.token_count import Encoder
from kohya_runner.dataset.trainer_view import Rules, rules_from
from kohya_runner.engines.arguments import ParsedOptions, as_one_dataset
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.sd_scripts.rules import SUBJECTS
from kohya_runner.engines.support import Support
from kohya_runner.findings import Finding, error
from kohya_runner.options import values
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.recipe.load import Loaded
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean

Kind = Literal["bool", "int", "str", "float", "number", "pair", "size", "dict"]
"""What the schema asks for: ``number`` is a whole one or not, ``float`` never a whole one, ``pair`` two floats."""


_TABLE = read_table(Path(__file__).with_name("dataset_options.toml"))
KEYS: Mapping[str, Kind] = {
    name: kind for part in ("of_folder", "of_dataset") for kind, names in _TABLE[part].items() for name in names
}
PER_DATASET = frozenset(name for names in _TABLE["of_dataset"].values() for name in names)
"""Those that make buckets of their own."""
INSTEAD: Mapping[str, str] = _TABLE["instead"]
"""Keys that the runner sets, and what people write for a key of another name."""
ARGUMENT: Mapping[str, str] = {"batch_size": "train_batch_size"}
"""The option of the command line that a key stands for, where that is another name."""
WITHOUT_ARGUMENT = ("network_multiplier", "custom_attributes")


def canonical(options: Mapping[str, Any]) -> str:
    """The options as one text that is equal for equal options; "" for none."""
    return json.dumps(options, sort_keys=True) if options else ""


def options_of(text: str) -> dict[str, Any]:
    return dict(json.loads(text)) if text else {}


def converted(key: str, value: Any) -> tuple[Any, str]:
    """The value as the schema takes it, and what is wrong with it ("" for nothing)."""
    kind = KEYS[key]
    if kind == "pair":
        return _pair(value)
    if kind == "size":
        sides = parse_resolution(value)
        return list(sides or ()), "" if sides and min(sides) > 0 else "is not a size: write 512 or [512, 768]"
    types, words = _TYPES[kind]
    if type(value) not in types:
        return value, f"must be {words}, and is {json.dumps(value)}"
    return (float(str(value)) if kind == "float" else value), ""


_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"), "int": ((int,), "a whole number"), "str": ((str,), "text"),
    "float": ((int, float), "a number"), "number": ((int, float), "a number"), "dict": ((dict,), "a mapping"),
}  # fmt: skip


def _pair(value: Any) -> tuple[Any, str]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        return value, "must be two numbers, such as [1.0, 2.0]"
    return [low, high], "" if low <= high else "must be two numbers, the smaller one first"


def groups(folders: Iterable[Folder]) -> Iterator[tuple[dict[str, Any], tuple[Folder, ...]]]:
    """The trainer's datasets: folders with the same options per dataset share buckets and batches."""
    found: dict[str, list[Folder]] = {}
    for folder in folders:
        found.setdefault(canonical(per_dataset(folder)), []).append(folder)
    yield from ((options_of(text), tuple(members)) for text, members in found.items())


def per_dataset(folder: Folder) -> dict[str, Any]:
    """Those of a folder's options that make buckets of their own."""
    return {key: value for key, value in options_of(folder.options).items() if key in PER_DATASET}


def with_config(layout: Layout) -> Layout:
    """The layout with the trainer's dataset file, where any dataset has options of its own; else as it is."""
    if not any(folder.options for folder in layout.folders):
        return layout
    datasets = [
        {**own, "subsets": [_subset(layout, folder) for folder in members]} for own, members in groups(layout.folders)
    ]
    return replace(layout, config=json.dumps({"datasets": datasets}, indent=1) + "\n")


def _subset(layout: Layout, folder: Folder) -> dict[str, Any]:
    """What the folder's name says without such a file (library/config_util.py:614), and its own options."""
    own = {key: value for key, value in options_of(folder.options).items() if key not in PER_DATASET}
    return {
        "image_dir": str(layout.folder_path(folder)),
        "num_repeats": folder.repeats,
        "class_tokens": folder.concept,
        "is_reg": folder.regularization,
        **own,
    }


def usable(entry_options: Mapping[str, Any]) -> str:
    """The options that the trainer would take, as one text; the others are findings."""
    known = {key: converted(key, value) for key, value in entry_options.items() if key in KEYS and value is not None}
    return canonical({key: value for key, (value, problem) in known.items() if not problem})


def findings(loaded: Loaded, support: Support, options: ScriptOptions) -> Iterator[Finding]:
    """Every key that there is not and every value that the trainer would refuse."""
    if not support.takes_dataset_options:
        yield from as_one_dataset(loaded, support)
    for index, entry in loaded.datasets.items():
        for key, value in entry.options.items():
            problem, hint = _problem(key, value, options)
            if problem:
                where = loaded.where("datasets", index, "options", key)
                yield error("dataset.options", f"datasets.{index}.options.{key}: {problem}", where=where, hint=hint)
    yield from _alone(loaded)


def _problem(key: str, value: Any, options: ScriptOptions) -> tuple[str, str]:
    """What is wrong with one option, and what to write instead; two empty texts for nothing."""
    if key in INSTEAD:
        return "is not an option of a dataset", INSTEAD[key]
    argument = ARGUMENT.get(key, key)
    if key not in KEYS or (argument not in options and key not in WITHOUT_ARGUMENT):
        return f"{options.script} has no such option of one dataset", did_you_mean(key, tuple(KEYS))
    if value is None:
        return "", ""
    plain, problem = converted(key, value)
    if problem or key in WITHOUT_ARGUMENT:
        return problem, ""
    text = ",".join(map(str, plain)) if isinstance(plain, list) else plain
    least = "must be 1 or more" if key == "batch_size" and plain < 1 else ""
    return values.problem(options[argument], text) or least, ""


def _alone(loaded: Loaded) -> Iterator[Finding]:
    """Class images are measured by the pictures of their own dataset (library/dreambooth_dataset.py:329)."""
    usables = {i: options_of(usable(entry.options)) for i, entry in loaded.datasets.items()}
    made = {i: canonical({k: v for k, v in own.items() if k in PER_DATASET}) for i, own in usables.items()}
    trained = {made[i] for i, entry in loaded.datasets.items() if not entry.regularization}
    for index, entry in loaded.datasets.items():
        if trained and entry.regularization and made[index] not in trained:
            text = "class images with a resolution, batch size or buckets that no dataset of the subject has"
            hint = "give them the options of the subject's dataset, or none"
            yield error("dataset.options", text, where=loaded.where("datasets", index, "options"), hint=hint)


def rules_of(option: Callable[[str], Any], encoders: tuple[Encoder, ...] = ()) -> Callable[[Source], Rules]:

    def rules(source: Source) -> Rules:
        own = _arguments(source.options)
        return rules_from(lambda name: option(name) if own.get(name) is None else own[name], encoders)

    return rules


def evaluated(context: Context, loaded: Loaded, folders: Sequence[Folder]) -> tuple[Finding, ...]:
    """The rules between options for the run, then what each dataset's own options add to them."""
    rules = [rule for rows in SUBJECTS.values() for rule in rows]
    found = dict.fromkeys(evaluate(context, rules))
    known = {finding.code for finding in found}
    for text in dict.fromkeys(folder.options for folder in folders if folder.options):
        own = _arguments(text)
        places = {**context.places, **_places(loaded, text)}
        options = replace(context.options, given={**context.options.given, **own})
        view = replace(context, options=options, places=places)
        found |= dict.fromkeys(one for one in evaluate(view, rules) if one.code not in known)
    return tuple(found)


def _arguments(text: str) -> dict[str, Any]:
    return {ARGUMENT.get(key, key): value for key, value in options_of(text).items()}


def _places(loaded: Loaded, text: str) -> dict[str, str]:
    """Where the options of the first dataset with them stand."""
    for index, entry in loaded.datasets.items():
        if usable(entry.options) == text:
            return {ARGUMENT.get(k, k): loaded.where("datasets", index, "options", k) for k in entry.options}
    return {}


def heaviest(settings: ParsedOptions, folders: Sequence[Folder]) -> ParsedOptions:
    """The run's options with the largest resolution and batch of any dataset: what memory and room are for."""
    own = [per_dataset(folder) for folder in folders]
    sizes = [one["resolution"] for one in own if "resolution" in one]
    batches = [one["batch_size"] for one in own if "batch_size" in one]
    if any("resolution" not in one for one in own):
        sizes.append(parse_resolution(settings.get("resolution")) or (0, 0))
    if any("batch_size" not in one for one in own):
        batches.append(settings.get("train_batch_size") or 1)
    if not any(own):
        return settings
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    largest = {"resolution": f"{width},{height}", "train_batch_size": max(batches)}
    return replace(settings, given={**settings.given, **largest})
