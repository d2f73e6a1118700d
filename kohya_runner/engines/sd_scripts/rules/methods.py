"""Rules about whole models, ControlNet and textual inversion: text encoders, rates, fused optimizers, formats."""

from __future__ import annotations

from collections.abc import Mapping

from kohya_runner.engines.rule_context import INFO, LOADED, PAIRS, SILENT, WARNING, WHOLE, Context, Rule, schedule_free
from kohya_runner.engines.sd_scripts.rules.data_and_loss import HUBER
from kohya_runner.engines.sd_scripts.rules.optimizer import TEXT_RATES, method_rates, trains_text
from kohya_runner.engines.support import IGNORES_FULL_BF16

ENCODERS = ("train_text_encoder",)
CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
STOP = "stop_text_encoder_training"
NO_EVAL_MODE = (
    "train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py", "sdxl_train.py",
    "sdxl_train_control_net.py", "sdxl_train_control_net_lllite.py", "sdxl_train_textual_inversion.py",
)  # fmt: skip
"""Scripts that save without putting a schedule-free optimizer into evaluation (flux_train.py:413 does)."""
FUSED = ("blockwise_fused_optimizers", "fused_optimizer_groups")
BLOCKWISE = ("flux", "sd3", "lumina")
"""Families whose scripts have blockwise_fused_optimizers, and read their tokenizers from the Hub's cache alone."""
OLD_SWAPS = ("double_blocks_to_swap", "single_blocks_to_swap")


def _nothing(context: Context) -> bool:
    """sdxl_train.py:307 trains no part whose rate is 0."""
    base = context.number("learning_rate")
    return context.script == "sdxl_train.py" and not base and not any(_text(context))


def _text(context: Context) -> tuple[float, ...]:
    return method_rates(context)[:2] if trains_text(context) else ()


def _stops(context: Context) -> bool:
    """At that step the list of models becomes a model, which cannot be unpacked."""
    stop, total = context.get(STOP), context.total_steps
    return stop is not None and stop >= 0 and (total is None or stop < total)


def _fuses(context: Context) -> str:
    used = FUSED if context.script == "sdxl_train.py" else FUSED[:1]
    return context.listed(name for name in used if context.get(name))


