"""Rules about the network: what each module reads from ``network_args``, and which families it is made for.

Every other key is swallowed by ``**kwargs`` without a word. A module from elsewhere (lycoris.kohya) is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from kohya_runner.engines.rule_context import Context, reads
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.text import did_you_mean

KEY = "args.network_module: "
PREFIX = "networks."
U_NET = ("sd15", "sd2", "sdxl")
FOUND_OUT = ("sdxl", "anima")
"""Families that the modules which look at the model themselves know (networks/network_base.py:29)."""
OF_U_NET = ("networks.lora", "networks.lora_fa", "networks.dylora", "networks.oft")
OWN = ("flux", "sd3", "lumina", "hunyuan_image", "anima")
"""Families with modules of their own, which end in the family's name."""
OPTIONS: Mapping[str, str] = TABLE["rules"]["network_options"]
LORA: list[str] = TABLE["rules"]["lora"]
FLUX_WIDTH = 3072


def families_of(module: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The families that a module of the trainer is made for; none where that is not known."""
    own = tuple(family for family in OWN if module.endswith(f"_{family}"))
    return own or (FOUND_OUT if "" in keys else U_NET if module in OF_U_NET else ())


def modules_for(family: str, networks: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(name for name, keys in networks.items() if family in families_of(name, keys))


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


BLOCK_LISTS = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
WEIGHTS = ("down_lr_weight", "up_lr_weight")
PRESETS = ("cosine", "sine", "linear", "reverse_linear", "zeros")
TRAIN_BLOCKS: Mapping[str, list[str]] = TABLE["rules"]["train_blocks"]
BLOCK_COUNTS: Mapping[str, Mapping[str, int]] = TABLE["rules"]["block_counts"]
LISTS: Mapping[str, tuple[str, int, str]] = TABLE["rules"]["lists"]
SD3_BLOCKS = 38
WITHOUT_CONV = ("networks.lora_flux", "networks.lora_sd3", "networks.lora_lumina", "networks.lora_hunyuan_image")
TRAINS_T5 = ("networks.lora_flux", "networks.lora_sd3")
OFF = ("false", "0", "no", "none", "")


def _unknown(context: Context) -> str:
    known = context.network_keys
    hints = {
        key: f"write args: {{{OPTIONS[key]}: ...}}" if key in OPTIONS else did_you_mean(key, known)
        for key in context.network_args
        if known and key not in known
    }
    return "; ".join(f"{key} ({hint})" if hint else key for key, hint in hints.items())


def _unreadable(context: Context) -> str:
    return ", ".join(
        f"{key}={text}" for key, text, kind in _typed(context) if not reads(CONVERTERS.get(kind, str), text)
    )


def _not_quite_true(context: Context) -> str:
    flags = [(key, text) for key, text, kind in _typed(context) if kind == "bool" and text != "True"]
    flags += [(key, text) for key, text, kind in _typed(context) if kind == "flag" and text.lower() != "true"]
    return ", ".join(f"{key}={text}" for key, text in flags if text.lower() not in OFF)


def _typed(context: Context) -> Iterator[tuple[str, str, str]]:
    known = context.network_keys
    if not context.on("dim_from_weights"):
        yield from ((key, text, known[key]) for key, text in context.network_args.items() if key in known)


def _ints(text: str) -> list[int]:
    bare = text.strip()
    bare = bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
    return [int(part) for part in bare.split(",")]


CONVERTERS: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "ints": _ints,
    "floats": lambda text: [float(part) for part in text.split(",")],
}


def _per_block(context: Context) -> bool:
    return any(key in context.network_args for key in ("block_dims", *WEIGHTS, "mid_lr_weight"))


BLOCKS = {("sdxl", "networks.lora"): 23}
"""Entries of block_dims, where not 25 (networks/lora.py:533)."""
WEIGHTED = {"sdxl": 9}
"""Entries of down_lr_weight and its like, where not 12."""


def _block_counts(context: Context) -> str:
    """25 for SD 1.5 and 2; 23 for SDXL, which networks.lora alone knows."""
    if context.network_module not in ("networks.lora", "networks.lora_fa") or not _per_block(context):
        return ""
    wanted = BLOCKS.get((context.family, context.network_module), 25)
    counts = {key: context.network_args[key].count(",") + 1 for key in BLOCK_LISTS if key in context.network_args}
    wrong = ", ".join(f"{key} has {count}" for key, count in counts.items() if count != wanted)
    return f"{wrong} where {wanted} are needed" if wrong else ""


def _inert_blocks(context: Context) -> str:
    if context.network_module not in ("networks.lora", "networks.lora_fa") or _per_block(context):
        return ""
    return ", ".join(key for key in BLOCK_LISTS if key in context.network_args)


def _no_preset(context: Context) -> str:
    """A text without comma is a name, with an optional ``+number`` (networks/lora.py:607)."""
    if context.network_module != "networks.lora":
        return ""
    found = {key: context.network_args[key] for key in WEIGHTS if key in context.network_args}
    wrong = {key: text for key, text in found.items() if "," not in text and text.split("+")[0] not in PRESETS}
    return ", ".join(f"{key}={text}" for key, text in wrong.items())


def _weight_counts(context: Context) -> dict[str, int]:
    if context.network_module != "networks.lora":
        return {}
    return {key: text.count(",") + 1 for key, text in context.network_args.items() if key in WEIGHTS and "," in text}


def _blocks(context: Context) -> int:
    return WEIGHTED.get(context.family, 12)


def _too_many_weights(context: Context) -> str:
    """Only a pair is cut; the trainer also slices the one that is not there (networks/lora.py:644)."""
    pair = all(key in context.network_args for key in WEIGHTS)
    wrong = {key: count for key, count in _weight_counts(context).items() if count > _blocks(context)}
    text = ", ".join(f"{key} has {count}" for key, count in wrong.items())
    return f"{text} where {_blocks(context)} fit" if text and not pair else ""


def _odd_weights(context: Context) -> str:
    wrong = {key: count for key, count in _weight_counts(context).items() if count != _blocks(context)}
    text = ", ".join(f"{key} has {count}" for key, count in wrong.items())
    return f"{text} where {_blocks(context)} are meant" if text and not _too_many_weights(context) else ""


def _own_key(context: Context, key: str, modules: Iterable[str]) -> str | None:
    return context.network_args.get(key) if context.network_module in modules else None


def _list_lengths(context: Context) -> str:
    key, wanted, what = LISTS.get(context.network_module, ("", 0, ""))
    text = context.network_args.get(key)
    wrong = text is not None and text.count(",") + 1 != wanted
    return f"{key}={text} must be {wanted} numbers: {what}" if wrong else ""


def _train_blocks(context: Context) -> str:
    text = _own_key(context, "train_blocks", TRAIN_BLOCKS)
    known = TRAIN_BLOCKS.get(context.network_module, ())
    return f"{text!r} is none of {', '.join(known)}" if text is not None and text not in known else ""


def _indices(context: Context) -> str:
    counts = BLOCK_COUNTS.get(context.network_module, {})
    faulty = [key for key, total in counts.items() if not _selects(context.network_args.get(key), total)]
    return ", ".join(f"{key}={context.network_args[key]} (blocks 0 to {counts[key] - 1})" for key in faulty)


def _empty_indices(context: Context) -> bool:
    """Blocks that SD3's largest model has not, and the trainer does not look for."""
    text = _own_key(context, "train_block_indices", TRAINS_T5)
    return text is not None and _selects(text, 999) and not _selects(text, SD3_BLOCKS)


def _selects(selection: str | None, total: int) -> bool:
    """As networks/lora_flux.py:516 reads ``0-3,7``."""
    if selection in (None, "all", "none", ""):
        return True
    for part in str(selection).split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(reads(int, end) for end in ends):
            return False
        low, high = int(ends[0]), int(ends[-1])
        if not 0 <= low <= high < total:
            return False
    return True


def _one_way(context: Context, first: str, second: str) -> bool:
    return first in context.network_args and second not in context.network_args


def _unit(context: Context) -> str:
    unit = context.network_args.get("unit", "1")
    dim = context.get("network_dim") or 4
    divides = not reads(int, unit) or (int(unit) and dim % int(unit) == 0)
    return "" if context.network_module != "networks.dylora" or divides else f"unit={unit}, network_dim: {dim}"


def _dylora_conv(context: Context) -> str:
    conv, dim = context.network_args.get("conv_dim"), context.get("network_dim") or 4
    wrong = conv is not None and reads(int, conv) and int(conv) != dim
    return f"conv_dim={conv}, network_dim: {dim}" if wrong and context.network_module == "networks.dylora" else ""


CONDITIONS: Mapping[str, Condition] = {
    "network_module_unknown": _missing_module,
    "network_module_family": _wrong_module,
    "network_module_prefix": lambda c: next(
        (name for name in c.options.options.networks if name == f"{PREFIX}{c.network_module}"), ""
    ),
    "oft_blocks": _uneven_blocks,
    "network_dim": _no_rank,
    "network_dropout": lambda c: not 0 <= c.number("network_dropout") <= 1 and c.network_module in LORA,
    "base_weights_grow": _grows,
    "base_weights_multiplier": _surplus,
    "network_args_unknown": _unknown,
    "network_args_value": _unreadable,
    "network_args_true": _not_quite_true,
    "network_args_blocks": _block_counts,
    "network_args_blocks_inert": _inert_blocks,
    "network_args_preset": _no_preset,
    "network_args_weights": _too_many_weights,
    "network_args_weights_filled": _odd_weights,
    "network_args_conv_alpha": lambda c: "conv_alpha" in c.network_keys and _one_way(c, "conv_alpha", "conv_dim"),
    "network_args_conv_flux": lambda c: _own_key(c, "conv_dim", WITHOUT_CONV) is not None,
    "network_args_rank_dropout": lambda c: (
        reads(float, text := c.network_args.get("rank_dropout", "")) and math.isclose(float(text), 1.0)
    ),
    "network_args_in_dims": _list_lengths,
    "network_args_train_blocks": _train_blocks,
    "network_args_indices": _indices,
    "network_args_indices_empty": _empty_indices,
    "network_args_ggpo": lambda c: _one_way(c, "ggpo_beta", "ggpo_sigma") or _one_way(c, "ggpo_sigma", "ggpo_beta"),
    "network_args_unit": _unit,
    "network_args_dylora": _dylora_conv,
    "t5_cached": lambda c: _own_key(c, "train_t5xxl", TRAINS_T5) == "True" and c.caches_text,
    "t5_unet_only": lambda c: _own_key(c, "train_t5xxl", TRAINS_T5) == "True" and c.on("network_train_unet_only"),
}
