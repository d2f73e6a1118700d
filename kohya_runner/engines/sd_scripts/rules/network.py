"""Rules about the network: what each module reads from ``network_args``, and which families it is made for.

Every other key is swallowed by ``**kwargs`` without a word. A module from elsewhere (lycoris.kohya) is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kohya_runner.engines.rule_context import INFO, LOADED, SILENT, UNET, WARNING, Rule
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.engines.rule_context import Context


Kind = Literal["int", "float", "ints", "floats", "bool", "flag", "text"]
"""``bool`` is on for the text True alone, ``flag`` in any case."""

KEY = "args.network_module: "
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
        "networks/lora_flux.py:468",
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
        "networks/lora_lumina.py:323",
    ),
    "networks.lora_hunyuan_image": NetworkModule(
        ("hunyuan_image",), CONV | DROPOUTS | _all("bool", "split_qkv verbose") | GGPO | PATTERNS | PLUS,
        "networks/lora_hunyuan_image.py:48",
    ),
    "networks.lora_anima": NetworkModule(
        ("anima",),
        _all("flag", "train_llm_adapter verbose") | _all("text", "exclude_patterns include_patterns") | DROPOUTS
        | PATTERNS | PLUS,
        "networks/lora_anima.py:659",
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


ONLY = ("network_train_unet_only", "network_train_text_encoder_only")
OFT = ("networks.oft", "networks.oft_flux")
LORA = (
    "networks.lora", "networks.lora_fa", "networks.lora_flux", "networks.lora_sd3", "networks.lora_lumina",
    "networks.lora_hunyuan_image", "networks.lora_anima",
)  # fmt: skip
FLUX_WIDTH = 3072
SIZES = ("network_dim", "network_args")
WITHOUT_DROPOUT = (*OFT, "networks.dylora")


def _missing_module(context: Context) -> str:
    """A module of the trainer's own package that is not there."""
    name = context.network_module
    if not name.startswith(PREFIX) or name in MODULES:
        return ""
    return did_you_mean(name, MODULES, KEY) or f"write {KEY}{context.support.network_module}"


def _wrong_module(context: Context) -> str:
    row = MODULES.get(context.network_module)
    own = context.support.network_module  # the one the row itself names
    fits = row is None or context.family in row.families or context.network_module == own
    return "" if fits else " or ".join(modules_for(context.family)) or context.support.network_module


def _no_prefix(context: Context) -> str:
    name = context.network_module
    return f"{PREFIX}{name}" if is_external(name) and f"{PREFIX}{name}" in MODULES else ""


def _no_rank(context: Context) -> bool:
    """Ranks of their own in ``network_args`` count beside ``network_dim``."""
    own = any(key.endswith(("_dim", "_dims")) for key in context.network_args)
    dim = context.get("network_dim")
    inert = own or context.on("dim_from_weights") or context.network_module not in LORA
    return dim is not None and dim < 1 and not inert


def _inert_with_weights(context: Context) -> str:
    return context.listed(context.given("network_dim", "network_alpha", "network_dropout"))


def _large_alpha(context: Context) -> bool:
    return context.network_module in OFT and context.number("network_alpha") >= 1


def _uneven_blocks(context: Context) -> bool:
    """Every layer of FLUX is a multiple of 3072 wide."""
    dim = context.get("network_dim") or 4
    return context.network_module == "networks.oft_flux" and (dim < 1 or FLUX_WIDTH % dim != 0)


def _no_norms(context: Context) -> bool:
    return context.network_module in WITHOUT_DROPOUT and context.number("scale_weight_norms") > 0


def _grows(context: Context) -> bool:
    conv = any(key in context.network_args for key in ("conv_dim", "conv_block_dims"))
    return bool(context.given("base_weights")) and context.network_module == "networks.lora" and not conv


def _surplus(context: Context) -> str:
    factors, files = context.get("base_weights_multiplier"), context.get("base_weights") or ()
    return f"{len(factors)} for {len(files)}" if isinstance(factors, list) and len(factors) > len(files) else ""


