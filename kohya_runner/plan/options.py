"""The second stage of a plan: the options that a recipe gives the trainer and its launcher, and the files they name."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED, Arg, ParsedOptions, as_parsed, from_recipe, option_arg, out_of_bounds
from kohya_runner.engines.protocol import Models, TextFile
from kohya_runner.engines.support import Support, Surprise
from kohya_runner.engines.table import ENGINES, options_for, user_settings
from kohya_runner.findings import Finding, error, info
from kohya_runner.machine.device_checks import OWN_MODULES
from kohya_runner.options import values
from kohya_runner.options.script_options import NAMES, ScriptOptions
from kohya_runner.plan import resume_options
from kohya_runner.plan.assembly import find_models
from kohya_runner.plan.consent import LAUNCHER_INSTEAD
from kohya_runner.plan.model_forms import VAE
from kohya_runner.recipe.keys import OUTSIDE, PEOPLE_SAY, fields_at, meant_field, recipe_key
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import Recipe
from kohya_runner.recipe.validate import meant_key, shown_value, written
from kohya_runner.text import SECRET, did_you_mean, nearest
from kohya_runner.workspace import Workspace
from kohya_runner.yamlio import Key, Node, dotted

if TYPE_CHECKING:
    from kohya_runner.options.packages import Packages
    from kohya_runner.plan.pipeline import Opened


OF_LORAS = ("learning_rate", "network_dim", "network_alpha")
"""What is a surprise to those who train a LoRA only."""
OF_PICTURES = ("train_batch_size", "max_data_loader_n_workers")


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
        and ("resolution" in options or row.option not in OF_PICTURES)
        and (row.option not in OF_LORAS or "network_module" in options)
    )


def default_findings(
    loaded: Loaded, opened: Iterable[tuple[str, Any, str]], options: ScriptOptions
) -> Iterator[Finding]:
    """One info per open default, and an error for the one option no script can do without."""
    unset = "resolution" in options and loaded.args.get("resolution") is None and not loaded.each_has("resolution")
    if unset and options["resolution"].default is None:
        hint = "write args.resolution: 1024 (512 for SD 1.5)"
        message = "args.resolution is missing: the trainer stops without it (library/dreambooth_dataset.py:65)"
        yield error("args.missing", message, where=loaded.where("args"), hint=hint)
    for name, default, effect in opened:
        shown = "unset" if default is None or default == "" else default
        yield info(
            "args.default", f"args.{name} is not set, the default applies: {shown}; {effect}", where=options[name].where
        )


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What the recipe gives, as the trainer's parser reads it. ``usable``: every value is one that the parser takes."""

    args: tuple[Arg, ...]
    parsed: ParsedOptions
    models: Models
    left_open: tuple[tuple[str, Any, str], ...]
    usable: bool
    findings: tuple[Finding, ...]

    def with_packages(self, packages: Packages) -> GivenOptions:
        options = replace(self.parsed.options, packages=packages)
        return replace(self, parsed=replace(self.parsed, options=options))


def recipe_options(
    opened: Opened, recipe: Recipe, support: Support
) -> tuple[tuple[Arg, ...], ParsedOptions, tuple[Finding, ...]]:
    """The options that the recipe gives, as they are passed and as the trainer's parser reads them; and the faults."""
    loaded, request, engine = opened.loaded, opened.request, opened.engine
    root, cache = opened.checkout.root if opened.checkout else None, opened.workspace.cache / "kohya-runner"
    options = options_for(support.script, root, cache, write_cache=request.deep)
    given, faults = from_recipe(loaded, engine, support, options)
    given = (*given, *sample_args(loaded, options, opened.workspace), *vae_args(loaded, support, options))
    states = resume_options.state_args(loaded, options, engine.RESUME_WAYS, recipe.args, asked=request.resume)
    args = (*given, *states)
    return args, as_parsed(options, args), tuple(faults)


PROMPTS = "sample_prompts"


def sample_file(loaded: Loaded, room: Workspace) -> TextFile | None:
    """The prompts of ``samples`` as the file that the trainer reads, under a name that no other text has."""
    samples = loaded.recipe.samples if loaded.recipe else None
    if samples is None:
        return None
    text = "".join(f"{' '.join(prompt.split())}\n" for prompt in samples.prompts)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return TextFile(room.root / PROMPTS / f"{digest}.txt", text)


