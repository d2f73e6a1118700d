"""Rules about full fine-tunes and DreamBooth: text encoders, learning rates, fused optimizers, formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.method_space import IGNORES_FULL_BF16
from kohya_runner.engines.rules.context import INFO, LOADED, PAIRS, SILENT, TU, WARNING, WHOLE, Rule
from kohya_runner.engines.sd_scripts.rules.optimizer import TEXT_RATES, method_rates, schedule_free, trains_text

if TYPE_CHECKING:
    from kohya_runner.engines.rules.context import Context

ENCODERS = ("train_text_encoder",)
CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
STOP = "stop_text_encoder_training"
NO_EVAL_MODE = (
    "train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py", "sdxl_train.py",
    "sdxl_train_control_net.py", "sdxl_train_control_net_lllite.py", "sdxl_train_textual_inversion.py",
)  # fmt: skip
"""Scripts that save without putting a schedule-free optimizer into evaluation (flux_train.py:386 does)."""
FUSED = ("blockwise_fused_optimizers", "fused_optimizer_groups")
BLOCKWISE = ("flux", "sd3", "lumina")
"""Families whose scripts have blockwise_fused_optimizers, and read their tokenizers from the Hub's cache alone."""
OLD_SWAPS = ("double_blocks_to_swap", "single_blocks_to_swap")


def _text_rates(context: Context) -> str:
    return "" if trains_text(context) else context.listed(context.given(*TEXT_RATES))


def _nothing(context: Context) -> bool:
    """sdxl_train.py:286 trains no part whose rate is 0."""
    base = context.number("learning_rate")
    return context.script == "sdxl_train.py" and not base and not any(_text(context))


def _text(context: Context) -> tuple[float, ...]:
    return method_rates(context)[:2] if trains_text(context) else ()


def _no_rate(context: Context) -> bool:
    return context.script != "sdxl_train.py" and not any(method_rates(context))


def _stops(context: Context) -> bool:
    """At that step the list of models becomes a model, which cannot be unpacked."""
    stop, total = context.get(STOP), context.total_steps
    return stop is not None and stop >= 0 and (total is None or stop < total)


def _fuses(context: Context) -> str:
    used = FUSED if context.script == "sdxl_train.py" else FUSED[:1]
    return context.listed(name for name in used if context.get(name))


def _accumulates(context: Context) -> str:
    return _fuses(context) if context.number("gradient_accumulation_steps") > 1 else ""


def _fuses_twice(context: Context) -> str:
    return _fuses(context) if context.on("fused_backward_pass") else ""


