"""What a recipe may say (design: recipe grammar). Unknown keys are errors; only null means absent."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from kohya_runner.recipe.finish import Budget, Compare, Finish, Guard, Resume, Samples, Strict
from kohya_runner.yamlio import Key

if TYPE_CHECKING:
    from kohya_runner.recipe.load import Loaded

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z", re.ASCII)
FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".sft")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model or a component: a Hub repository, a path on this machine, a file of the Hub, or random weights."""

    kind: Literal["hub", "path", "hub_file", "random"]
    text: str
    where: str
    path: Path | None = None  # for "path"


def reference(loaded: Loaded, value: str | RandomModel, *at: Key) -> Reference:
    """Classify a value: ``hf://`` first, then a path that exists or looks like one, then ``org/repo``."""
    where = loaded.where(*at)
    if isinstance(value, RandomModel):
        return Reference("random", value.random, where)
    if value.startswith("hf://"):
        return Reference("hub_file", value, where)
    path = loaded.path_from(value, *at)
    looks_local = value.startswith((".", "/", "~")) or value.lower().endswith(FILE_SUFFIXES)
    if looks_local or os.path.exists(path) or not HUB_ID.match(value):
        return Reference("path", value, where, path)
    return Reference("hub", value, where)


OptionValue = bool | int | float | str | list[bool | int | float | str] | dict[str, Any] | None
Concept = Annotated[str, Field(min_length=1, max_length=120)]

NAME = re.compile(r"\w(?:[\w .,+@()\[\]-]{0,98}[\w.+)\]-])?\Z")


class RandomModel(Strict):
    """A random-weight checkpoint of the real architecture: it proves the machinery, it paints nothing."""

    random: Literal["sd15", "sdxl"]


Model = Annotated[
    Annotated[str, Tag("text")] | Annotated[RandomModel, Tag("random")],
    Discriminator(lambda value: "random" if isinstance(value, (dict, RandomModel)) else "text"),
]
"""A Hub id, a path, ``hf://org/repo/file`` or ``{random: sd15}``."""


class Captions(Strict):
    """What every caption of a dataset must be like."""

    extension: str | None = Field(None, description="file extension of the captions, .txt by default")
    starts_with: str | None = Field(None, description="every caption begins with this text")
    contains_any: tuple[str, ...] = Field((), strict=False, description="every caption contains one of these")
    contains_all: tuple[str, ...] = Field((), strict=False, description="every caption contains all of these")
    matches: str | None = Field(None, description="a regular expression found in every caption")
    max_tokens: int | None = Field(None, ge=1, description="no caption is longer than this, in tokens")
    optional: bool = Field(False, description="a picture without one is trained with the concept as its prompt")
    ignored: bool = Field(
        False, description="what `captions: none` means: no caption is read, the concept is the prompt"
    )

    @field_validator("extension")
    @classmethod
    def _dotted(cls, value: str | None) -> str | None:
        """The trainer adds a missing dot itself; a path would leave the folder."""
        if value is None:
            return None
        if not re.match(r"\.?[A-Za-z0-9_]{1,20}\Z", value):
            raise ValueError("must be an extension such as .txt")
        return value if value.startswith(".") else f".{value}"


class Prepare(Strict):
    """How a folder of raw pictures is made into one that trains; `launch` does it, into a version of its own."""

    style: Literal["photos", "pixel_art"] = Field(
        "photos", description="photos only become smaller; pixel art: its grid"
    )
    size: int | None = Field(None, ge=64, le=4096, description="resolution in pixels; that of the options by default")
    format: Literal["png", "jpeg"] = Field("png", description="of the new files")
    background: str = Field("white", description="colour behind transparent pixels and around pixel art")
    crop: bool = Field(False, description="crop to the bucket's shape, at the point of NAME.focus or the middle")
    keep_near: bool = Field(False, description="keep photographs that only look the same")

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        from PIL import ImageColor

        ImageColor.getrgb(value)  # a ValueError of its own
        return value


NO_BLIP = (
    "blip cannot run: its model calls a generate() that transformers took away in 4.50 (finetune/blip/blip.py:163), "
    "and sd-scripts pins 4.54.1; take git or wd14"
)


class AutoCaption(Strict):
    """Who captions the pictures, in a version of the dataset; a caption that a person wrote stays."""

    template: str | None = Field(None, description="such as `pixel art, {{ words }}, palette: {{ palette }}`")
    tagger: Literal["wd14", "git"] | None = Field(None, description="a captioner of sd-scripts")
    options: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="of the tagger's script, under their own names"
    )
    endpoint: str | None = Field(None, description="an OpenAI-compatible address; its key: KOHYA_CAPTION_API_KEY")
    model: str | None = Field(None, description="of the endpoint; for a tagger a repository or a folder")
    prompt: str | None = Field(None, description="what the model is asked")
    trigger: str | None = Field(None, description="the word that each caption begins with, or has in its sentence")
    threshold: float | None = Field(None, ge=0, le=1, description="wd14: how sure it must be of a tag")
    max_tokens: int | None = Field(None, ge=1, description="of one answer")
    concurrency: int | None = Field(None, ge=1, le=64, description="requests at the same time")
    max_requests: int | None = Field(None, ge=1, description="stop after so many, those of earlier runs counted")
    max_cost: float | None = Field(None, ge=0, strict=False, description="stop before more is spent; needs price")
    price: tuple[float, float] | None = Field(None, strict=False, description="of a million tokens, in and out")
    overwrite: bool = Field(False, description="also captions that a person wrote")

    @field_validator("tagger", mode="before")
    @classmethod
    def _works(cls, value: Any) -> Any:
        if value == "blip":
            raise ValueError(NO_BLIP)
        return value

    @model_validator(mode="after")
    def _one_maker(self) -> AutoCaption:
        if sum(maker is not None for maker in (self.template, self.tagger, self.endpoint)) != 1:
            raise ValueError("say who makes the captions: one of template, tagger and endpoint")
        return self


