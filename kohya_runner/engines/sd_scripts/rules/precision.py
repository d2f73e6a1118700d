"""Rules about precision, block swapping, attention, data loader workers and compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.rules.context import FLOW, INFO, LOADED, LORA, SILENT, TU, UNET, WARNING, WHOLE, Rule

if TYPE_CHECKING:
    from kohya_runner.engines.rules.context import Context

FLUX_SWAP = 35
"""19 double and 38 single blocks, two of each stay: n // 2 <= 17 and (n - n // 2) * 2 <= 36."""
NO_FULL_BF16 = ("train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py")
"""Scripts that do not look at full_bf16, or do not ask for its precision."""
TAKES_XFORMERS = ("hunyuan_image", "anima")
"""Transformer families whose attention may be that of xformers (library/attention.py)."""
ATTENTION = ("mem_eff_attn", "xformers", "sdpa")


def _fp8(context: Context) -> str:
    """HunyuanImage's fp8_scaled switches both off (hunyuan_image_train_network.py:338)."""
    names = [name for name in ("fp8_base", "fp8_base_unet") if context.on(name) and not context.on("fp8_scaled")]
    return context.listed(names) if context.get("mixed_precision") in (None, "no") else ""


def _attention(context: Context) -> str:
    names = [name for name in ATTENTION if context.on(name)]
    return " and ".join(names) if len(names) > 1 else ""


def _inert_attention(context: Context) -> str:
    names = ("mem_eff_attn",) if context.family in TAKES_XFORMERS else ("mem_eff_attn", "xformers")
    return " and ".join(name for name in names if context.on(name))


def _both_full(context: Context) -> bool:
    return context.on("full_fp16") and context.on("full_bf16") and context.get("mixed_precision") == "fp16"


def _half_vae(context: Context) -> bool:
    """The published SDXL VAE overflows in fp16; one of one's own may be the repaired one."""
    half = context.get("mixed_precision") == "fp16" and not context.on("no_half_vae")
    return half and not context.given("vae")


