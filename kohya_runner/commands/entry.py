"""How every command ends: a result, or one message and one exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import click

from kohya_runner.errors import CancelledError, PreflightError, RunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RunnerGroup(click.Group):
    """A group whose expected failures end in one message, one hint and their own exit code.

    ``later`` are commands that are imported when they are called: by name their module of this package, and what --help
    says of them. A list of all commands costs no import then.
    """

    def __init__(self, *args: Any, later: Mapping[str, tuple[str, str]] = MappingProxyType({}), **kwargs: Any) -> None:
        """As a click group, and ``later``."""
        super().__init__(*args, **kwargs)
        self.later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self.later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported if need be."""
        if cmd_name not in self.later:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"kohya_runner.commands.{self.later[cmd_name][0]}")
        return cast("click.Command", getattr(module, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of --help, without an import."""
        named = {name: click.Command(name, help=text) for name, (_, text) in self.later.items()}
        click.Group(commands={**self.commands, **named}).format_commands(ctx, formatter)

    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Run the command and leave the process with its exit code (docs/exit-codes.md)."""
        kwargs["standalone_mode"] = False
        words = list(sys.argv[1:] if args is None else args)
        try:
            _stand_somewhere()
            result = super().main(words, **kwargs)
            sys.stdout.flush()
            sys.exit(result if isinstance(result, int) else 0)
        except RunnerError as fault:
            sys.exit(_told(fault, as_json="--json" in words))
        except click.ClickException as fault:
            fault.show()
            if "--json" in words:
                _told(UsageError(fault.format_message()), as_json=True, aloud=False)
            sys.exit(fault.exit_code)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(_told(CancelledError("stopped by Ctrl-C"), as_json="--json" in words))
        except BrokenPipeError:
            _no_more_output()
            sys.exit(141)
        except OSError as fault:
            _no_more_output()
            place = f"{fault.filename}: " if fault.filename else "output: "
            sys.exit(_told(PreflightError(f"{place}{fault.strerror or fault}")))


def _no_more_output() -> None:
    """Let what is still to be flushed go nowhere: the reader is gone, or the disk is full."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stand_somewhere() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    except OSError:
        raise UsageError("the current folder is gone", hint="cd to another one") from None


def _told(fault: RunnerError, *, as_json: bool = False, aloud: bool = True) -> int:
    """Say why a command ended: to the person, and to a program that asked for JSON."""
    from kohya_runner.show import console

    if aloud:
        console.fault(fault)
    if as_json:
        console.fault_json(fault)
    return fault.exit_code
