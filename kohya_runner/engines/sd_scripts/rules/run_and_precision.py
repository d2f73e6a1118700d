"""Rules about samples, saves, logs and resuming, and about precision, memory and loading."""

from __future__ import annotations

import math
from collections.abc import Callable

from kohya_runner.engines.rule_context import FLOW, INFO, LOADED, LORA, SILENT, UNET, WARNING, WHOLE, Context, Rule

CADENCES = ("sample_every_n_steps", "sample_every_n_epochs")
SAMPLES = ("sample_at_first", *CADENCES)
PROMPT_FILES = (".txt", ".toml", ".json")
VALIDATION = ("validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps", "validation_seed")
MAKES_SAMPLES = (*LORA, *WHOLE, "controlnet", "textual_inversion")
LEDGER = ("save_last_n_epochs_state", "save_last_n_steps_state")


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


def _caches_prompts(context: Context) -> bool:
    """A flow model's script reads the prompts while it caches the captions (flux_train_network.py:270)."""
    return context.family in FLOW and context.caches_text


def _wrong_file(context: Context) -> bool:
    name = context.get("sample_prompts")
    read = bool(_samples(context)) or _caches_prompts(context)
    return bool(name) and not str(name).endswith(PROMPT_FILES) and read and context.prompts_found is not False


def _missing_file(context: Context) -> bool:
    asked = bool(_samples(context)) or _caches_prompts(context)
    return bool(context.get("sample_prompts")) and context.prompts_found is False and asked


def _off(context: Context) -> str:
    return context.listed(name for name in context.given(*CADENCES) if context.number(name) <= 0)


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


def _epochs_not_skipped(context: Context) -> str:
    names = context.given("initial_step", "initial_epoch")
    return "" if context.on("skip_until_initial_step") else context.listed(names)


def _seeds_refused(context: Context) -> str:
    refused = [seed for seed in context.prompt_seeds if seed <= 0]
    return ", ".join(map(str, refused)) if _samples(context) else ""


ROUNDED = {"sd15": 8, "sd2": 8, "sdxl": 8, "sd3": 8, "flux": 16, "lumina": 8, "anima": 16}
"""What the sampling rounds the sides of a picture down to, with 64 as the least."""


def _sizes(context: Context, wrong: Callable[[int, int], bool], told: Callable[[int, int], str]) -> str:
    """The stated sides with what is wrong with them; ``wrong`` and ``told`` are of a side and of that side rounded."""
    step = ROUNDED.get(context.family, 1)
    sides = dict.fromkeys(side for size in context.prompt_sizes for side in size if side is not None)
    pairs = [(side, max(64, side - side % step)) for side in sides]
    return ", ".join(told(*pair) for pair in pairs if wrong(*pair)) if _samples(context) else ""


def _unpaintable(step: int) -> Callable[[Context], str]:
    return lambda context: _sizes(context, lambda _, made: made % step > 0, lambda side, _: str(side))