FINE_TUNE_RULES: tuple[Rule, ...] = (
    Rule("args.text_cached_trained", (*ENCODERS, *CACHE),
         lambda c: c.caches_text and c.on("train_text_encoder"),
         "text encoder outputs are cached, and train_text_encoder would train the text encoders",
         "leave one of the two out", "start", families=("sdxl",), methods=WHOLE),
    Rule("args.text_cached_weighted", ("weighted_captions", *CACHE),
         lambda c: c.caches_text and c.on("weighted_captions"),
         "text encoder outputs are cached, which does not go with weighted_captions", "leave one of the two out",
         "start", families=("sdxl",), methods=WHOLE),
    Rule("args.block_lr_inert", ("block_lr", "learning_rate"),
         lambda c: bool(c.get("block_lr")) and c.get("learning_rate") == 0,
         "block_lr does nothing with learning_rate: 0: the U-Net is then not trained",
         "write an args.learning_rate above 0", SILENT, WARNING, ("sdxl",), WHOLE),
    Rule("args.text_rates_inert", (*TEXT_RATES, *ENCODERS),
         lambda c: "" if trains_text(c) else c.listed(c.given(*TEXT_RATES)),
         "{what}: the text encoder is not trained", "write args.train_text_encoder: true, or leave it out",
         SILENT, WARNING, ("sd15", "sd2", "sdxl", "sd3"), WHOLE),
    Rule("args.learning_rates_zero", ("learning_rate", *TEXT_RATES), _nothing,
         "every learning rate is 0: there is nothing to train", "write an args.learning_rate",
         LOADED, families=("sdxl",), methods=WHOLE),
    Rule("args.learning_rate_none", ("learning_rate", "control_net_lr", *TEXT_RATES),
         lambda c: c.script != "sdxl_train.py" and not any(method_rates(c)),
         "every learning rate is 0: the run changes nothing", "write an args.learning_rate", SILENT,
         WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.stop_text_encoder", (STOP,), _stops,
         "stop_text_encoder_training: {stop_text_encoder_training}: the script stops with a TypeError at that step",
         "write -1, which does not train it at all, or leave it out", "first step",
         families=("sd15", "sd2"), methods=("dreambooth",)),
    Rule("args.token_padding_inert", ("no_token_padding",), lambda c: c.on("no_token_padding"),
         "no_token_padding does nothing any more: captions are padded all the same", "leave it out",
         SILENT, INFO, ("sd15", "sd2"), ("dreambooth",)),
    Rule("args.accumulation_models", ("gradient_accumulation_steps",),
         lambda c: c.number("gradient_accumulation_steps") > 1 and c.script == "train_db.py" and trains_text(c),
         "gradient_accumulation_steps: {gradient_accumulation_steps}: the script itself doubts the result while it "
         "trains U-Net and text encoder",
         "write args.stop_text_encoder_training: -1, or a larger args.train_batch_size",
         SILENT, WARNING, ("sd15", "sd2"), ("dreambooth",)),
    Rule("args.deepspeed_db", ("deepspeed",), lambda c: c.on("deepspeed") and c.script == "train_db.py",
         "deepspeed: train_db.py asks for an option that it does not have, and stops", "leave it out",
         LOADED, families=("sd15", "sd2"), methods=("dreambooth",)),
    Rule("args.metadata_latents", ("cache_latents",),
         lambda c: c.support.data == "metadata" and not c.caches_latents,
         "a dataset from a metadata file needs cache_latents, the script stops without it",
         "write args.cache_latents: true", "start", methods=("finetune",)),
    Rule("args.full_bf16_ignored", ("full_bf16",),
         lambda c: c.on("full_bf16") and c.script in IGNORES_FULL_BF16,
         "full_bf16 does nothing in this script: weights and gradients stay fp32",
         "leave it out and count with the memory of fp32", SILENT, WARNING, ("sd15", "sd2"), (*WHOLE, *PAIRS)),
    Rule("args.fp8_inert", ("fp8_base",), lambda c: c.on("fp8_base"),
         "fp8_base does nothing in this script: the base model stays in mixed_precision", "leave it out",
         SILENT, WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.schedule_free_script", ("optimizer_type",),
         lambda c: schedule_free(c) and c.script in NO_EVAL_MODE,
         "optimizer_type: {optimizer_type}: this script never takes it out of training mode, so that checkpoints hold "
         "its last point and not the average that it promises", "write another optimizer, such as AdamW",
         SILENT, WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.fused_free", ("blockwise_fused_optimizers", "optimizer_type"),
         lambda c: c.on("blockwise_fused_optimizers") and schedule_free(c),
         "blockwise_fused_optimizers does not go with {optimizer_type}", "leave one of the two out",
         LOADED, families=BLOCKWISE, methods=(*WHOLE, *PAIRS)),
    Rule("args.fused_accumulation", (*FUSED, "gradient_accumulation_steps"),
         lambda c: _fuses(c) if c.number("gradient_accumulation_steps") > 1 else "",
         "{what} steps at every batch: gradient_accumulation_steps: {gradient_accumulation_steps} accumulates nothing",
         "write args.gradient_accumulation_steps: 1", SILENT, WARNING, ("sdxl", *BLOCKWISE), (*WHOLE, *PAIRS)),
    Rule("args.fused_twice", (*FUSED, "fused_backward_pass"),
         lambda c: _fuses(c) if c.on("fused_backward_pass") else "",
         "fused_backward_pass beside {what}: only the first group of weights would be trained",
         "leave one of the two out", SILENT, families=("sdxl", *BLOCKWISE), methods=(*WHOLE, *PAIRS)),
    Rule("args.fused_groups_inert", ("fused_optimizer_groups",), lambda c: bool(c.given("fused_optimizer_groups")),
         "fused_optimizer_groups: {fused_optimizer_groups} does nothing in this script",
         "write args.blockwise_fused_optimizers: true", SILENT, WARNING, BLOCKWISE, (*WHOLE, *PAIRS)),
    Rule("args.save_format", ("save_model_as",), lambda c: c.get("save_model_as") not in (None, "safetensors"),
         "save_model_as: {save_model_as}: this script writes .safetensors, whatever is set",
         "write args.save_model_as: safetensors", SILENT, families=(*BLOCKWISE, "anima"), methods=(*WHOLE, *PAIRS)),
    Rule("args.save_folders", ("save_model_as",), lambda c: str(c.get("save_model_as")).startswith("diffusers"),
         "save_model_as: {save_model_as} writes folders: their epochs are neither listed, hashed nor compared",
         "write args.save_model_as: safetensors", SILENT, WARNING, ("sd15", "sd2", "sdxl"), WHOLE),
    Rule("args.tokenizer_cache", ("tokenizer_cache_dir",), lambda c: bool(c.given("tokenizer_cache_dir")),
         "tokenizer_cache_dir is not read by this script: the tokenizers come from the Hub or its cache",
         "leave it out", SILENT, WARNING, BLOCKWISE, (*WHOLE, *PAIRS)),
    Rule("args.model_type_inert", ("model_type",), lambda c: c.get("model_type") == "chroma",
         "model_type: chroma: flux_train.py loads every file as FLUX.1, and a Chroma file does not fit",
         "train a LoRA (method: lora), or leave it out", SILENT, WARNING, ("flux",), WHOLE),
    Rule("args.blocks_old", OLD_SWAPS, lambda c: c.listed(c.given(*OLD_SWAPS)),
         "{what}: an old way to write blocks_to_swap", "write args.blocks_to_swap", SILENT, INFO,
         ("flux",), (*WHOLE, *PAIRS)),
)  # fmt: skip


