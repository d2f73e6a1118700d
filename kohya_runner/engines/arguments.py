"""From a recipe to the trainer's options: each with its tokens and with who asked for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.ownership import PATHS, owned
from kohya_runner.engines.table import INFOS
from kohya_runner.findings import Finding, error
from kohya_runner.options import values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from kohya_runner.dataset.tree.layout import Layout
    from kohya_runner.engines.support import Support
    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.recipe.load import Loaded

MANY_CHECKPOINTS = 50


@dataclass(frozen=True, slots=True)
class Arg:
    """One option as it will be passed, and who asked for it."""

    name: str
    value: Any
    tokens: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Places:
    """What the runner decides: where the trainer reads and writes, as absolute paths."""

    model: str  # a path, or a Hub id
    components: Mapping[str, Path]
    layout: Layout
    output_dir: Path
    logging_dir: Path
    tokenizers: Path | None = None  # only for random-weight models: no Hub


def from_recipe(
    loaded: Loaded, support: Support, options: ScriptOptions
) -> tuple[tuple[Arg, ...], tuple[Finding, ...]]:
    """The options under ``args``, in the recipe's order, and every fault in them."""
    args: list[Arg] = []
    findings: list[Finding] = []
    given = loaded.args
    for name, raw in given.items():
        where = loaded.where("args", name)
        option = options.get(name)
        instead = owned(name, INFOS[support.engine]) or _component(name, support)
        if instead:
            findings.append(error("args.owned", f"args.{name}: is set by the runner", where=where, hint=instead))
        elif option is None:
            findings.append(_unknown(name, where, options))
        elif raw is not None:
            value = _absolute(loaded, name, raw)
            problem = values.problem(option, value)
            if problem:
                findings.append(error("args.value", f"args.{name}: {problem}", where=str(loaded.place("args", name))))
            else:
                args.append(Arg(name, value, values.tokens(option, value), where))
    return tuple(args), tuple(findings)


def _component(name: str, support: Support) -> str:
    """What to write instead of an option that is a component of the family; "" for any other."""
    return next((f"write it as components.{c.name}" for c in support.components if name in (c.name, c.flag)), "")


def _unknown(name: str, where: str, options: ScriptOptions) -> Finding:
    hint = options.advice(name) or f"see: kohya-runner options {options.script}"
    return error("args.unknown", f"args.{name}: {options.script} has no option '{name}'", where=where, hint=hint)


def _absolute(loaded: Loaded, name: str, value: Any) -> Any:
    """A path beside the recipe as the trainer can find it: its working folder is another one."""
    if name not in PATHS:
        return value
    if isinstance(value, list):
        return [_absolute(loaded, name, item) for item in value]
    if not isinstance(value, str):
        return value
    path = loaded.path_from(value, "args", name)
    return str(path) if value.startswith(("./", "../", "~")) or os.path.exists(path) else value


def by_runner(
    loaded: Loaded, support: Support, options: ScriptOptions, *, places: Places, save_every: int
) -> tuple[Arg, ...]:
    """What the runner adds: the data, the outputs, and the defaults of the trainer that nobody wants.

    ``.caption`` is the trainer's caption extension (library/train_util.py:4493) and no checkpoint before the end is
    its cadence, so both are always passed.
    """
    recipe = loaded.recipe
    assert recipe is not None  # noqa: S101 - the caller planned with a whole recipe
    given = recipe.args
    args = [_arg(options, support.model_option, places.model, loaded.where("model"))]
    args += [
        _arg(options, flag, str(path), loaded.where("components", name))
        for name, path in places.components.items()
        if (flag := support.flag_of(name)) in options
    ]
    args += _data(loaded, options, places.layout)
    args.append(_arg(options, "output_dir", str(places.output_dir), "runner: the run's folder"))
    args.append(_arg(options, "output_name", recipe.name, loaded.where("name")))
    if support.network_module and given.get("network_module") is None:
        args.append(_arg(options, "network_module", support.network_module, f"runner: family {support.family}"))
    args += [_arg(options, name, value, f"runner: {support.script}") for name, value in support.unset(given).items()]
    if given.get("caption_extension") is None:
        args.append(_arg(options, "caption_extension", ".txt", "runner: the trainer's own default is .caption"))
    if not has_cadence(given):
        args.append(_arg(options, "save_every_n_epochs", save_every, "runner: the trainer would save only at the end"))
    if given.get("log_with") is not None:
        args.append(_arg(options, "logging_dir", str(places.logging_dir), "runner: log_with is set"))
    if places.tokenizers is not None:
        args.append(_arg(options, "tokenizer_cache_dir", str(places.tokenizers), "runner: random weights need no Hub"))
    return tuple(args)


def _data(loaded: Loaded, options: ScriptOptions, layout: Layout) -> Iterator[Arg]:
    """Where the script reads its pictures, and what lies beside them."""
    where = loaded.where("datasets")
    repeats = layout.folders[0].repeats if layout.metadata and layout.folders else None
    found = {
        "train_data_dir": layout.train_dir, "reg_data_dir": layout.reg_dir, "in_json": layout.metadata_file,
        "conditioning_data_dir": layout.conditioning_dir, "dataset_repeats": repeats,
    }  # fmt: skip
    if layout.config:
        found = {"dataset_config": layout.config_file}
    for name, value in found.items():
        if value is not None and name in options:
            yield _arg(options, name, value if isinstance(value, int) else str(value), where)


def has_cadence(given: Mapping[str, Any]) -> bool:
    """Whether the recipe says how often to save."""
    return any(given.get(k) is not None for k in ("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio"))


def cadence(epochs: int) -> int:
    """Every epoch, or as often as keeps the number of checkpoints at 50 or less."""
    return max(1, -(-epochs // MANY_CHECKPOINTS))


def _arg(options: ScriptOptions, name: str, value: Any, source: str) -> Arg:
    return Arg(name, value, values.tokens(options[name], value), source)


def tokens(args: Iterable[Arg]) -> tuple[str, ...]:
    """All tokens, in order."""
    return tuple(token for arg in args for token in arg.tokens)
