"""Rules about the full fine-tunes of SD3, Lumina and Anima, which are those of one script alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.rules.context import LOADED, SILENT, WARNING, WHOLE, Rule
from kohya_runner.engines.sd_scripts.rules.loss import HUBER

if TYPE_CHECKING:
    from kohya_runner.engines.rules.context import Context

CACHE = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
T5 = "train_t5xxl"
CLIPS = "train_text_encoder"


def _caches_all(context: Context) -> bool:
    """With use_t5xxl_cache_only the two CLIPs are encoded at every step."""
    return context.caches_text and not context.on("use_t5xxl_cache_only")


RULES: tuple[Rule, ...] = (
    Rule("args.sd3_text_cached", (CLIPS, *CACHE), lambda c: c.on(CLIPS) and _caches_all(c),
         "text encoder outputs are cached, and train_text_encoder would train the text encoders",
         "write use_t5xxl_cache_only: true, or leave one of the two out", "sd3_train.py:81", "start",
         families=("sd3",), methods=WHOLE),
    Rule("args.sd3_t5_alone", (T5, CLIPS), lambda c: c.on(T5) and not c.on(CLIPS),
         "train_t5xxl needs train_text_encoder", "write train_text_encoder: true, too", "sd3_train.py:94", "start",
         families=("sd3",), methods=WHOLE),
    Rule("args.sd3_t5_cached", (T5, "use_t5xxl_cache_only", *CACHE),
         lambda c: c.on(T5) and c.on(CLIPS) and (c.on("use_t5xxl_cache_only") or c.caches_text),
         "train_t5xxl: the outputs of T5 are cached, and it would be trained", "leave one of the two out",
         "sd3_train.py:97", "start", families=("sd3",), methods=WHOLE),
    Rule("args.sd3_text_files", (CLIPS,), lambda c: c.on(CLIPS),
         "train_text_encoder: each text encoder is saved beside the checkpoint as a file of its own, which is neither "
         "listed, counted nor compared", "keep the files NAME_clip_l.safetensors and NAME_clip_g.safetensors with it",
         "library/sd3_train_utils.py:70", SILENT, WARNING, ("sd3",), WHOLE),
    Rule("args.whole_rate", ("learning_rate",), lambda c: c.get("learning_rate") == 0,
         "learning_rate: 0: the model itself is not trained, and the script stops when it is to be saved",
         "write a learning_rate above 0", "library/sd3_train_utils.py:57, anima_train.py:281", "first save",
         families=("sd3", "anima"), methods=WHOLE),
    Rule("args.anima_huber", ("loss_type", "huber_schedule"),
         lambda c: c.get("loss_type") in HUBER and c.get("huber_schedule") == "exponential",
         "loss_type: {loss_type} with huber_schedule: exponential: this script has no noise schedule to take it from",
         "write huber_schedule: constant", "anima_train.py:573", "first step", families=("anima",), methods=WHOLE),
    Rule("args.lumina_swap_inert", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") != 0,
         "blocks_to_swap: {blocks_to_swap}: lumina_train.py swaps no blocks", "leave it out", "lumina_train.py:329",
         SILENT, WARNING, ("lumina",), WHOLE),
    Rule("args.sd3_whole_precision", ("mixed_precision",), lambda c: c.get("mixed_precision") in (None, "no"),
         "mixed_precision: {mixed_precision}: the model stays in the precision of its file, and a half one does not "
         "take latents of fp32", "write mixed_precision: bf16 and full_bf16: true", "sd3_train.py:345", "first step",
         WARNING, ("sd3",), WHOLE),
    Rule("args.sd3_precision", ("mixed_precision",),
         lambda c: c.get("mixed_precision") == "fp16" and not c.on("full_fp16"),
         "mixed_precision: fp16: the model is trained in the precision of its file, and gradients of fp16 weights "
         "cannot be scaled", "write mixed_precision: bf16 and full_bf16: true", "sd3_train.py:210", LOADED, WARNING,
         ("sd3",), WHOLE),
)  # fmt: skip