RUN_RULES: tuple[Rule, ...] = (
    Rule("args.sample_prompts", (*SAMPLES, "sample_prompts"), lambda c: "" if c.get("sample_prompts") else _samples(c),
         "{what} needs sample_prompts, a file of prompts", "name a .txt, .json or .toml file with args.sample_prompts",
         "first step", methods=MAKES_SAMPLES),
    Rule("args.sample_file", ("sample_prompts",), _wrong_file,
         "sample_prompts: {sample_prompts} is neither .txt, .json nor .toml, in small letters; nothing else is read",
         "rename the file", "first step", methods=MAKES_SAMPLES),
    Rule("args.sample_missing", ("sample_prompts",), _missing_file,
         "sample_prompts: there is no file {sample_prompts}: no image is made, and with cached text encoder outputs a "
         "flow model's script stops", "name a file that is there", SILENT, methods=MAKES_SAMPLES),
    Rule("args.sample_seed", ("sample_prompts",), _seeds_refused,
         "sample_prompts: {sample_prompts} has the seed {what}; this family's sampling takes 1 or more",
         "write another seed", "first step", families=("lumina",), methods=MAKES_SAMPLES),
    Rule("args.sample_size", ("sample_prompts",), _unpaintable(32),
         "sample_prompts: {sample_prompts}: width or height {what}: SDXL's U-Net cannot put its halves together again",
         "write multiples of 32", "first step", families=("sdxl",), methods=(*LORA, *WHOLE, "textual_inversion")),
    Rule("args.sample_size_lumina", ("sample_prompts",), _unpaintable(16),
         "sample_prompts: {sample_prompts}: width or height {what}: the model cannot cut it into patches",
         "write multiples of 16", "first step", families=("lumina",), methods=MAKES_SAMPLES),
    Rule("args.sample_rounded", ("sample_prompts",),
         lambda c: _sizes(c, lambda side, made: side != made, lambda side, made: f"{side} becomes {made}"),
         "sample_prompts: {sample_prompts}: sides are rounded down: {what}",
         "write multiples of 8, for FLUX and Anima of 16",
         SILENT, INFO, families=tuple(ROUNDED), methods=MAKES_SAMPLES),
    Rule("args.sample_unused", ("sample_prompts",),
         lambda c: bool(c.get("sample_prompts")) and not _samples(c) and not _missing_file(c),
         "sample_prompts: {sample_prompts}: nothing asks for sample images", "write args.sample_every_n_epochs: 1",
         SILENT, WARNING, methods=MAKES_SAMPLES),
    Rule("args.sample_off", CADENCES, _off, "{what} switches sample images off", "leave it out, or write 1 or more",
         SILENT, WARNING, methods=MAKES_SAMPLES),
    Rule("args.sample_twice", CADENCES, lambda c: all(c.number(name) > 0 for name in CADENCES),
         "sample_every_n_steps: {sample_every_n_steps} does nothing beside sample_every_n_epochs",
         "leave one of the two out", SILENT, WARNING, methods=MAKES_SAMPLES),
    Rule("args.initial_step", ("initial_step", "initial_epoch", "resume", "max_train_steps"), _past_the_end,
         "the run would start at step {what}", "write a higher args.max_train_epochs or args.max_train_steps",
         LOADED, methods=LORA),
    Rule("args.initial_inert", ("initial_step", "initial_epoch", "skip_until_initial_step"), _epochs_not_skipped,
         "{what} only changes the number of the first epoch: its pictures are not skipped",
         "write args.skip_until_initial_step: true", SILENT, WARNING, methods=LORA),
    Rule("args.skip_inert", ("skip_until_initial_step",),
         lambda c: c.on("skip_until_initial_step") and not c.given("initial_step", "initial_epoch", "resume"),
         "skip_until_initial_step does nothing without initial_step, initial_epoch or resume", "leave it out",
         SILENT, INFO, methods=LORA),
    Rule("args.validation_inert", (*VALIDATION, "validation_split"),
         lambda c: "" if c.number("validation_split") > 0 else c.listed(c.given(*VALIDATION)),
         "{what} does nothing without validation_split", "write args.validation_split: 0.1, or leave it out",
         SILENT, INFO, methods=LORA),
    Rule("args.save_twice", ("save_every_n_epochs", "save_n_epoch_ratio"),
         lambda c: c.number("save_n_epoch_ratio") > 0 and bool(c.given("save_every_n_epochs")),
         "save_every_n_epochs: {save_every_n_epochs} is replaced by save_n_epoch_ratio: {save_n_epoch_ratio}",
         "leave one of the two out", SILENT, WARNING),
    Rule("args.save_state_inert", (*LEDGER, "save_state"),
         lambda c: "" if c.on("save_state") else c.listed(c.given(*LEDGER)), "{what} does nothing without save_state",
         "write args.save_state: true, or leave it out", SILENT, INFO),
    Rule("args.save_last_inert", ("save_last_n_steps", "save_every_n_steps"),
         lambda c: "" if c.given("save_every_n_steps") else c.listed(c.given("save_last_n_steps")),
         "{what} does nothing without save_every_n_steps", "write args.save_every_n_steps, or leave it out",
         SILENT, INFO),
    Rule("args.log_with", ("log_with", "logging_dir"),
         lambda c: c.get("log_with") in ("tensorboard", "all") and not c.get("logging_dir"),
         "log_with: {log_with} needs a logging_dir", "let the runner set it", "start"),
    Rule("args.steps_overridden", ("max_train_steps", "max_train_epochs"),
         lambda c: len(c.given("max_train_steps", "max_train_epochs")) == 2,
         "max_train_steps: {max_train_steps} is replaced by max_train_epochs: {max_train_epochs}",
         "leave one of the two out", SILENT, WARNING),
    Rule("args.sample_sampler_inert", ("sample_sampler",), lambda c: bool(c.given("sample_sampler")),
         "sample_sampler: {sample_sampler} does nothing for this family", "leave it out", SILENT, INFO, FLOW),
)  # fmt: skip


