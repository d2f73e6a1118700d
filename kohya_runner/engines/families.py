"""The table of model families and methods: one row says all that differs between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kohya_runner.engines.diffusers import rows as diffusers_rows
from kohya_runner.engines.musubi import rows as musubi_rows
from kohya_runner.engines.sd_scripts import method_rows

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
    engine: str = "sd-scripts"  # a row of engine_info.py
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
SD2 = "stabilityai/stable-diffusion-2"
GEMMA2 = "google/gemma-2-2b"
QWEN_VL = "Qwen/Qwen2.5-VL-7B-Instruct"
BYT5 = "google/byt5-small"

LORA: tuple[Support, ...] = (
    Support(
        family="sd15",
        method="lora",
        title="Stable Diffusion 1.5",
        script="train_network.py",
        network_module="networks.lora",
        random_model=True,
        tokenizers=(CLIP_L,),
        modules={"text_encoder": 72, "unet": 192, "unet_conv": 278},
        recipe="recipes/sd15_lora.yaml",
        reads_long=True,
    ),
    Support(
        family="sd2",
        method="lora",
        title="Stable Diffusion 2.x",
        script="train_network.py",
        network_module="networks.lora",
        tokenizers=(SD2,),
        modules={"text_encoder": 138, "unet": 192, "unet_conv": 278},
        recipe="recipes/sd2_lora.yaml",
        added={"v2": True},
        reads_long=True,
    ),
    Support(
        family="sdxl",
        method="lora",
        title="Stable Diffusion XL",
        script="sdxl_train_network.py",
        network_module="networks.lora",
        random_model=True,
        bucket_step=32,
        tokenizers=(CLIP_L, CLIP_G),
        modules={"text_encoder": 264, "unet": 722, "unet_conv": 788},
        recipe="recipes/bespoke_baby_sdxl.yaml",
        reads_long=True,
    ),
    Support(
        family="sd3",
        method="lora",
        title="Stable Diffusion 3 and 3.5",
        script="sd3_train_network.py",
        network_module="networks.lora_sd3",
        # All three are needed: those inside a file "incl_clips" keep a "transformer." before their names, which the
        # loader does not take away, so that they are never filled (library/sd3_utils.py:112).
        components=(
            Component("clip_l", "the CLIP-L text encoder, one safetensors file"),
            Component("clip_g", "the CLIP-G text encoder, one safetensors file"),
            Component("t5xxl", "the T5-XXL text encoder, one safetensors file"),
            Component("vae", "another autoencoder than the base model's own", required=False),
        ),
        hub_model=False,
        tokenizers=(CLIP_L, CLIP_G, T5_XXL),
        bucket_step=32,
        modules={"text_encoder": 264, "unet": 377},  # 3.5 large; 263 of 3.5 medium, 237 of 3 medium
        recipe="recipes/sd3_lora.yaml",
    ),
    Support(
        family="flux",
        method="lora",
        title="FLUX.1",
        script="flux_train_network.py",
        network_module="networks.lora_flux",
        components=(
            Component("clip_l", "the CLIP-L text encoder, one safetensors file", unless={"model_type": "chroma"}),
            Component("t5xxl", "the T5-XXL text encoder, one safetensors file"),
            Component("ae", "the autoencoder (ae.safetensors)"),
        ),
        hub_model=False,
        tokenizers=(CLIP_L, T5_XXL),
        modules={"text_encoder": 72, "unet": 304},
        recipe="recipes/flux_lora.yaml",
    ),
    Support(
        family="lumina",
        method="lora",
        title="Lumina Image 2.0",
        script="lumina_train_network.py",
        network_module="networks.lora_lumina",
        components=(
            Component("gemma2", "the Gemma 2 2B text encoder, one safetensors file"),
            Component("ae", "the autoencoder (ae.safetensors of FLUX.1)"),
        ),
        hub_model=False,
        tokenizers=(GEMMA2,),
        modules={"text_encoder": 182, "unet": 180},
        recipe="recipes/lumina_lora.yaml",
    ),
    Support(
        family="hunyuan_image",
        method="lora",
        title="HunyuanImage 2.1",
        script="hunyuan_image_train_network.py",
        network_module="networks.lora_hunyuan_image",
        components=(
            Component("text_encoder", "the Qwen2.5-VL 7B text encoder, one bf16 safetensors file"),
            Component("byt5", "the ByT5 text encoder, one fp16 safetensors file"),
            Component("vae", "the HunyuanImage 2.1 autoencoder"),
        ),
        hub_model=False,
        tokenizers=(QWEN_VL, BYT5),
        modules={"text_encoder": 0, "unet": 320},
        recipe="recipes/hunyuan_image_lora.yaml",
    ),
    Support(
        family="anima",
        method="lora",
        title="Anima",
        script="anima_train_network.py",
        network_module="networks.lora_anima",
        components=(
            Component("qwen3", "the Qwen3 0.6B text encoder, one safetensors file"),
            Component("vae", "the Qwen-Image autoencoder"),
        ),
        hub_model=False,
        bucket_step=16,
        modules={"text_encoder": 196, "unet": 280},
        recipe="recipes/anima_lora.yaml",
    ),
)

TABLE: tuple[Support, ...] = (
    *(row for lora in LORA for row in (lora, *method_rows.rows((lora,)))),
    *(Support(**fields) for fields in musubi_rows.rows(Component, StageRow)),
    *(Support(**fields) for fields in diffusers_rows.rows()),
)
"""Every family with every method that is supported."""


def families() -> tuple[str, ...]:
    """The families a recipe may name, in table order."""
    return tuple(dict.fromkeys(row.family for row in TABLE))


def methods(family: str) -> tuple[str, ...]:
    """The methods of one family."""
    return tuple(row.method for row in TABLE if row.family == family)


def find(family: str, method: str) -> Support | None:
    """The row of a family and a method."""
    return next((row for row in TABLE if row.key == (family, method)), None)