def vae_args(loaded: Loaded, support: Support, options: ScriptOptions) -> Iterator[Arg]:
    """``components.vae`` of a family that has no such component, and whose script takes --vae."""
    stated = loaded.recipe.components.get(VAE) if loaded.recipe else None
    if stated and VAE in options and all(one.name != VAE for one in support.components):
        path = loaded.path_from(stated, "components", VAE)
        yield option_arg(options, VAE, str(path) if os.path.exists(path) else stated, loaded.where("components", VAE))


def sample_args(loaded: Loaded, options: ScriptOptions, room: Workspace) -> Iterator[Arg]:
    """``samples`` as options; what stands under ``args`` as well goes first."""
    file = sample_file(loaded, room)
    if file is None or loaded.recipe is None or loaded.recipe.samples is None:
        return
    said = {PROMPTS: str(file.path), "sample_every_n_epochs": loaded.recipe.samples.every_n_epochs,
            "sample_every_n_steps": loaded.recipe.samples.every_n_steps}  # fmt: skip
    for name, value in said.items():
        if value is not None and name in options and loaded.args.get(name) is None:
            yield option_arg(options, name, value, loaded.where("samples"))


def given_options(opened: Opened, recipe: Recipe, support: Support) -> GivenOptions:
    """Options and model files; nothing is looked at that is on another machine."""
    loaded = opened.loaded
    args, parsed, faults = recipe_options(opened, recipe, support)
    models = find_models(loaded, support, opened.workspace, look=not opened.request.elsewhere)
    looked_at = tuple(row for row in opened.engine.surprises() if row.option not in support.inert)
    opened_defaults = left_open(looked_at, parsed.options, parsed.given)
    usable = not any(fault.code == "args.value" for fault in faults)
    return GivenOptions(args, parsed, models, opened_defaults, usable, (*faults, *models.findings))


def option_findings(opened: Opened, given: GivenOptions) -> Iterator[Finding]:
    """What stands against the options, and against the files and folders of this machine that they name."""
    yield from default_findings(opened.loaded, given.left_open, given.parsed.options)
    yield from launch_faults(opened.loaded, given.parsed.options.packages)
    yield from network_findings(opened, given)
    yield from out_of_bounds(given.parsed.given, {arg.name: arg.source for arg in given.args})
    if not opened.request.elsewhere:
        yield from weight_findings(given.args, practice=opened.request.practice)
        from kohya_runner.machine.filesystems import link_findings, workspace_findings

        yield from workspace_findings(opened.workspace.root)
        yield from link_findings(opened.workspace, opened.loaded.word("name"), user_settings(opened.environ).folders)


def unjudged(given: GivenOptions) -> tuple[str, ...]:
    """The arguments of a network module that is not here to be read."""
    module, options = str(given.parsed.get("network_module") or ""), given.parsed.options
    own = module.partition(".")[0] in OWN_MODULES or options.packages.has(module)
    return () if own or not given.parsed.get("network_args") else (f"network_args: {module} is not installed here",)


def network_findings(opened: Opened, given: GivenOptions) -> Iterator[Finding]:
    """What stands against the arguments of a network module from elsewhere that is installed here."""
    module, packages = str(given.parsed.get("network_module") or ""), given.parsed.options.packages
    if packages.has(module):
        from kohya_runner.engines.foreign_networks import network_faults
        from kohya_runner.engines.rule_context import pairs

        where, items = opened.loaded.where("args", "network_args"), dict(pairs(given.parsed.get("network_args")))
        family = opened.support.family if opened.support else ""
        for message, hint in network_faults(module, items, packages.sources, family):
            yield error("args.lycoris", f"args.network_args: {message}", where=where, hint=hint)


def launch_faults(loaded: Loaded, packages: Packages) -> Iterator[Finding]:
    """Faults in ``launch.accelerate``; its options are those of the launcher that is installed."""
    given = loaded.recipe.launch.accelerate if loaded.recipe else {}
    known = packages.launcher() if given else {}
    for name, value in given.items():
        key, where = f"launch.accelerate.{name}", str(loaded.place("launch", "accelerate", name))
        if name in LAUNCHER_INSTEAD or (known and name not in known):
            hint = LAUNCHER_INSTEAD.get(name) or did_you_mean(name, known)
            yield error("recipe.unknown_key", f"{key}: not an option a recipe may set", where=where, hint=hint)
        elif name == "gpu_ids" and not re.fullmatch(r"all|\d{1,2}(,\d{1,2})*", str(value), re.ASCII):
            yield error("recipe.value", f"{key}: must be all, or numbers such as 0,1", where=where)
        elif name in known and (problem := values.problem(known[name], value)):
            yield error("recipe.value", f"{key}: {problem} ({known[name].where})", where=where)


