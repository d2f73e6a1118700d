"""The dataset config of a musubi-tuner run: the one file its scripts cannot do without, as JSON."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.musubi.dataset_options import of_folder
from kohya_runner.engines.protocol import CACHES, TextFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kohya_runner.dataset.layout import Layout
    from kohya_runner.engines.arguments import ParsedOptions
    from kohya_runner.engines.musubi.dataset_options import DatasetOptions
    from kohya_runner.engines.support import Support
    from kohya_runner.recipe.load import Loaded

CACHE_OPTIONS = ("vae_dtype", "fp8_text_encoder", "fp8_t5")
"""Options that change what is cached, beside the data and the encoders themselves."""
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
