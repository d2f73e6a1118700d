"""What the runner adds to the options of musubi-tuner's scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.engines.arguments import Arg, has_cadence
from kohya_runner.options import values
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kohya_runner.engines.support import StageRow
    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.plan.draft import Known
    from kohya_runner.recipe.load import Loaded

    Wished = list[tuple[str, Any, str]]

ATTENTION = ("sdpa", "flash_attn", "xformers", "flash3", "sage_attn")


def by_runner(loaded: Loaded, known: Known, config: Path, *, run_dir: Path, save_every: int) -> tuple[Arg, ...]:
    """Models, data, outputs, and the options without which the scripts fail late (training/trainer_base.py).

    Autoencoder and text encoders are read only where samples are painted; ``compare`` finds them there.
    """
    support, settings, recipe, models = known.support, known.settings, known.recipe, known.models
    wished: Wished = [
        (support.model_option, models.base, loaded.where("model")),
        *((support.flag_of(n), str(path), loaded.where("components", n)) for n, path in models.components.items()),
        ("dataset_config", str(config), loaded.where("datasets")),
        ("output_dir", str(RunPaths(run_dir).output), "runner: the run's folder"),
        ("output_name", recipe.name, loaded.where("name")),
    ]
    if settings.given.get("network_module") is None:
        wished.append(("network_module", support.network_module, f"runner: family {support.family}"))
    wished += [(name, value, f"runner: {support.script}") for name, value in support.unset(settings.given).items()]
    if not any(settings.on(name) for name in ATTENTION):
        wished.append(("sdpa", True, "runner: the script has no attention of its own choice"))
    if not has_cadence(settings.given):
        wished.append(("save_every_n_epochs", save_every, "runner: the trainer would save only at the end"))
    if settings.given.get("log_with") is not None:
        wished.append(("logging_dir", str(RunPaths(run_dir).tensorboard), "runner: log_with is set"))
    return tuple(_args(settings.options, wished))


def stage_args(loaded: Loaded, known: Known, row: StageRow, config: Path, options: ScriptOptions) -> tuple[Arg, ...]:
    """The data, the encoders and what of the recipe's options the stage takes as well."""
    components, settings = known.models.components, known.settings
    wished: Wished = [("dataset_config", str(config), loaded.where("datasets"))]
    wished += [
        (known.support.flag_of(name), str(components[name]), loaded.where("components", name))
        for name in row.components
        if name in components
    ]
    given = [(name, settings.given.get(name)) for name in row.options]
    wished += [(name, value, loaded.where("args", name)) for name, value in given if value is not None]
    return tuple(_args(options, wished))


def _args(options: ScriptOptions, wished: Wished) -> Iterator[Arg]:
    for name, value, source in wished:
        yield Arg(name, value, values.tokens(options[name], value), source)
