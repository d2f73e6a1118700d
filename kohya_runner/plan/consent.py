"""What a recipe makes happen beside the training, and whether the person who launches it has said yes.

Every option of the trainers that takes free text, and every such key of a recipe, has its effect in trust_table.toml,
one table for all engines: a name means the same everywhere. ``tests/plan/test_trust_table.py`` fails for an option of
a snapshot that takes text, or whose name speaks of a path, a module or the network, and that stands in no row there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from kohya_runner.artefact.model_file import CONVERT, PICKLE, code_in, is_pickle, unsafe_name
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.machine.downloads import repo_folder
from kohya_runner.recipe.finish import VARIABLE
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import Recipe, reference
from kohya_runner.safe_files import is_inside
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean, masked_option, masked_text
from kohya_runner.workspace import DEFAULT, Workspace
from kohya_runner.yamlio import Key, dotted


class Effect(str, Enum):
    IMPORT = "import"  # names Python code by module
    EXECUTE = "execute"  # names a program
    SEND = "send"  # something leaves this machine, or is fetched from where the value says
    WRITE = "write"  # names a place that is written to
    SPEND = "spend"  # ends a machine, or costs money
    READ = "read"  # names a file; a pickle among them can run code
    NONE = "none"


_TABLE = read_table(Path(__file__).with_name("trust_table.toml"))


def _effects(rows: Mapping[str, list[str]]) -> Mapping[str, Effect]:
    return {name: Effect(effect) for effect, names in rows.items() for name in names}


OPTIONS = _effects(_TABLE["options"])
"""Option -> its effect."""
KEYS = _effects(_TABLE["keys"])
"""Key of a recipe -> its effect, as far as it takes text; ``args`` and ``datasets.options`` have ``OPTIONS``."""
GO_WITH = {name: other for other, names in _TABLE["go_with"].items() for name in names}
"""Options that do nothing without another one, whose consent is theirs."""
WEIGHTS = frozenset(_TABLE["weights"])
"""Options whose files are loaded as weights."""

FIELD = frozenset(_TABLE["packages"]["field"])
LAUNCHER_TEXT = frozenset(_TABLE["launcher"]["text"])
LAUNCHER_INSTEAD: Mapping[str, str] = _TABLE["launcher"]["instead"]

HUB_FILE = 3  # slashes of hf://org/repo; with more it names a file

PLAIN_NAMES = ("log_prefix", "log_tracker_name")
"""Options whose text becomes the name of a folder below --logging_dir (library/model_io.py:434)."""

SHIPPED: Mapping[str, re.Pattern[str]] = {
    option: re.compile("|".join(own if option == "network_module" else (*own, *_TABLE["field"]["classes"])), re.ASCII)
    for option, own in _TABLE["shipped"].items()
}
"""What needs no consent."""


def is_shipped(option: str, value: str) -> bool:
    """Whether a module or class belongs to the trainer, or to a package that recipes of the field use."""
    pattern = SHIPPED.get(option)
    return value == "" or (pattern is not None and pattern.fullmatch(value) is not None)


def is_of_the_field(requirement: str) -> bool:
    """Whether a text is one version of one of the field's packages, and nothing else of what pip understands."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    need = Requirement(requirement)
    exact = [(one.operator, one.version.endswith("*")) for one in need.specifier] == [("==", False)]
    return exact and str(need) == f"{need.name}{need.specifier}" and canonicalize_name(need.name) in FIELD


@dataclass(frozen=True, slots=True)
class Consents:
    """What was allowed from outside the recipe: ``KEY`` or ``KEY=VALUE``, and the workspace that the settings name."""

    keys: tuple[str, ...] = ()
    workspace: Path | None = None

    def cover(self, key: str, value: object) -> bool:
        return key in self.keys or f"{key}={value}" in self.keys


@dataclass(frozen=True, slots=True)
class Consequence:
    """One thing that happens beside the training. ``text`` goes on from "this recipe will also"."""

    key: str
    effect: Effect
    text: str
    where: str
    allowed: bool

    def finding(self) -> Finding | None:
        if self.allowed:
            return None
        if self.effect is Effect.READ:
            hint = f"take a .safetensors file of the same model; or {CONVERT}; or --trust {self.key}"
            return error("model.pickle", f"{self.key}: {self.text}", where=self.where, hint=hint)
        message = f"{self.key}: the recipe wants to {self.text}"
        hint = f"if that is what you want, add --trust {self.key}; otherwise take the key out"
        return error("recipe.trust", message, where=self.where, hint=hint)


