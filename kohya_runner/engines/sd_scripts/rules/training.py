"""Conditions of the rules about captions, caches, loss, noise, precision, memory, samples, saves and resuming."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from kohya_runner.engines.rule_context import FLOW, Context
from kohya_runner.engines.rule_table import Condition
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.engines.support import LENGTH_OPTIONS

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


def _far_above_512(context: Context) -> str:
    sides = [int(side) for side in re.findall(r"\d+", str(context.get("resolution") or ""))]
    return "x".join(map(str, (sides * 2)[:2])) if sides and min(sides) >= 1024 else ""


HUBER = ("huber", "smooth_l1")
TIMESTEP_RANGE = ("min_timestep", "max_timestep")
USED_BY_FLOW: Mapping[str, tuple[str, ...]] = {"sd3": TIMESTEP_RANGE}  # library/sd3_train_utils.py:933
ALSO_UNUSED: Mapping[str, tuple[str, ...]] = {"sd3": ("ip_noise_gamma", "ip_noise_gamma_random_strength")}
WEIGHTED = ("logit_mean", "logit_std", "mode_scale")
TIMESTEPS = 1000
ALL_TIMESTEPS = ("train_control_net.py",)
"""Scripts that draw from all timesteps, whatever is set (train_control_net.py:500)."""


def _unused_by_flow(context: Context) -> str:
    names = (*TABLE["rules"]["unused_by_flow"], *ALSO_UNUSED.get(context.family, ()))
    used = USED_BY_FLOW.get(context.family, ())
    return context.listed(context.given(*(name for name in names if name not in used)))


def _huber_snr(context: Context) -> str:
    """The schedules that are left: anima_train.py:594 hands over no noise schedule at all."""
    if context.get("loss_type") not in HUBER or context.get("huber_schedule") != "snr":
        return ""
    return "constant" if context.script == "anima_train.py" else "constant or exponential"


def _scheme_inert(context: Context) -> bool:
    """Two schemes choose sigma timesteps, two weigh the loss of sigma_scaled (flux_train_utils.py:448, :467).

    Anima has no model_prediction_type and always weighs (anima_train_network.py:369).
    """
    match context.get("weighting_scheme"):
        case "logit_normal" | "mode":
            return str(context.get("timestep_sampling")) != "sigma"
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


CADENCES = ("sample_every_n_steps", "sample_every_n_epochs")
PROMPT_FILES = (".txt", ".toml", ".json")


def _samples(context: Context) -> str:
    """What will make samples: epochs go before steps, 0 and less is off (library/args.py:871, sampling.py:266)."""
    names = [name for name in CADENCES if context.number(name) > 0]
    name = names[-1] if names else ""
    comes = [name] if name and context.number(name) <= _last(context, name) else []
    return context.listed(["sample_at_first"] * context.on("sample_at_first") + comes)


def _last(context: Context, cadence: str) -> float:
    """The last step or epoch of the run; endless where that is not known."""
    total, steps = context.total_steps, context.steps_per_epoch
    if total is None or not steps:
        return math.inf
    return total if cadence == "sample_every_n_steps" else math.ceil(total / steps)


def _reads_prompts(context: Context) -> bool:
    """A flow model's script also reads them while it caches the captions (flux_train_network.py:270)."""
    cached = context.family in FLOW and context.caches_text
    return bool(context.get("sample_prompts")) and (bool(_samples(context)) or cached)


def _missing_file(context: Context) -> bool:
    return context.prompts_found is False and _reads_prompts(context)


def start_step(context: Context) -> float | None:
    """The step the script counts as done (train_network.py:1751-1767)."""
    if context.get("initial_step") is not None:
        return context.number("initial_step")
    epoch, steps = context.get("initial_epoch"), context.steps_per_epoch
    if epoch is None:
        return context.resume_step
    known = steps is not None and context.num_processes == 1  # with more the script divides twice
    return float((epoch - 1) * steps) if known and steps else None