FLUX_SWAP = 35
"""19 double and 38 single blocks, two of each stay: n // 2 <= 17 and (n - n // 2) * 2 <= 36."""
NO_FULL_BF16 = ("train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py")
"""Scripts that do not look at full_bf16, or do not ask for its precision."""
TAKES_XFORMERS = ("hunyuan_image", "anima")
"""Transformer families whose attention may be that of xformers (library/attention.py)."""
ATTENTION = ("mem_eff_attn", "xformers", "sdpa")


def _fp8(context: Context) -> str:
    """HunyuanImage's fp8_scaled switches both off (hunyuan_image_train_network.py:344)."""
    names = [name for name in ("fp8_base", "fp8_base_unet") if context.on(name) and not context.on("fp8_scaled")]
    return context.listed(names) if context.get("mixed_precision") in (None, "no") else ""


def _attention(context: Context) -> str:
    names = [name for name in ATTENTION if context.on(name)]
    return " and ".join(names) if len(names) > 1 else ""


def _inert_attention(context: Context) -> str:
    names = ("mem_eff_attn",) if context.family in TAKES_XFORMERS else ("mem_eff_attn", "xformers")
    return " and ".join(name for name in names if context.on(name))


def _half_vae(context: Context) -> bool:
    """The published SDXL VAE overflows in fp16; one of one's own may be the repaired one."""
    half = context.get("mixed_precision") == "fp16" and not context.on("no_half_vae")
    return half and not context.given("vae")


