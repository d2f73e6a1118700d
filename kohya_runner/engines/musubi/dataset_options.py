"""musubi-tuner's dataset config: the file it cannot do without, and ``datasets[].options`` under its names.

What a recipe says there of one entry holds for the folder that the entry is laid out in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.buckets import parse_resolution
from kohya_runner.dataset.edit import CONCEPT
from kohya_runner.dataset.facts import Folder
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.musubi import TABLE
from kohya_runner.engines.musubi.steps import STEP, MusubiBuckets
from kohya_runner.engines.protocol import CACHES, TextFile
from kohya_runner.engines.support import Support
from kohya_runner.findings import Finding, error
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.recipe.load import Loaded

LARGEST = 8192


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """What the recipe says of one entry; ``given`` are the keys as they will stand in the dataset config."""

    buckets: MusubiBuckets = field(default_factory=lambda: MusubiBuckets((0, 0)))
    batch_size: int = 1
    given: tuple[tuple[str, Any], ...] = ()

    @property
    def known(self) -> bool:
        return min(self.buckets.resolution) > 0


def _size(value: Any) -> tuple[int, int] | None:
    found = None if isinstance(value, bool | float) else parse_resolution(value)
    return found if found and all(STEP <= side <= LARGEST for side in found) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000 else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_PIXELS = f"one or two whole numbers from {STEP} to {LARGEST}, such as 1024 or [1024, 768]"
KEYS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "resolution": (_size, _PIXELS),
    "batch_size": (_count, "a whole number from 1"),
    "enable_bucket": (_switch, "true or false"),
    "bucket_no_upscale": (_switch, "true or false"),
    "no_resize_control": (_switch, "true or false"),
    "control_resolution": (_size, _PIXELS),
}
"""Key -> how its value is read (None: not one) and what it must be."""
INSTEAD: Mapping[str, str] = TABLE["instead"]
"""What people write there -> the place for it."""


def read_options(loaded: Loaded) -> tuple[dict[int, DatasetOptions], tuple[Finding, ...]]:
    """The options of each entry by its number, and every fault in them."""
    found: dict[int, DatasetOptions] = {}
    faults: list[Finding] = []
    for index, entry in loaded.datasets.items():
        values: dict[str, Any] = {}
        for key, value in entry.options.items():
            problem = _fault(loaded, index, key, value)
            faults += [problem] if problem else []
            if not problem and value is not None:
                values[key] = KEYS[key][0](value)
        if entry.options.get("resolution") is None and "resolution" not in loaded.args:  # there it is told already
            text = f"datasets.{index}.options.resolution is missing: "
            text += "the trainer would take 960x544 (dataset/config_utils.py:34)"
            hint = f"write datasets.{index}.options: {{resolution: 1024, enable_bucket: true}}"
            faults.append(error("args.missing", text, where=str(loaded.place("datasets", index)), hint=hint))
        given = tuple((key, list(v) if isinstance(v, tuple) else v) for key, v in sorted(values.items()))
        batch_size = values.pop("batch_size", 1)
        found[index] = DatasetOptions(MusubiBuckets(**{"resolution": (0, 0)} | values), batch_size, given)
    return found, tuple(faults)


def _fault(loaded: Loaded, index: int, key: str, value: Any) -> Finding | None:
    where = str(loaded.place("datasets", index, "options", key))
    name = f"datasets.{index}.options.{key}"
    if key not in KEYS:
        hint = INSTEAD.get(key) or did_you_mean(key, KEYS)
        return error("recipe.unknown_key", f"{name}: no option of a dataset for this trainer", where=where, hint=hint)
    read, words = KEYS[key]
    if value is None or read(value) is not None:
        return None
    return error("recipe.value", f"{name}: must be {words}", where=where)


def of_folder(loaded: Loaded, options: Mapping[int, DatasetOptions], folder: Folder) -> DatasetOptions:
    """The options of the entries that a folder was laid out from."""
    return next((options[i] for i in _entries(loaded, folder) if i in options), DatasetOptions())


def disagreements(loaded: Loaded, options: Mapping[int, DatasetOptions], folder: Folder) -> Iterator[Finding]:
    """Entries that share a folder and say different things about it."""
    entries = _entries(loaded, folder)
    for index in entries[1:]:
        if options.get(index) != options.get(entries[0]):
            first = f"datasets.{entries[0]}"
            text = f"datasets.{index}.options: other options than {first}, whose folder {folder.name} it shares"
            hint = "write the same options, or another concept or other repeats"
            yield error("recipe.value", text, where=str(loaded.place("datasets", index)), hint=hint)


def _entries(loaded: Loaded, folder: Folder) -> tuple[int, ...]:
    """Edit pairs of the same repeats share a folder, pictures those of the same concept and repeats."""
    alike = {index: entry for index, entry in loaded.datasets.items() if entry.repeats == folder.repeats}
    named = tuple(index for index, entry in alike.items() if entry.concept == folder.concept)
    edits = tuple(i for i, entry in alike.items() if entry.images.endswith((".json", ".jsonl")))
    return (edits or named) if folder.concept == CONCEPT else named


CACHE_OPTIONS = ("vae_dtype", "fp8_text_encoder", "fp8_t5")
LATER_CACHE_OPTIONS = ("fp8_llm", "fp8_vl")
"""Options that change what is cached, beside the data and the encoders themselves; those that came later count only
where they are given, so that no older cache is another one."""
NOT_CACHED = ("batch_size",)


def cache_key(
    settings: ParsedOptions, support: Support, options: Mapping[int, DatasetOptions], components: Mapping[str, Path]
) -> str:
    """A hash over all but pictures and captions that a cache depends on.

    The trainer takes whatever lies in the cache folder (dataset/image_video_dataset.py:508): a changed resolution
    would train the old latents, a removed picture would go on being trained.
    """
    shaped = [[pair for pair in one.given if pair[0] not in NOT_CACHED] for _, one in sorted(options.items())]
    encoders = {name: str(path) for name, path in sorted(components.items())}
    facts = {name: settings.get(name) for name in CACHE_OPTIONS}
    later = (*LATER_CACHE_OPTIONS, *support.needs)  # the variant that must be named decides how captions are read
    facts |= {name: settings.get(name) for name in later if settings.given.get(name)}
    text = json.dumps([support.family, support.architecture(settings.given), shaped, encoders, facts], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cache_root(layout: Layout) -> Path:
    """Where the caches of a tree are: beside it, named by its key, which stands for everything they depend on."""
    return layout.root / f"{CACHES}{layout.key}"


def dataset_config(loaded: Loaded, layout: Layout, options: Mapping[int, DatasetOptions]) -> TextFile:
    """The file, named by its content, with absolute paths; ASCII, because it is read in the machine's encoding."""
    text = json.dumps({"datasets": list(_datasets(loaded, layout, options))}, indent=1) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return TextFile(layout.root / f"dataset-{digest}.json", text)


def _datasets(loaded: Loaded, layout: Layout, options: Mapping[int, DatasetOptions]) -> Iterator[dict[str, Any]]:
    controls = {folder.name: layout.folder_path(folder) for folder in layout.conditions}
    for folder in layout.folders:
        control = controls.get(folder.name)
        yield {
            "image_directory": str(layout.folder_path(folder)),
            **({"control_directory": str(control)} if control else {}),
            "cache_directory": str(cache_root(layout) / folder.name),
            "caption_extension": layout.caption_extension,
            "num_repeats": folder.repeats,
            **dict(of_folder(loaded, options, folder).given),
        }
