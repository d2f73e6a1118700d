"""Cases of SD 2 and the transformer families, as keywords of ``Case``: what breaks a rule, and what just does not."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
CACHED = {"cache_text_encoder_outputs": True}
ON_DISK = {"cache_text_encoder_outputs_to_disk": True}
UNET_ONLY = {"network_train_unet_only": True}
BF16 = {"mixed_precision": "bf16"}
HUBER = {"loss_type": "huber"}
UNCACHED = {"cache_text_encoder_outputs_to_disk": None}
SWAPS = {"sd3": 36, "lumina": 24, "hunyuan_image": 37, "anima": 26}
MODULES = {"sd3": "networks.lora_sd3", "lumina": "networks.lora_lumina",
           "hunyuan_image": "networks.lora_hunyuan_image", "anima": "networks.lora_anima"}  # fmt: skip
TRANSFORMERS = tuple(SWAPS)

BASES: dict[str, dict[str, Any]] = {
    "sd2": {"v2": True},
    "hunyuan_image": ON_DISK | UNET_ONLY,  # the only way that runs without half precision
}
"""What a family's run cannot do without, beside ``BASE``."""


def row(code: str, bad: Row, good: Row, family: str, **more: Any) -> Row:
    return {"code": f"args.{code}", "bad": bad, "good": good, "family": family, **more}


def net(**keys: Any) -> Row:
    return {"network_args": keys}


OFFLOAD = {"cpu_offload_checkpointing": True, "gradient_checkpointing": True}
CHROMA = {"model_type": "chroma", "apply_t5_attn_mask": True, "guidance_scale": 0} | UNET_ONLY

