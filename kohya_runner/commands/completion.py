"""What a shell completes: families, runs and recipes (``_KOHYA_RUNNER_COMPLETE=bash_source kohya-runner``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click


def complete_families(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The families of all engines."""
    from kohya_runner.engines.table import families

    return [name for name in families() if name.startswith(begun)]


def complete_runs(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The runs of the workspace as ``NAME/001``, the newest first; nothing where they cannot be read."""
    from kohya_runner.errors import RunnerError
    from kohya_runner.run.views import all_runs

    with contextlib.suppress(RunnerError, OSError):
        found = all_runs(context.params.get("workspace"))
        return [name for view in reversed(found) if (name := f"{view.name}/{view.run_id}").startswith(begun)]
    return []


def complete_recipes(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """YAML files, and the folders on the way to them."""
    return sorted(_paths(begun))


def _paths(begun: str) -> Iterator[str]:
    from pathlib import Path

    folder, slash, name = begun.rpartition("/")
    with contextlib.suppress(OSError, RuntimeError):
        for path in Path(f"{folder}{slash}" or ".").expanduser().iterdir():
            if path.name.startswith(name) and name.startswith(".") == path.name.startswith("."):
                if path.is_dir():
                    yield f"{folder}{slash}{path.name}/"
                elif path.suffix in (".yaml", ".yml"):
                    yield f"{folder}{slash}{path.name}"
