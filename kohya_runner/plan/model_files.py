"""The recipe's model files by their headers: those that are here, and those of the Hub before they are fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.model_inspection import MODEL, inspect_file
from kohya_runner.machine.remote_header import inspect_hub_files

if TYPE_CHECKING:
    from kohya_runner.artefact.file_hash import Hashes
    from kohya_runner.artefact.model_inspection import Inspected
    from kohya_runner.hub import Access
    from kohya_runner.plan.models import Models
    from kohya_runner.recipe.load import Loaded

FILES = frozenset({"path", "hub_file"})


def inspect_models(
    loaded: Loaded, models: Models, *, reach: Access | None, hashes: Hashes | None = None
) -> tuple[Inspected, ...]:
    """What is known of each, base model first. Without ``reach`` the Hub is not asked."""
    paths = {MODEL: Path(models.base)} if models.kind in FILES else {}
    paths |= models.components
    here = {slot: path for slot, path in paths.items() if path.is_file()}
    found = {slot: inspect_file(slot, path, _place(loaded, slot), hashes) for slot, path in here.items()}
    if reach is not None:
        files = {fetch.target: fetch.file for fetch in models.fetches}
        absent = [(slot, files[path]) for slot, path in paths.items() if slot not in here and path in files]
        found |= {seen.slot: seen for seen in inspect_hub_files(absent, reach)}
    return tuple(seen for slot in paths if (seen := found.get(slot)) is not None)


def _place(loaded: Loaded, slot: str) -> str:
    return loaded.where("model") if slot == MODEL else loaded.where("components", slot)