def check_keys(keys: Iterable[str]) -> None:
    """A ``UsageError`` for a consent that names nothing which could be asked for."""
    known = [*KEYS, *(f"args.{name}" for name in OPTIONS)]
    for key in (text.partition("=")[0] for text in keys):
        if key not in known and not key.startswith("components."):
            said = did_you_mean(f"args.{key}" if f"args.{key}" in known else key, known)
            raise UsageError(f"--trust {key}: needs no consent", hint=said or "such as args.optimizer_type")


def consequences(loaded: Loaded, workspace: Workspace, consents: Consents) -> tuple[Consequence, ...]:
    """Everything that the recipe makes happen beside training into its workspace, in the order of the effects."""
    made = _Reading(loaded, workspace, consents)
    found = [*made.options(), *(made.keys(loaded.recipe) if loaded.recipe else ())]
    return tuple(sorted(found, key=lambda one: list(Effect).index(one.effect)))


@dataclass(frozen=True, slots=True)
class _Reading:
    loaded: Loaded
    workspace: Workspace
    consents: Consents

    def one(self, key: str, effect: Effect, text: str, value: object) -> Consequence:
        path: tuple[Key, ...] = tuple(key.split(".", 1))
        by_user = effect is not Effect.READ and self.loaded.tree.is_by_user(path)  # a file is of whoever made it
        allowed = by_user or self.consents.cover(key, value)
        return Consequence(key, effect, masked_text(text), self.loaded.where(*path), allowed)

    def options(self) -> Iterator[Consequence]:
        given = {name: value for name, value in self.loaded.args.items() if value not in (None, False, "")}
        for name, value in given.items():
            effect = OPTIONS.get(name, Effect.NONE)
            for text in self._said(name, effect, value, given):
                yield self.one(f"args.{name}", effect, text, value)

    def _said(self, name: str, effect: Effect, value: object, given: dict[str, object]) -> Iterator[str]:
        match effect:
            case Effect.IMPORT:
                if not is_shipped(name, str(value)):
                    yield f"import {value}, which is neither the trainer's nor of a package that it knows"
            case Effect.SEND:
                yield from self._sent(name, value, given)
            case Effect.WRITE:
                yield from self._written(name, str(value))
            case Effect.READ if name in WEIGHTS:
                for text in value if isinstance(value, list) else [value]:
                    yield from self._loaded(str(text), self.loaded.path_from(str(text), "args", name), name)
            case _:
                return

    def _sent(self, name: str, value: object, given: dict[str, object]) -> Iterator[str]:
        main = GO_WITH.get(name)
        if main:
            by_user = self.loaded.tree.is_by_user(("args", main))
            if main in given and by_user and not self.loaded.tree.is_by_user(("args", name)):
                yield f"set {name} to {value} for what you send"
        elif name == "huggingface_repo_id":
            yield f"upload to {value} on the Hub, {given.get('huggingface_repo_visibility') or 'private'}"
        elif name in ("log_with", "report_to"):
            if value not in ("tensorboard", "none"):
                yield f"send its metrics and settings away ({name}: {value})"
        elif name == "resume_from_huggingface":
            yield f"fetch the training state {given.get('resume')} from the Hub and load its pickles"
        elif not name.startswith("val_image_url") or "://" in str(value):
            yield f"send or fetch by {name}: {masked_option(name, value)}"

    def _written(self, name: str, text: str) -> Iterator[str]:
        if name in PLAIN_NAMES and "/" not in text and not text.startswith("."):
            return
        path = self.loaded.path_from(text, "args", name)
        if name in PLAIN_NAMES or not is_inside(path, (self.workspace.root,)) or not text.startswith(("/", "~", ".")):
            yield f"write to {text}, outside the workspace"

    def _loaded(self, text: str, path: Path, name: str) -> Iterator[str]:
        family = self.loaded.word("family")
        of_hub = text.startswith("hf://") and text.count("/") > HUB_FILE
        said = unsafe_name(text, name, family) if of_hub else code_in(path, name, family)
        if said or is_pickle(text):
            yield f"{text} {said or PICKLE}"

    def keys(self, recipe: Recipe) -> Iterator[Consequence]:
        if recipe.launch.python:
            yield self.one("launch.python", Effect.EXECUTE, f"run {recipe.launch.python} as the trainer's Python",
                           recipe.launch.python)  # fmt: skip
        for text in recipe.launch.packages:
            if not is_of_the_field(text):
                yield self.one("launch.packages", Effect.EXECUTE, f"install {text} into the trainer's Python", text)
        for name, value in recipe.launch.accelerate.items():
            local = name == "main_process_ip" and value in ("127.0.0.1", "localhost")
            if isinstance(value, str) and name not in LAUNCHER_TEXT and not local:
                text = f"start its processes with {name}: {value}"
                yield self.one("launch.accelerate", Effect.EXECUTE, text, f"{name}={value}")
        receiver = recipe.finish.receiver
        if receiver and receiver.env != VARIABLE:
            to = urlsplit(receiver.url or "").hostname or f"the address in ${receiver.env}"
            yield self.one("finish.notify", Effect.SEND, f"send a message to {to} when it ends", receiver.url)
        if sent := recipe.finish.publication:
            which = {"picked": "the picked epoch", "last": "the last epoch", "all": "every epoch"}
            what = which.get(str(sent.epoch), f"epoch {sent.epoch}")
            seen, value = ("for everybody", f"{sent.repo}:public") if sent.public else ("private", sent.repo)
            text = f"publish {what} with a model card to {sent.repo} on the Hub, {seen}"
            yield self.one("finish.publish", Effect.SEND, text, value)
        if recipe.finish.pod:
            yield self.one(
                "finish.stop_pod", Effect.SPEND, f"{recipe.finish.pod} the pod when it ends", recipe.finish.pod
            )
        yield from self._captions(recipe)
        yield from self._workspace(recipe)
        yield from self._models(recipe)

    def _captions(self, recipe: Recipe) -> Iterator[Consequence]:
        """A template only looks at the pictures; a model gets them, or comes from somewhere."""
        for index, entry in enumerate(recipe.datasets):
            own = entry.caption
            if own is None or own.template is not None:
                continue
            path: tuple[Key, ...] = ("datasets", index, "caption")
            send = f"send the pictures of datasets.{index} to {own.endpoint} for captions, which may cost money"
            run = f"fetch and run {own.model or 'its model'} for the captions of datasets.{index} ({own.tagger})"
            allowed = self.loaded.tree.is_by_user(path) or self.consents.cover("datasets.caption", own.endpoint)
            text = masked_text(send if own.endpoint is not None else run)
            yield Consequence("datasets.caption", Effect.SEND, text, self.loaded.where(*path), allowed)

    def _workspace(self, recipe: Recipe) -> Iterator[Consequence]:
        if not recipe.workspace:
            return
        path = self.loaded.path_from(recipe.workspace, "workspace")
        own = [self.loaded.place("workspace").folder, Path.cwd(), DEFAULT]
        known = [*own, self.consents.workspace] if self.consents.workspace else own
        if path == self.workspace.root and not is_inside(path, known):
            yield self.one("workspace", Effect.WRITE, f"use {path} as its workspace", recipe.workspace)

    def _models(self, recipe: Recipe) -> Iterator[Consequence]:
        named: dict[tuple[Key, ...], object] = {("model",): recipe.model}
        named |= {("components", name): text for name, text in recipe.components.items()}
        named |= {("compare", "clip"): recipe.compare.clip} if recipe.compare else {}
        for path, text in named.items():
            if not isinstance(text, str):
                continue
            ref = reference(self.loaded, text, *path)
            file = ref.path or Path(text)
            for said in self._loaded(text, file if ref.kind == "path" else Path("-"), str(path[-1])):
                yield self.one(dotted(path), Effect.READ, said, text)
            if ref.kind == "hub" and recipe.workspace:
                for said in self._brought_along(text):
                    yield self.one(dotted(path), Effect.READ, said, text)

    def _brought_along(self, repo: str) -> Iterator[str]:
        """Code in the Hub cache of a workspace that the recipe names: such a cache may have come with the recipe."""
        kept = repo_folder(self.workspace.cache / "huggingface" / "hub", repo) / "snapshots"
        for snapshot in sorted(kept.iterdir()) if kept.is_dir() else ():
            said = code_in(snapshot, "model", self.loaded.word("family"))
            if said:
                yield f"{snapshot} {said}"