def _past_the_end(context: Context) -> str:
    first, total = start_step(context), context.total_steps
    return f"{int(first)} of {total}" if first and total is not None and first > 0 and total <= first else ""


ROUNDED = {
    "sd15": (64, 64), "sd2": (64, 64), "sdxl": (32, 32), "sd3": (8, 64), "flux": (16, 64), "lumina": (8, 64),
    "anima": (16, 64),
}  # fmt: skip
"""What the sampling rounds the sides of a picture down to, and the least they become (library/sampling.py:430)."""


def _sizes(context: Context, wrong: Callable[[int, int], bool], told: Callable[[int, int], str]) -> str:
    """The stated sides with what is wrong with them; ``wrong`` and ``told`` are of a side and of that side rounded."""
    step, least = ROUNDED.get(context.family, (1, 64))
    sides = dict.fromkeys(side for size in context.prompt_sizes for side in size if side is not None)
    pairs = [(side, max(least, side - side % step)) for side in sides]
    return ", ".join(told(*pair) for pair in pairs if wrong(*pair)) if _samples(context) else ""


TAKES_XFORMERS = ("hunyuan_image", "anima")
"""Transformer families whose attention may be that of xformers (library/attention.py)."""
ATTENTION = ("mem_eff_attn", "xformers", "sdpa")


def _attention(context: Context) -> str:
    names = [name for name in ATTENTION if context.on(name)]
    return " and ".join(names) if len(names) > 1 else ""


def _inert_attention(context: Context) -> str:
    names = ("mem_eff_attn",) if context.family in TAKES_XFORMERS else ("mem_eff_attn", "xformers")
    return " and ".join(name for name in names if context.on(name))


CONDITIONS: Mapping[str, Condition] = {
    "cached_text_captions": _not_cacheable,
    "resolution_sd15": _far_above_512,
    "max_token_length": lambda c: LENGTHS.get(c.family, "leave it out") if c.given("max_token_length") else "",
    "weighted_captions": lambda c: (  # where train_network.py:445 comes to the text encoders at all
        c.on("weighted_captions") and not (c.caches_text and c.on("network_train_unet_only"))
    ),
    "huber_snr": _huber_snr,
    "flow_inert": _unused_by_flow,
    "timestep_none": _no_timestep,
    "timestep_range": lambda c: _upper(c) > TIMESTEPS > c.number("min_timestep") and c.script not in ALL_TIMESTEPS,
    "timestep_one": _one_timestep,
    "weighting_scheme": _scheme_inert,
    "weighting_inert": _density_inert,
    "sample_prompts": lambda c: "" if c.get("sample_prompts") else _samples(c),
    "sample_file": lambda c: (
        not str(c.get("sample_prompts")).endswith(PROMPT_FILES) and c.prompts_found is not False and _reads_prompts(c)
    ),
    "sample_missing": _missing_file,
    "sample_seed": lambda c: ", ".join(str(seed) for seed in c.prompt_seeds if seed <= 0 and _samples(c)),
    "sample_size_lumina": lambda c: _sizes(c, lambda _, made: made % 16 > 0, lambda side, _: str(side)),
    "sample_rounded": lambda c: _sizes(c, lambda side, made: side != made, lambda side, made: f"{side} becomes {made}"),
    "sample_unused": lambda c: bool(c.get("sample_prompts")) and not _samples(c) and not _missing_file(c),
    "sample_off": lambda c: c.listed(name for name in c.given(*CADENCES) if c.number(name) <= 0),
    "initial_step": _past_the_end,
    "fp8_precision": lambda c: (  # HunyuanImage's fp8_scaled switches both off (hunyuan_image_train_network.py:344)
        c.listed(filter(c.on, ("fp8_base", "fp8_base_unet")))
        if c.get("mixed_precision") in (None, "no") and not c.on("fp8_scaled")
        else ""
    ),
    "attention_twice": _attention,
    "attention_inert": _inert_attention,
}
