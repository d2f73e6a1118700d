"""For each rule options that break it and options that just do not, on top of a small run that is in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rule_cases_families

from kohya_runner.engines import table
from kohya_runner.engines.arguments import Arg, as_parsed
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.table import options_for
from kohya_runner.options import values

if TYPE_CHECKING:
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding

BASE: dict[str, Any] = {
    "resolution": "64", "max_train_steps": 2, "train_batch_size": 1, "mixed_precision": "no", "network_dim": 4,
    "max_data_loader_n_workers": 0, "save_every_n_epochs": 1, "caption_extension": ".txt", "learning_rate": 1e-4,
    "seed": 42, "sdpa": True,
}  # fmt: skip
"""Two pictures of 64x64, one epoch."""
STEPS = {"total_steps": 2, "steps_per_epoch": 2}
UNET_ONLY = {"network_train_unet_only": True}
CACHED = {"cache_text_encoder_outputs": True}


@dataclass(frozen=True)
class Case:
    """``real`` is off where the bad half needs a GPU or another machine to be seen."""

    code: str
    bad: dict[str, Any]
    good: dict[str, Any] = field(default_factory=dict)
    family: str = "sd15"
    around: dict[str, Any] = field(default_factory=dict)
    real: bool = True

    @property
    def id(self) -> str:
        return f"{self.family}-{self.code.removeprefix('args.')}-{'+'.join(self.bad)}"

    def argv(self, which: str) -> tuple[str, ...]:
        return tuple(token for arg in self._args(which) for token in arg.tokens)

    def _args(self, which: str) -> list[Arg]:
        row = support(self.family)
        options = options_for(row.script, None)
        own = rule_cases_families.BASES.get(self.family, {})
        chosen = BASE | {"network_module": row.network_module} | own | getattr(self, which)
        given = {name: value for name, value in chosen.items() if value is not None}
        return [Arg(name, value, values.tokens(options[name], value), "") for name, value in given.items()]

    def findings(self, which: str) -> tuple[Finding, ...]:
        """What the rules say of one half."""
        row = support(self.family)
        args = self._args(which)
        settings = as_parsed(options_for(row.script, None), args)
        places = {arg.name: f"recipe.yaml:1:{arg.name}" for arg in args}
        return evaluate(Context(settings, row, places=places, **(STEPS | self.around)), RULES)


def support(family: str) -> Support:
    row = table.find(family, "lora")
    assert row is not None
    return row


def net(**keys: Any) -> dict[str, Any]:
    return {"network_args": keys}


def opt(kind: str, **keys: Any) -> dict[str, Any]:
    return {"optimizer_type": kind, "optimizer_args": keys}


def lr(kind: str, **keys: Any) -> dict[str, Any]:
    return {"lr_scheduler": kind, "lr_scheduler_args": keys}


CHROMA = {"model_type": "chroma"}
AUGMENT = {"cache_latents": True, "color_aug": True}
HUBER = {"loss_type": "huber"}
ADAFACTOR = opt("Adafactor", relative_step=False)
PRODIGY = {"optimizer_type": "Prodigy"}
LOADER = {"persistent_data_loader_workers": True}

ERRORS: tuple[Case, ...] = (
    Case("args.cached_text_training", CACHED, CACHED | UNET_ONLY, "sdxl"),
    Case("args.cached_text_captions", CACHED | UNET_ONLY | {"shuffle_caption": True}, CACHED | UNET_ONLY, "sdxl"),
    Case("args.cached_text_captions", CACHED | {"caption_dropout_rate": 0.1}, CACHED, "flux"),
    Case("args.cached_text_captions", CACHED | {"token_warmup_step": 1}, {"token_warmup_step": 1}, "flux"),
    Case("args.cached_latents_augmentation", AUGMENT, {"cache_latents": True}),
    Case("args.cached_latents_augmentation", {"cache_latents_to_disk": True, "random_crop": True},
         {"random_crop": True}),
    Case("args.v2", {"v2": True}, {}, "sdxl"),
    Case("args.weighted_captions", {"weighted_captions": True}, {"weighted_captions": True} | CACHED | UNET_ONLY,
         "flux"),
    Case("args.chroma_mask", CHROMA, {}, "flux"),
    Case("args.full_fp16", {"full_fp16": True}, {}),
    Case("args.full_fp16", {"full_fp16": True, "mixed_precision": "bf16"}, {}, "sdxl"),
    Case("args.full_bf16", {"full_bf16": True}, {"full_bf16": True, "mixed_precision": "bf16"}),
    Case("args.full_bf16", {"full_bf16": True}, {"full_bf16": True, "mixed_precision": "bf16"}, "flux"),
    Case("args.fp8_precision", {"fp8_base": True}, {}),
    Case("args.fp8_precision", {"fp8_base_unet": True}, {}, "flux"),
    Case("args.blocks_to_swap", {"blocks_to_swap": 36}, {"blocks_to_swap": 35}, "flux", real=False),
    Case("args.blocks_to_swap_offload", {"blocks_to_swap": 1, "cpu_offload_checkpointing": True},
         {"blocks_to_swap": 0, "cpu_offload_checkpointing": True}, "flux"),
    Case("args.cpu_offload_unet", {"cpu_offload_checkpointing": True, "gradient_checkpointing": True},
         {"gradient_checkpointing": True}),
    Case("args.cpu_offload_unet", {"cpu_offload_checkpointing": True, "gradient_checkpointing": True},
         {"gradient_checkpointing": True}, "sdxl"),
    Case("args.persistent_workers", LOADER, LOADER | {"max_data_loader_n_workers": 1}),
    Case("args.loader_workers", {"max_data_loader_n_workers": -1}, {"max_data_loader_n_workers": 0}),
    Case("args.network_module_missing", {"network_module": None}, {}),
    Case("args.network_module_unknown", {"network_module": "networks.lorra"}, {"network_module": "networks.lora"}),
    Case("args.network_module_family", {"network_module": "networks.lora_flux"},
         {"network_module": "networks.lora_fa"}),
    Case("args.network_module_family", {"network_module": "networks.lora"}, {"network_module": "networks.lora_flux"},
         "flux"),
    Case("args.network_module_family", {"network_module": "networks.lora_flux"} | UNET_ONLY,
         {"network_module": "networks.oft"}, "sdxl"),
    Case("args.trains_nothing", UNET_ONLY | {"network_train_text_encoder_only": True}, UNET_ONLY),
    Case("args.trains_nothing", UNET_ONLY | {"network_train_text_encoder_only": True},
         {"network_train_text_encoder_only": True}, "flux"),
    Case("args.oft_unet", {"network_module": "networks.oft", "network_train_text_encoder_only": True},
         {"network_module": "networks.oft"}),
    Case("args.oft_blocks", {"network_module": "networks.oft_flux", "network_dim": 5},
         {"network_module": "networks.oft_flux", "network_dim": 6}, "flux", real=False),
    Case("args.network_dim", {"network_dim": 0}, {"network_dim": 1}),
    Case("args.network_dropout", {"network_dropout": 1.5}, {"network_dropout": 0.5}),
    Case("args.dim_from_weights", {"dim_from_weights": True}, {}),
    Case("args.network_args_unknown", net(conv_dims=4), net(conv_dim=4)),
    Case("args.network_args_unknown", net(train_block="all"), net(train_blocks="all"), "flux"),
    Case("args.network_args_value", net(conv_dim="4.5"), net(conv_dim="4")),
    Case("args.network_args_value", net(rank_dropout="10%"), net(rank_dropout=0.1)),
    Case("args.network_args_true", net(verbose="true"), net(verbose="True"), "flux"),
    Case("args.network_args_blocks", net(block_dims=[4] * 24), net(block_dims=[4] * 25)),
    Case("args.network_args_blocks", net(block_dims=[4] * 25), net(block_dims=[4] * 23), "sdxl"),
    Case("args.network_args_preset", net(down_lr_weight="0.5", up_lr_weight="0.5"),
         net(down_lr_weight="sine", up_lr_weight="cosine+.5")),
    Case("args.network_args_weights", net(down_lr_weight=[1] * 13), net(down_lr_weight=[1] * 12)),
    Case("args.network_args_rank_dropout", net(rank_dropout=1), net(rank_dropout=0.9)),
    Case("args.network_args_in_dims", net(in_dims=[4, 4]), net(in_dims=[4, 4, 4, 4, 4]), "flux"),
    Case("args.network_args_train_blocks", net(train_blocks="some"), net(train_blocks="single"), "flux"),
    Case("args.network_args_indices", net(train_double_block_indices="0-19"),
         net(train_double_block_indices="0-18"), "flux"),
    Case("args.network_args_indices", net(train_single_block_indices="5-3"),
         net(train_single_block_indices="3-5,37"), "flux"),
    Case("args.network_args_unit", {"network_module": "networks.dylora"} | net(unit=3),
         {"network_module": "networks.dylora"} | net(unit=2)),
    Case("args.network_args_dylora", {"network_module": "networks.dylora"} | net(conv_dim=2),
         {"network_module": "networks.dylora"} | net(conv_dim=4)),
    Case("args.t5_cached", CACHED | net(train_t5xxl=True), net(train_t5xxl=True), "flux"),
    Case("args.optimizer_unknown", {"optimizer_type": "adam"}, {"optimizer_type": "Adam"}),
    Case("args.optimizer_unknown", {"optimizer_type": "AdamX"}, {"optimizer_type": "adamw"}),
    Case("args.optimizer_unknown", {"optimizer_type": "Adam8bit"}, {"optimizer_type": "torch.optim.Adam"}),
    Case("args.optimizer_unfit", {"optimizer_type": "LBFGS"} | UNET_ONLY, {"optimizer_type": "RAdam"}),
    Case("args.optimizer_unfit", {"optimizer_type": "SparseAdam"}, {"optimizer_type": "NAdam"}),
    Case("args.optimizer_twice", {"use_lion_optimizer": True, "optimizer_type": "AdamW"},
         {"use_lion_optimizer": True}),
    Case("args.optimizer_args", opt("AdamW", weight_decays=0.1), opt("AdamW", weight_decay=0.1)),
    Case("args.optimizer_args", opt("SGDNesterov", nesterov=True), opt("SGDNesterov", weight_decay=0.1)),
    Case("args.optimizer_args_lr", opt("AdamW", lr=1e-4), opt("AdamW", eps=1e-8)),
    Case("args.optimizer_momentum", opt("SGDNesterov", momentum=0), opt("SGDNesterov", momentum=0.5)),
    Case("args.fused_backward", {"fused_backward_pass": True}, {"fused_backward_pass": True} | ADAFACTOR),
    Case("args.learning_rate_zero", {"learning_rate": 0}, {"learning_rate": 0, "unet_lr": 1e-4}),
    Case("args.learning_rate_differ", PRODIGY | {"learning_rate": 1, "unet_lr": 0.5},
         PRODIGY | {"learning_rate": 1, "unet_lr": 0}),
    Case("args.scheduler_unknown", {"lr_scheduler": "cosine_with_warmup"}, {"lr_scheduler": "cosine"}),
    Case("args.scheduler_broken", {"lr_scheduler": "reduce_lr_on_plateau"}, {"lr_scheduler": "inverse_sqrt"}),
    Case("args.scheduler_broken", {"lr_scheduler": "cosine_warmup_with_min_lr"},
         {"lr_scheduler": "warmup_stable_decay"}),
    Case("args.warmup_needless", {"lr_warmup_steps": 1},
         {"lr_warmup_steps": 1, "lr_scheduler": "constant_with_warmup"}),
    Case("args.warmup_needless", {"lr_warmup_steps": 0.9}, {"lr_warmup_steps": 0.4}),
    Case("args.warmup_needless", opt("Adafactor") | {"lr_warmup_steps": 1}, opt("Adafactor")),
    Case("args.warmup_needless", {"lr_scheduler_type": "StepLR", "lr_scheduler_args": {"step_size": 1},
                                  "lr_warmup_steps": 1},
         {"lr_scheduler_type": "StepLR", "lr_scheduler_args": {"step_size": 1}}),
    Case("args.scheduler_adafactor", {"lr_scheduler": "adafactor"}, opt("Adafactor") | {"lr_scheduler": "adafactor"}),
    Case("args.scheduler_adafactor", ADAFACTOR | {"lr_scheduler": "adafactor"},
         ADAFACTOR | {"lr_scheduler": "constant"}),
    Case("args.scheduler_min_lr", {"lr_scheduler": "cosine_with_min_lr"},
         {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}),
    Case("args.scheduler_min_lr", lr("cosine_with_min_lr", min_lr=1e-5) | {"lr_scheduler_min_lr_ratio": 0.1},
         lr("cosine_with_min_lr", min_lr=1e-5)),
    Case("args.scheduler_steps", {"lr_scheduler": "piecewise_constant"},
         lr("piecewise_constant", step_rules="'1:1,0.1'")),
    Case("args.scheduler_args", lr("cosine_with_restarts", num_cycles=2),
         {"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 2}),
    Case("args.scheduler_end", {"lr_scheduler": "polynomial", "learning_rate": 1e-8},
         lr("polynomial", lr_end=0) | {"learning_rate": 1e-8}),
    Case("args.scheduler_type_unknown", {"lr_scheduler_type": "CosineLR"},
         {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": {"T_max": 2}}),
    Case("args.scheduler_type_args", {"lr_scheduler_type": "CosineAnnealingLR"}, {"lr_scheduler_type": "LinearLR"}),
    Case("args.scheduler_type_args", {"lr_scheduler_type": "ReduceLROnPlateau"}, {"lr_scheduler_type": "ConstantLR"}),
    Case("args.adaptive_noise_scale", {"adaptive_noise_scale": 0.1}, {"adaptive_noise_scale": 0.1, "noise_offset": 0}),
    Case("args.scale_v_pred", {"scale_v_pred_loss_like_noise_pred": True},
         {"scale_v_pred_loss_like_noise_pred": True, "v_parameterization": True}),
    Case("args.v_pred_like_loss", {"v_pred_like_loss": 0.1, "v_parameterization": True}, {"v_pred_like_loss": 0.1}),
    Case("args.huber_snr", HUBER, HUBER | {"huber_schedule": "constant"}, "flux"),
    Case("args.huber_snr", {"loss_type": "smooth_l1"}, {"loss_type": "l1"}, "flux"),
    Case("args.huber_c", HUBER | {"huber_schedule": "exponential", "huber_c": 0},
         HUBER | {"huber_schedule": "exponential"}),
    Case("args.timestep_none", {"min_timestep": 1000}, {"min_timestep": 999}),
    Case("args.sample_prompts", {"sample_at_first": True}, {"sample_every_n_steps": 0}),
    Case("args.sample_prompts", {"sample_every_n_epochs": 1}, {"sample_every_n_epochs": 2}),
    Case("args.sample_prompts", {"sample_every_n_steps": 2}, {"sample_every_n_steps": 3}, "flux"),
    Case("args.sample_file", {"sample_prompts": "prompts.md", "sample_at_first": True},
         {"sample_prompts": "prompts.md"}, around={"prompts_found": True}),
    Case("args.sample_missing", {"sample_prompts": "none.txt"} | CACHED, {"sample_prompts": "none.txt"}, "flux",
         around={"prompts_found": False}),
    Case("args.initial_step", {"initial_step": 2}, {"initial_step": 1}),
    Case("args.initial_step", {"initial_epoch": 2}, {"initial_epoch": 1}),
    Case("args.log_with", {"log_with": "tensorboard"}, {}),
    *(Case(**row) for row in rule_cases_families.ERRORS),
)  # fmt: skip
"""Every error of the table at least once."""

DYLORA = {"network_module": "networks.dylora"}
RESTARTS = {"lr_scheduler": "cosine_with_restarts"}

OTHERS: tuple[Case, ...] = (
    Case("args.cached_text_dropout", CACHED | {"caption_dropout_every_n_epochs": 1}, CACHED, "flux"),
    Case("args.cached_text_prefix", CACHED | {"caption_prefix": "sks "}, {"caption_prefix": "sks "}, "flux"),
    Case("args.cached_text_batch", {"text_encoder_batch_size": 2}, CACHED | {"text_encoder_batch_size": 2}, "flux"),
    Case("args.cache_latents_implied", {"cache_latents_to_disk": True},
         {"cache_latents_to_disk": True, "cache_latents": True}),
    Case("args.cache_check_latents", {"skip_cache_check": True}, {}, "flux"),
    Case("args.masked_loss", {"masked_loss": True}, {"masked_loss": True, "alpha_mask": True}),
    Case("args.bucket_inert", {"max_bucket_reso": 64}, {"max_bucket_reso": 64, "min_bucket_reso": 64,
                                                        "enable_bucket": True}),
    Case("args.bucket_no_upscale", {"enable_bucket": True, "bucket_no_upscale": True, "min_bucket_reso": 64},
         {"enable_bucket": True, "min_bucket_reso": 64}),
    Case("args.clip_skip", {"clip_skip": 2}, {}, "sdxl"),
    Case("args.clip_skip_v2", {"clip_skip": 2, "v2": True}, {"clip_skip": 2}, real=False),
    Case("args.max_token_length", {"max_token_length": 150}, {"t5xxl_max_token_length": 128}, "flux"),
    Case("args.chroma_clip", CHROMA | {"apply_t5_attn_mask": True, "clip_l": "c"}, {"clip_l": "c"}, "flux",
         real=False),
    Case("args.vae", {"vae": "v"}, {}, "flux"),
    Case("args.keep_tokens", {"keep_tokens": 1}, {"keep_tokens": 1, "shuffle_caption": True}),
    Case("args.full_both", {"full_fp16": True, "full_bf16": True, "mixed_precision": "fp16"},
         {"full_fp16": True, "mixed_precision": "fp16"}, real=False),
    Case("args.half_vae", {"mixed_precision": "fp16"}, {"mixed_precision": "fp16", "no_half_vae": True}, "sdxl",
         real=False),
    Case("args.blocks_to_swap_negative", {"blocks_to_swap": -1}, {"blocks_to_swap": 0}, "flux"),
    Case("args.split_mode", {"split_mode": True}, {}, "flux", real=False),
    Case("args.cpu_offload_inert", {"cpu_offload_checkpointing": True}, {"gradient_checkpointing": True}, "flux"),
    Case("args.attention_twice", {"mem_eff_attn": True}, {}),
    Case("args.attention_inert", {"xformers": True}, {}, "flux"),
    Case("args.deepspeed_workers", {"deepspeed": True}, {"deepspeed": True, "max_data_loader_n_workers": 1},
         real=False),
    Case("args.dynamo_backend", {"dynamo_backend": "eager"}, {}),
    Case("args.network_module_prefix", {"network_module": "lora"}, {"network_module": "lycoris.kohya"}, real=False),
    Case("args.oft_alpha", {"network_module": "networks.oft", "network_alpha": 1},
         {"network_module": "networks.oft", "network_alpha": 1e-3}),
    Case("args.network_alpha", {"network_alpha": 0}, {"network_alpha": 1}),
    Case("args.network_dropout_inert", DYLORA | {"network_dropout": 0.1}, DYLORA),
    Case("args.scale_weight_norms", DYLORA | {"scale_weight_norms": 1}, {"scale_weight_norms": 1}),
    Case("args.dim_from_weights_inert", {"dim_from_weights": True, "network_weights": "w"}, {}, real=False),
    Case("args.base_weights_grow", {"base_weights": ["w"]}, {"base_weights": ["w"]} | net(conv_dim=4), real=False),
    Case("args.base_weights_multiplier", {"base_weights_multiplier": [1]}, {}),
    Case("args.network_args_blocks_inert", net(block_alphas=[1]), {}),
    Case("args.network_args_weights_filled", net(down_lr_weight=[1, 1]), net(down_lr_weight=[1] * 12)),
    Case("args.network_args_conv_alpha", net(conv_alpha=1), net(conv_dim=4, conv_alpha=1)),
    Case("args.network_args_conv_flux", net(conv_dim=4), {}, "flux"),
    Case("args.network_args_ggpo", net(ggpo_beta=0.01), net(ggpo_beta=0.01, ggpo_sigma=0.03), "flux"),
    Case("args.t5_unet_only", UNET_ONLY | net(train_t5xxl=True), net(train_t5xxl=True), "flux", real=False),
    Case("args.optimizer_alias", {"use_lion_optimizer": True}, {"optimizer_type": "Lion"}),
    Case("args.optimizer_args_plugin", opt("Prodigy", d_coefs=2), opt("Prodigy", d_coef=2), real=False),
    Case("args.fused_backward_inert", ADAFACTOR | {"fused_backward_pass": True}, ADAFACTOR),
    Case("args.adafactor_rates", opt("Adafactor") | {"unet_lr": 1e-4}, ADAFACTOR | {"unet_lr": 1e-4}),
    Case("args.unet_lr", {"unet_lr": 0}, {"unet_lr": 0, "network_train_text_encoder_only": True}),
    Case("args.learning_rate_unused", UNET_ONLY | {"text_encoder_lr": 1e-5}, UNET_ONLY),
    Case("args.text_encoder_lr", {"text_encoder_lr": [1e-5, 1e-6]}, {"text_encoder_lr": [1e-5]}, "sdxl"),
    Case("args.learning_rate_low", PRODIGY, PRODIGY | {"learning_rate": 1}),
    Case("args.learning_rate_dadapt", {"optimizer_type": "DAdaptAdam", "learning_rate": 1, "unet_lr": 0.5},
         {"optimizer_type": "DAdaptAdam", "learning_rate": 1}, real=False),
    Case("args.scheduler_type_wins", {"lr_scheduler_type": "LinearLR", "lr_scheduler": "cosine"},
         {"lr_scheduler_type": "LinearLR"}),
    Case("args.scheduler_free", {"optimizer_type": "AdamWScheduleFree", "lr_scheduler": "cosine", "lr_warmup_steps": 1},
         {"optimizer_type": "AdamWScheduleFree"}),
    Case("args.scheduler_replaced", opt("Adafactor") | {"lr_scheduler": "cosine"}, opt("Adafactor")),
    Case("args.scheduler_inert", {"lr_scheduler": "cosine", "lr_scheduler_num_cycles": 3},
         RESTARTS | {"lr_scheduler_num_cycles": 3}),
    Case("args.warmup_inert", lr("piecewise_constant", step_rules="'1:1,0.1'") | {"lr_warmup_steps": 1},
         lr("piecewise_constant", step_rules="'1:1,0.1'")),
    Case("args.warmup_processes", RESTARTS | {"lr_warmup_steps": 1}, RESTARTS | {"lr_warmup_steps": 0.5},
         around={"num_processes": 2}, real=False),
    Case("args.warmup_processes", lr("warmup_stable_decay") | {"lr_decay_steps": 1},
         lr("warmup_stable_decay") | {"lr_decay_steps": 0.5}, around={"num_processes": 2}, real=False),
    Case("args.steps_processes", {"max_train_steps": 2}, {"max_train_steps": None, "max_train_epochs": 2},
         around={"num_processes": 2}, real=False),
    Case("args.ddp_timeout", {"ddp_timeout": 60}, {"ddp_timeout": None}, around={"num_processes": 2, "machines": 2},
         real=False),
    Case("args.warmup_long", RESTARTS | {"lr_warmup_steps": 2}, RESTARTS | {"lr_warmup_steps": 1}),
    Case("args.zero_terminal_snr", {"zero_terminal_snr": True},
         {"zero_terminal_snr": True, "v_parameterization": True}),
    Case("args.huber_inert", {"huber_c": 0.2}, HUBER | {"huber_c": 0.2}),
    Case("args.flow_inert", {"min_snr_gamma": 5, "v_parameterization": True, "noise_offset": 0.1}, {}, "flux"),
    Case("args.noise_random", {"noise_offset_random_strength": True},
         {"noise_offset_random_strength": True, "noise_offset": 0.1}),
    Case("args.noise_discount", {"multires_noise_discount": 0.2},
         {"multires_noise_discount": 0.2, "multires_noise_iterations": 2}),
    Case("args.ip_noise_random", {"ip_noise_gamma_random_strength": True}, {"ip_noise_gamma": 0.1}),
    Case("args.timestep_range", {"max_timestep": 1001, "min_timestep": 1}, {"max_timestep": 1000}, real=False),
    Case("args.timestep_one", {"min_timestep": 5, "max_timestep": 5}, {"min_timestep": 4, "max_timestep": 5}),
    Case("args.flow_shift", {"discrete_flow_shift": 2, "timestep_sampling": "sigmoid"},
         {"discrete_flow_shift": 2, "timestep_sampling": "shift"}, "flux"),
    Case("args.sigmoid_scale", {"sigmoid_scale": 2}, {"sigmoid_scale": 2, "timestep_sampling": "shift"}, "flux"),
    Case("args.weighting_scheme", {"weighting_scheme": "cosmap", "model_prediction_type": "raw"},
         {"weighting_scheme": "cosmap"}, "flux"),
    Case("args.weighting_inert", {"logit_mean": 0.5}, {"logit_mean": 0.5, "weighting_scheme": "logit_normal"}, "flux"),
    Case("args.controlnet_inert", {"controlnet_model_name_or_path": "c"}, {}, "flux"),
    Case("args.sample_unused", {"sample_prompts": "prompts.txt"},
         {"sample_prompts": "prompts.txt", "sample_every_n_epochs": 1}, around={"prompts_found": True}, real=False),
    Case("args.sample_rounded", {"sample_prompts": "prompts.txt", "sample_at_first": True},
         {"sample_prompts": "prompts.txt", "sample_every_n_epochs": 3},
         around={"prompts_found": True, "prompt_sizes": ((513, None),)}, real=False),
    Case("args.resolution_sd15", {"resolution": "1024,1024"}, {"resolution": "768,1024"}, real=False),
    Case("args.sample_off", {"sample_every_n_epochs": 0}, {}),
    Case("args.sample_twice", {"sample_every_n_epochs": 2, "sample_every_n_steps": 1}, {"sample_every_n_steps": 3}),
    Case("args.initial_inert", {"initial_step": 1}, {"initial_step": 1, "skip_until_initial_step": True}),
    Case("args.skip_inert", {"skip_until_initial_step": True}, {}),
    Case("args.validation_inert", {"validate_every_n_steps": 1},
         {"validate_every_n_steps": 1, "validation_split": 0.5}),
    Case("args.save_twice", {"save_n_epoch_ratio": 1}, {"save_n_epoch_ratio": 1, "save_every_n_epochs": None}),
    Case("args.save_state_inert", {"save_last_n_steps_state": 1}, {"save_last_n_steps_state": 1, "save_state": True}),
    Case("args.save_last_inert", {"save_last_n_steps": 1}, {"save_last_n_steps": 1, "save_every_n_steps": 1}),
    Case("args.steps_overridden", {"max_train_epochs": 1}, {"max_train_epochs": 1, "max_train_steps": None}),
    Case("args.sample_sampler_inert", {"sample_sampler": "euler_a"}, {}, "flux"),
    *(Case(**row) for row in rule_cases_families.OTHERS),
)  # fmt: skip
"""Every warning and every info: the run goes through."""

CASES = (*ERRORS, *OTHERS)
BY_CODE = {rule.code: rule for rule in RULES}
