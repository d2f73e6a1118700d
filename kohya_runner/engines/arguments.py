"""From a recipe to the trainer's options: each with its tokens and with who asked for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.support import TABLE, Support
from kohya_runner.findings import Finding, error
from kohya_runner.machine.rendezvous import Rendezvous
from kohya_runner.options import values
from kohya_runner.options.script_options import ELSEWHERE, Option, ScriptOptions, argparse_parser
from kohya_runner.recipe.keys import recipe_key
from kohya_runner.recipe.models import Launch
from kohya_runner.recipe.validate import shown_value, written
from kohya_runner.yamlio import Node

if TYPE_CHECKING:
    from kohya_runner.engines.protocol import Engine, ResolvedRecipe
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.record.run_paths import RunPaths

StatedOption = tuple[str, Any, str]
"""An option, its value, and who asks for it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start: tokens, working folder, and the variables the runner sets (never a secret)."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    needs: frozenset[str] = frozenset()  # "hub", "wandb": whose secrets of the shell it gets

    def shown(self) -> str:
        """The argv quoted so that it can be pasted into a shell."""
        return shlex.join(self.argv)


def argv(  # noqa: PLR0913 - every choice is made here
    python: Path, script: Path, options: tuple[str, ...], *, launch: Launch, mixed_precision: str, place: Rendezvous
) -> tuple[str, ...]:
    """Direct Python for one process (``accelerate launch`` costs seconds and hides the error); else every choice made.

    ``--multi_gpu`` is explicit because accelerate infers it from the GPUs it sees, and one per node looks like none:
    each node would train by itself. On one machine the port is a free one (``meeting``): with accelerate's own, 29500,
    a second run stops at its start (accelerate/utils/launch.py:222); port 0 is never found without c10d.
    What is not on the command line comes from a file of ours, and not from the ``default_config.yaml`` that
    ``accelerate config`` once left in HF_HOME (accelerate/commands/launch.py:1016).
    The trainer passes its own ``--mixed_precision`` on (library/accelerator_setup.py:143); the launcher gets the same.
    """
    if launch.world == 1 and not launch.accelerate:
        return (str(python), str(script), *options)
    meet: dict[str, object] = {
        RANK: place.rank, "main_process_ip": place.address, "main_process_port": place.port, "rdzv_backend": "static",
    }  # fmt: skip
    chosen: dict[str, object] = {
        "config_file": CONFIG,
        "num_processes": launch.world,
        "num_machines": place.machines,
        **(meet if place.machines > 1 else FREE_PORT if meeting(launch, place) else {}),
        "mixed_precision": mixed_precision,
        "dynamo_backend": "no",
        "num_cpu_threads_per_process": 1,
        "multi_gpu": launch.world > 1,
        **launch.accelerate,
    }
    launcher = (str(python), "-m", "accelerate.commands.launch")
    return (*launcher, *(t for k, v in chosen.items() for t in _flag(k, v)), str(script), *options)


RANK = "machine_rank"
FREE_PORT: Mapping[str, object] = {"main_process_port": 0, "rdzv_backend": "c10d"}
STANDALONE: Mapping[str, str] = {"PET_STANDALONE": "1", "PET_LOCAL_ADDR": "127.0.0.1"}


def meeting(launch: Launch, place: Rendezvous) -> Mapping[str, str]:
    """The variables by which the processes of one machine meet alone; {} where the recipe says how, or one is all.

    They are options of torchrun that accelerate has no name for (torch/distributed/run.py:452, argparse_util.py).
    c10d by itself meets at port 29400 under the name "none": a second run would join the first, and end with it. And
    a machine's own name, which c10d takes for the address, leads nowhere in many containers.
    """
    own = launch.accelerate
    if launch.world == 1 or place.machines > 1 or "main_process_ip" in own:
        return {}
    return STANDALONE if all(own.get(key, value) == value for key, value in FREE_PORT.items()) else {}


CONFIG = Path(__file__).with_name("accelerate.yaml")


