"""Rules about captions, caches and buckets, and about the loss, noise and timesteps."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kohya_runner.engines.rule_context import FLOW, INFO, LORA, SILENT, UNET, WARNING, WHOLE, Context, Rule
from kohya_runner.engines.support import LENGTH_OPTIONS

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
LATENTS = ("cache_latents", "cache_latents_to_disk")
BUCKETS = ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale")
ADDED = ("caption_prefix", "caption_suffix", "enable_wildcard", "secondary_separator")


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


def _augmented(context: Context) -> str:
    names = [name for name in ("color_aug", "random_crop") if context.on(name)]
    return context.listed(names) if context.caches_latents else ""


def _encodes_while_training(context: Context) -> bool:
    """Whether train_network.py:445 comes to the text encoders at all."""
    return not (context.caches_text and context.on("network_train_unet_only"))


def _far_above_512(context: Context) -> str:
    sides = [int(side) for side in re.findall(r"\d+", str(context.get("resolution") or ""))]
    return "x".join(map(str, (sides * 2)[:2])) if sides and min(sides) >= 1024 else ""


DATA_RULES: tuple[Rule, ...] = (
    Rule("args.cached_text_training", (*CACHE, "network_train_unet_only"),
         lambda c: c.caches_text and not c.on("network_train_unet_only"),
         "text encoder outputs are cached, and the text encoders would be trained",
         "write args.network_train_unet_only: true, or leave the caching out", "start", families=("sdxl", "anima"),
         methods=LORA),
    Rule("args.cached_text_captions",
         ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate", *CACHE),
         _not_cacheable, "text encoder outputs are cached, which does not go with {what}",
         "leave one of the two out", "start",
         families=("sdxl", "flux", "sd3", "lumina", "hunyuan_image", "anima"), methods=(*LORA, *WHOLE)),
    Rule("args.cached_text_dropout", ("caption_dropout_every_n_epochs", *CACHE),
         lambda c: c.uses_cached_text and c.number("caption_dropout_every_n_epochs") > 0,
         "caption_dropout_every_n_epochs: {caption_dropout_every_n_epochs} does nothing to cached text encoder outputs",
         "leave one of the two out", SILENT, WARNING),
    Rule("args.cached_text_prefix", (*ADDED, *CACHE), lambda c: c.listed(c.given(*ADDED)) if c.uses_cached_text else "",
         "{what}: text encoder outputs are cached from the caption as the file has it, without this",
         "write it into the caption files, or leave the caching out", SILENT, WARNING),
    Rule("args.cached_text_batch", ("text_encoder_batch_size",),
         lambda c: bool(c.given("text_encoder_batch_size")) and not c.caches_text,
         "text_encoder_batch_size: {text_encoder_batch_size} only acts while text encoder outputs are cached",
         "leave it out, or write args.cache_text_encoder_outputs: true", SILENT, INFO),
    Rule("args.cached_latents_augmentation", ("color_aug", "random_crop", *LATENTS), _augmented,
         "latents are cached, which does not go with {what}",
         "leave one of the two out", "start", methods=(*LORA, *WHOLE, "textual_inversion")),
    Rule("args.cache_latents_implied", ("cache_latents_to_disk",),
         lambda c: c.on("cache_latents_to_disk") and not c.on("cache_latents"),
         "cache_latents_to_disk switches cache_latents on", "write args.cache_latents: true, too", SILENT, INFO),
    Rule("args.cache_check_latents", ("skip_cache_check",), lambda c: c.on("skip_cache_check"),
         "skip_cache_check does not reach the latents of this family: they are always checked",
         "nothing to do", SILENT, INFO, ("flux", "lumina", "hunyuan_image"), LORA),
    Rule("args.masked_loss", ("masked_loss",), lambda c: c.on("masked_loss") and not c.on("alpha_mask"),
         "masked_loss has no masks: folders of images hold none",
         "write args.alpha_mask: true for images with transparency", SILENT, WARNING),
    Rule("args.bucket_inert", (*BUCKETS, "enable_bucket"),
         lambda c: "" if c.on("enable_bucket") else c.listed(c.given(*BUCKETS)),
         "{what} does nothing without enable_bucket", "write args.enable_bucket: true", SILENT, WARNING),
    Rule("args.bucket_no_upscale", ("bucket_no_upscale", "min_bucket_reso", "max_bucket_reso"),
         lambda c: c.listed(c.given("min_bucket_reso", "max_bucket_reso"))
         if c.on("enable_bucket") and c.on("bucket_no_upscale") else "",
         "{what}: not looked at with bucket_no_upscale, where each image's own size decides",
         "leave one of the two out", SILENT, INFO),
    Rule("args.clip_skip", ("clip_skip",), lambda c: bool(c.given("clip_skip")),
         "clip_skip: {clip_skip} does nothing for this family", "leave it out", SILENT, WARNING, ("sdxl", *FLOW)),
    Rule("args.clip_skip_v2", ("clip_skip", "v2"), lambda c: c.on("v2") and bool(c.given("clip_skip")),
         "v2 with clip_skip: {clip_skip} is not meant to be", "leave args.clip_skip out", SILENT, WARNING,
         ("sd15", "sd2")),
    Rule("args.resolution_sd15", ("resolution",), _far_above_512,
         "resolution: {resolution}: SD 1.5 was made at 512; at {what} it repeats heads and limbs",
         "write args.resolution: 512 (768 at most), or take SDXL", SILENT, WARNING, ("sd15",)),
    Rule("args.v2", ("v2",), lambda c: c.on("v2"), "v2 is for Stable Diffusion 2, and this script refuses it",
         "leave args.v2 out", "start", families=("sdxl",)),
    Rule("args.max_token_length", ("max_token_length",),
         lambda c: LENGTHS.get(c.family, "leave it out") if c.given("max_token_length") else "",
         "max_token_length: {max_token_length} does nothing for this family", "{what}", SILENT, WARNING, FLOW),
    Rule("args.weighted_captions", ("weighted_captions",),
         lambda c: c.on("weighted_captions") and _encodes_while_training(c),
         "weighted_captions is not implemented for this family", "leave it out", "first step",
         families=("flux", "sd3", "lumina", "hunyuan_image", "anima"), methods=LORA),
    Rule("args.chroma_mask", ("apply_t5_attn_mask", "model_type"),
         lambda c: c.get("model_type") == "chroma" and not c.on("apply_t5_attn_mask"),
         "model_type: chroma needs apply_t5_attn_mask", "write args.apply_t5_attn_mask: true",
         "start", families=("flux",), methods=LORA),
    Rule("args.chroma_clip", ("clip_l", "model_type"),
         lambda c: c.get("model_type") == "chroma" and bool(c.given("clip_l")),
         "model_type: chroma has no CLIP-L; clip_l is not read", "leave args.clip_l out",
         SILENT, INFO, ("flux",), LORA),
    Rule("args.vae", ("vae",), lambda c: bool(c.given("vae")),
         "vae: {vae} is not read by this family", "name the autoencoder under components: ae",
         SILENT, WARNING, ("flux", "lumina")),
    Rule("args.keep_tokens", ("keep_tokens", "keep_tokens_separator"),
         lambda c: not c.on("shuffle_caption") and c.number("caption_tag_dropout_rate") <= 0
         and c.number("token_warmup_step") <= 0 and c.number("keep_tokens") > 0,
         "keep_tokens: {keep_tokens} only acts with shuffle_caption, token_warmup_step or caption_tag_dropout_rate",
         "leave it out, or write args.shuffle_caption: true", SILENT, INFO, UNET),
)  # fmt: skip


HUBER = ("huber", "smooth_l1")
HUBER_OPTIONS = ("huber_schedule", "huber_c", "huber_scale")
UNUSED_BY_FLOW = (
    "min_snr_gamma", "debiased_estimation_loss", "v_parameterization", "scale_v_pred_loss_like_noise_pred",
    "v_pred_like_loss", "zero_terminal_snr", "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale",
    "multires_noise_iterations", "multires_noise_discount", "min_timestep", "max_timestep",
)  # fmt: skip
TIMESTEP_RANGE = ("min_timestep", "max_timestep")
USED_BY_FLOW: Mapping[str, tuple[str, ...]] = {"sd3": TIMESTEP_RANGE}  # library/sd3_train_utils.py:933
ALSO_UNUSED: Mapping[str, tuple[str, ...]] = {"sd3": ("ip_noise_gamma", "ip_noise_gamma_random_strength")}
WEIGHTED = ("logit_mean", "logit_std", "mode_scale")
USES_SIGMOID = ("sigmoid", "shift", "flux_shift")
USES_SHIFT = ("shift", "sigma")
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


LOSS_RULES: tuple[Rule, ...] = (
    Rule("args.adaptive_noise_scale", ("adaptive_noise_scale", "noise_offset"),
         lambda c: c.get("adaptive_noise_scale") is not None and c.get("noise_offset") is None,
         "adaptive_noise_scale: {adaptive_noise_scale} needs noise_offset", "write args.noise_offset, such as 0.05",
         "start"),
    Rule("args.scale_v_pred", ("scale_v_pred_loss_like_noise_pred", "v_parameterization"),
         lambda c: c.on("scale_v_pred_loss_like_noise_pred") and not c.on("v_parameterization"),
         "scale_v_pred_loss_like_noise_pred needs v_parameterization",
         "write args.v_parameterization: true, or leave it out", "start"),
    Rule("args.v_pred_like_loss", ("v_pred_like_loss", "v_parameterization"),
         lambda c: c.number("v_pred_like_loss") != 0 and c.on("v_parameterization"),
         "v_pred_like_loss: {v_pred_like_loss} does not go with v_parameterization", "leave one of the two out",
         "start"),
    Rule("args.zero_terminal_snr", ("zero_terminal_snr", "v_parameterization"),
         lambda c: c.on("zero_terminal_snr") and not c.on("v_parameterization"),
         "zero_terminal_snr is meant for v_parameterization",
         "write args.v_parameterization: true for a v-prediction model", SILENT, WARNING, UNET),
    Rule("args.huber_snr", ("loss_type", "huber_schedule"),
         _huber_snr,
         "loss_type: {loss_type} with huber_schedule: snr: this family's noise schedule has no SNR",
         "write args.huber_schedule: {what}", "first step", families=FLOW, methods=(*LORA, *WHOLE)),
    Rule("args.huber_c", ("huber_c", "huber_schedule"),
         lambda c: _huber(c) and c.get("huber_schedule") == "exponential" and c.number("huber_c") <= 0,
         "huber_c: {huber_c} has no logarithm, which huber_schedule: exponential takes", "write more than 0",
         "first step"),
    Rule("args.huber_inert", (*HUBER_OPTIONS, "loss_type"),
         lambda c: "" if _huber(c) else c.listed(c.given(*HUBER_OPTIONS)),
         "{what} does nothing with loss_type: {loss_type}", "write args.loss_type: huber or smooth_l1, or leave it out",
         SILENT, WARNING),
    Rule("args.flow_inert", (*UNUSED_BY_FLOW, *ALSO_UNUSED["sd3"]), _unused_by_flow,
         "{what}: does nothing for a flow model", "leave it out", SILENT, WARNING, FLOW),
    Rule("args.noise_random", ("noise_offset_random_strength", "noise_offset"),
         lambda c: c.on("noise_offset_random_strength") and not c.get("noise_offset"),
         "noise_offset_random_strength does nothing without noise_offset", "write args.noise_offset",
         SILENT, WARNING, UNET),
    Rule("args.noise_discount", ("multires_noise_discount", "multires_noise_iterations"),
         lambda c: bool(c.given("multires_noise_discount")) and not c.get("multires_noise_iterations"),
         "multires_noise_discount: {multires_noise_discount} does nothing without multires_noise_iterations",
         "write args.multires_noise_iterations: 6 or so", SILENT, WARNING, UNET),
    Rule("args.ip_noise_random", ("ip_noise_gamma_random_strength", "ip_noise_gamma"),
         lambda c: c.on("ip_noise_gamma_random_strength") and not c.get("ip_noise_gamma"),
         "ip_noise_gamma_random_strength does nothing without ip_noise_gamma", "write args.ip_noise_gamma",
         SILENT, WARNING),
    Rule("args.timestep_none", ("min_timestep", "max_timestep"), _no_timestep,
         "min_timestep: {min_timestep} leaves nothing below the last timestep, 999",
         "write a smaller args.min_timestep", "first step", families=UNET),
    Rule("args.timestep_range", ("max_timestep", "min_timestep"),
         lambda c: _upper(c) > TIMESTEPS > c.number("min_timestep") and c.script not in ALL_TIMESTEPS,
         "max_timestep: {max_timestep}: timesteps go from 0 to 999, and the trainer stops when it draws a higher one",
         "write args.max_timestep: 1000 or less", "first step", WARNING, UNET),
    Rule("args.timestep_one", ("min_timestep", "max_timestep"), _one_timestep,
         "min_timestep: {min_timestep} is not below max_timestep: {max_timestep}: only that one timestep is trained",
         "write a smaller args.min_timestep", SILENT, WARNING, UNET),
    Rule("args.flow_shift", ("discrete_flow_shift", "timestep_sampling"),
         lambda c: bool(c.given("discrete_flow_shift")) and _sampling(c) not in USES_SHIFT,
         "discrete_flow_shift: {discrete_flow_shift} does nothing with timestep_sampling: {timestep_sampling}",
         "write args.timestep_sampling: shift, or leave it out", SILENT, WARNING,
         ("flux", "lumina", "hunyuan_image", "anima")),
    Rule("args.sigmoid_scale", ("sigmoid_scale", "timestep_sampling"),
         lambda c: bool(c.given("sigmoid_scale")) and _sampling(c) not in USES_SIGMOID,
         "sigmoid_scale: {sigmoid_scale} does nothing with timestep_sampling: {timestep_sampling}",
         "write args.timestep_sampling: sigmoid or shift, or leave it out", SILENT,
         WARNING, ("flux", "lumina", "hunyuan_image", "anima")),
    Rule("args.weighting_scheme", ("weighting_scheme", "timestep_sampling", "model_prediction_type"), _scheme_inert,
         "weighting_scheme: {weighting_scheme} does nothing with timestep_sampling: {timestep_sampling} and "
         "model_prediction_type: {model_prediction_type}", "leave it out, or write args.timestep_sampling: sigma",
         SILENT, WARNING, ("flux", "lumina", "hunyuan_image", "anima")),
    Rule("args.weighting_inert", (*WEIGHTED, "weighting_scheme", "timestep_sampling"), _density_inert,
         "{what} does nothing with timestep_sampling: {timestep_sampling} and weighting_scheme: {weighting_scheme}",
         "leave it out", SILENT, WARNING, FLOW),
    Rule("args.controlnet_inert", ("controlnet_model_name_or_path",),
         lambda c: bool(c.given("controlnet_model_name_or_path")),
         "controlnet_model_name_or_path is not read by this script", "leave it out",
         SILENT, INFO, ("flux",), (*LORA, *WHOLE)),
)  # fmt: skip
