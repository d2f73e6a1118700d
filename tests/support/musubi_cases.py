"""For each rule of musubi-tuner's scripts options that break it and options that just do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    "max_train_steps": 2, "mixed_precision": "bf16", "network_dim": 4, "max_data_loader_n_workers": 0,
    "save_every_n_epochs": 1, "save_precision": "bf16", "learning_rate": 1e-4, "optimizer_type": "AdamW", "seed": 42,
    "sdpa": True,
}  # fmt: skip
"""Two pairs of 64x64, one epoch."""
OWN: dict[str, dict[str, Any]] = {
    "flux_kontext": {"timestep_sampling": "flux_shift"},
    "flux2": {"timestep_sampling": "flux2_shift", "model_version": "klein-base-4b"},
    "krea2": {"timestep_sampling": "krea2_shift"},
    "z_image": {"timestep_sampling": "shift", "discrete_flow_shift": 2.0},
    "qwen_image": {"timestep_sampling": "qwen_shift"},
    "qwen_image_edit": {"timestep_sampling": "qwen_shift", "model_version": "edit-2511"},
}
OF_A_LORA = ("network_dim", "save_precision")
"""Of the first table what the scripts for whole models take no notice of."""
STEPS = {"total_steps": 2, "steps_per_epoch": 2}


@dataclass(frozen=True)
class MusubiCase:
    """``stage`` is the script that the options are for: latents, text or train.

    ``real`` is off where the bad half needs a GPU to be seen, ``gpu`` on where the good half ends at the want of one.
    """

    code: str
    bad: dict[str, Any]
    good: dict[str, Any] = field(default_factory=dict)
    family: str = "flux_kontext"
    around: dict[str, Any] = field(default_factory=dict)
    stage: str = "train"
    real: bool = True
    gpu: bool = False
    method: str = "lora"

    @property
    def id(self) -> str:
        return f"{self.family}-{self.code.removeprefix('args.musubi_')}-{'+'.join(self.bad)}"

    @property
    def row(self) -> Support:
        return row(self.family, self.method)

    def chosen(self, which: str) -> dict[str, Any]:
        """What is stated: null takes away what all cases have."""
        whole = dict.fromkeys(OF_A_LORA if self.method == "finetune" else ())
        network = {"network_module": self.row.network_module or None}
        given = BASE | whole | network | OWN[self.family] | getattr(self, which)
        return {name: value for name, value in given.items() if value is not None}

    def args(self, which: str) -> list[Arg]:
        options = options_for(self.row.script, None)
        return [Arg(name, value, values.tokens(options[name], value), "") for name, value in self.chosen(which).items()]

    def findings(self, which: str) -> tuple[Finding, ...]:
        """What the rules say of one half."""
        args = self.args(which)
        settings = as_parsed(options_for(self.row.script, None), args)
        places = {arg.name: f"recipe.yaml:1:{arg.name}" for arg in args}
        return evaluate(Context(settings, self.row, places=places, **(STEPS | self.around)), RULES)


def row(family: str, method: str = "lora") -> Support:
    found = table.find(family, method)
    assert found is not None
    return found


def net(**keys: Any) -> dict[str, Any]:
    return {"network_args": keys}


def opt(kind: str, **keys: Any) -> dict[str, Any]:
    return {"optimizer_type": kind, "optimizer_args": keys}


ENCODERS = {"text_encoder1": "text_encoder1.safetensors", "text_encoder2": "text_encoder2.safetensors",
            "vae": "vae.safetensors"}  # fmt: skip
NEW = ("krea2", "z_image", "qwen_image", "qwen_image_edit")
PROMPTS_ONE = {"sample_prompts": "prompts.txt", "text_encoder": "text_encoder.safetensors", "vae": "vae.safetensors"}
TURBO = {"turbo_dit": "dit.safetensors"}
PROMPTS = {"sample_prompts": "prompts.txt", **ENCODERS}
SAMPLES = {"sample_every_n_epochs": 1}
SWAP = {"blocks_to_swap": 2}
CHECKPOINTING = {"gradient_checkpointing": True}
H2D = {**SWAP, "block_swap_h2d_only": True}
ADAFACTOR = opt("Adafactor", relative_step=False)
FUSED = ADAFACTOR | {"fused_backward_pass": True, "max_grad_norm": 0}
WHOLE = ("z_image", "qwen_image", "qwen_image_edit")
LOADER = {"persistent_data_loader_workers": True}

ERRORS: tuple[MusubiCase, ...] = (
    MusubiCase("args.musubi_attention", {"sdpa": None}),
    MusubiCase("args.musubi_sage", {"sage_attn": True}),
    MusubiCase("args.musubi_flash3", {"sdpa": None, "flash3": True}, {"flash3": True}),
    MusubiCase("args.musubi_flash3", {"sdpa": None, "flash3": True}, {"flash3": True}, "flux2"),
    MusubiCase("args.musubi_precision", {"mixed_precision": "no"}),
    MusubiCase("args.musubi_precision", {"mixed_precision": None}, {}, "flux2"),
    MusubiCase("args.musubi_fp8_scaled", {"fp8_scaled": True}, {"fp8_scaled": True, "fp8_base": True}),
    MusubiCase("args.musubi_fp8_scaled", {"fp8_scaled": True}, {"fp8_scaled": True, "fp8_base": True}, "flux2"),
    MusubiCase("args.musubi_fp8_t5", {"fp8_t5": True}, stage="text"),
    MusubiCase("args.musubi_fp8_mistral", {"fp8_text_encoder": True, "model_version": "dev"},
               {"model_version": "dev"}, "flux2", stage="text"),
    MusubiCase("args.musubi_vae_dtype", {"vae_dtype": "bfloat16"}, stage="latents"),
    MusubiCase("args.musubi_swap_kontext", {"blocks_to_swap": 35}, {"blocks_to_swap": 34}, gpu=True),
    MusubiCase("args.musubi_swap_flux2", {"blocks_to_swap": 14}, {"blocks_to_swap": 13}, "flux2",
               gpu=True),
    MusubiCase("args.musubi_swap_flux2", {"blocks_to_swap": 17, "model_version": "klein-base-9b"},
               {"blocks_to_swap": 16, "model_version": "klein-base-9b"}, "flux2", gpu=True),
    MusubiCase("args.musubi_swap_flux2", {"blocks_to_swap": 30, "model_version": "dev"},
               {"blocks_to_swap": 29, "model_version": "dev"}, "flux2", gpu=True),
    MusubiCase("args.musubi_h2d", H2D, H2D | CHECKPOINTING, gpu=True),
    MusubiCase("args.musubi_ring", SWAP | {"block_swap_ring_size": 0}, {"block_swap_ring_size": 0}),
    MusubiCase("args.musubi_optimizer_missing", {"optimizer_type": None}),
    MusubiCase("args.musubi_optimizer_8bit", {"optimizer_type": "Lion8bit"}),
    MusubiCase("args.musubi_optimizer", {"optimizer_type": "Prodigy"}, {"optimizer_type": "SGD"}),
    MusubiCase("args.musubi_optimizer", {"optimizer_type": "adam"}, {"optimizer_type": "Adam"}, "flux2"),
    MusubiCase("args.musubi_scheduler", {"lr_scheduler": "cosin"}, {"lr_scheduler": "rex"}),
    MusubiCase("args.musubi_step_rules", {"lr_scheduler": "piecewise_constant"},
               {"lr_scheduler": "piecewise_constant", "lr_scheduler_args": {"step_rules": "'1:1,0.1'"}}),
    MusubiCase("args.musubi_warmup", {"lr_warmup_steps": 1},
               {"lr_warmup_steps": 1, "lr_scheduler": "constant_with_warmup"}),
    MusubiCase("args.musubi_warmup", opt("Adafactor") | {"lr_warmup_steps": 1}, opt("Adafactor")),
    MusubiCase("args.musubi_adafactor_scheduler", {"lr_scheduler": "adafactor:1e-4"},
               opt("Adafactor") | {"lr_scheduler": "adafactor:1e-4"}),
    MusubiCase("args.musubi_adafactor_scheduler", ADAFACTOR | {"lr_scheduler": "adafactor"}, ADAFACTOR),
    MusubiCase("args.musubi_scheduler_fails", {"lr_scheduler": "reduce_lr_on_plateau"}, {"lr_scheduler": "cosine"}),
    MusubiCase("args.musubi_scheduler_fails", {"lr_scheduler": "cosine_warmup_with_min_lr"},
               {"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 1}),
    MusubiCase("args.musubi_min_lr", {"lr_scheduler": "cosine_with_min_lr"},
               {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}),
    MusubiCase("args.musubi_network_missing", {"network_module": None}),
    MusubiCase("args.musubi_network", {"network_module": "networks.lora"}),
    MusubiCase("args.musubi_network", {"network_module": "networks.lora_qwen_image"}, {}, "flux2"),
    MusubiCase("args.musubi_network_args", net(exclude_patterns="['a=b']"), net(exclude_patterns="['a.b']")),
    MusubiCase("args.musubi_network_keys", net(rank_drop_out=0.1), net(rank_dropout=0.1, loraplus_lr_ratio=2)),
    MusubiCase("args.musubi_network_patterns", net(exclude_patterns="'.*single_blocks.*'"),
               net(exclude_patterns=[".*single_blocks.*"])),
    MusubiCase("args.musubi_dim_from_weights", {"dim_from_weights": True}),
    MusubiCase("args.musubi_workers", LOADER, LOADER | {"max_data_loader_n_workers": 1}),
    MusubiCase("args.musubi_tracker", {"log_with": "tensorboard"}),
    MusubiCase("args.musubi_zero", {"save_every_n_epochs": 0}),
    MusubiCase("args.musubi_zero", {"save_every_n_steps": 0}, {"save_every_n_steps": 1}),
    MusubiCase("args.musubi_zero", {"sample_every_n_steps": 0}),
    MusubiCase("args.musubi_accumulation", {"gradient_accumulation_steps": 0}, {"gradient_accumulation_steps": 2}),
    MusubiCase("args.musubi_show_timesteps", {"show_timesteps": "console"}),
    MusubiCase("args.musubi_prompts_kind", PROMPTS | SAMPLES | {"sample_prompts": "prompts.md"}, PROMPTS | SAMPLES),
    MusubiCase("args.musubi_prompts_missing", PROMPTS | SAMPLES | {"sample_prompts": "no.txt"}, {},
               around={"prompts_found": False}),
    MusubiCase("args.musubi_prompts_encoders", SAMPLES | {"sample_prompts": "prompts.txt"}, PROMPTS | SAMPLES),
    MusubiCase("args.musubi_prompts_encoders", PROMPTS | SAMPLES | {"vae": None}, PROMPTS | SAMPLES),
    *(MusubiCase("args.musubi_attention", {"sdpa": None}, {}, family) for family in NEW),
    *(MusubiCase("args.musubi_precision", {"mixed_precision": "no"}, {}, family)
      for family in ("krea2", "qwen_image", "qwen_image_edit")),
    *(MusubiCase("args.musubi_flash3", {"sdpa": None, "flash3": True}, {"flash3": True}, family) for family in NEW),
    *(MusubiCase("args.musubi_fp8_scaled", {"fp8_scaled": True}, {"fp8_scaled": True, "fp8_base": True}, family)
      for family in NEW),
    *(MusubiCase("args.musubi_network", {"network_module": "networks.lora_wan"}, {}, family) for family in NEW),
    *(MusubiCase("args.musubi_prompts_encoders", SAMPLES | {"sample_prompts": "prompts.txt"}, PROMPTS_ONE | SAMPLES,
                 family) for family in NEW),
    *(MusubiCase(f"args.musubi_swap_{name}", {"blocks_to_swap": most + 1}, {"blocks_to_swap": most}, family, gpu=True)
      for name, family, most in (("krea2", "krea2", 26), ("z_image", "z_image", 28), ("qwen", "qwen_image", 59),
                                 ("qwen", "qwen_image_edit", 59))),
    MusubiCase("args.musubi_fp8_plain", {"fp8_base": True}, {"fp8_base": True, "fp8_scaled": True}, "krea2"),
    MusubiCase("args.musubi_turbo_swap", TURBO | SWAP | PROMPTS_ONE | SAMPLES, TURBO | PROMPTS_ONE | SAMPLES, "krea2"),
    MusubiCase("args.musubi_turbo_cache", {"turbo_dit_cache": True},
               {"turbo_dit_cache": True} | TURBO | PROMPTS_ONE | SAMPLES, "krea2"),
    MusubiCase("args.musubi_products", {"network_module": "networks.loha"}, {}, "krea2"),
    MusubiCase("args.musubi_products", {"network_module": "networks.lokr"}, {}, "krea2"),
    MusubiCase("args.musubi_version", {"model_version": "edit-2512"}, {"model_version": "Original"}, "qwen_image"),
    MusubiCase("args.musubi_version", {"model_version": "layered"}, {}, "qwen_image"),
    MusubiCase("args.musubi_version", {"model_version": "plus"}, {"model_version": "edit-2509"}, "qwen_image_edit"),
    MusubiCase("args.musubi_version_family", {"model_version": "edit"}, {"model_version": "original"}, "qwen_image",
               real=False),
    MusubiCase("args.musubi_version_family", {"edit": True, "model_version": None}, {}, "qwen_image_edit", real=False),
    MusubiCase("args.musubi_first_image", {"remove_first_image_from_target": True}, {}, "qwen_image"),
    MusubiCase("args.musubi_whole_fused", {"fused_backward_pass": True}, FUSED, "z_image", method="finetune"),
    *(MusubiCase("args.musubi_whole_bf16", {"full_bf16": True, "mixed_precision": "no"},
                 FUSED | {"full_bf16": True}, family, method="finetune") for family in WHOLE),
    MusubiCase("args.musubi_whole_swap", SWAP, SWAP | FUSED, "qwen_image", method="finetune", real=False),
    MusubiCase("args.musubi_whole_swap", SWAP, SWAP | {"block_swap_optimizer_patch_params": True}, "z_image",
               method="finetune", real=False),
)  # fmt: skip

OTHERS: tuple[MusubiCase, ...] = (
    MusubiCase("args.musubi_warmup_processes", {"lr_scheduler": "cosine", "lr_warmup_steps": 1},
               {"lr_scheduler": "cosine", "lr_warmup_steps": 0.5}, around={"num_processes": 2}, real=False),
    MusubiCase("args.musubi_steps_processes", {"max_train_steps": 2},
               {"max_train_steps": None, "max_train_epochs": 2}, around={"num_processes": 2}, real=False),
    MusubiCase("args.musubi_attentions", {"xformers": True}),
    MusubiCase("args.musubi_fp16", {"mixed_precision": "fp16"}, real=False),
    MusubiCase("args.musubi_swap_negative", {"blocks_to_swap": -1}),
    MusubiCase("args.musubi_swap_unused", {"use_pinned_memory_for_block_swap": True}),
    MusubiCase("args.musubi_offload", {"gradient_checkpointing_cpu_offload": True},
               {"gradient_checkpointing_cpu_offload": True, **CHECKPOINTING}),
    MusubiCase("args.musubi_network_family", {"network_module": "networks.lora_flux_2"}),
    MusubiCase("args.musubi_network_family", {"network_module": "networks.lora_flux"}, {}, "flux2"),
    MusubiCase("args.musubi_samples_none", SAMPLES),
    MusubiCase("args.musubi_samples_never", PROMPTS, PROMPTS | SAMPLES),
    MusubiCase("args.musubi_other_shift", {"timestep_sampling": "flux2_shift"}),
    MusubiCase("args.musubi_other_shift", {"timestep_sampling": "flux_shift"}, {}, "flux2"),
    MusubiCase("args.musubi_timesteps", {"timestep_sampling": "sigma"}),
    MusubiCase("args.musubi_flow_shift", {"discrete_flow_shift": 3.0},
               {"discrete_flow_shift": 3.0, "timestep_sampling": "shift"}),
    MusubiCase("args.musubi_timestep_range", {"min_timestep": 500, "max_timestep": 400}, {"min_timestep": 500}),
    MusubiCase("args.musubi_inert", {"guidance_scale": 3.5}),
    MusubiCase("args.musubi_save_precision", {"save_precision": None}),
    MusubiCase("args.musubi_distilled", {"model_version": "klein-4b"}, {}, "flux2"),
    MusubiCase("args.musubi_network_family", {"network_module": "networks.lora_krea2"}, {}, "qwen_image"),
    MusubiCase("args.musubi_network_family", {"network_module": "networks.lora_flux"}, {}, "krea2"),
    MusubiCase("args.musubi_other_shift", {"timestep_sampling": "qwen_shift"}, {"timestep_sampling": "shift",
               "discrete_flow_shift": 2.5}, "krea2"),
    *(MusubiCase("args.musubi_flow_shift_missing", {"timestep_sampling": "shift", "discrete_flow_shift": None},
                 {"timestep_sampling": "shift", "discrete_flow_shift": 2.2}, family) for family in NEW),
    MusubiCase("args.musubi_turbo_unused", TURBO, TURBO | PROMPTS_ONE | SAMPLES, "krea2"),
    MusubiCase("args.musubi_fp8_vl", {"fp8_vl": True}, {}, "qwen_image"),
    *(MusubiCase("args.musubi_whole_fp8", {"fp8_base": True}, {}, family, method="finetune") for family in WHOLE),
    MusubiCase("args.musubi_whole_accumulation", FUSED | {"gradient_accumulation_steps": 2}, FUSED, "z_image",
               method="finetune"),
    MusubiCase("args.musubi_whole_inert", {"save_precision": "bf16"}, {}, "qwen_image", method="finetune"),
)  # fmt: skip

MUSUBI_CASES: tuple[MusubiCase, ...] = (*ERRORS, *OTHERS)
