"""For each rule of diffusers' InstructPix2Pix examples options that break it and options that just do not."""

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
    "resolution": 32, "train_batch_size": 2, "max_train_steps": 2, "seed": 1, "conditioning_dropout_prob": 0.05,
    "lr_warmup_steps": 0,
}  # fmt: skip

STEPS: dict[str, Any] = {"total_steps": 2, "steps_per_epoch": 2}


@dataclass(frozen=True)
class DiffusersCase:
    """``real`` is off where the bad half needs a GPU, or a service, to be seen."""

    code: str
    bad: dict[str, Any]
    good: dict[str, Any] = field(default_factory=dict)
    family: str = "sd15"
    real: bool = True
    processes: int = 1

    @property
    def id(self) -> str:
        return f"{self.family}-{self.code.removeprefix('args.ip2p_')}-{'+'.join(self.bad)}"

    @property
    def row(self) -> Support:
        row = table.find(self.family, "instruct_pix2pix")
        assert row is not None
        return row

    def args(self, which: str) -> list[Arg]:
        """What is stated: null takes away what all cases have."""
        options = options_for(self.row.script, None)
        chosen = {name: value for name, value in (BASE | getattr(self, which)).items() if value is not None}
        return [Arg(name, value, values.tokens(options[name], value), "") for name, value in chosen.items()]

    def findings(self, which: str) -> tuple[Finding, ...]:
        """What the rules say of one half."""
        args = self.args(which)
        settings = as_parsed(options_for(self.row.script, None), args)
        places = {arg.name: f"recipe.yaml:1:{arg.name}" for arg in args}
        return evaluate(Context(settings, self.row, places=places, num_processes=self.processes, **STEPS), RULES)


URL = {"val_image_url": "https://example.org/a.png"}
PROMPT = {"validation_prompt": "make it blue"}
VAE = {"pretrained_vae_model_name_or_path": "vae"}
VAE_FILE = {"pretrained_vae_model_name_or_path": "vae.safetensors"}

DIFFUSERS_ERRORS: tuple[DiffusersCase, ...] = (
    DiffusersCase("args.ip2p_scheduler", {"lr_scheduler": "cosine_with_min_lr"}, {"lr_scheduler": "cosine"}),
    DiffusersCase("args.ip2p_scheduler", {"lr_scheduler": "piecewise_constant"}, {"lr_scheduler": "polynomial"}),
    DiffusersCase("args.ip2p_tracker", {"report_to": "console"}, {"report_to": "tensorboard"}),
    DiffusersCase("args.ip2p_vae_precision", {"vae_precision": "bf16"}, {"vae_precision": "fp32"}, "sdxl"),
    DiffusersCase("args.ip2p_vae_form", {**VAE_FILE, "vae_precision": "fp32"}, {"vae_precision": "fp32"}, "sdxl"),
)
DIFFUSERS_CASES: tuple[DiffusersCase, ...] = (
    *DIFFUSERS_ERRORS,
    DiffusersCase("args.ip2p_dropout", {"conditioning_dropout_prob": None}),
    DiffusersCase("args.ip2p_dropout", {"conditioning_dropout_prob": None}, {"conditioning_dropout_prob": 0.0}, "sdxl"),
    DiffusersCase("args.ip2p_dropout_range", {"conditioning_dropout_prob": 0.5}, {"conditioning_dropout_prob": 0.33}),
    DiffusersCase("args.ip2p_warmup", {"lr_scheduler": "cosine", "lr_warmup_steps": 2},
                  {"lr_scheduler": "constant", "lr_warmup_steps": 500}),
    DiffusersCase("args.ip2p_warmup", {"lr_scheduler": "linear", "lr_warmup_steps": None},
                  {"lr_scheduler": "linear", "lr_warmup_steps": 1}, "sdxl"),
    DiffusersCase("args.ip2p_validation", PROMPT, {**PROMPT, **URL, "report_to": "wandb"}, real=False),
    DiffusersCase("args.ip2p_validation", {"val_image_url_or_path": "a.png"},
                  {"val_image_url_or_path": "a.png", **PROMPT}, "sdxl", real=False),
    DiffusersCase("args.ip2p_validation_unseen", {**PROMPT, **URL}, {**PROMPT, **URL, "report_to": "wandb"},
                  real=False),
    DiffusersCase("args.ip2p_vae_precision", {"vae_precision": "fp16"}, {"vae_precision": "fp16", **VAE}, "sdxl",
                  real=False),
    DiffusersCase("args.ip2p_steps_processes", {"max_train_steps": 2},
                  {"max_train_steps": None, "num_train_epochs": 2}, real=False, processes=2),
    DiffusersCase("args.ip2p_workers", {"dataloader_num_workers": 2}, {"dataloader_num_workers": 0}, "sdxl",
                  real=False),
)  # fmt: skip
