"""Rules about the network: what each module reads from ``network_args``, and which families it is made for.

Every other key is swallowed by ``**kwargs`` without a word. A module from elsewhere (lycoris.kohya) is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping

from kohya_runner.engines.rule_context import INFO, LOADED, SILENT, UNET, WARNING, Context, Rule
from kohya_runner.text import did_you_mean

KEY = "args.network_module: "
PREFIX = "networks."


U_NET = ("sd15", "sd2", "sdxl")
FOUND_OUT = ("sdxl", "anima")
"""Families that the modules which look at the model themselves know (networks/network_base.py:29)."""
OF_U_NET = ("networks.lora", "networks.lora_fa", "networks.dylora", "networks.oft")
OWN = ("flux", "sd3", "lumina", "hunyuan_image", "anima")
"""Families with modules of their own, which end in the family's name."""


OPTIONS: Mapping[str, str] = {
    "dim": "network_dim", "rank": "network_dim", "network_dim": "network_dim", "alpha": "network_alpha",
    "network_alpha": "network_alpha", "dropout": "network_dropout", "neuron_dropout": "network_dropout",
    "network_dropout": "network_dropout",
}  # fmt: skip
"""Keys people write that are options of their own."""


def is_external(module: str) -> bool:
    """Whether a module is none of the trainer's, so that nothing can be said about it."""
    return not module.startswith(PREFIX)


def families_of(module: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The families that a module of the trainer is made for; none where that is not known."""
    own = tuple(family for family in OWN if module.endswith(f"_{family}"))
    return own or (FOUND_OUT if "" in keys else U_NET if module in OF_U_NET else ())


def modules_for(family: str, networks: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The trainer's modules that are made for a family."""
    return tuple(name for name, keys in networks.items() if family in families_of(name, keys))


def suggestion(context: Context, key: str) -> str:
    """What was probably meant instead of an unknown key."""
    return f"write args: {{{OPTIONS[key]}: ...}}" if key in OPTIONS else did_you_mean(key, context.network_keys)


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
    networks = context.options.networks
    if not name.startswith(PREFIX) or name in networks:
        return ""
    return did_you_mean(name, networks, KEY) or f"write {KEY}{context.support.network_module}"


def _wrong_module(context: Context) -> str:
    networks, name, own = context.options.networks, context.network_module, context.support.network_module
    families = families_of(name, networks[name]) if name in networks else ()
    fits = not families or context.family in families or name == own  # the one the row itself names
    return "" if fits else " or ".join(modules_for(context.family, networks)) or own


def _no_prefix(context: Context) -> str:
    name = context.network_module
    return f"{PREFIX}{name}" if is_external(name) and f"{PREFIX}{name}" in context.options.networks else ""


def _no_rank(context: Context) -> bool:
    """Ranks of their own in ``network_args`` count beside ``network_dim``."""
    own = any(key.endswith(("_dim", "_dims")) for key in context.network_args)
    dim = context.get("network_dim")
    inert = own or context.on("dim_from_weights") or context.network_module not in LORA
    return dim is not None and dim < 1 and not inert


def _inert_with_weights(context: Context) -> str:
    return context.listed(context.given("network_dim", "network_alpha", "network_dropout"))


def _uneven_blocks(context: Context) -> bool:
    """Every layer of FLUX is a multiple of 3072 wide."""
    dim = context.get("network_dim") or 4
    return context.network_module == "networks.oft_flux" and (dim < 1 or FLUX_WIDTH % dim != 0)


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
    Rule("args.oft_alpha", ("network_alpha", "network_module"),
         lambda c: c.network_module in OFT and c.number("network_alpha") >= 1,
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
    Rule("args.scale_weight_norms", ("scale_weight_norms", "network_module"),
         lambda c: c.network_module in WITHOUT_DROPOUT and c.number("scale_weight_norms") > 0,
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