RULES: tuple[Rule, ...] = (
    Rule("args.network_module_missing", ("network_module",), lambda c: not c.network_module,
         "network_module is not set, and the trainer has no default", "name one, such as networks.lora", LOADED),
    Rule("args.network_module_unknown", ("network_module",), _missing_module,
         "the trainer has no module {network_module}", "{what}", LOADED),
    Rule("args.network_module_family", ("network_module",), _wrong_module,
         "network_module: {network_module} is made for another family: it attaches nothing to this one's model, or "
         "the script stops at it", "write args.network_module: {what}", LOADED),
    Rule("args.network_module_prefix", ("network_module",), _no_prefix,
         "network_module: {network_module} is none of the trainer's modules", "did you mean '{what}'?",
         LOADED, WARNING),
    Rule("args.trains_nothing", ONLY, lambda c: all(c.on(name) for name in ONLY),
         "network_train_unet_only and network_train_text_encoder_only leave nothing to train",
         "leave one of the two out", LOADED),
    Rule("args.oft_unet", ("network_train_text_encoder_only", "network_module"),
         lambda c: c.network_module in OFT and c.on("network_train_text_encoder_only"),
         "{network_module} trains the U-Net, and network_train_text_encoder_only forbids it",
         "leave args.network_train_text_encoder_only out", LOADED),
    Rule("args.oft_alpha", ("network_alpha", "network_module"), _large_alpha,
         "network_alpha: {network_alpha} is large for {network_module}, where it is a constraint",
         "write args.network_alpha: 1e-3 or so", SILENT, WARNING),
    Rule("args.oft_blocks", ("network_dim", "network_module"), _uneven_blocks,
         "network_dim: {network_dim} is the number of blocks for {network_module}, and does not divide 3072",
         "write a power of 2", LOADED, families=("flux",)),
    Rule("args.network_dim", SIZES, _no_rank, "network_dim: {network_dim} makes no module", "write 1 or more", LOADED),
    Rule("args.network_alpha", ("network_alpha",),
         lambda c: c.get("network_alpha") == 0 and c.network_module in LORA,
         "network_alpha: 0 means an alpha equal to the rank", "write the number you mean", SILENT, INFO),
    Rule("args.network_dropout", ("network_dropout",),
         lambda c: not 0 <= c.number("network_dropout") <= 1 and c.network_module in LORA,
         "network_dropout: {network_dropout} is not a probability", "write a number between 0 and 1", "first step"),
    Rule("args.network_dropout_inert", ("network_dropout", "network_module"),
         lambda c: c.network_module in WITHOUT_DROPOUT and c.number("network_dropout") > 0,
         "network_dropout: {network_dropout} is not used by {network_module}", "leave it out", SILENT, WARNING),
    Rule("args.scale_weight_norms", ("scale_weight_norms", "network_module"), _no_norms,
         "{network_module} has no scale_weight_norms ({scale_weight_norms})", "leave it out", SILENT, WARNING),
    Rule("args.dim_from_weights", ("dim_from_weights", "network_weights"),
         lambda c: c.on("dim_from_weights") and not c.given("network_weights"),
         "dim_from_weights needs network_weights", "name the file with args.network_weights", LOADED),
    Rule("args.dim_from_weights_inert", ("network_dim", "network_alpha", "network_dropout", "dim_from_weights"),
         lambda c: _inert_with_weights(c) if c.on("dim_from_weights") and c.network_module in LORA else "",
         "{what}: not looked at with dim_from_weights", "leave it out", SILENT, INFO),
    Rule("args.base_weights_grow", ("base_weights",), _grows,
         "merging base_weights makes {network_module} attach to the ResNet blocks as well (SDXL: 750 modules, not 722)",
         "expect a larger file", SILENT, WARNING, UNET),
    Rule("args.base_weights_multiplier", ("base_weights_multiplier", "base_weights"), _surplus,
         "base_weights_multiplier has more numbers than base_weights has files: {what}", "write one for each file",
         SILENT, WARNING),
)  # fmt: skip
