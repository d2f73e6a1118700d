"""What differs between families and methods: one row says all of it. The rows are the engines' own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Data = Literal["folders", "pairs", "metadata", "edit", "controls"]
"""``N_concept`` folders; one flat folder and one of condition images; folders listed in a metadata file; edit pairs;
pictures with or without control images, in folders of their own or as edit pairs."""
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
        """The name of its option."""
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
    hub_model: bool = True  # the script itself takes a Hub id (train_util.py:5527 ff. does for SD and SDXL only)
    random_model: bool = False  # a random-weight checkpoint of this architecture can be made
    bucket_step: int = 64  # bucket_reso_steps must be a multiple (train_util.py:1094)
    tokenizers: tuple[str, ...] = ()  # fetched from the Hub at every start (strategy_*.py)
    modules: Mapping[str, int] | None = None  # LoRA modules: text encoders, U-Net or DiT, U-Net with conv_dim
    recipe: str = ""
    data: Data = "folders"
    output: Output = "lora"
    concept_prompts: bool = False  # pictures without captions, trained with their concept as the prompt, are the rule
    regularization: bool = True  # whether the script reads --reg_data_dir
    holds: str = ""  # how the names of some tensors of a checkpoint begin; a LoRA's modules are counted instead
    added: Mapping[str, Any] = field(default_factory=dict)  # what the runner sets where a recipe does not
    needs: Mapping[str, str] = field(default_factory=dict)  # options the script cannot do without, and what to write
    reads_long: bool = False  # max_token_length lengthens what the text encoder reads (strategy_sd.py:34)
    engine: str = "sd-scripts"  # a key of ENGINES (table.py)
    model_option: str = "pretrained_model_name_or_path"
    stages: tuple[StageRow, ...] = ()  # scripts that must run before the training
    needs_control: bool = False  # each picture has exactly one control image
    variants: Mapping[str, str] = field(default_factory=dict)  # args.model_version -> the architecture's own name
    variant_tokenizers: Mapping[str, str] = field(default_factory=dict)  # by the architecture's name
    implied: Mapping[str, Any] = field(default_factory=dict)  # what holds of a training without being an option of it
    sequences: int = 1  # pictures whose tokens the model sees at once

    @property
    def key(self) -> tuple[str, str]:
        """How a recipe names this row."""
        return (self.family, self.method)

    @property
    def takes_dataset_options(self) -> bool:
        """Whether the trainer takes options of one dataset alone."""
        return self.data == "folders"

    @property
    def is_lora(self) -> bool:
        """Whether a checkpoint is a LoRA."""
        return self.output == "lora"

    @property
    def is_whole_model(self) -> bool:
        """Whether a checkpoint is the whole model."""
        return self.output == "model"

    def architecture(self, options: Mapping[str, Any]) -> str:
        """The name under which sizes know what is trained: the family's, or that of one of its variants."""
        return self.variants.get(str(options.get("model_version") or ""), self.family)

    def tokenizers_of(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The repositories of the tokenizers that the scripts fetch."""
        own = self.variant_tokenizers.get(self.architecture(options))
        return (own,) if own else self.tokenizers

    def flag_of(self, component: str) -> str:
        """The name of a component's option."""
        return next((c.flag for c in self.components if c.name == component), component)

    def unset(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the runner sets because the recipe does not."""
        return {name: value for name, value in self.added.items() if given.get(name) is None}


CLIP_L = "openai/clip-vit-large-patch14"
CLIP_G = "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
T5_XXL = "google/t5-v1_1-xxl"
SD2_REPO = "stabilityai/stable-diffusion-2"
GEMMA2 = "google/gemma-2-2b"
QWEN_VL = "Qwen/Qwen2.5-VL-7B-Instruct"
BYT5 = "google/byt5-small"