RULES: tuple[Rule, ...] = (
    Rule("args.text_cached_trained", (*ENCODERS, *CACHE),
         lambda c: c.caches_text and c.on("train_text_encoder"),
         "text encoder outputs are cached, and train_text_encoder would train the text encoders",
         "leave one of the two out", "sdxl_train.py:109", "start", families=("sdxl",), methods=WHOLE),
    Rule("args.text_cached_weighted", ("weighted_captions", *CACHE),
         lambda c: c.caches_text and c.on("weighted_captions"),
         "text encoder outputs are cached, which does not go with weighted_captions", "leave one of the two out",
         "sdxl_train.py:106", "start", families=("sdxl",), methods=WHOLE),
    Rule("args.block_lr_inert", ("block_lr", "learning_rate"),
         lambda c: bool(c.get("block_lr")) and c.get("learning_rate") == 0,
         "block_lr does nothing with learning_rate: 0: the U-Net is then not trained", "write a learning_rate above 0",
         "sdxl_train.py:286", SILENT, WARNING, ("sdxl",), WHOLE),
    Rule("args.text_rates_inert", (*TEXT_RATES, *ENCODERS), _text_rates,
         "{what}: the text encoder is not trained", "write train_text_encoder: true, or leave it out",
         "sdxl_train.py:293", SILENT, WARNING, ("sd15", "sd2", "sdxl", "sd3"), WHOLE),
    Rule("args.learning_rates_zero", ("learning_rate", *TEXT_RATES), _nothing,
         "every learning rate is 0: there is nothing to train", "write a learning_rate", "sdxl_train.py:347", LOADED,
         families=("sdxl",), methods=WHOLE),
    Rule("args.learning_rate_none", ("learning_rate", "control_net_lr", *TEXT_RATES), _no_rate,
         "every learning rate is 0: the run changes nothing", "write a learning_rate", f"{TU}:4877", SILENT,
         WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.stop_text_encoder", (STOP,), _stops,
         "stop_text_encoder_training: {stop_text_encoder_training}: the script stops with a TypeError at that step",
         "write -1, which does not train it at all, or leave it out", "train_db.py:346", "first step",
         families=("sd15", "sd2"), methods=("dreambooth",)),
    Rule("args.token_padding_inert", ("no_token_padding",), lambda c: c.on("no_token_padding"),
         "no_token_padding does nothing any more: captions are padded all the same", "leave it out",
         f"{TU}:1731", SILENT, INFO, ("sd15", "sd2"), ("dreambooth",)),
    Rule("args.accumulation_models", ("gradient_accumulation_steps",),
         lambda c: c.number("gradient_accumulation_steps") > 1 and c.script == "train_db.py" and trains_text(c),
         "gradient_accumulation_steps: {gradient_accumulation_steps}: the script itself doubts the result while it "
         "trains U-Net and text encoder", "write stop_text_encoder_training: -1, or a larger train_batch_size",
         "train_db.py:120", SILENT, WARNING, ("sd15", "sd2"), ("dreambooth",)),
    Rule("args.deepspeed_db", ("deepspeed",), lambda c: c.on("deepspeed") and c.script == "train_db.py",
         "deepspeed: train_db.py asks for an option that it does not have, and stops", "leave it out",
         "train_db.py:247", LOADED, families=("sd15", "sd2"), methods=("dreambooth",)),
    Rule("args.metadata_latents", ("cache_latents",),
         lambda c: c.support.data == "metadata" and not c.caches_latents,
         "a dataset from a metadata file needs cache_latents, the script stops without it",
         "write cache_latents: true", f"{TU}:2290", "start", methods=("finetune",)),
    Rule("args.full_bf16_ignored", ("full_bf16",),
         lambda c: c.on("full_bf16") and c.script in IGNORES_FULL_BF16,
         "full_bf16 does nothing in this script: weights and gradients stay fp32",
         "leave it out and count with the memory of fp32",
         "train_db.py:237", SILENT, WARNING, ("sd15", "sd2"), (*WHOLE, *PAIRS)),
    Rule("args.fp8_inert", ("fp8_base",), lambda c: c.on("fp8_base"),
         "fp8_base does nothing in this script: the base model stays in mixed_precision", "leave it out", f"{TU}:3998",
         SILENT, WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.schedule_free_script", ("optimizer_type",),
         lambda c: schedule_free(c) and c.script in NO_EVAL_MODE,
         "optimizer_type: {optimizer_type}: this script never takes it out of training mode, so that checkpoints hold "
         "its last point and not the average that it promises", "write another optimizer, such as AdamW",
         f"{TU}:5223", SILENT, WARNING, methods=(*WHOLE, *PAIRS, "textual_inversion")),
    Rule("args.fused_free", ("blockwise_fused_optimizers", "optimizer_type"),
         lambda c: c.on("blockwise_fused_optimizers") and schedule_free(c),
         "blockwise_fused_optimizers does not go with {optimizer_type}", "leave one of the two out",
         "flux_train.py:380", LOADED, families=BLOCKWISE, methods=(*WHOLE, *PAIRS)),
    Rule("args.fused_accumulation", (*FUSED, "gradient_accumulation_steps"), _accumulates,
         "{what} steps at every batch: gradient_accumulation_steps: {gradient_accumulation_steps} accumulates nothing",
         "write gradient_accumulation_steps: 1", "sdxl_train.py:567", SILENT, WARNING,
         ("sdxl", *BLOCKWISE), (*WHOLE, *PAIRS)),
    Rule("args.fused_twice", (*FUSED, "fused_backward_pass"), _fuses_twice,
         "fused_backward_pass beside {what}: only the first group of weights would be trained",
         "leave one of the two out", "sdxl_train.py:523", SILENT, families=("sdxl", *BLOCKWISE),
         methods=(*WHOLE, *PAIRS)),
    Rule("args.fused_groups_inert", ("fused_optimizer_groups",), lambda c: bool(c.given("fused_optimizer_groups")),
         "fused_optimizer_groups: {fused_optimizer_groups} does nothing in this script",
         "write blockwise_fused_optimizers: true", "flux_train.py:809", SILENT, WARNING, BLOCKWISE, (*WHOLE, *PAIRS)),
    Rule("args.save_format", ("save_model_as",), lambda c: c.get("save_model_as") not in (None, "safetensors"),
         "save_model_as: {save_model_as}: this script writes .safetensors, whatever is set",
         "write save_model_as: safetensors", "library/flux_train_utils.py:581", SILENT, families=(*BLOCKWISE, "anima"),
         methods=(*WHOLE, *PAIRS)),
    Rule("args.save_folders", ("save_model_as",), lambda c: str(c.get("save_model_as")).startswith("diffusers"),
         "save_model_as: {save_model_as} writes folders: their epochs are neither listed, hashed nor compared",
         "write save_model_as: safetensors", f"{TU}:5914", SILENT, WARNING, ("sd15", "sd2", "sdxl"), WHOLE),
    Rule("args.tokenizer_cache", ("tokenizer_cache_dir",), lambda c: bool(c.given("tokenizer_cache_dir")),
         "tokenizer_cache_dir is not read by this script: the tokenizers come from the Hub or its cache",
         "leave it out", "flux_train.py:218", SILENT, WARNING, BLOCKWISE, (*WHOLE, *PAIRS)),
    Rule("args.model_type_inert", ("model_type",), lambda c: c.get("model_type") == "chroma",
         "model_type: chroma: flux_train.py loads every file as FLUX.1, and a Chroma file does not fit",
         "train a LoRA (method: lora), or leave it out", "flux_train.py:274", SILENT, WARNING, ("flux",), WHOLE),
    Rule("args.blocks_old", OLD_SWAPS, lambda c: c.listed(c.given(*OLD_SWAPS)),
         "{what}: an old way to write blocks_to_swap", "write blocks_to_swap", "flux_train.py:286", SILENT, INFO,
         ("flux",), (*WHOLE, *PAIRS)),
)  # fmt: skip