T5 = "train_t5xxl"
CLIPS = "train_text_encoder"


def _caches_all(context: Context) -> bool:
    """With use_t5xxl_cache_only the two CLIPs are encoded at every step."""
    return context.caches_text and not context.on("use_t5xxl_cache_only")


WHOLE_MODEL_RULES: tuple[Rule, ...] = (
    Rule("args.sd3_text_cached", (CLIPS, *CACHE), lambda c: c.on(CLIPS) and _caches_all(c),
         "text encoder outputs are cached, and train_text_encoder would train the text encoders",
         "write args.use_t5xxl_cache_only: true, or leave one of the two out", "start",
         families=("sd3",), methods=WHOLE),
    Rule("args.sd3_t5_alone", (T5, CLIPS), lambda c: c.on(T5) and not c.on(CLIPS),
         "train_t5xxl needs train_text_encoder", "write args.train_text_encoder: true, too", "start",
         families=("sd3",), methods=WHOLE),
    Rule("args.sd3_t5_cached", (T5, "use_t5xxl_cache_only", *CACHE),
         lambda c: c.on(T5) and c.on(CLIPS) and (c.on("use_t5xxl_cache_only") or c.caches_text),
         "train_t5xxl: the outputs of T5 are cached, and it would be trained", "leave one of the two out",
         "start", families=("sd3",), methods=WHOLE),
    Rule("args.sd3_text_files", (CLIPS,), lambda c: c.on(CLIPS),
         "train_text_encoder: each text encoder is saved beside the checkpoint as a file of its own, which is neither "
         "listed, counted nor compared", "keep the files NAME_clip_l.safetensors and NAME_clip_g.safetensors with it",
         SILENT, WARNING, ("sd3",), WHOLE),
    Rule("args.whole_rate", ("learning_rate",), lambda c: c.get("learning_rate") == 0,
         "learning_rate: 0: the model itself is not trained, and the script stops when it is to be saved",
         "write an args.learning_rate above 0", "first save", families=("sd3", "anima"), methods=WHOLE),
    Rule("args.anima_huber", ("loss_type", "huber_schedule"),
         lambda c: c.get("loss_type") in HUBER and c.get("huber_schedule") == "exponential",
         "loss_type: {loss_type} with huber_schedule: exponential: this script has no noise schedule to take it from",
         "write args.huber_schedule: constant", "first step", families=("anima",), methods=WHOLE),
    Rule("args.lumina_swap_inert", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") != 0,
         "blocks_to_swap: {blocks_to_swap}: lumina_train.py swaps no blocks", "leave it out",
         SILENT, WARNING, ("lumina",), WHOLE),
    Rule("args.sd3_whole_precision", ("mixed_precision",), lambda c: c.get("mixed_precision") in (None, "no"),
         "mixed_precision: {mixed_precision}: the model stays in the precision of its file, and a half one does not "
         "take latents of fp32", "write args.mixed_precision: bf16 and args.full_bf16: true",
         "first step", WARNING, ("sd3",), WHOLE),
    Rule("args.sd3_precision", ("mixed_precision",),
         lambda c: c.get("mixed_precision") == "fp16" and not c.on("full_fp16"),
         "mixed_precision: fp16: the model is trained in the precision of its file, and gradients of fp16 weights "
         "cannot be scaled", "write args.mixed_precision: bf16 and args.full_bf16: true", LOADED,
         WARNING, ("sd3",), WHOLE),
)  # fmt: skip


CONTROL_CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
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
"""Options of noise and loss that the script takes and never looks at (train_control_net.py:487-542)."""


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


