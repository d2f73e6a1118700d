"""Rules about captions, cached latents and text encoder outputs, and buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.rules.context import FLOW, INFO, LORA, SILENT, TU, UNET, WARNING, WHOLE, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engines.rules.context import Context

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
LATENTS = ("cache_latents", "cache_latents_to_disk")
BUCKETS = ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale")
ADDED = ("caption_prefix", "caption_suffix", "enable_wildcard", "secondary_separator")


RATES = ("caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate")
REFUSED: Mapping[str, tuple[str, ...]] = {"anima": RATES[1:]}
"""Rates that do not go with cached outputs, where they are others than usual (anima_train_network.py:55)."""
UNCHECKED = ("lumina_train_network.py",)
"""Scripts that do not ask, but silently leave out what does not go with cached outputs."""
LENGTHS: Mapping[str, str] = {
    "flux": "write t5xxl_max_token_length", "sd3": "write t5xxl_max_token_length",
    "lumina": "write gemma2_max_token_length", "anima": "write qwen3_max_token_length",
}  # fmt: skip


def _not_cacheable(context: Context) -> str:
    """What library/train_util.py:1102 refuses while text encoder outputs are cached."""
    if not context.caches_text or context.script in UNCHECKED:
        return ""
    rates = REFUSED.get(context.family, RATES)
    names = [name for name in rates if context.number(name) > 0]
    return context.listed(["shuffle_caption"] * context.on("shuffle_caption") + names)


def _added_to_captions(context: Context) -> str:
    return context.listed(context.given(*ADDED)) if context.uses_cached_text else ""


def _augmented(context: Context) -> str:
    names = [name for name in ("color_aug", "random_crop") if context.on(name)]
    return context.listed(names) if context.caches_latents else ""


def _encodes_while_training(context: Context) -> bool:
    """Whether train_network.py:421 comes to the text encoders at all."""
    return not (context.caches_text and context.on("network_train_unet_only"))


RULES: tuple[Rule, ...] = (
    Rule("args.cached_text_training", (*CACHE, "network_train_unet_only"),
         lambda c: c.caches_text and not c.on("network_train_unet_only"),
         "text encoder outputs are cached, and the text encoders would be trained",
         "write network_train_unet_only: true, or leave the caching out",
         "sdxl_train_network.py:39, anima_train_network.py:59", "start", families=("sdxl", "anima"),
         methods=LORA),
    Rule("args.cached_text_captions",
         ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate", *CACHE),
         _not_cacheable, "text encoder outputs are cached, which does not go with {what}",
         "leave one of the two out", f"{TU}:1102", "start",
         families=("sdxl", "flux", "sd3", "lumina", "hunyuan_image", "anima"), methods=(*LORA, *WHOLE)),
    Rule("args.cached_text_dropout", ("caption_dropout_every_n_epochs", *CACHE),
         lambda c: c.uses_cached_text and c.number("caption_dropout_every_n_epochs") > 0,
         "caption_dropout_every_n_epochs: {caption_dropout_every_n_epochs} does nothing to cached text encoder outputs",
         "leave one of the two out", f"{TU}:1717", SILENT, WARNING),
    Rule("args.cached_text_prefix", (*ADDED, *CACHE), _added_to_captions,
         "{what}: text encoder outputs are cached from the caption as the file has it, without this",
         "write it into the caption files, or leave the caching out", f"{TU}:1718", SILENT, WARNING),
    Rule("args.cached_text_batch", ("text_encoder_batch_size",),
         lambda c: bool(c.given("text_encoder_batch_size")) and not c.caches_text,
         "text_encoder_batch_size: {text_encoder_batch_size} only acts while text encoder outputs are cached",
         "leave it out, or write cache_text_encoder_outputs: true", "flux_train_network.py:218", SILENT, INFO),
    Rule("args.cached_latents_augmentation", ("color_aug", "random_crop", *LATENTS), _augmented,
         "latents are cached, which does not go with {what}",
         "leave one of the two out", "train_network.py:582", "start",
         methods=(*LORA, *WHOLE, "textual_inversion")),
    Rule("args.cache_latents_implied", ("cache_latents_to_disk",),
         lambda c: c.on("cache_latents_to_disk") and not c.on("cache_latents"),
         "cache_latents_to_disk switches cache_latents on", "write cache_latents: true, too", f"{TU}:4424",
         SILENT, INFO),
    Rule("args.cache_check_latents", ("skip_cache_check",), lambda c: c.on("skip_cache_check"),
         "skip_cache_check does not reach the latents of this family: they are always checked",
         "nothing to do", "flux_train_network.py:186, lumina_train_network.py:95, hunyuan_image_train_network.py:420",
         SILENT, INFO, ("flux", "lumina", "hunyuan_image"), LORA),
    Rule("args.masked_loss", ("masked_loss",), lambda c: c.on("masked_loss") and not c.on("alpha_mask"),
         "masked_loss has no masks: folders of images hold none", "write alpha_mask: true for images with transparency",
         "library/custom_train_functions.py:497", SILENT, WARNING),
    Rule("args.bucket_inert", (*BUCKETS, "enable_bucket"),
         lambda c: "" if c.on("enable_bucket") else c.listed(c.given(*BUCKETS)),
         "{what} does nothing without enable_bucket", "write enable_bucket: true", f"{TU}:1941", SILENT, WARNING),
    Rule("args.bucket_no_upscale", ("bucket_no_upscale", "min_bucket_reso", "max_bucket_reso"),
         lambda c: c.listed(c.given("min_bucket_reso", "max_bucket_reso"))
         if c.on("enable_bucket") and c.on("bucket_no_upscale") else "",
         "{what}: not looked at with bucket_no_upscale, where each image's own size decides",
         "leave one of the two out", f"{TU}:1033", SILENT, INFO),
    Rule("args.clip_skip", ("clip_skip",), lambda c: bool(c.given("clip_skip")),
         "clip_skip: {clip_skip} does nothing for this family", "leave it out",
         "library/sdxl_train_util.py:351", SILENT, WARNING, ("sdxl", *FLOW)),
    Rule("args.clip_skip_v2", ("clip_skip", "v2"), lambda c: c.on("v2") and bool(c.given("clip_skip")),
         "v2 with clip_skip: {clip_skip} is not meant to be", "leave clip_skip out", f"{TU}:4421", SILENT, WARNING,
         ("sd15", "sd2")),
    Rule("args.v2", ("v2",), lambda c: c.on("v2"), "v2 is for Stable Diffusion 2, and this script refuses it",
         "leave v2 out", "library/sdxl_train_util.py:349", "start", families=("sdxl",)),
    Rule("args.max_token_length", ("max_token_length",),
         lambda c: LENGTHS.get(c.family, "leave it out") if c.given("max_token_length") else "",
         "max_token_length: {max_token_length} does nothing for this family", "{what}",
         "flux_train_network.py:74, sd3_train_network.py:57", SILENT, WARNING, FLOW),
    Rule("args.weighted_captions", ("weighted_captions",),
         lambda c: c.on("weighted_captions") and _encodes_while_training(c),
         "weighted_captions is not implemented for this family", "leave it out",
         "library/strategy_base.py:80, train_network.py:426", "first step",
         families=("flux", "sd3", "lumina", "hunyuan_image", "anima"), methods=LORA),
    Rule("args.chroma_mask", ("apply_t5_attn_mask", "model_type"),
         lambda c: c.get("model_type") == "chroma" and not c.on("apply_t5_attn_mask"),
         "model_type: chroma needs apply_t5_attn_mask", "write apply_t5_attn_mask: true",
         "flux_train_network.py:54", "start", families=("flux",), methods=LORA),
    Rule("args.chroma_clip", ("clip_l", "model_type"),
         lambda c: c.get("model_type") == "chroma" and bool(c.given("clip_l")),
         "model_type: chroma has no CLIP-L; clip_l is not read", "leave clip_l out",
         "flux_train_network.py:138", SILENT, INFO, ("flux",), LORA),
    Rule("args.vae", ("vae",), lambda c: bool(c.given("vae")),
         "vae: {vae} is not read by this family", "name the autoencoder under components: ae",
         "flux_train_network.py:157, lumina_train_network.py:84", SILENT, WARNING, ("flux", "lumina")),
    Rule("args.keep_tokens", ("keep_tokens", "keep_tokens_separator"),
         lambda c: not c.on("shuffle_caption") and c.number("caption_tag_dropout_rate") <= 0
         and c.number("token_warmup_step") <= 0 and c.number("keep_tokens") > 0,
         "keep_tokens: {keep_tokens} only acts with shuffle_caption, token_warmup_step or caption_tag_dropout_rate",
         "leave it out, or write shuffle_caption: true", f"{TU}:867", SILENT, INFO, UNET),
)  # fmt: skip