ERRORS: tuple[Row, ...] = (
    row("chroma_text_training", CHROMA | CACHED | {"network_train_unet_only": None}, CHROMA | CACHED, "flux"),
    row("v2_missing", {"v2": None}, {}, "sd2"),
    row("network_module_family", {"network_module": "networks.lora_flux"}, {"network_module": "networks.lora_fa"},
        "sd2"),
    row("network_args_blocks", net(block_dims=[4] * 24), net(block_dims=[4] * 25), "sd2"),
    *(row("network_module_family", {"network_module": "networks.lora"} | UNET_ONLY, {"network_module": MODULES[f]}, f)
      for f in TRANSFORMERS),
    *(row("huber_snr", HUBER, HUBER | {"huber_schedule": "exponential"}, f) for f in TRANSFORMERS),
    *(row("network_dim", {"network_dim": 0}, {"network_dim": 1}, f) for f in TRANSFORMERS),
    *(row("trains_nothing", UNET_ONLY | {"network_train_text_encoder_only": True}, UNET_ONLY, f)
      for f in TRANSFORMERS),
    *(row("learning_rate_zero", {"learning_rate": 0}, {"learning_rate": 0, "unet_lr": 1e-4}, f) for f in TRANSFORMERS),
    *(row("sample_prompts", {"sample_every_n_steps": 2}, {"sample_every_n_steps": 3}, f) for f in TRANSFORMERS),
    *(row("fp8_precision", {"fp8_base": True}, {}, f) for f in ("sd3", "lumina", "hunyuan_image")),
    *(row("full_bf16", {"full_bf16": True}, {}, f) for f in TRANSFORMERS),
    *(row("sample_missing", {"sample_prompts": "none.txt"} | CACHED | UNET_ONLY, {"sample_prompts": "none.txt"}, f,
          around={"prompts_found": False}) for f in ("sd3", "lumina", "anima")),
    row("sample_seed", {"sample_prompts": "seed 0.txt", "sample_at_first": True},
        {"sample_prompts": "seed 0.txt", "sample_every_n_epochs": 2}, "lumina",
        around={"prompts_found": True, "prompt_seeds": (0,)}),
    row("sample_size_lumina", {"sample_prompts": "odd sizes.txt", "sample_at_first": True},
        {"sample_prompts": "odd sizes.txt", "sample_every_n_epochs": 2}, "lumina",
        around={"prompts_found": True, "prompt_sizes": ((72, 64),)}),
    row("cached_text_training", CACHED, CACHED | UNET_ONLY, "anima"),
    row("cached_text_captions", CACHED | {"shuffle_caption": True}, CACHED, "sd3"),
    row("cached_text_captions", {"caption_dropout_rate": 0.1}, {}, "hunyuan_image"),
    row("cached_text_captions", CACHED | UNET_ONLY | {"caption_tag_dropout_rate": 0.1},
        CACHED | UNET_ONLY | {"caption_dropout_rate": 0.1}, "anima"),
    row("cached_text_captions", CACHED | UNET_ONLY | {"token_warmup_step": 1}, {"token_warmup_step": 1}, "anima"),
    *(row("weighted_captions", {"weighted_captions": True}, {"weighted_captions": True} | CACHED | UNET_ONLY, f)
      for f in ("sd3", "anima")),
    *(row("blocks_to_swap_offload", {"blocks_to_swap": 1, "cpu_offload_checkpointing": True},
          {"blocks_to_swap": 0, "cpu_offload_checkpointing": True}, f) for f in ("sd3", "anima")),
    row("cpu_offload_unet", OFFLOAD, OFFLOAD | {"cpu_offload_checkpointing": False}, "sd3"),
    row("hunyuan_offload", OFFLOAD, OFFLOAD | {"gradient_checkpointing": False}, "hunyuan_image"),
    row("t5_cached", CACHED | net(train_t5xxl=True), net(train_t5xxl=True), "sd3"),
    row("network_args_unknown", net(x_atn_dim=4), net(x_attn_dim=4), "sd3"),
    row("network_args_unknown", net(in_dims=4), net(refiner_dim=4), "lumina"),
    row("network_args_unknown", net(train_blocks="all"), net(module_dropout=0.1), "hunyuan_image"),
    row("network_args_unknown", net(conv_dim=4), net(network_reg_dims=".*self_attn.*=8"), "anima"),
    row("network_args_value", net(context_mlp_dim="four"), net(context_mlp_dim=4), "sd3"),
    row("network_args_value", net(attn_dim="4.5"), net(attn_dim=4), "lumina"),
    row("network_args_value", net(rank_dropout="10%"), net(rank_dropout=0.1), "hunyuan_image"),
    row("network_args_value", net(module_dropout="often"), net(module_dropout=0.1), "anima"),
    row("network_args_true", net(train_t5xxl="yes"), net(train_t5xxl="False"), "sd3"),
    row("network_args_true", net(train_llm_adapter="1"), net(train_llm_adapter="true"), "anima"),
    row("network_args_in_dims", net(emb_dims=[4] * 5), net(emb_dims=[4] * 6), "sd3"),
    row("network_args_in_dims", net(embedder_dims=[4] * 4), net(embedder_dims=[4] * 3), "lumina"),
    row("network_args_train_blocks", net(train_blocks="single"), net(train_blocks="refiners"), "lumina"),
    row("network_args_indices", net(train_block_indices="3-1"), net(train_block_indices="0-3"), "sd3"),
    row("sd3_swap", {"blocks_to_swap": 37}, {"blocks_to_swap": 36}, "sd3", real=False),
    row("lumina_swap", {"blocks_to_swap": 25}, {"blocks_to_swap": 24}, "lumina"),
    row("hunyuan_swap", {"blocks_to_swap": 38}, {"blocks_to_swap": 37}, "hunyuan_image"),
    row("anima_swap", {"blocks_to_swap": 27}, {"blocks_to_swap": 26}, "anima"),
    row("hunyuan_text_training", {"network_train_unet_only": None}, {}, "hunyuan_image"),
    row("hunyuan_text_memory", CACHED | UNCACHED, {}, "hunyuan_image"),
    row("hunyuan_text_only", {"network_train_unet_only": None, "network_train_text_encoder_only": True}, {},
        "hunyuan_image"),
    row("hunyuan_precision", UNCACHED, {}, "hunyuan_image"),
    row("anima_unsloth_offload", {"unsloth_offload_checkpointing": True, "cpu_offload_checkpointing": True},
        {"cpu_offload_checkpointing": True}, "anima"),
    row("anima_unsloth_swap", {"unsloth_offload_checkpointing": True, "blocks_to_swap": 1}, {"blocks_to_swap": 1},
        "anima"),
)  # fmt: skip
"""Every error of the new families at least once, and every older rule that holds for them as well."""

FLOW_INERT = {"min_snr_gamma": 5, "noise_offset": 0.1, "zero_terminal_snr": True}

