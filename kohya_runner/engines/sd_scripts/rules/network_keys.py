"""What each network module of the trainer reads from ``network_args``, and which families it is made for.

Every other key is swallowed by ``**kwargs`` without a word. A module from elsewhere (lycoris.kohya) is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kohya_runner.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["int", "float", "ints", "floats", "bool", "flag", "text"]
"""``bool`` is on for the text True alone, ``flag`` in any case."""

PREFIX = "networks."


@dataclass(frozen=True, slots=True)
class NetworkModule:
    """A module's families, its keys with what it makes of their texts, and where it reads them."""

    families: tuple[str, ...]
    keys: Mapping[str, Kind]
    where: str


def _all(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


PLUS = _all("float", "loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio")
DROPOUTS = _all("float", "rank_dropout module_dropout")
CONV: dict[str, Kind] = {"conv_dim": "int", "conv_alpha": "float"}
BLOCKS = (
    _all("ints", "block_dims conv_block_dims") | _all("floats", "block_alphas conv_block_alphas")
    | _all("text", "down_lr_weight mid_lr_weight up_lr_weight") | _all("float", "block_lr_zero_threshold")
)  # fmt: skip
PATTERNS = _all("text", "network_reg_lrs network_reg_dims")
GGPO = _all("float", "ggpo_beta ggpo_sigma")
U_NET = ("sd15", "sd2", "sdxl")
FLUX_DIMS = "img_attn_dim txt_attn_dim img_mlp_dim txt_mlp_dim img_mod_dim txt_mod_dim single_dim single_mod_dim"
SD3_DIMS = "context_attn_dim context_mlp_dim context_mod_dim x_attn_dim x_mlp_dim x_mod_dim"

MODULES: Mapping[str, NetworkModule] = {
    "networks.lora": NetworkModule(U_NET, CONV | BLOCKS | DROPOUTS | PLUS, "networks/lora.py:435"),
    "networks.lora_fa": NetworkModule(U_NET, CONV | BLOCKS | DROPOUTS, "networks/lora_fa.py:444"),
    "networks.dylora": NetworkModule(U_NET, CONV | _all("int", "unit") | PLUS, "networks/dylora.py:191"),
    "networks.oft": NetworkModule(U_NET, _all("text", "enable_all_linear enable_conv"), "networks/oft.py:178"),
    "networks.lora_flux": NetworkModule(
        ("flux",),
        CONV | _all("int", FLUX_DIMS) | _all("ints", "in_dims")
        | _all("text", "train_double_block_indices train_single_block_indices train_blocks")
        | DROPOUTS | _all("bool", "split_qkv train_t5xxl verbose") | GGPO | PATTERNS | PLUS,
        "networks/lora_flux.py:456",
    ),
    "networks.oft_flux": NetworkModule(("flux",), _all("text", "enable_all_linear"), "networks/oft_flux.py:210"),
    "networks.lora_sd3": NetworkModule(
        ("sd3",),
        CONV | _all("int", SD3_DIMS) | _all("ints", "emb_dims") | _all("text", "train_block_indices") | DROPOUTS
        | _all("bool", "split_qkv train_t5xxl verbose") | PLUS,
        "networks/lora_sd3.py:43",
    ),
    "networks.lora_lumina": NetworkModule(
        ("lumina",),
        CONV | _all("int", "attn_dim mlp_dim mod_dim refiner_dim") | _all("ints", "embedder_dims")
        | _all("text", "train_blocks") | DROPOUTS | _all("bool", "split_qkv verbose") | PLUS,
        "networks/lora_lumina.py:320",
    ),
    "networks.lora_hunyuan_image": NetworkModule(
        ("hunyuan_image",), CONV | DROPOUTS | _all("bool", "split_qkv verbose") | GGPO | PATTERNS | PLUS,
        "networks/lora_hunyuan_image.py:48",
    ),
    "networks.lora_anima": NetworkModule(
        ("anima",),
        _all("flag", "train_llm_adapter verbose") | _all("text", "exclude_patterns include_patterns") | DROPOUTS
        | PATTERNS | PLUS,
        "networks/lora_anima.py:32",
    ),
}  # fmt: skip
"""Every module of the pinned trainer that a LoRA script can train."""

OPTIONS: Mapping[str, str] = {
    "dim": "network_dim", "rank": "network_dim", "network_dim": "network_dim", "alpha": "network_alpha",
    "network_alpha": "network_alpha", "dropout": "network_dropout", "neuron_dropout": "network_dropout",
    "network_dropout": "network_dropout",
}  # fmt: skip
"""Keys people write that are options of their own."""


def is_external(module: str) -> bool:
    """Whether a module is none of the trainer's, so that nothing can be said about it."""
    return not module.startswith(PREFIX)


def modules_for(family: str) -> tuple[str, ...]:
    """The trainer's modules that are made for a family."""
    return tuple(name for name, row in MODULES.items() if family in row.families)


def unknown_keys(module: str, keys: Iterable[str]) -> tuple[str, ...]:
    """Keys that the module never looks at; none for a module that is not in the table."""
    row = MODULES.get(module)
    return tuple(key for key in keys if key not in row.keys) if row else ()


def suggestion(module: str, key: str) -> str:
    """What was probably meant instead of an unknown key."""
    if key in OPTIONS:
        return f"write args: {{{OPTIONS[key]}: ...}}"
    return did_you_mean(key, MODULES[module].keys) if module in MODULES else ""