PRECISION_RULES: tuple[Rule, ...] = (
    Rule("args.full_fp16", ("full_fp16", "mixed_precision"),
         lambda c: c.on("full_fp16") and c.get("mixed_precision") != "fp16",
         "full_fp16 needs mixed_precision: fp16, and it is {mixed_precision}", "write args.mixed_precision: fp16",
         LOADED),
    Rule("args.full_bf16", ("full_bf16", "mixed_precision"),
         lambda c: c.on("full_bf16") and not c.on("full_fp16") and c.get("mixed_precision") != "bf16"
         and c.script not in NO_FULL_BF16,
         "full_bf16 needs mixed_precision: bf16, and it is {mixed_precision}", "write args.mixed_precision: bf16",
         LOADED),
    Rule("args.full_both", ("full_bf16", "full_fp16"),
         lambda c: c.on("full_fp16") and c.on("full_bf16") and c.get("mixed_precision") == "fp16",
         "full_bf16 does nothing beside full_fp16", "leave one of the two out", SILENT, WARNING),
    Rule("args.fp8_precision", ("fp8_base", "fp8_base_unet", "mixed_precision"), _fp8,
         "{what} needs mixed_precision: fp16 or bf16, and it is {mixed_precision}", "write args.mixed_precision: bf16",
         LOADED, families=(*UNET, "flux", "sd3", "lumina", "hunyuan_image"),
         methods=LORA),
    Rule("args.half_vae", ("no_half_vae", "mixed_precision"), _half_vae,
         "mixed_precision: fp16 also runs the VAE in fp16, where SDXL's own overflows: latents become NaN or black",
         "write args.no_half_vae: true, or take bf16", SILENT, WARNING, ("sdxl",)),
    Rule("args.blocks_to_swap", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") > FLUX_SWAP,
         "blocks_to_swap: {blocks_to_swap} is more than the 35 that can be swapped",
         "write args.blocks_to_swap: 35 or less", LOADED, families=("flux",)),
    Rule("args.blocks_to_swap_negative", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") < 0,
         "blocks_to_swap: {blocks_to_swap} swaps nothing", "leave it out", SILENT, WARNING,
         ("flux", "sd3", "hunyuan_image", "anima")),
    Rule("args.blocks_to_swap_offload", ("blocks_to_swap", "cpu_offload_checkpointing"),
         lambda c: c.number("blocks_to_swap") != 0 and c.on("cpu_offload_checkpointing"),
         "blocks_to_swap: {blocks_to_swap} does not go with cpu_offload_checkpointing", "leave one of the two out",
         "start",
         families=("flux", "sd3", "anima")),
    Rule("args.split_mode", ("split_mode", "blocks_to_swap"), lambda c: c.on("split_mode"),
         "split_mode is old: it means blocks_to_swap: 18 where that is not set", "write args.blocks_to_swap: 18",
         SILENT, WARNING, ("flux",)),
    Rule("args.cpu_offload_unet", ("cpu_offload_checkpointing",),
         lambda c: c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "the model of this family has no cpu_offload_checkpointing", "leave it out",
         LOADED, families=(*UNET, "sd3"), methods=LORA),
    Rule("args.cpu_offload_inert", ("cpu_offload_checkpointing", "gradient_checkpointing"),
         lambda c: c.on("cpu_offload_checkpointing") and not c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing does nothing without gradient_checkpointing",
         "write args.gradient_checkpointing: true, or leave it out", SILENT, WARNING, methods=LORA),
    Rule("args.attention_twice", ATTENTION, _attention,
         "{what} are on; the first of mem_eff_attn, xformers, sdpa is taken", "leave one on", SILENT, INFO, UNET),
    Rule("args.attention_inert", ("mem_eff_attn", "xformers"), _inert_attention,
         "{what}: this family's own attention is torch's, whatever is set", "leave it out", SILENT, INFO, FLOW),
    Rule("args.persistent_workers", ("persistent_data_loader_workers", "max_data_loader_n_workers"),
         lambda c: c.on("persistent_data_loader_workers") and c.get("max_data_loader_n_workers") == 0
         and not c.on("deepspeed"),
         "persistent_data_loader_workers needs workers, and max_data_loader_n_workers is 0",
         "write args.max_data_loader_n_workers: 1 or more, or leave args.persistent_data_loader_workers out", LOADED),
    Rule("args.loader_workers", ("max_data_loader_n_workers",),
         lambda c: c.number("max_data_loader_n_workers") < 0 and not c.on("deepspeed"),
         "max_data_loader_n_workers: {max_data_loader_n_workers} is less than 0", "write 0 or more", LOADED),
    Rule("args.deepspeed_workers", ("deepspeed", "max_data_loader_n_workers"),
         lambda c: c.on("deepspeed") and bool(c.given("max_data_loader_n_workers"))
         and c.get("max_data_loader_n_workers") != 1,
         "deepspeed sets max_data_loader_n_workers to 1, whatever is written ({max_data_loader_n_workers})",
         "nothing to do", SILENT, INFO, methods=(*LORA, *WHOLE)),
    Rule("args.dynamo_backend", ("dynamo_backend", "torch_compile"),
         lambda c: bool(c.given("dynamo_backend")) and not c.on("torch_compile"),
         "dynamo_backend: {dynamo_backend} does nothing without torch_compile",
         "write args.torch_compile: true, or leave it out", SILENT, INFO),
)  # fmt: skip
