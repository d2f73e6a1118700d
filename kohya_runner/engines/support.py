"""What differs between families and methods: one row says all of it. The rows are the engines' own."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.record.run_paths import ResumeWay
from kohya_runner.tables import read_table, tupled

Data = Literal["folders", "pairs", "metadata", "edit", "controls", "captioned", "prompts"]
"""``N_concept`` folders; one flat folder and one of condition images; folders listed in a metadata file; edit pairs;
pictures with or without control images, in folders of their own or as edit pairs; pictures that all have captions;
no pictures, a file of prompts."""
Output = Literal["lora", "model", "controlnet", "lllite", "embedding"]
"""What a checkpoint is."""


@dataclass(frozen=True, slots=True)
class Component:
    """A file beside the base model that a family's script takes under ``--<name>``.

    ``unless``: values of options with which the script does not read it.
    """

    name: str
    what: str
    required: bool = True
    unless: Mapping[str, str] = field(default_factory=dict)
    option: str = ""  # its option, where that is not --<name>

    @property
    def flag(self) -> str:
        return self.option or self.name


@dataclass(frozen=True, slots=True)
class StageRow:
    """A script that runs before the training: the components and options of the recipe that it takes, too."""

    phase: str
    script: str
    components: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """One family with one method, as the trainer offers it."""

    family: str
    method: str
    title: str
    script: str
    network_module: str
    components: tuple[Component, ...] = ()
    hub_model: bool = True  # the script itself takes a Hub id (model_io.py:358 ff. does for SD and SDXL only)
    random_model: bool = False  # a random-weight checkpoint of this architecture can be made
    bucket_step: int = 64  # bucket_reso_steps must be a multiple (dataset.py:725)
    tokenizers: tuple[str, ...] = ()  # fetched from the Hub at every start (strategy_*.py)
    modules: Mapping[str, int] | None = None  # LoRA modules: text encoders, U-Net or DiT, U-Net with conv_dim
    recipe: str = ""
    data: Data = "folders"
    output: Output = "lora"
    concept_prompts: bool = False  # pictures without captions, trained with their concept as the prompt, are the rule
    regularization: bool = True  # whether the script reads --reg_data_dir
    holds: ExpectedTensor | None = None  # of a checkpoint; a LoRA's modules are counted instead
    added: Mapping[str, Any] = field(default_factory=dict)  # what the runner sets where a recipe does not
    needs: Mapping[str, str] = field(default_factory=dict)  # options the script cannot do without, and what to write
    engine: str = "sd-scripts"  # a key of ENGINES (table.py)
    model_option: str = "pretrained_model_name_or_path"
    stages: tuple[StageRow, ...] = ()  # scripts that must run before the training
    needs_control: bool = False  # each picture has a control image
    several: tuple[str, ...] = ()  # args.model_version of those that take several, "" where none is given
    variants: Mapping[str, str] = field(default_factory=dict)  # args.model_version -> the architecture's own name
    variant_tokenizers: Mapping[str, str] = field(default_factory=dict)  # by the architecture's name
    implied: Mapping[str, Any] = field(default_factory=dict)  # what holds of a training without being an option of it
    inert: tuple[str, ...] = ()  # options that the script takes and does not look at
    sequences: int = 1  # pictures whose tokens the model sees at once

    @property
    def key(self) -> tuple[str, str]:
        return (self.family, self.method)

    @property
    def takes_dataset_options(self) -> bool:
        return self.data == "folders"

    @property
    def is_lora(self) -> bool:
        return self.output == "lora"

    @property
    def is_whole_model(self) -> bool:
        return self.output == "model"

    def architecture(self, options: Mapping[str, Any]) -> str:
        """The name under which sizes know what is trained: the family's, or that of one of its variants."""
        return self.variants.get(str(options.get("model_version") or ""), self.family)

    def tokenizers_of(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The repositories of the tokenizers that the scripts fetch."""
        own = self.variant_tokenizers.get(self.architecture(options))
        return (own,) if own else self.tokenizers

    def flag_of(self, component: str) -> str:
        return next((c.flag for c in self.components if c.name == component), component)

    def unset(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self.added.items() if given.get(name) is None}


@dataclass(frozen=True, slots=True)
class Converter:
    """A script of a trainer that gives a LoRA the names that ComfyUI knows, and its arguments.

    ``older``: how the keys begin for which it is worth converting although today's ComfyUI knows them.
    """

    script: str
    arguments: tuple[str, ...]
    older: str = ""


def converters(table: Mapping[str, Any]) -> dict[str, Converter]:
    """The table ``[converters]`` of an engine, by family."""
    return {family: Converter(**tupled(row)) for family, row in table.get("converters", {}).items()}


def support(family: str, row: Mapping[str, Any], **same: Any) -> Support:
    """The row that a table of a family says; ``same`` is what holds for every one of its engine."""
    fields = tupled(same | {"family": family} | dict(row))
    components = {"components": tuple(Component(name, **one) for name, one in row.get("components", {}).items())}
    stages = {"stages": tuple(StageRow(**tupled(one)) for one in row.get("stages", ()))}
    return Support(**fields | components | stages)


T5_XXL = "google/t5-v1_1-xxl"
QWEN_VL = "Qwen/Qwen2.5-VL-7B-Instruct"


LENGTH_OPTIONS = {
    "flux": "t5xxl_max_token_length", "sd3": "t5xxl_max_token_length", "lumina": "gemma2_max_token_length",
    "anima": "qwen3_max_token_length",
}  # fmt: skip
"""Families whose longest captions need another option than max_token_length."""


INITIAL_STEP = ResumeWay(
    needs=("initial_step",),
    sets=("resume", "initial_step", "initial_epoch", "skip_until_initial_step"),
    folder=r"{name}-(?P<epoch>\d{{6}})-state",
    numbers="train_state.json",
)
"""train_network.py:1429: the whole run's numbers, beginning at a step."""

REMAINING = ResumeWay(
    needs=("resume", "max_train_steps", "output_name", "save_state", "lr_scheduler_type"),
    sets=("resume",),
    folder=r"{name}(?:\+(?P<before>\d{{6}}))?-(?P<epoch>\d{{6}})-state",
    recounts=True,
    steps_inside=True,
)
"""musubi-tuner (training/trainer_base.py:1919), sd-scripts' scripts for whole models: asked for what is left."""


def way_of(options: Container[str], ways: Iterable[ResumeWay]) -> ResumeWay | None:
    """The first of an engine's ways that a script with these options can go; None for none."""
    return next((way for way in ways if all(name in options for name in way.needs)), None)


@dataclass(frozen=True, slots=True)
class Surprise:
    """An option, what its default means for the run, and when it does not matter."""

    option: str
    effect: str
    moot: Callable[[Mapping[str, Any]], bool]


MOOT: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "learning_rate": lambda args: (
        "unet_lr" in args and ("text_encoder_lr" in args or args.get("network_train_unet_only") is True)
    ),
    "max_train_steps": lambda args: "max_train_epochs" in args,
    "num_train_epochs": lambda args: "max_train_steps" in args,
    "optimizer_type": lambda args: "use_8bit_adam" in args or "use_lion_optimizer" in args,
    "discrete_flow_shift": lambda args: args.get("timestep_sampling") not in (None, "shift"),
}
"""When it does not matter that an option is not set, by what is set."""


def surprises(rows: Mapping[str, str]) -> tuple[Surprise, ...]:
    """The rows of a table ``[surprises]``: option -> what its default means."""
    return tuple(Surprise(option, effect, MOOT.get(option, lambda _: False)) for option, effect in rows.items())


TABLE = read_table(Path(__file__).with_name("options.toml"))
KOHYA = surprises(TABLE["surprises"])
"""Of sd-scripts and musubi-tuner, in the order in which they are worth reading."""

IGNORES_FULL_BF16 = ("train_db.py", "fine_tune.py", "train_control_net.py")
"""Scripts that take --full_bf16 and do nothing with it."""
