"""How every command ends: a result, or one message and one exit code; and what a shell completes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from keyword import iskeyword
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import click

from kohya_runner.errors import CancelledError, PreflightError, RunnerError, TerminatedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from kohya_runner.show.live_server import LiveServer


class RunnerGroup(click.Group):
    """A group whose expected failures end in one message, one hint and their own exit code.

    ``later`` are commands that are imported when they are called: by name their module of this package, and what --help
    says of them. A list of all commands costs no import then.
    """

    def __init__(self, *args: Any, later: Mapping[str, tuple[str, str]] = MappingProxyType({}), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.later:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"kohya_runner.commands.{self.later[cmd_name][0]}")
        return cast("click.Command", getattr(module, f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of --help, without an import."""
        named = {name: click.Command(name, help=text) for name, (_, text) in self.later.items()}
        click.Group(commands={**self.commands, **named}).format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, which opens no special file of a stranger."""
        from kohya_runner.safe_files import refuse_special_files

        refuse_special_files()
        return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Run the command and leave the process with its exit code (docs/exit-codes.md)."""
        kwargs["standalone_mode"] = False
        words = list(sys.argv[1:] if args is None else args)
        _open_streams()
        sys.exit(_flushed(self._ended(words, kwargs)))

    def _ended(self, words: list[str], kwargs: dict[str, Any]) -> int:  # noqa: PLR0911 - a row for each end
        """The exit code of the command, once what there is to say was said."""
        as_json, stdout = "--json" in words, sys.stdout
        try:
            _raise_on_stop()
            _stand_somewhere()
            result = super().main(words, **kwargs)
            return result if isinstance(result, int) else 0
        except RunnerError as fault:
            return _told(fault, as_json=as_json)
        except click.ClickException as fault:
            fault.show()
            if as_json:
                _told(UsageError(fault.format_message()), as_json=True, aloud=False)
            return fault.exit_code
        except (KeyboardInterrupt, click.Abort):
            return _told(CancelledError("stopped by Ctrl-C"), as_json=as_json)
        except (BrokenPipeError, SystemExit) as fault:  # click makes a SystemExit(1) of it, and a stdout of its own
            if isinstance(fault, SystemExit) and sys.stdout is stdout:
                raise
            _no_more_output()
            return READER_GONE
        except UnicodeError as fault:
            hint = "set LC_ALL=C.UTF-8, or rename the file"
            return _told(UsageError(f"a name that this locale cannot hold: {fault}", hint=hint), as_json=as_json)
        except OSError as fault:
            place = f"{fault.filename}: " if fault.filename else "output: "
            return _told(PreflightError(f"{place}{fault.strerror or fault}"), as_json=as_json)


READER_GONE = 141  # as a shell says it of a program that SIGPIPE ended


def _raise_on_stop() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: with an exception, so that everything is cleaned up.

    While a trainer runs ``stop_signals`` takes over.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise TerminatedError(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)


def _open_streams() -> None:
    """A stream that was closed (``>&-``) is None, and its number would go to the next file that is opened.

    What the terminal's encoding does not hold is shown as its code.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """The exit code, once all is written: a run's own one where its reader is gone, as far as it is not a success."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _no_more_output()
        return code or READER_GONE
    except OSError as fault:
        _no_more_output()
        return code or _told(PreflightError(f"output: {fault.strerror or fault}"))
    return code


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

    with contextlib.suppress(OSError):
        if aloud:
            console.fault(fault)
    with contextlib.suppress(OSError):
        if as_json:
            console.fault_json(fault)
    return fault.exit_code


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator that gives a command these options, in this order of its --help."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


class ServingCommand(click.Command):
    """A command whose ``--serve`` takes a port or none: what follows it is a port only where it is a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bare = [n for n, word in enumerate(args) if word == "--serve" and not "".join(args[n + 1 : n + 2]).isdecimal()]
        return super().parse_args(ctx, ["--serve=0" if n in bare else word for n, word in enumerate(args)])


serving_options = with_options(
    click.option("--serve", type=click.IntRange(0, 65535), metavar="[PORT]",
                 help="A live page for a phone, with a stop button (8765, or another free port)."),
    click.option("--bind", metavar="ADDRESS", help="Let others reach that page: 0.0.0.0 (this machine alone)."),
)  # fmt: skip


def served(run_dir: Path, serve: int | None, bind: str | None) -> LiveServer | None:
    """The page that was asked for, its port bound."""
    if serve is None:
        if bind is not None:
            raise UsageError("--bind goes with --serve", hint="add --serve, or leave --bind out")
        return None
    from kohya_runner.show.live_server import LiveServer, Serve

    return LiveServer(run_dir, Serve(serve, bind) if bind else Serve(serve))


def as_path(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """A path as a ``Path``; the import costs a twentieth of a --help, so it waits."""
    from pathlib import Path

    return None if value is None else Path(value)


place_options = with_options(
    click.option("--on", metavar="PLACE", help="On another machine: a place of the settings, or a kind of them."),
    click.option("--gpu", metavar="NAME", help="With --on: the card to ask for, as the place calls it."),
    click.option("--nodes", type=click.IntRange(min=1), default=1, help="With --on: machines for one training."),
    click.option("--spot", is_flag=True, help="With --on: cheaper machines that may be taken away."),
    click.option("--max-price", type=click.FloatRange(min=0, min_open=True), metavar="$",
                 help="With --on: an hour, for all machines together."),
    click.option("--max-hours", type=click.FloatRange(min=0, min_open=True), metavar="H",
                 help="With --on: end it after so many, by a timer there and by this command."),
    click.option("--render", metavar="DIR", type=click.Path(), callback=as_path,
                 help="With --on: only write what would be handed over."),
    click.option("--yes", is_flag=True, help="With --on: rent without the question."),
)  # fmt: skip


def complete_families(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
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
