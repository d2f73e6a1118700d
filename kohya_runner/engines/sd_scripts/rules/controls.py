"""Rules about ControlNet, ControlNet-LLLite and textual inversion, and about losses that a script leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.rules.context import INFO, LOADED, PAIRS, SILENT, TU, WARNING, WHOLE, Rule
from kohya_runner.engines.sd_scripts.rules.loss import HUBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engines.rules.context import Context

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
SAMPLES = ("sample_prompts", "sample_at_first", "sample_every_n_steps", "sample_every_n_epochs")
TEMPLATES = ("use_object_template", "use_style_template")
CAPTIONS = ("shuffle_caption", "caption_dropout_rate", "token_warmup_step", "caption_tag_dropout_rate")
CONTROL, FLUX_CONTROL = "train_control_net.py", "flux_train_control_net.py"
OWN_WORDS = ("<|startoftext|>", "<|endoftext|>")
UNUSED: Mapping[str, tuple[str, ...]] = {
    CONTROL: (
        "min_timestep", "max_timestep", "ip_noise_gamma", "ip_noise_gamma_random_strength", "zero_terminal_snr",
        "noise_offset_random_strength", "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss",
        "debiased_estimation_loss",
    ),
    "train_db.py": ("v_pred_like_loss",),
    "fine_tune.py": ("v_pred_like_loss",),
}  # fmt: skip
"""Options of noise and loss that the script takes and never looks at (train_control_net.py:460-515)."""


def _unused(context: Context) -> str:
    names = UNUSED.get(context.script, ())
    return context.listed(name for name in context.given(*names) if context.get(name) not in (0, False))


def _random_caption(context: Context) -> str:
    """The wrapper around the pairs has no captions of its own to look at, so that the check passes."""
    if not context.caches_text:
        return ""
    changing = [name for name in CAPTIONS if context.on(name) or context.number(name) > 0]
    return context.listed(changing)


def _in_vocabulary(context: Context) -> bool:
    """Single signs are tokens of every CLIP vocabulary; of longer words only its merges tell."""
    word = str(context.get("token_string") or "")
    return word in OWN_WORDS or (len(word) == 1 and word.isascii() and word.isprintable() and word != " ")


RULES: tuple[Rule, ...] = (
    Rule("args.pairs_crop", ("random_crop",), lambda c: c.on("random_crop"),
         "random_crop: pictures and condition images would not be cut alike, and the script refuses it",
         "leave it out", f"{TU}:2395", "start", methods=PAIRS),
    Rule("args.pairs_color", ("color_aug", "cache_latents"), lambda c: c.on("color_aug") and c.caches_latents,
         "color_aug does nothing to cached latents", "leave one of the two out", f"{TU}:2374", SILENT, WARNING,
         methods=PAIRS),
    Rule("args.pairs_captions", (*CAPTIONS, *CACHE), _random_caption,
         "{what}: does nothing, text encoder outputs are cached from the caption as the file has it",
         "leave one of the two out", f"{TU}:2374", SILENT, WARNING, ("sdxl", "flux"), PAIRS),
    Rule("args.weighted_inert", ("weighted_captions",), lambda c: c.on("weighted_captions"),
         "weighted_captions is not looked at by this script: brackets and weights are read as words", "leave it out",
         "train_control_net.py:458", SILENT, WARNING, methods=PAIRS),
    Rule("args.weighted_inert_flux", ("weighted_captions",), lambda c: c.on("weighted_captions"),
         "weighted_captions is not looked at by this script: brackets and weights are read as words", "leave it out",
         "flux_train.py:617", SILENT, WARNING, ("flux", "sd3", "anima"), WHOLE),
    Rule("args.samples_inert", SAMPLES, lambda c: c.listed(c.given(*SAMPLES)),
         "{what}: this script makes no sample images", "leave it out", "sdxl_train_control_net_lllite.py:518",
         SILENT, WARNING, methods=("lllite",)),
    Rule("args.model_type_control", ("model_type",), lambda c: c.get("model_type") not in (None, "flux"),
         "model_type: {model_type}: a ControlNet is trained for FLUX.1 only", "leave model_type out",
         "flux_train_control_net.py:72", "start", families=("flux",), methods=PAIRS),
    Rule("args.loss_inert", ("min_timestep", "max_timestep", "v_pred_like_loss", "debiased_estimation_loss",
                             "ip_noise_gamma", "zero_terminal_snr"), _unused,
         "{what}: taken and never looked at by this script", "leave it out", "train_control_net.py:473", SILENT,
         WARNING, methods=(*WHOLE, *PAIRS)),
    Rule("args.control_min_snr", ("min_snr_gamma",), lambda c: c.script == CONTROL and bool(c.get("min_snr_gamma")),
         "min_snr_gamma: {min_snr_gamma}: this script never computes the ratios that it weighs with, and stops",
         "leave it out", f"{CONTROL}:513", "first step", families=("sd15", "sd2"), methods=PAIRS),
    Rule("args.control_huber", ("loss_type",), lambda c: c.get("loss_type") in HUBER,
         "loss_type: {loss_type}: this script has no threshold for it, whatever huber_schedule is",
         "write loss_type: l2 or l1", f"{FLUX_CONTROL}:695", "first step", families=("flux",), methods=PAIRS),
    Rule("args.lllite_embedding", ("cond_emb_dim",),
         lambda c: c.get("cond_emb_dim") is not None and c.number("cond_emb_dim") < 2,
         "cond_emb_dim: {cond_emb_dim} halves to nothing in the first layer", "write cond_emb_dim: 32",
         "networks/control_net_lllite_for_train.py:51", "first step", methods=("lllite",)),
    Rule("args.lllite_rank", ("network_dim",),
         lambda c: c.get("network_dim") is not None and c.number("network_dim") < 1,
         "network_dim: {network_dim} leaves nothing between condition and U-Net: it cannot learn",
         "write network_dim: 64", "networks/control_net_lllite_for_train.py:77", SILENT, methods=("lllite",)),
    Rule("args.token_known", ("token_string",), _in_vocabulary,
         "token_string: {token_string} is a token of the tokenizer already", "write a word that does not exist",
         "train_textual_inversion.py:244", LOADED, methods=("textual_inversion",)),
    Rule("args.token_vectors", ("num_vectors_per_token",), lambda c: c.number("num_vectors_per_token") < 1,
         "num_vectors_per_token: {num_vectors_per_token} makes no vector", "write 1 or more, such as 4",
         "train_textual_inversion.py:244", LOADED, methods=("textual_inversion",)),
    Rule("args.init_word", ("init_word",), lambda c: not c.get("init_word"),
         "without init_word the new vectors start from chance", "write the word that comes nearest, such as dog",
         "train_textual_inversion.py:220", SILENT, WARNING, methods=("textual_inversion",)),
    Rule("args.templates_twice", TEMPLATES, lambda c: all(c.on(name) for name in TEMPLATES),
         "use_style_template does nothing beside use_object_template", "leave one of the two out",
         "train_textual_inversion.py:341", SILENT, INFO, methods=("textual_inversion",)),
)  # fmt: skip