class Dataset(Strict):
    """One folder of pictures and how often an epoch shows them."""

    images: str = Field(
        description="a folder of pictures with their captions, or a metadata.json or .jsonl of captions or edits; "
        "with prepare or caption also a zip file"
    )
    concept: Concept = Field(
        description="the second half of the N_concept folder; the class token where a caption is missing"
    )
    layout: Literal["kohya"] | None = Field(
        None, description="kohya: images is a parent of N_concept folders, each a dataset with N repeats"
    )
    repeats: int = Field(1, ge=1, le=10_000, description="how often one epoch shows each picture")
    expect: int | None = Field(None, ge=0, description="exact number of pictures and of captions")
    regularization: bool = Field(False, description="class images for prior preservation")
    class_prompt: str | None = Field(None, description="class images that are missing are painted from this prompt")
    num_class_images: int | None = Field(
        None, ge=1, le=100_000, description="class images there are to be; those that are missing are painted first"
    )
    conditioning: str | None = Field(
        None,
        description="ControlNet: the folder of condition images, one for each picture, under the same name",
        min_length=1,
    )
    captions: Annotated[
        Captions, BeforeValidator(lambda value: {"optional": True, "ignored": True} if value == "none" else value)
    ] = Field(Captions(), description="what captions are like; `none` where there are none on purpose")
    prepare: Prepare | None = Field(None, description="make a version that trains of raw pictures first")
    caption: AutoCaption | None = Field(None, description="caption the pictures in a version of their own")
    options: dict[str, OptionValue] = Field(
        default_factory=dict, description="options of this dataset alone, under the trainer's own names"
    )

    @model_validator(mode="before")
    @classmethod
    def _painted(cls, value: Any) -> Any:
        """Class images that are painted need no folder; nothing else goes without."""
        if not isinstance(value, dict) or value.get("images"):
            return value
        without = {key: child for key, child in value.items() if key != "images"}
        return without | ({"images": ""} if value.get("num_class_images") is not None else {})


class Launch(Strict):
    """How the trainer's process is started."""

    num_processes: int = Field(1, ge=1, le=64, description="GPUs of each machine, one process each")
    nodes: int | None = Field(
        None, ge=1, le=64, description="machines; as many as the launch was started on by default"
    )
    python: str | None = Field(None, description="the trainer's Python, where it is not the configured one")
    accelerate: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="further options of accelerate launch, by name"
    )
    packages: tuple[str, ...] = Field(
        (), strict=False, description="for the trainer's Python besides its requirements: NAME==VERSION of PyPI"
    )

    @field_validator("packages")
    @classmethod
    def _requirements(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        """In the one form that pip cannot take for anything else."""
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            return tuple(str(Requirement(text)) for text in texts)
        except InvalidRequirement:
            raise ValueError("must be names of packages with a version, such as lycoris-lora==4.1.3") from None

    @property
    def world(self) -> int:
        return self.num_processes * (self.nodes or 1)


class Recipe(Strict):
    """One training run, stated."""

    name: str = Field(description="becomes --output_name and the name of the run")
    extends: Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field((), strict=False, description="recipes this one builds on, relative to this file")
    )
    family: str = Field(description="the model family, see: kohya-runner models")
    method: str = Field("lora", description="what is trained, see: kohya-runner models")
    model: Model = Field(description="Hub id, path, hf://org/repo/file, or {random: sd15}")
    components: dict[str, str] = Field(
        default_factory=dict, description="clip_l, t5xxl, ae ... where the family has them"
    )
    workspace: str | None = Field(None, description="where caches, datasets, models and runs live")
    datasets: tuple[Dataset, ...] = Field(strict=False, min_length=1)
    args: dict[str, OptionValue] = Field(
        default_factory=dict, description="options of the trainer under their own names"
    )
    launch: Launch = Launch()
    compare: Compare | None = None
    samples: Samples | None = None
    budget: Budget = Budget()
    guard: Guard = Guard()
    resume: Resume = Resume()
    finish: Finish = Finish()

    @field_validator("name")
    @classmethod
    def _file_name(cls, value: str) -> str:
        if not NAME.match(value):
            allowed = "letters, digits, blanks, any of . , + @ ( ) [ ] _ -"
            raise ValueError(f"must be a file name: {allowed} (it becomes --output_name)")
        return value
