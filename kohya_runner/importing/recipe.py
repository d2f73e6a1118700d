"""A set-up as the text of a recipe: each value as the trainer was given it, each change with its reason."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kohya_runner.dataset.captions import is_image, stem
from kohya_runner.dataset.layout import concept_problem
from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED, PATHS
from kohya_runner.engines.support import Support
from kohya_runner.errors import RecipeError
from kohya_runner.importing.paths import Places
from kohya_runner.importing.setup import Options, Setup, Subset
from kohya_runner.options import values
from kohya_runner.options.script_options import Option
from kohya_runner.plan.consent import LAUNCHER_INSTEAD
from kohya_runner.recipe.load import load
from kohya_runner.recipe.models import NAME
from kohya_runner.recipe.starter import starter_file
from kohya_runner.recipe.template import has_template
from kohya_runner.recipe.validate import WITHOUT_DATASETS
from kohya_runner.text import SECRET_OPTIONS, masked_option, masked_text, plain
from kohya_runner.yamlio import scalar

NO_FOLDER = "FOLDER"
VARIABLES = {"huggingface_token": "HF_TOKEN", "wandb_api_key": "WANDB_API_KEY"}
DERIVED = ("mixed_precision", "multi_gpu", "num_processes")
FOLLOWS = ("compute_environment", "distributed_type", "downcast_bf16", "use_cpu", "debug", "same_network",
           "tpu_use_cluster", "tpu_use_sudo", "rdzv_backend")  # fmt: skip
"""What a file of accelerate says besides: it has no option, or is what holds without."""


@dataclass(slots=True)
class RecipeWriter:
    """The recipe in the making."""

    setup: Setup
    places: Places
    support: Support
    args: Options = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # lines that only a person can decide, with the reason
    components: dict[str, str] = field(default_factory=dict)

    def text(self, output: str) -> str:
        for name, value in self.setup.given.items():
            self._take(name, value)
        datasets = () if self.support.method in WITHOUT_DATASETS else self._datasets()
        body = [*self._top(), *datasets, *self._options(), *self._launch(), *self._samples()]
        return "\n".join([*self._head(output), *body]) + "\n"

    def _take(self, name: str, value: Any) -> None:
        """Sort one value: a key of the recipe, a component, or an option."""
        if name in SECRET_OPTIONS:
            if value:
                self.setup.secrets[name] = VARIABLES.get(name, name.upper())
            return
        name = "caption_extension" if name == "caption_extention" else name
        component = next((c.name for c in self.support.components if name in (c.name, c.flag)), None)
        option = self.setup.options.get(name)
        if component and isinstance(value, str) and value.strip(". "):
            self.components[component] = self.places.path(value)
        elif name == "use_safetensors" and value:
            self.args["save_model_as"] = "safetensors"
        elif component or name in OWNED or option is None:
            return
        elif (kept := self._kept(option, value)) is not None:
            problem = values.problem(option, kept)
            same = self.setup.terse and kept == option.default
            if problem:
                self.refused[f"{name}: {_flow(masked_option(name, kept))}"] = problem
            elif not same:
                self.args[name] = kept

    def _kept(self, option: Option, value: Any) -> Any:
        """The value as the trainer understood it; None where it counts as absent."""
        if option.kind == "switch":
            if isinstance(value, str) and value.lower() in ("false", "no", "0"):
                self.setup.note(option.name, f"the text '{value}' switched it on: any text does")
            return True if value else None
        if value is None or value is False or value == []:
            if value is False:
                self.setup.note(option.name, "false: counts as absent")
            return None
        if option.name == "max_token_length" and str(value) == "75":
            self.setup.note(option.name, "75 is what the trainer does without the option")
            return None
        if option.name in PATHS and isinstance(value, (str, list)):
            return [self.places.path(str(one)) for one in value] if isinstance(value, list) else self.places.path(value)
        return [value] if option.kind == "many" and not isinstance(value, (list, Mapping)) else value

    def _head(self, output: str) -> Iterator[str]:
        setup = self.setup
        yield f"# Imported from {plain(setup.source.name)}, {setup.kind} ({setup.script}): what the trainer was given."
        yield f"#   kohya-runner plan {output}"
        yield f"#   kohya-runner launch {output}"
        for option, variable in sorted(setup.secrets.items()):
            yield f"# {option} is a secret and was left out: set {variable} in the environment."
        shown = {**self.args, **self.components}
        for note in setup.notes:
            if note.key not in shown:
                yield f"# {plain(masked_text(note.key))}: {plain(masked_text(note.text))}"

    def _top(self) -> Iterator[str]:
        given = self.setup.given
        named = str(given.get("output_name") or "").strip() or self.setup.source.stem
        name = named if NAME.match(named) else re.sub(r"[^\w.-]+", "_", named).strip("_.-") or "imported"
        yield ""
        yield f"name: {_text(name)}" + (f"  # {plain(named)}" if name != named else "")
        yield f"family: {self.support.family}"
        yield f"method: {self.support.method}"
        example = load(starter_file(self.support.family, self.support.recipe), environ={})
        model = str(given.get("pretrained_model_name_or_path") or "").strip()
        if model.strip(". "):
            yield f"model: {_text(self.places.maybe_hub(model))}"
        else:
            yield f"model: {_text(example.word('model') or 'MODEL')}  # the file names none: the one of our own recipe"
        needed = {c.name for c in self.support.components if c.required and c.name not in self.components}
        own = example.tree.child("components")
        lent = {name: str(node.plain()) for name in needed if own is not None and (node := own.child(name)) is not None}
        if self.components or lent:
            yield "components:"
        yield from (f"  {name}: {_text(value)}" for name, value in self.components.items())
        for name, value in lent.items():
            yield f"  {name}: {_text(value)}  # the file names none: of our own recipe"

    def _datasets(self) -> Iterator[str]:
        given, subsets = self.setup.given, list(self.setup.subsets)
        pictures = str(given.get("in_json") or given.get("train_data_dir") or "")
        if pictures and not subsets:
            whole = bool(given.get("in_json") or given.get("conditioning_data_dir"))
            repeats = int(given.get("dataset_repeats") or 1) if given.get("in_json") else 1
            condition = str(given.get("conditioning_data_dir") or "")
            subsets.append(Subset(pictures, repeats=repeats, parent=not whole, conditioning=condition))
        if given.get("reg_data_dir"):
            subsets.append(Subset(str(given["reg_data_dir"]), regularization=True, parent=True))
        yield "datasets:"
        if not subsets:
            yield f"  - images: {NO_FOLDER}  # the file names no pictures: write your folder"
            yield "    concept: subject"
        for subset in subsets:
            yield from self._entry(subset)

    def _entry(self, subset: Subset) -> Iterator[str]:
        images = self.places.path(subset.images)
        yield f"  - images: {_text(images)}"
        if subset.parent:
            yield "    layout: kohya  # each folder N_concept in it is one dataset with N repeats"
        else:
            concept = subset.concept or Path(images).stem
            concept = "subject" if concept_problem(concept) else concept
            yield f"    concept: {_text(concept)}" + ("" if subset.concept else "  # the folder's name: none was given")
            yield f"    repeats: {max(1, int(subset.repeats))}"
        if subset.regularization:
            yield "    regularization: true"
        if subset.conditioning:
            yield f"    conditioning: {_text(self.places.path(subset.conditioning))}"
        extension = subset.extension or str(self.setup.given.get("caption_extension") or ".caption")
        if captions := self._captions(images, extension, subset):
            yield f"    captions: {captions}"
        if subset.options:
            yield f"    options: {_flow(subset.options)}"

    def _captions(self, images: str, extension: str, subset: Subset) -> str:
        """What the pictures that are here say of their captions."""
        folder = self.places.recipe / os.path.expanduser(images)  # noqa: PTH111 - ~nobody raises nothing
        folders = [one for one in folder.iterdir() if one.is_dir()] if subset.parent and folder.is_dir() else [folder]
        dotted = extension if extension.startswith(".") else f".{extension}"
        pictures = [one for path in folders if path.is_dir() for one in path.iterdir() if is_image(one.name)]
        having = sum(path.with_name(stem(path.name) + dotted).exists() for path in pictures)
        if pictures and not having and not subset.regularization:
            empty = "" if subset.concept or subset.parent else "; the trainer's was empty, it had no class_tokens"
            return f"none  # no picture has one: the concept is the prompt of all of them{empty}"
        stated = f"extension: {_text(dotted)}" if subset.extension else ""
        some = "optional: true" if having < len(pictures) and not subset.regularization else ""
        both = ", ".join(filter(None, (stated, some)))
        return f"{{{both}}}" if both else ""

    def _options(self) -> Iterator[str]:
        yield "args:"
        told = {note.key: note.text for note in self.setup.notes}
        for name, value in self.args.items():
            why = f"  # {plain(masked_text(told[name]))}" if name in told else ""
            yield f"  {name}: {_flow(masked_option(name, value))}{why}"
        options = self.setup.options
        if "caption_extension" in options and not self._says("caption_extension"):
            yield "  caption_extension: null  # not stated: the trainer's own .caption"
        cadence = ("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio")
        if "save_every_n_epochs" in options and not any(self._says(name) for name in cadence):
            yield "  save_every_n_epochs: null  # not stated: the trainer saves at the end only"
        for line, why in self.refused.items():
            yield f"  # {plain(line)}  # left out: {plain(masked_text(why))}"

    def _says(self, name: str) -> bool:
        """Whether the recipe has it, or the file leaves open what it was."""
        return name in self.args or name in self.setup.open

    def _launch(self) -> Iterator[str]:
        launch = dict(self.setup.launch)
        processes = launch.pop("num_processes", None)
        number = int(processes) if str(processes or "").isdigit() else 1
        own = {name: value for name, value in launch.items() if name not in FOLLOWS and value not in ("", False)}
        kept = {name: int(str(value)) if str(value).isdigit() else value
                for name, value in own.items() if name not in LAUNCHER_INSTEAD}  # fmt: skip
        if kept.get("dynamo_backend") == "no":
            kept = {name: value for name, value in kept.items() if not name.startswith("dynamo")}
        dropped = {name: value for name, value in own.items() if name in LAUNCHER_INSTEAD and name not in DERIVED}
        odd = {name: value for name, value in dropped.items() if str(value) not in ("0", "1", "main")}
        if number == 1 and not kept and not odd:
            return
        yield "launch:"
        if number > 1:
            yield f"  num_processes: {number}"
        if kept:
            yield f"  accelerate: {_flow(kept)}"
        for name, value in odd.items():
            yield f"  # left out: {plain(str(name))}: {plain(masked_text(str(value)))}"

    def _samples(self) -> Iterator[str]:
        if self.setup.prompts:
            yield "samples:"
            yield "  prompts:"
            yield from (f"    - {_text(prompt)}" for prompt in self.setup.prompts)


def writer(setup: Setup, places: Places) -> RecipeWriter:
    """The writer of a set-up; a ``RecipeError`` for a script that no family has."""
    rows = [row for row in table.FAMILIES if row.script == setup.script]
    wanted = "sd2" if setup.given.get("v2") else "sd15"
    plain_rows = [row for row in rows if row.method != "dreambooth"]
    chosen = [row for row in rows if row.method == setup.method] or plain_rows or rows
    chosen = [row for row in chosen if row.family == wanted] or chosen
    if not chosen:
        raise RecipeError(f"{setup.source}: {setup.script} is not supported", hint="see: kohya-runner models")
    return RecipeWriter(setup, places, chosen[0])


def _text(value: str) -> str:
    """A text as YAML that no variable is replaced in: a foreign file must not read the environment."""
    return scalar(re.sub(r"\{(?=[{%#])", "{{ '{' }}", value) if has_template(value) else value)


def _flow(value: Any) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_text(str(key))}: {_flow(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_flow(one) for one in value) + "]"
        case str():
            return _text(masked_text(value))
        case _:
            return scalar(value)
