"""The options as they will take effect: what the recipe and the runner set, else the trainer's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.options.script_options import argparse_parser

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.engines.arguments import Arg
    from kohya_runner.options.script_options import ScriptOptions


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """Options by name; ``given`` are those that will be passed."""

    options: ScriptOptions
    given: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value that will take effect; None for an option the script does not have."""
        value = self.given.get(name)
        if value is not None:
            return value
        option = self.options.get(name)
        return option.default if option else None

    def all(self) -> dict[str, Any]:
        """Every option that has a value."""
        return {name: value for name in self.options if (value := self.get(name)) is not None}

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.get(name) is True


def as_parsed(options: ScriptOptions, args: Iterable[Arg]) -> ParsedOptions:
    """The options as the trainer's own parser reads them: ``"32"`` is the number 32, a mapping is ``k=v`` texts."""
    passed = tuple(args)
    tokens = [token for arg in passed for token in arg.tokens]
    parsed = vars(argparse_parser(options, whole=False).parse_args(tokens))
    return ParsedOptions(options, {arg.name: parsed[arg.name] for arg in passed if arg.tokens})


def optimizer_of(settings: ParsedOptions) -> str:
    """The optimizer's name; --use_8bit_adam and --use_lion_optimizer are older names (library/train_util.py:4830)."""
    old = "AdamW8bit" if settings.on("use_8bit_adam") else "Lion" if settings.on("use_lion_optimizer") else "AdamW"
    return str(settings.get("optimizer_type") or old)