RULES: tuple[Rule, ...] = (
    Rule("args.full_fp16", ("full_fp16", "mixed_precision"),
         lambda c: c.on("full_fp16") and c.get("mixed_precision") != "fp16",
         "full_fp16 needs mixed_precision: fp16, and it is {mixed_precision}", "write mixed_precision: fp16",
         "train_network.py:815", LOADED),
    Rule("args.full_bf16", ("full_bf16", "mixed_precision"),
         lambda c: c.on("full_bf16") and not c.on("full_fp16") and c.get("mixed_precision") != "bf16"
         and c.script not in NO_FULL_BF16,
         "full_bf16 needs mixed_precision: bf16, and it is {mixed_precision}", "write mixed_precision: bf16",
         "train_network.py:821", LOADED),
    Rule("args.full_both", ("full_bf16", "full_fp16"), _both_full,
         "full_bf16 does nothing beside full_fp16", "leave one of the two out", "train_network.py:820", SILENT,
         WARNING),
    Rule("args.fp8_precision", ("fp8_base", "fp8_base_unet", "mixed_precision"), _fp8,
         "{what} needs mixed_precision: fp16 or bf16, and it is {mixed_precision}", "write mixed_precision: bf16",
         "train_network.py:831", LOADED, families=(*UNET, "flux", "sd3", "lumina", "hunyuan_image"),
         methods=LORA),
    Rule("args.half_vae", ("no_half_vae", "mixed_precision"), _half_vae,
         "mixed_precision: fp16 also runs the VAE in fp16, where SDXL's own overflows: latents become NaN or black",
         "write no_half_vae: true, or mixed_precision: bf16", "train_network.py:599", SILENT, WARNING, ("sdxl",)),
    Rule("args.blocks_to_swap", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") > FLUX_SWAP,
         "blocks_to_swap: {blocks_to_swap} is more than the 35 that can be swapped", "write blocks_to_swap: 35 or less",
         "library/flux_models.py:977", LOADED, families=("flux",)),
    Rule("args.blocks_to_swap_negative", ("blocks_to_swap",), lambda c: c.number("blocks_to_swap") < 0,
         "blocks_to_swap: {blocks_to_swap} swaps nothing", "leave it out", "flux_train_network.py:129", SILENT, WARNING,
         ("flux", "sd3", "hunyuan_image", "anima")),
    Rule("args.blocks_to_swap_offload", ("blocks_to_swap", "cpu_offload_checkpointing"),
         lambda c: c.number("blocks_to_swap") != 0 and c.on("cpu_offload_checkpointing"),
         "blocks_to_swap: {blocks_to_swap} does not go with cpu_offload_checkpointing", "leave one of the two out",
         "flux_train_network.py:77, sd3_train_network.py:60, anima_train_network.py:63", "start",
         families=("flux", "sd3", "anima")),
    Rule("args.split_mode", ("split_mode", "blocks_to_swap"), lambda c: c.on("split_mode"),
         "split_mode is old: it means blocks_to_swap: 18 where that is not set", "write blocks_to_swap: 18",
         "flux_train_network.py:82", SILENT, WARNING, ("flux",)),
    Rule("args.cpu_offload_unet", ("cpu_offload_checkpointing",),
         lambda c: c.on("cpu_offload_checkpointing") and c.on("gradient_checkpointing"),
         "the model of this family has no cpu_offload_checkpointing", "leave it out",
         "train_network.py:718", LOADED, families=(*UNET, "sd3"), methods=LORA),
    Rule("args.cpu_offload_inert", ("cpu_offload_checkpointing", "gradient_checkpointing"),
         lambda c: c.on("cpu_offload_checkpointing") and not c.on("gradient_checkpointing"),
         "cpu_offload_checkpointing does nothing without gradient_checkpointing",
         "write gradient_checkpointing: true, or leave it out", "train_network.py:716", SILENT, WARNING,
         methods=LORA),
    Rule("args.attention_twice", ATTENTION, _attention,
         "{what} are on; the first of mem_eff_attn, xformers, sdpa is taken", "leave one on",
         f"{TU}:3363", SILENT, INFO, UNET),
    Rule("args.attention_inert", ("mem_eff_attn", "xformers"), _inert_attention,
         "{what}: this family's own attention is torch's, whatever is set", "leave it out",
         "library/flux_models.py:452", SILENT, INFO, FLOW),
    Rule("args.persistent_workers", ("persistent_data_loader_workers", "max_data_loader_n_workers"),
         lambda c: c.on("persistent_data_loader_workers") and c.get("max_data_loader_n_workers") == 0
         and not c.on("deepspeed"),
         "persistent_data_loader_workers needs workers, and max_data_loader_n_workers is 0",
         "write max_data_loader_n_workers: 1 or more, or leave persistent_data_loader_workers out",
         "train_network.py:786", LOADED),
    Rule("args.loader_workers", ("max_data_loader_n_workers",),
         lambda c: c.number("max_data_loader_n_workers") < 0 and not c.on("deepspeed"),
         "max_data_loader_n_workers: {max_data_loader_n_workers} is less than 0", "write 0 or more",
         "train_network.py:785", LOADED),
    Rule("args.deepspeed_workers", ("deepspeed", "max_data_loader_n_workers"),
         lambda c: c.on("deepspeed") and bool(c.given("max_data_loader_n_workers"))
         and c.get("max_data_loader_n_workers") != 1,
         "deepspeed sets max_data_loader_n_workers to 1, whatever is written ({max_data_loader_n_workers})",
         "nothing to do", "library/deepspeed_utils.py:69", SILENT, INFO, methods=(*LORA, *WHOLE)),
    Rule("args.dynamo_backend", ("dynamo_backend", "torch_compile"),
         lambda c: bool(c.given("dynamo_backend")) and not c.on("torch_compile"),
         "dynamo_backend: {dynamo_backend} does nothing without torch_compile",
         "write torch_compile: true, or leave it out", f"{TU}:5468", SILENT, INFO),
)  # fmt: skip