CONTROL_RULES: tuple[Rule, ...] = (
    Rule("args.pairs_crop", ("random_crop",), lambda c: c.on("random_crop"),
         "random_crop: pictures and condition images would not be cut alike, and the script refuses it",
         "leave it out", "start", methods=PAIRS),
    Rule("args.pairs_color", ("color_aug", "cache_latents"), lambda c: c.on("color_aug") and c.caches_latents,
         "color_aug does nothing to cached latents", "leave one of the two out", SILENT, WARNING, methods=PAIRS),
    Rule("args.pairs_captions", (*CAPTIONS, *CONTROL_CACHE), _random_caption,
         "{what}: does nothing, text encoder outputs are cached from the caption as the file has it",
         "leave one of the two out", SILENT, WARNING, ("sdxl", "flux"), PAIRS),
    Rule("args.weighted_inert", ("weighted_captions",), lambda c: c.on("weighted_captions"),
         "weighted_captions is not looked at by this script: brackets and weights are read as words", "leave it out",
         SILENT, WARNING, methods=PAIRS),
    Rule("args.weighted_inert_flux", ("weighted_captions",), lambda c: c.on("weighted_captions"),
         "weighted_captions is not looked at by this script: brackets and weights are read as words", "leave it out",
         SILENT, WARNING, ("flux", "sd3", "anima"), WHOLE),
    Rule("args.samples_inert", SAMPLES, lambda c: c.listed(c.given(*SAMPLES)),
         "{what}: this script makes no sample images", "leave it out", SILENT, WARNING, methods=("lllite",)),
    Rule("args.model_type_control", ("model_type",), lambda c: c.get("model_type") not in (None, "flux"),
         "model_type: {model_type}: a ControlNet is trained for FLUX.1 only", "leave args.model_type out",
         "start", families=("flux",), methods=PAIRS),
    Rule("args.loss_inert", ("min_timestep", "max_timestep", "v_pred_like_loss", "debiased_estimation_loss",
                             "ip_noise_gamma", "zero_terminal_snr"), _unused,
         "{what}: taken and never looked at by this script", "leave it out", SILENT, WARNING, methods=(*WHOLE, *PAIRS)),
    Rule("args.control_min_snr", ("min_snr_gamma",), lambda c: c.script == CONTROL and bool(c.get("min_snr_gamma")),
         "min_snr_gamma: {min_snr_gamma}: this script never computes the ratios that it weighs with, and stops",
         "leave it out", "first step", families=("sd15", "sd2"), methods=PAIRS),
    Rule("args.control_huber", ("loss_type",), lambda c: c.get("loss_type") in HUBER,
         "loss_type: {loss_type}: this script has no threshold for it, whatever huber_schedule is",
         "write args.loss_type: l2 or l1", "first step", families=("flux",), methods=PAIRS),
    Rule("args.lllite_embedding", ("cond_emb_dim",),
         lambda c: c.get("cond_emb_dim") is not None and c.number("cond_emb_dim") < 2,
         "cond_emb_dim: {cond_emb_dim} halves to nothing in the first layer", "write args.cond_emb_dim: 32",
         "first step", methods=("lllite",)),
    Rule("args.lllite_rank", ("network_dim",),
         lambda c: c.get("network_dim") is not None and c.number("network_dim") < 1,
         "network_dim: {network_dim} leaves nothing between condition and U-Net: it cannot learn",
         "write args.network_dim: 64", SILENT, methods=("lllite",)),
    Rule("args.token_known", ("token_string",), _in_vocabulary,
         "token_string: {token_string} is a token of the tokenizer already", "write a word that does not exist",
         LOADED, methods=("textual_inversion",)),
    Rule("args.token_vectors", ("num_vectors_per_token",), lambda c: c.number("num_vectors_per_token") < 1,
         "num_vectors_per_token: {num_vectors_per_token} makes no vector", "write 1 or more, such as 4",
         LOADED, methods=("textual_inversion",)),
    Rule("args.init_word", ("init_word",), lambda c: not c.get("init_word"),
         "without init_word the new vectors start from chance", "write the word that comes nearest, such as dog",
         SILENT, WARNING, methods=("textual_inversion",)),
    Rule("args.templates_twice", TEMPLATES, lambda c: all(c.on(name) for name in TEMPLATES),
         "use_style_template does nothing beside use_object_template", "leave one of the two out",
         SILENT, INFO, methods=("textual_inversion",)),
)  # fmt: skip
