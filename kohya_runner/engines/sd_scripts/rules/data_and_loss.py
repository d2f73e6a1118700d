"""Rules about captions, caches and buckets, and about the loss, noise and timesteps."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kohya_runner.engines.rule_context import Context
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.support import LENGTH_OPTIONS

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")


RATES = ("caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate")
REFUSED: Mapping[str, tuple[str, ...]] = {"anima": RATES[1:]}
"""Rates that do not go with cached outputs, where they are others than usual (anima_train_network.py:73)."""
UNCHECKED = ("lumina_train_network.py",)
"""Scripts that do not ask, but silently leave out what does not go with cached outputs."""
LENGTHS = {family: f"write args.{option}" for family, option in LENGTH_OPTIONS.items()}


def _not_cacheable(context: Context) -> str:
    """What library/dataset.py:733 refuses while text encoder outputs are cached."""
    if not context.caches_text or context.script in UNCHECKED:
        return ""
    rates = REFUSED.get(context.family, RATES)
    names = [name for name in rates if context.number(name) > 0]
    return context.listed(["shuffle_caption"] * context.on("shuffle_caption") + names)


def _encodes_while_training(context: Context) -> bool:
    """Whether train_network.py:445 comes to the text encoders at all."""
    return not (context.caches_text and context.on("network_train_unet_only"))


def _far_above_512(context: Context) -> str:
    sides = [int(side) for side in re.findall(r"\d+", str(context.get("resolution") or ""))]
    return "x".join(map(str, (sides * 2)[:2])) if sides and min(sides) >= 1024 else ""


HUBER = ("huber", "smooth_l1")
UNUSED_BY_FLOW = (
    "min_snr_gamma", "debiased_estimation_loss", "v_parameterization", "scale_v_pred_loss_like_noise_pred",
    "v_pred_like_loss", "zero_terminal_snr", "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale",
    "multires_noise_iterations", "multires_noise_discount", "min_timestep", "max_timestep",
)  # fmt: skip
TIMESTEP_RANGE = ("min_timestep", "max_timestep")
USED_BY_FLOW: Mapping[str, tuple[str, ...]] = {"sd3": TIMESTEP_RANGE}  # library/sd3_train_utils.py:933
ALSO_UNUSED: Mapping[str, tuple[str, ...]] = {"sd3": ("ip_noise_gamma", "ip_noise_gamma_random_strength")}
WEIGHTED = ("logit_mean", "logit_std", "mode_scale")
TIMESTEPS = 1000
ALL_TIMESTEPS = ("train_control_net.py",)
"""Scripts that draw from all timesteps, whatever is set (train_control_net.py:500)."""


def _unused_by_flow(context: Context) -> str:
    names = (*UNUSED_BY_FLOW, *ALSO_UNUSED.get(context.family, ()))
    used = USED_BY_FLOW.get(context.family, ())
    return context.listed(context.given(*(name for name in names if name not in used)))


def _huber(context: Context) -> bool:
    return context.get("loss_type") in HUBER


def _huber_snr(context: Context) -> str:
    """The schedules that are left: anima_train.py:594 hands over no noise schedule at all."""
    if not _huber(context) or context.get("huber_schedule") != "snr":
        return ""
    return "constant" if context.script == "anima_train.py" else "constant or exponential"


def _sampling(context: Context) -> str:
    return str(context.get("timestep_sampling"))


def _scheme_inert(context: Context) -> bool:
    """Two schemes choose sigma timesteps, two weigh the loss of sigma_scaled (flux_train_utils.py:448, :467).

    Anima has no model_prediction_type and always weighs (anima_train_network.py:369).
    """
    match context.get("weighting_scheme"):
        case "logit_normal" | "mode":
            return _sampling(context) != "sigma"
        case "sigma_sqrt" | "cosmap":
            return context.get("model_prediction_type") not in (None, "sigma_scaled")
        case _:
            return False


def _density_inert(context: Context) -> str:
    sigma = context.get("timestep_sampling") in (None, "sigma")  # SD3 has no other
    scheme = str(context.get("weighting_scheme")) if sigma else ""
    used = {"logit_normal": ("logit_mean", "logit_std"), "mode": ("mode_scale",)}.get(scheme, ())
    return context.listed(name for name in context.given(*WEIGHTED) if name not in used)


def _no_timestep(context: Context) -> bool:
    """Without a range the upper bound itself is taken, and the scheduler's last timestep is 999."""
    drawn = context.script not in ALL_TIMESTEPS
    return drawn and context.number("min_timestep") >= _upper(context) >= TIMESTEPS


def _upper(context: Context) -> float:
    return TIMESTEPS if context.get("max_timestep") is None else context.number("max_timestep")


def _one_timestep(context: Context) -> bool:
    low, high = context.number("min_timestep"), context.get("max_timestep")
    drawn = context.script not in ALL_TIMESTEPS
    return drawn and high is not None and low >= high and high < TIMESTEPS


CONDITIONS: Mapping[str, Condition] = {
    "cached_text_captions": _not_cacheable,
    "resolution_sd15": _far_above_512,
    "max_token_length": lambda c: LENGTHS.get(c.family, "leave it out") if c.given("max_token_length") else "",
    "weighted_captions": lambda c: c.on("weighted_captions") and _encodes_while_training(c),
    "huber_snr": _huber_snr,
    "flow_inert": _unused_by_flow,
    "timestep_none": _no_timestep,
    "timestep_range": lambda c: _upper(c) > TIMESTEPS > c.number("min_timestep") and c.script not in ALL_TIMESTEPS,
    "timestep_one": _one_timestep,
    "weighting_scheme": _scheme_inert,
    "weighting_inert": _density_inert,
}
