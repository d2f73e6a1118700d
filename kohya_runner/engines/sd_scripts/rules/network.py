"""Rules about the network: what each module reads from ``network_args``, and which families it is made for.

Every other key is swallowed by ``**kwargs`` without a word. A module from elsewhere (lycoris.kohya) is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping

from kohya_runner.engines.rule_context import Context
from kohya_runner.engines.rule_table import Condition
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


LORA = (
    "networks.lora", "networks.lora_fa", "networks.lora_flux", "networks.lora_sd3", "networks.lora_lumina",
    "networks.lora_hunyuan_image", "networks.lora_anima",
)  # fmt: skip
FLUX_WIDTH = 3072


def _missing_module(context: Context) -> str:
    """A module of the trainer's own package that is not there."""
    name = context.network_module
    networks = context.options.options.networks
    if not name.startswith(PREFIX) or name in networks:
        return ""
    return did_you_mean(name, networks, KEY) or f"write {KEY}{context.support.network_module}"


def _wrong_module(context: Context) -> str:
    networks, name, own = context.options.options.networks, context.network_module, context.support.network_module
    families = families_of(name, networks[name]) if name in networks else ()
    fits = not families or context.family in families or name == own  # the one the row itself names
    return "" if fits else " or ".join(modules_for(context.family, networks)) or own


def _no_prefix(context: Context) -> str:
    name = context.network_module
    return f"{PREFIX}{name}" if is_external(name) and f"{PREFIX}{name}" in context.options.options.networks else ""


def _no_rank(context: Context) -> bool:
    """Ranks of their own in ``network_args`` count beside ``network_dim``."""
    own = any(key.endswith(("_dim", "_dims")) for key in context.network_args)
    dim = context.get("network_dim")
    inert = own or context.on("dim_from_weights") or context.network_module not in LORA
    return dim is not None and dim < 1 and not inert


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


CONDITIONS: Mapping[str, Condition] = {
    "network_module_unknown": _missing_module,
    "network_module_family": _wrong_module,
    "network_module_prefix": _no_prefix,
    "oft_blocks": _uneven_blocks,
    "network_dim": _no_rank,
    "network_dropout": lambda c: not 0 <= c.number("network_dropout") <= 1 and c.network_module in LORA,
    "base_weights_grow": _grows,
    "base_weights_multiplier": _surplus,
}