OTHERS: tuple[Row, ...] = (
    row("chroma_guidance", CHROMA | {"guidance_scale": 3.5}, CHROMA, "flux"),
    row("chroma_offload", CHROMA | {"cpu_offload_checkpointing": True, "gradient_checkpointing": True},
        CHROMA | {"gradient_checkpointing": True}, "flux"),
    row("v2_wrong", {"v2": True}, {}, "sd15", real=False),
    *(row("v2_inert", {"v2": True}, {}, f) for f in TRANSFORMERS),
    *(row("flow_inert", FLOW_INERT, {}, f) for f in TRANSFORMERS),
    row("flow_inert", {"ip_noise_gamma": 0.1}, {"min_timestep": 100, "max_timestep": 900}, "sd3"),
    *(row("clip_skip", {"clip_skip": 2}, {}, f) for f in TRANSFORMERS),
    *(row("max_token_length", {"max_token_length": 150}, {}, f) for f in TRANSFORMERS),
    *(row("sample_sampler_inert", {"sample_sampler": "euler_a"}, {}, f) for f in TRANSFORMERS),
    *(row("attention_inert", {"mem_eff_attn": True}, {}, f) for f in TRANSFORMERS),
    *(row("blocks_to_swap_negative", {"blocks_to_swap": -1}, {"blocks_to_swap": 0}, f)
      for f in ("sd3", "hunyuan_image", "anima")),
    *(row("network_args_conv_flux", net(conv_dim=4), {}, f) for f in ("sd3", "lumina", "hunyuan_image")),
    *(row("cache_check_latents", {"skip_cache_check": True}, {}, f) for f in ("lumina", "hunyuan_image")),
    row("vae", {"vae": "v"}, {}, "lumina"),
    *(row("flow_shift", {"discrete_flow_shift": 2, "timestep_sampling": "uniform"},
          {"discrete_flow_shift": 2, "timestep_sampling": "sigma"}, f) for f in TRANSFORMERS[1:]),
    *(row("sigmoid_scale", {"sigmoid_scale": 2, "timestep_sampling": "uniform"},
          {"sigmoid_scale": 2, "timestep_sampling": "shift"}, f) for f in TRANSFORMERS[1:]),
    row("weighting_scheme", {"weighting_scheme": "mode"}, {"weighting_scheme": "cosmap"}, "anima"),
    row("weighting_inert", {"logit_mean": 0.5}, {"logit_mean": 0.5, "weighting_scheme": "logit_normal"}, "sd3"),
    row("network_args_ggpo", net(ggpo_beta=0.01), net(ggpo_beta=0.01, ggpo_sigma=0.03), "hunyuan_image"),
    row("network_args_indices_empty", net(train_block_indices="0-3,40"), net(train_block_indices="0-3,37"), "sd3"),
    row("t5_unet_only", UNET_ONLY | net(train_t5xxl=True), net(train_t5xxl=True), "sd3", real=False),
    row("cached_text_dropout", CACHED | UNET_ONLY | {"caption_dropout_every_n_epochs": 1},
        CACHED | {"caption_dropout_every_n_epochs": 1}, "lumina"),
    row("sd3_unused", {"save_clip": True, "t5xxl_device": "cpu"}, {}, "sd3"),
    row("sd3_swap_medium", {"blocks_to_swap": 23}, {"blocks_to_swap": 22}, "sd3", real=False),
    row("sd3_shift", {"training_shift": 0}, {"training_shift": 3}, "sd3"),
    row("lumina_cached_captions", CACHED | UNET_ONLY | {"shuffle_caption": True}, CACHED | {"shuffle_caption": True},
        "lumina"),
    row("lumina_cache_unused", CACHED, CACHED | UNET_ONLY, "lumina"),
    row("lumina_sage", {"use_sage_attn": True}, {}, "lumina", real=False),
    row("weighted_captions", {"weighted_captions": True}, {}, "lumina"),
    row("lumina_weighted", CACHED | UNET_ONLY | {"weighted_captions": True}, CACHED | UNET_ONLY, "lumina"),
    row("lumina_timesteps", {"timestep_sampling": "sigmoid"}, {"timestep_sampling": "nextdit_shift"}, "lumina"),
    row("hunyuan_unet_only", {"network_train_unet_only": None} | UNCACHED | BF16, BF16, "hunyuan_image", real=False),
    row("hunyuan_fp16", {"mixed_precision": "fp16"}, BF16, "hunyuan_image", real=False),
    row("hunyuan_fp8", BF16 | {"fp8_base": True}, BF16 | {"fp8_scaled": True}, "hunyuan_image", real=False),
    row("hunyuan_fp8_both", {"fp8_base": True, "fp8_scaled": True}, {"fp8_scaled": True}, "hunyuan_image",
        real=False),
    row("hunyuan_text_rate", {"text_encoder_lr": 1e-5}, {}, "hunyuan_image"),
    row("hunyuan_half_vae", {"no_half_vae": True}, {}, "hunyuan_image"),
    row("hunyuan_t5_cpu", UNCACHED | BF16 | {"text_encoder_cpu": True}, {"text_encoder_cpu": True}, "hunyuan_image",
        real=False),
    row("xformers_split", {"attn_mode": "xformers"}, {"attn_mode": "torch", "split_attn": True}, "anima", real=False),
    row("xformers_split", {"xformers": True}, {"xformers": True, "attn_mode": "torch"}, "hunyuan_image", real=False),
    row("attention_sage", {"attn_mode": "sageattn"}, {"attn_mode": "sdpa"}, "anima", real=False),
    row("anima_fp8", {"fp8_base": True}, {}, "anima"),
    row("anima_unsloth_checkpointing", {"unsloth_offload_checkpointing": True},
        {"unsloth_offload_checkpointing": True, "gradient_checkpointing": True}, "anima", real=False),
    row("anima_rates", {"self_attn_lr": 1e-5, "mod_lr": 0}, net(network_reg_lrs=".*self_attn.*=1e-5"), "anima"),
    row("anima_adapter", {"llm_adapter_path": "a"}, {}, "anima"),
)  # fmt: skip
"""Warnings and infos: the run goes through."""