WEIGHTS = ("network_weights", "base_weights", "weights")
STATE = "resume"
STATE_WEIGHTS = "model.safetensors"  # accelerate's save_state writes it (train_network.py:1695)


def weight_findings(args: Iterable[Arg], *, practice: bool) -> Iterator[Finding]:
    """What stands against the files that the options name; a practice run may go on from practice files."""
    for arg in args:
        if arg.name in WEIGHTS:
            for path in arg.value if isinstance(arg.value, list) else [arg.value]:
                yield from _file(arg, Path(str(path)), practice=practice)
        elif arg.name == STATE:
            yield from _state(arg, Path(str(arg.value)), practice=practice)


def _file(arg: Arg, path: Path, *, practice: bool) -> Iterator[Finding]:
    from kohya_runner.artefact.lora import inspect

    if not os.path.isfile(path):
        yield error("model.missing", f"args.{arg.name}: there is no file {path}", where=arg.source)
    elif path.suffix == ".safetensors":
        found = inspect(path)
        if found.problem:
            yield error("model.broken", f"args.{arg.name}: {path} {found.problem}", where=arg.source)
        elif found.practice and not practice:
            yield _practice(arg, path)


def _state(arg: Arg, folder: Path, *, practice: bool) -> Iterator[Finding]:
    from kohya_runner.artefact.lora import inspect

    if not os.path.isdir(folder):
        hint = "name the folder that args.save_state wrote: NAME-000001-state"
        yield error("model.missing", f"args.resume: there is no folder {folder}", where=arg.source, hint=hint)
    elif not practice and inspect(folder / STATE_WEIGHTS).practice:
        yield _practice(arg, folder)


def _practice(arg: Arg, path: Path) -> Finding:
    message = f"args.{arg.name}: {path} was written by a practice run: nothing in it was trained"
    return error("model.practice", message, where=arg.source, hint="name a file that the real trainer wrote")


def advice(tree: Node, path: tuple[Key, ...]) -> str:
    """The line to write, "" where nothing comes close."""
    name, node = str(path[-1]), tree.find(path)
    family, method = (word.value if (word := tree.child(key)) else "" for key in ("family", "method"))
    support = meant_support(str(family or ""), str(method or "lora"))
    options = options_for(support.script, None) if support else None
    known = fields_at(path[:-1])
    close = meant_field(name, known)
    if len(path) > 1 and close and name in PEOPLE_SAY:
        return meant_key(node, path, close)
    if outside := OUTSIDE.get(name) or (SECRET.search(name) and OUTSIDE.get(nearest(name, OUTSIDE) or "")):
        return outside
    if support and options and (line := _as_option(node, path, support, options)):
        return line
    if close:
        return meant_key(node, path, close)
    if place := recipe_key(name):
        return written(node, dotted(path), place)
    meant = options.nearest(name) if options else None
    return f"did you mean the trainer's '{meant}'? {written(node, dotted(path), f'args.{meant}')}" if meant else ""


def _as_option(node: Node, path: tuple[Key, ...], support: Support, options: ScriptOptions) -> str:
    """Where an option or a component of the trainer stands that was written as a key of the recipe; "" for neither."""
    name, engine = str(path[-1]), ENGINES[support.engine]
    option = options.known_as(name)
    if path[0] == "datasets" and len(path) == 3:
        own = engine.own_options(support, {name: node.plain()})
        if own not in ("", "{}"):
            line = f"write datasets.{path[1]}.options: {{{name}: {shown_value(node.plain())}}}"
            return f"{name} is an option of the trainer: {line}" + (f", or args.{option} for all" if option else "")
    if option:
        line = f"{option} is an option of the trainer: {written(node, dotted(path), f'args.{option}')}"
        return (engine.OWNED.get(option) or OWNED.get(option, line)).replace("{value}", shown_value(node.plain()))
    component = len(path) == 1 and any(name in (one.name, one.flag) for one in support.components)
    return written(node, name, f"components.{name}") if component else ""


def meant_support(family: str, method: str) -> Support | None:
    """The row that a misspelt family or method most likely means, so that the options can be read by it."""
    family = _said("families", family) or nearest(family, table.families()) or ""
    known = table.methods(family)
    return table.find(family, _said("methods", method) or nearest(method, known) or next(iter(known), ""))


def _said(kind: str, word: str) -> str:
    """The family or method that people call so."""
    said: str = NAMES[kind].get(word.lower().replace("-", "").replace("_", ""), "")
    return said.partition(": ")[2].partition(" ")[0]
