"""Cases of the rules for the methods beside LoRA: options that break each rule and options that just do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rule_cases import ADAFACTOR, BASE, CACHED, PRODIGY, STEPS, Case, opt

from kohya_runner.engines import table
from kohya_runner.engines.arguments import Arg, as_parsed
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.table import options_for
from kohya_runner.options import values

if TYPE_CHECKING:
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding

OWN: dict[str, dict[str, Any]] = {
    "finetune": {}, "dreambooth": {}, "controlnet": {}, "lllite": {"cond_emb_dim": 8, "network_dim": 4},
    "textual_inversion": {"token_string": "sksdog", "init_word": "dog"},
    "instruct_pix2pix": {"conditioning_dropout_prob": 0.05}, "inpaint": {}, "leco": {"prompts_file": "p.toml"},
}  # fmt: skip
"""What a method cannot do without."""
OF_PICTURES = ("train_batch_size", "save_every_n_epochs")
FAMILY: dict[str, dict[str, Any]] = {"sd3": {"mixed_precision": "bf16"}}
"""What a family cannot do without: its model stays in the half precision of the file."""


@dataclass(frozen=True)
class MethodCase(Case):
    """A case of one family and method."""

    method: str = "finetune"

    @property
    def id(self) -> str:
        return f"{self.family}-{self.method}-{super().id}"

    @property
    def row(self) -> Support:
        row = table.find(self.family, self.method)
        assert row is not None
        return row

    def _args(self, which: str) -> list[Arg]:
        options = options_for(self.row.script, None)
        needed = FAMILY.get(self.family, {}) | OWN[self.method] | dict(self.row.added)
        if self.row.network_module:
            needed |= {"network_module": self.row.network_module}
        base = {key: value for key, value in BASE.items() if self.method != "leco" or key not in OF_PICTURES}
        chosen = base | needed | getattr(self, which)
        given = {name: value for name, value in chosen.items() if value is not None and name in options}
        return [Arg(name, value, values.tokens(options[name], value), "") for name, value in given.items()]

    def findings(self, which: str) -> tuple[Finding, ...]:
        args = self._args(which)
        settings = as_parsed(options_for(self.row.script, None), args)
        places = {arg.name: f"recipe.yaml:1:{arg.name}" for arg in args}
        return evaluate(Context(settings, self.row, places=places, **(STEPS | self.around)), RULES)


def case(code: str, pair: str, bad: dict[str, Any], good: dict[str, Any] | None = None, **more: Any) -> MethodCase:
    """``pair`` is the family and the method, as ``sdxl finetune``."""
    family, method = pair.split()
    return MethodCase(f"args.{code}", bad, good or {}, family, method=method, **more)


FREE = {"optimizer_type": "AdamWScheduleFree"}
TE = {"train_text_encoder": True}
TEXT_ALONE = {"learning_rate": 0, "train_text_encoder": True, "learning_rate_te1": 1e-5}
FUSED = {"fused_backward_pass": True}
BLOCKWISE = {"blockwise_fused_optimizers": True}
BLOCKS = ",".join(["1e-5"] * 23)
BFLOAT = {"full_bf16": True}
ACCUMULATE = {"gradient_accumulation_steps": 2}
CROP = {"random_crop": True}
COLOR = {"cache_latents": True, "color_aug": True}
SHUFFLED = CACHED | {"shuffle_caption": True}
HALF = {"full_fp16": True}
LOADER = {"persistent_data_loader_workers": True}
SAMPLES = {"sample_at_first": True}
RATES = {"learning_rate": 1, "train_text_encoder": True, "learning_rate_te1": 0.5}
CONTROL = {"learning_rate": 1}
SWAP = {"blocks_to_swap": 1, "cpu_offload_checkpointing": True}
HUBER = {"loss_type": "huber"}
NONE = {"min_timestep": 1000}
COMPILED = {"compile": True}
MASKED = {"train_inpainting": True}

ERRORS: tuple[MethodCase, ...] = (
    case("text_cached_trained", "sdxl finetune", CACHED | TE, CACHED),
    case("text_cached_weighted", "sdxl finetune", CACHED | {"weighted_captions": True}, {"weighted_captions": True}),
    case("learning_rates_zero", "sdxl finetune", {"learning_rate": 0},
         TEXT_ALONE),
    case("stop_text_encoder", "sd15 dreambooth", {"stop_text_encoder_training": 1}, {"stop_text_encoder_training": 2}),
    case("stop_text_encoder", "sd15 dreambooth", {"stop_text_encoder_training": 0}, {"stop_text_encoder_training": -1}),
    case("deepspeed_db", "sd15 dreambooth", {"deepspeed": True}, {}, real=False),
    case("sd3_text_cached", "sd3 finetune", CACHED | TE, CACHED | TE | {"use_t5xxl_cache_only": True}),
    case("sd3_t5_alone", "sd3 finetune", {"train_t5xxl": True}, {}),
    case("sd3_t5_cached", "sd3 finetune", TE | {"train_t5xxl": True, "use_t5xxl_cache_only": True}, TE),
    case("whole_rate", "sd3 finetune", {"learning_rate": 0}, {}),
    case("whole_rate", "anima dreambooth", {"learning_rate": 0}, {}),
    case("anima_huber", "anima finetune", HUBER | {"huber_schedule": "exponential"},
         HUBER | {"huber_schedule": "constant"}),
    case("fused_free", "flux finetune", BLOCKWISE | FREE, BLOCKWISE),
    case("fused_free", "flux controlnet", BLOCKWISE | FREE, BLOCKWISE),
    case("fused_free", "sd3 finetune", BLOCKWISE | FREE, BLOCKWISE),
    case("fused_free", "lumina finetune", BLOCKWISE | FREE, BLOCKWISE),
    case("fused_twice", "sdxl finetune", ADAFACTOR | FUSED | {"fused_optimizer_groups": 2}, ADAFACTOR | FUSED),
    case("fused_twice", "flux finetune", ADAFACTOR | FUSED | BLOCKWISE, ADAFACTOR | BLOCKWISE),
    case("save_format", "flux finetune", {"save_model_as": "ckpt"}, {"save_model_as": "safetensors"}),
    case("pairs_crop", "sd15 controlnet", CROP, {}),
    case("pairs_crop", "sdxl controlnet", CROP, {}),
    case("pairs_crop", "sdxl lllite", CROP, {}),
    case("pairs_crop", "flux controlnet", CROP, {}),
    case("model_type_control", "flux controlnet", {"model_type": "chroma"}, {"model_type": "flux"}),
    case("control_min_snr", "sd15 controlnet", {"min_snr_gamma": 5}, {"min_snr_gamma": 0}),
    case("control_min_snr", "sd2 controlnet", {"min_snr_gamma": 5}, {}),
    case("control_huber", "flux controlnet", HUBER, {"loss_type": "l1"}),
    case("control_huber", "flux controlnet", {"loss_type": "smooth_l1", "huber_schedule": "constant"},
         {"loss_type": "l2"}),
    case("lllite_rank", "sdxl lllite", {"network_dim": 0}, {"network_dim": 1}),
    case("lllite_embedding", "sdxl lllite", {"cond_emb_dim": 1}, {"cond_emb_dim": 2}),
    case("token_known", "sd15 textual_inversion", {"token_string": "a"}, {"token_string": "sks-1"}),
    case("token_known", "sdxl textual_inversion", {"token_string": "<|endoftext|>"}, {"token_string": "<sks>"}),
    case("token_vectors", "sd15 textual_inversion", {"num_vectors_per_token": 0}, {"num_vectors_per_token": 2}),
    case("anima_lllite_unsupported", "anima lllite", {"unsloth_offload_checkpointing": True}, {}),
    case("anima_lllite_swap", "anima lllite", {"blocks_to_swap": 1}, {"blocks_to_swap": 0}),
    case("lllite_channels", "anima lllite", {"lllite_cond_in_channels": 2}, {"lllite_cond_in_channels": 4}),
    case("lllite_layers", "anima lllite", {"lllite_target_layers": "self_attn_v"},
         {"lllite_target_layers": "self_attn_q_pre, mlp_fc1_pre"}),
    case("lllite_trunk", "anima lllite", {"lllite_cond_dim": 7}, {"lllite_cond_dim": 8}),
    case("anima_huber", "anima lllite", HUBER | {"huber_schedule": "exponential"},
         HUBER | {"huber_schedule": "constant"}),
    case("compile_twice", "anima lllite", COMPILED | {"torch_compile": True}, {}),
    case("compile_fullgraph", "anima lllite", COMPILED | {"compile_fullgraph": True, "split_attn": True},
         {"split_attn": True}),
    case("leco_epochs", "sd15 leco", {"max_train_epochs": 2}, {}, real=False),
    case("leco_epochs", "sdxl leco", {"save_every_n_epochs": 1}, {}, real=False),
    case("leco_text", "sd15 leco", {"network_train_text_encoder_only": True}, {}, real=False),
    case("leco_denoising", "sdxl leco", {"max_denoising_steps": 1}, {"max_denoising_steps": 2}, real=False),
    case("inpaint_off", "sd15 inpaint", {"train_inpainting": False}, {}),
    case("inpaint_cache", "sd15 inpaint", {"cache_latents": True}, {}),
    case("inpaint_cache", "sdxl finetune", MASKED | {"cache_latents_to_disk": True}, MASKED),
    case("inpaint_cache", "sd15 finetune", MASKED | {"cache_latents": True}, MASKED),
    case("inpaint_control", "sd15 controlnet", MASKED, {}),
    case("inpaint_control", "sdxl controlnet", MASKED, {}),
    case("inpaint_control", "sdxl lllite", MASKED, {}),
    case("inpaint_folder", "sd15 inpaint", {"pretrained_model_name_or_path": "ORG/MODEL"},
         {"pretrained_model_name_or_path": "m.safetensors"}, real=False),
)  # fmt: skip
"""Every error of the two tables at least once."""

SHARED: tuple[MethodCase, ...] = (
    case("cached_text_captions", "sdxl finetune", SHUFFLED, CACHED),
    case("cached_text_captions", "sdxl finetune", CACHED | {"caption_dropout_rate": 0.1}, CACHED),
    case("cached_text_captions", "flux finetune", SHUFFLED, CACHED),
    case("cached_text_captions", "sd3 finetune", SHUFFLED, CACHED),
    case("cached_text_captions", "lumina finetune", SHUFFLED, CACHED),
    case("cached_text_captions", "anima finetune", SHUFFLED, CACHED | {"caption_dropout_rate": 0.1}),
    case("cached_latents_augmentation", "sd3 finetune", COLOR, {"color_aug": True}),
    case("cached_latents_augmentation", "lumina finetune", COLOR, {"color_aug": True}),
    case("cached_latents_augmentation", "anima finetune", COLOR, {"color_aug": True}),
    case("v2_missing", "sd2 dreambooth", {"v2": None}, {}),
    case("full_fp16", "sd3 finetune", HALF, {}),
    case("full_fp16", "lumina finetune", HALF, {}),
    case("full_bf16", "anima finetune", BFLOAT, BFLOAT | {"mixed_precision": "bf16"}),
    case("blocks_to_swap_offload", "anima finetune", SWAP, SWAP | {"blocks_to_swap": 0}),
    case("huber_snr", "sd3 finetune", HUBER, HUBER | {"huber_schedule": "constant"}),
    case("huber_snr", "lumina finetune", HUBER, HUBER | {"huber_schedule": "constant"}),
    case("huber_snr", "anima finetune", HUBER, HUBER | {"huber_schedule": "constant"}),
    case("cached_latents_augmentation", "sdxl finetune", COLOR, {"color_aug": True}),
    case("cached_latents_augmentation", "sd15 dreambooth", COLOR, {"color_aug": True}),
    case("cached_latents_augmentation", "sd15 finetune", COLOR, {"cache_latents": True}),
    case("cached_latents_augmentation", "sd15 textual_inversion", COLOR, {"color_aug": True}),
    case("cached_latents_augmentation", "flux finetune", COLOR, {"color_aug": True}),
    case("v2", "sdxl finetune", {"v2": True}, {}),
    case("v2", "sdxl lllite", {"v2": True}, {}),
    case("v2", "sdxl textual_inversion", {"v2": True}, {}),
    case("full_fp16", "sdxl finetune", HALF, {}),
    case("full_fp16", "sd15 dreambooth", HALF, {}),
    case("full_fp16", "sd15 finetune", HALF, {}),
    case("full_fp16", "sd15 controlnet", HALF, {}),
    case("full_fp16", "sd15 textual_inversion", HALF, {}),
    case("full_fp16", "sdxl lllite", HALF, {}),
    case("full_fp16", "flux finetune", HALF, {}),
    case("full_fp16", "flux controlnet", HALF, {}),
    case("full_bf16", "sdxl finetune", BFLOAT, BFLOAT | {"mixed_precision": "bf16"}),
    case("full_bf16", "sdxl controlnet", BFLOAT, {}),
    case("full_bf16", "flux finetune", BFLOAT, BFLOAT | {"mixed_precision": "bf16"}),
    case("blocks_to_swap_offload", "flux finetune", SWAP, {"blocks_to_swap": 0}),
    case("blocks_to_swap_offload", "flux controlnet", SWAP, {"blocks_to_swap": 0}),
    case("persistent_workers", "sdxl finetune", LOADER, {}),
    case("persistent_workers", "sd15 dreambooth", LOADER, {}),
    case("persistent_workers", "sd15 controlnet", LOADER, {}),
    case("loader_workers", "sd15 textual_inversion", {"max_data_loader_n_workers": -1}, {}),
    case("optimizer_unknown", "sdxl finetune", {"optimizer_type": "adam"}, {"optimizer_type": "Adam"}),
    case("optimizer_unknown", "sd15 controlnet", {"optimizer_type": "AdamX"}, {"optimizer_type": "adamw"}),
    case("optimizer_args", "sd15 dreambooth", opt("AdamW", weight_decays=0.1), opt("AdamW", weight_decay=0.1)),
    case("fused_backward", "sdxl finetune", FUSED, FUSED | ADAFACTOR),
    case("fused_backward", "sdxl finetune", FUSED | ADAFACTOR | ACCUMULATE, ADAFACTOR | ACCUMULATE),
    case("fused_backward", "sd15 controlnet", FUSED, FUSED | ADAFACTOR),
    case("fused_backward", "sdxl controlnet", FUSED, FUSED | ADAFACTOR),
    case("fused_backward", "flux finetune", FUSED, FUSED | ADAFACTOR),
    case("fused_backward", "flux controlnet", FUSED, FUSED | ADAFACTOR),
    case("fused_backward", "sd15 textual_inversion", FUSED, FUSED | ADAFACTOR),
    case("learning_rate_differ", "sdxl finetune", PRODIGY | RATES, PRODIGY | {"learning_rate": 1}),
    case("learning_rate_differ", "sdxl controlnet", PRODIGY | CONTROL, PRODIGY | CONTROL | {"control_net_lr": 1}),
    case("learning_rate_differ", "sd15 dreambooth", PRODIGY | {"learning_rate": 1, "learning_rate_te": 0.5},
         PRODIGY | {"learning_rate": 1}),
    case("scheduler_unknown", "sdxl finetune", {"lr_scheduler": "cosine_with_warmup"}, {"lr_scheduler": "cosine"}),
    case("warmup_needless", "sd15 finetune", {"lr_warmup_steps": 1}, {}),
    case("adaptive_noise_scale", "sd15 controlnet", {"adaptive_noise_scale": 0.1}, {}),
    case("v_pred_like_loss", "sdxl finetune", {"v_pred_like_loss": 0.1, "v_parameterization": True},
         {"v_pred_like_loss": 0.1}),
    case("huber_snr", "flux finetune", HUBER, HUBER | {"huber_schedule": "constant"}),
    case("huber_c", "sd15 dreambooth", HUBER | {"huber_schedule": "exponential", "huber_c": 0}, HUBER),
    case("timestep_none", "sdxl finetune", NONE, {"min_timestep": 999}),
    case("timestep_none", "sdxl lllite", NONE, {"min_timestep": 999}),
    case("timestep_none", "sd15 textual_inversion", NONE, {"min_timestep": 999}),
    case("sample_prompts", "sd15 dreambooth", SAMPLES, {}),
    case("sample_prompts", "sdxl finetune", SAMPLES, {}),
    case("sample_prompts", "sd15 controlnet", SAMPLES, {}),
    case("sample_prompts", "flux finetune", SAMPLES, {}),
    case("sample_prompts", "sd15 textual_inversion", SAMPLES, {}),
    case("log_with", "sdxl lllite", {"log_with": "tensorboard"}, {}),
)  # fmt: skip
"""Errors of the other tables, which hold for these scripts as well."""

OTHERS: tuple[MethodCase, ...] = (
    case("block_lr_inert", "sdxl finetune", TEXT_ALONE | {"block_lr": BLOCKS}, {"block_lr": BLOCKS}),
    case("text_rates_inert", "sdxl finetune", {"learning_rate_te1": 1e-5}, {"learning_rate_te1": 1e-5} | TE),
    case("text_rates_inert", "sd15 finetune", {"learning_rate_te": 1e-5}, {"learning_rate_te": 1e-5} | TE),
    case("text_rates_inert", "sd15 dreambooth", {"learning_rate_te": 1e-5, "stop_text_encoder_training": -1},
         {"learning_rate_te": 1e-5}),
    case("learning_rate_none", "sd15 controlnet", {"learning_rate": 0}, {"learning_rate": 1e-5}),
    case("token_padding_inert", "sd15 dreambooth", {"no_token_padding": True}, {}),
    case("accumulation_models", "sd15 dreambooth", ACCUMULATE, ACCUMULATE | {"stop_text_encoder_training": -1}),
    case("full_bf16_ignored", "sd15 dreambooth", BFLOAT, {}),
    case("full_bf16_ignored", "sd15 finetune", BFLOAT, {}),
    case("full_bf16_ignored", "sd15 controlnet", BFLOAT, {}),
    case("schedule_free_script", "sdxl finetune", FREE, {}),
    case("schedule_free_script", "sd15 dreambooth", FREE, {}),
    case("schedule_free_script", "sd15 finetune", FREE, {}),
    case("schedule_free_script", "sd15 controlnet", FREE, {}),
    case("schedule_free_script", "sdxl controlnet", FREE, {}),
    case("schedule_free_script", "sdxl lllite", FREE, {}),
    case("schedule_free_script", "sd15 textual_inversion", FREE, {}),
    case("schedule_free_script", "sdxl textual_inversion", FREE, {}),
    case("fp8_inert", "sdxl finetune", {"fp8_base": True}, {}),
    case("sd3_text_files", "sd3 finetune", TE, {}),
    case("sd3_precision", "sd3 finetune", {"mixed_precision": "fp16"}, {"mixed_precision": "bf16"}, real=False),
    case("sd3_whole_precision", "sd3 finetune", {"mixed_precision": "no"}, {}, real=False),
    case("lumina_swap_inert", "lumina finetune", {"blocks_to_swap": 1}, {}),
    case("save_format", "anima finetune", {"save_model_as": "ckpt"}, {"save_model_as": "safetensors"}),
    case("text_rates_inert", "sd3 finetune", {"learning_rate_te1": 1e-5}, {"learning_rate_te1": 1e-5} | TE),
    case("weighted_inert_flux", "sd3 finetune", {"weighted_captions": True}, {}),
    case("weighted_inert_flux", "anima finetune", {"weighted_captions": True}, {}),
    case("tokenizer_cache", "sd3 finetune", {"tokenizer_cache_dir": "t"}, {}),
    case("fused_groups_inert", "lumina finetune", {"fused_optimizer_groups": 2}, {}),
    case("fp8_inert", "flux finetune", {"fp8_base": True}, {}),
    case("fused_accumulation", "sdxl finetune", {"fused_optimizer_groups": 2} | ACCUMULATE,
         {"fused_optimizer_groups": 2}),
    case("fused_accumulation", "flux finetune", BLOCKWISE | ACCUMULATE, BLOCKWISE),
    case("fused_groups_inert", "flux finetune", {"fused_optimizer_groups": 2}, {}),
    case("save_folders", "sd15 dreambooth", {"save_model_as": "diffusers_safetensors"}, {}, real=False),
    case("tokenizer_cache", "flux finetune", {"tokenizer_cache_dir": "t"}, {}),
    case("model_type_inert", "flux finetune", {"model_type": "chroma"}, {}),
    case("blocks_old", "flux finetune", {"double_blocks_to_swap": 0}, {}),
    case("pairs_color", "sd15 controlnet", COLOR, {"color_aug": True}),
    case("pairs_captions", "sdxl controlnet", SHUFFLED, CACHED),
    case("pairs_captions", "flux controlnet", SHUFFLED, CACHED),
    case("weighted_inert", "sd15 controlnet", {"weighted_captions": True}, {}),
    case("weighted_inert", "sdxl lllite", {"weighted_captions": True}, {}),
    case("weighted_inert_flux", "flux finetune", {"weighted_captions": True}, {}),
    case("samples_inert", "sdxl lllite", SAMPLES, {}),
    case("loss_inert", "sd15 controlnet", NONE | {"debiased_estimation_loss": True}, {"noise_offset": 0.1}),
    case("loss_inert", "sd15 dreambooth", {"v_pred_like_loss": 0.1}, {"min_snr_gamma": 5}),
    case("init_word", "sd15 textual_inversion", {"init_word": None}, {}),
    case("templates_twice", "sd15 textual_inversion", {"use_object_template": True, "use_style_template": True},
         {"use_style_template": True}),
    case("fused_backward_inert", "sd15 dreambooth", ADAFACTOR | FUSED, ADAFACTOR),
    case("lllite_masked_input", "anima lllite", {"lllite_inpaint_masked_input": True},
         {"lllite_inpaint_masked_input": True, "lllite_cond_in_channels": 4}),
    case("compile_inert", "anima lllite", {"compile_mode": "max-autotune"}, {}),
    case("compile_whole", "anima finetune", COMPILED, {}),
    case("compile_buckets", "anima lllite", COMPILED | {"enable_bucket": True},
         COMPILED | {"enable_bucket": True, "compile_cache_size_limit": 32}, real=False),
    case("leco_inert", "sdxl leco", {"train_batch_size": 2}, {}, real=False),
    case("leco_prediction", "sd2 leco", {"v_parameterization": True}, {}, real=False),
    case("inpaint_ignored", "flux finetune", MASKED, {}),
    case("inpaint_ignored", "anima finetune", MASKED, {}),
    case("inpaint_samples", "sdxl finetune", MASKED | {"sample_prompts": "p.txt", "sample_every_n_epochs": 1}, {},
         around={"prompts_without_picture": 1}, real=False),
    case("inpaint_seed", "sdxl inpaint", {}, {"seed": None}, real=False),
)  # fmt: skip
"""Every warning and info of the two tables, and one that speaks of these scripts alone."""

METHOD_CASES = (*ERRORS, *SHARED, *OTHERS)