def _flag(name: str, value: object) -> tuple[str, ...]:
    if value is True:
        return (f"--{name}",)
    return () if value is False or value is None else (f"--{name}={value}",)


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
        return {name: value for name in self.options if (value := self.get(name)) is not None}

    def on(self, name: str) -> bool:
        return self.get(name) is True


def as_parsed(options: ScriptOptions, args: Iterable[Arg]) -> ParsedOptions:
    """The options as the trainer's own parser reads them: ``"32"`` is the number 32, a mapping is ``k=v`` texts."""
    passed = tuple(args)
    tokens = [token for arg in passed for token in arg.tokens]
    parsed = vars(argparse_parser(options, whole=False).parse_args(tokens))
    return ParsedOptions(options, {arg.name: parsed[arg.name] for arg in passed if arg.tokens})


def optimizer_of(settings: ParsedOptions) -> str:
    """The optimizer's name; --use_8bit_adam and --use_lion_optimizer are older names (library/optimizer.py:39)."""
    old = "AdamW8bit" if settings.on("use_8bit_adam") else "Lion" if settings.on("use_lion_optimizer") else "AdamW"
    return str(settings.get("optimizer_type") or old)


MANY_CHECKPOINTS = 50
MAX_ADVICE = 50  # unknown options that get a suggestion: to compare names takes time
MAX_NAME = 100
OWNED: Mapping[str, str] = TABLE["owned"]
"""Option -> what to do instead; ``{value}`` is the recipe's."""

PATHS = frozenset(TABLE["paths"]["names"])
BOUNDS: Mapping[str, tuple[float, float]] = TABLE["bounds"]
"""Option -> smallest and largest value that trains."""


@dataclass(frozen=True, slots=True)
class Arg:
    """One option as it will be passed, and who asked for it."""

    name: str
    value: Any
    tokens: tuple[str, ...]
    source: str


def from_recipe(
    loaded: Loaded, engine: Engine, support: Support, options: ScriptOptions
) -> tuple[tuple[Arg, ...], tuple[Finding, ...]]:
    """The options under ``args``, in the recipe's order, and every fault in them."""
    args: list[Arg] = []
    findings: list[Finding] = []
    given = loaded.args
    for name, raw in given.items():
        where = loaded.where("args", name)
        option = options.get(name)
        parts = (f"write components.{c.name}: {{value}}" for c in support.components if name in (c.name, c.flag))
        instead = engine.OWNED.get(name) or OWNED.get(name) or next(parts, "")
        if instead:
            instead = instead.replace("{value}", shown_value(raw))
            findings.append(error("args.owned", f"args.{name}: is set by the runner", where=where, hint=instead))
        elif option is None:
            findings.append(_unknown(loaded, name, options, advise=len(findings) < MAX_ADVICE))
        elif raw is not None and not says_nothing(option, raw):
            value = _absolute(loaded, name, raw)
            fault = values.fault(option, value)
            if fault:
                place = loaded.place("args", name)
                line = f"--set args.{name}=" if place.by_user else f"args.{name}: "
                hint = f"write {line}{fault.instead}"
                what, where = f"args.{name}: {fault}", str(place)
                findings.append(error("args.value", what, where=where, hint=hint if fault.instead else ""))
            else:
                args.append(Arg(name, value, values.tokens(option, value), where))
    return tuple(args), tuple(findings)


def says_nothing(option: Option, value: object) -> bool:
    """What other programs write for "not set": false for a text, an empty path, the 75 tokens that need no option."""
    text = option.kind == "one" and option.type in ("str", "path")
    nothing = (value is False and text and option.choices is None) or (value == "" and option.name in PATHS)
    return nothing or (option.name == "max_token_length" and str(value) == "75")


def _unknown(loaded: Loaded, name: str, options: ScriptOptions, *, advise: bool) -> Finding:
    node, where = loaded.tree.find(("args", name)), loaded.where("args", name)
    hint = unknown_option(node, name, options) if advise else ""
    hint = hint or f"leave it out, or look for another: kohya-runner options {options.script}"
    return error("args.unknown", f"args.{name}: {options.script} has no option '{name}'", where=where, hint=hint)


