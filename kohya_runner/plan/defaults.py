"""The trainer's defaults that change results and that nobody expects: shown whenever a recipe leaves them open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.findings import Finding, error, info

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kohya_runner.engines.surprises import Surprise
    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.recipe.load import Loaded


OF_LORAS = ("learning_rate", "network_dim", "network_alpha")
"""What is a surprise to those who train a LoRA only."""


def left_open(
    surprises: Iterable[Surprise], options: ScriptOptions, args: Mapping[str, Any]
) -> tuple[tuple[str, Any, str], ...]:
    """(option, its default, what that means) for each surprise the recipe leaves open."""
    return tuple(
        (row.option, options[row.option].default, row.effect)
        for row in surprises
        if row.option in options
        and args.get(row.option) is None
        and not row.moot(args)
        and (row.option not in OF_LORAS or "network_module" in options)
    )


def findings(
    loaded: Loaded, opened: Iterable[tuple[str, Any, str]], options: ScriptOptions, args: Mapping[str, Any]
) -> Iterator[Finding]:
    """One info per open default, and an error for the one option no script can do without."""
    if "resolution" in options and args.get("resolution") is None and options["resolution"].default is None:
        hint = "write args: {resolution: 1024}, or 512 for SD 1.5"
        message = "args.resolution is missing: the trainer stops without it (library/train_util.py:1921)"
        yield error("args.missing", message, where=loaded.where("args"), hint=hint)
    for name, default, effect in opened:
        shown = "unset" if default is None or default == "" else default
        yield info(
            "args.default", f"args.{name} is not set, the default applies: {shown}; {effect}", where=options[name].where
        )