def unknown_option(node: Node, name: str, options: ScriptOptions) -> str:
    """The line to write for an option that there is not: one of the trainer's, or a key of the recipe."""
    key = recipe_key(name)
    if key and options.known_as(name) is None and name not in ELSEWHERE:
        return f"'{name}' is a key of the recipe: {written(node, f'args.{name}', key)}"
    meant = options.nearest(name[:MAX_NAME])
    advice = options.advice(name[:MAX_NAME])
    if meant and advice.startswith("did"):
        return f"did you mean '{meant}'? {written(node, f'args.{name}', f'args.{meant}')}"
    return advice


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


def as_one_dataset(loaded: Loaded, support: Support) -> Iterator[Finding]:
    """An error for each dataset with options of its own, for a script that gets its pictures as one dataset."""
    for index, entry in loaded.datasets.items():
        if entry.options:
            text = f"{support.script} gets its pictures as one dataset: options of one alone do not reach it"
            where = str(loaded.place("datasets", index, "options"))
            yield error("recipe.method", text, where=where, hint="write them under args, for all datasets")


def has_cadence(given: Mapping[str, Any]) -> bool:
    """Whether the recipe says how often to save."""
    return any(given.get(k) is not None for k in ("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio"))


def cadence(epochs: int) -> int:
    """Every epoch, or as often as keeps the number of checkpoints at 50 or less."""
    return max(1, -(-epochs // MANY_CHECKPOINTS))


def option_arg(options: ScriptOptions, name: str, value: Any, source: str) -> Arg:
    return Arg(name, value, values.tokens(options[name], value), source)


def runner_options(
    resolved: ResolvedRecipe,
    run: RunPaths,
    data: Iterable[StatedOption],
    saving: Mapping[str, Any],
    own: Iterable[StatedOption],
) -> tuple[Arg, ...]:
    """What the runner adds to a script of kohya's, then the recipe's own options.

    ``data`` says where the pictures are, ``own`` what this trainer needs besides.
    """
    loaded, support, models, options = resolved.loaded, resolved.support, resolved.models, resolved.parsed.options
    given = resolved.recipe.args
    stated: list[StatedOption] = [(support.model_option, models.base, loaded.where("model"))]
    stated += [
        (flag, str(path), loaded.where("components", name))
        for name, path in models.components.items()
        if (flag := support.flag_of(name)) in options
    ]
    stated += data
    stated.append(("output_dir", str(run.output), "runner: the run's folder"))
    stated.append(("output_name", resolved.recipe.name, loaded.where("name")))
    if support.network_module and given.get("network_module") is None:
        stated.append(("network_module", support.network_module, f"runner: family {support.family}"))
    stated += [(name, value, f"runner: {support.script}") for name, value in support.unset(given).items()]
    stated += own
    stated += [(name, value, "runner: the trainer would save only at the end") for name, value in saving.items()]
    if given.get("log_with") is not None:
        stated.append(("logging_dir", str(run.tensorboard), "runner: log_with is set"))
    if models.tokenizers is not None:
        stated.append(("tokenizer_cache_dir", str(models.tokenizers), "runner: random weights need no Hub"))
    return (*(option_arg(options, *one) for one in stated), *resolved.args)


def tokens(args: Iterable[Arg]) -> tuple[str, ...]:
    return tuple(token for arg in args for token in arg.tokens)


def out_of_bounds(given: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[Finding]:
    """An error for each number out of bounds."""
    for name, (least, most) in BOUNDS.items():
        value = given.get(name)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not least <= number <= most:
                limit = f"{least:g} or more" if number < least else f"{most:g} or less"
                text, hint = f"args.{name} is {number}: out of range", f"write args.{name}: {limit}"
                yield error("args.range", text, where=places.get(name, ""), hint=hint)
