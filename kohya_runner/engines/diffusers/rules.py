"""Rules of diffusers' InstructPix2Pix examples, each on a line of the pinned v0.32.1."""

from __future__ import annotations

from dataclasses import replace

from kohya_runner.engines.rule_context import LOADED, SILENT, WARNING, Context, Rule
from kohya_runner.engines.support import Surprise

SCRIPT = "train_instruct_pix2pix.py"
SDXL_SCRIPT = "train_instruct_pix2pix_sdxl.py"
SD15, SDXL = ("sd15",), ("sdxl",)

SCHEDULERS = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")
"""diffusers/optimization.py:35; piecewise_constant needs rules that no option of the scripts gives."""
TRACKERS = ("all", "aim", "tensorboard", "wandb", "comet_ml", "mlflow", "clearml", "dvclive")
"""accelerate/utils/dataclasses.py, LoggerType."""
NO_WARMUP = ("constant",)


def _warms_up_forever(c: Context) -> bool:
    warm = c.number("lr_warmup_steps")
    return c.get("lr_scheduler") not in NO_WARMUP and c.total_steps is not None and warm >= c.total_steps


def _half_told(c: Context) -> bool:
    return bool(c.given("validation_prompt")) != bool(c.given("val_image_url", "val_image_url_or_path"))


def _shown_nowhere(c: Context) -> bool:
    return bool(c.given("validation_prompt") and c.given("val_image_url")) and c.get("report_to") not in (
        "wandb",
        "all",
    )


RULES: tuple[Rule, ...] = tuple(replace(rule, engine="diffusers", methods=("instruct_pix2pix",)) for rule in (
    Rule("args.ip2p_dropout", ("conditioning_dropout_prob",), lambda c: c.get("conditioning_dropout_prob") is None,
         "conditioning_dropout_prob is not set: neither picture nor instruction is ever left out, and the model does "
         "not learn to weigh the one against the other",
         "write args.conditioning_dropout_prob: 0.05, as the paper does", SILENT, WARNING),
    Rule("args.ip2p_dropout_range", ("conditioning_dropout_prob",),
         lambda c: not 0 <= c.number("conditioning_dropout_prob") <= 1 / 3,
         "conditioning_dropout_prob: {conditioning_dropout_prob}: three times it is a probability",
         "write a value from 0 to 0.33; 0.05 is the paper's", SILENT, WARNING),
    Rule("args.ip2p_scheduler", ("lr_scheduler",), lambda c: c.get("lr_scheduler") not in SCHEDULERS,
         "lr_scheduler: {lr_scheduler}: there is none of this name", f"write one of {', '.join(SCHEDULERS)}", LOADED),
    Rule("args.ip2p_warmup", ("lr_warmup_steps", "lr_scheduler"), _warms_up_forever,
         "lr_warmup_steps: {lr_warmup_steps} is not less than the steps of the run: the learning rate never comes to "
         "its height", "write args.lr_warmup_steps: 0, or less than the run has", SILENT, WARNING),
    Rule("args.ip2p_tracker", ("report_to",), lambda c: c.get("report_to") not in TRACKERS,
         "report_to: {report_to}: there is no such tracker", "write args.report_to: tensorboard, or wandb", "start"),
    Rule("args.ip2p_validation", ("validation_prompt", "val_image_url", "val_image_url_or_path"), _half_told,
         "a validation needs both a prompt and a picture: with one of them nothing is painted",
         "write both, or none", SILENT, WARNING),
    Rule("args.ip2p_validation_unseen", ("val_image_url", "report_to"), _shown_nowhere,
         "val_image_url: what is painted goes to wandb alone, and report_to is {report_to}: it costs time and is lost",
         "write args.report_to: wandb, or leave the validation out", SILENT, WARNING, families=SD15),
    Rule("args.ip2p_vae_precision", ("vae_precision", "pretrained_vae_model_name_or_path"),
         lambda c: c.get("vae_precision") != "fp32" and not c.given("pretrained_vae_model_name_or_path"),
         "vae_precision: {vae_precision}: the pictures stay fp32, and the autoencoder refuses them",
         "write args.vae_precision: fp32, or name args.pretrained_vae_model_name_or_path (held in mixed_precision)",
         "first step", families=SDXL),
    Rule("args.ip2p_vae_form", ("pretrained_vae_model_name_or_path",),
         lambda c: str(c.get("pretrained_vae_model_name_or_path")).endswith((".safetensors", ".ckpt", ".pt", ".bin")),
         "pretrained_vae_model_name_or_path: {pretrained_vae_model_name_or_path}: a file; the script reads a folder in "
         "diffusers' form or a Hub id", "write madebyollin/sdxl-vae-fp16-fix, or the folder of the file and its "
         "config.json", LOADED, families=SDXL),
    Rule("args.ip2p_workers", ("dataloader_num_workers",), lambda c: c.number("dataloader_num_workers") > 0,
         "dataloader_num_workers: {dataloader_num_workers}: each worker would run the text encoders, which on a GPU no "
         "forked process can", "write args.dataloader_num_workers: 0", "first step", WARNING, families=SDXL),
))  # fmt: skip

SURPRISES: tuple[Surprise, ...] = (
    Surprise("resolution", "pictures are squeezed to squares of this side"),
    Surprise("train_batch_size", "pictures a step, on each GPU"),
    Surprise("num_train_epochs", "a hundred times through all pictures", lambda a: "max_train_steps" in a),
    Surprise("lr_warmup_steps", "steps until the learning rate is at its height, with any scheduler but constant"),
    Surprise("lr_scheduler", "the learning rate never falls"),
    Surprise("mixed_precision", "trains in fp32: about twice the memory and time on a GPU"),
    Surprise("conditioning_dropout_prob", "the model does not learn to weigh picture against instruction"),
    Surprise("checkpointing_steps", "steps from one training state on the disk to the next"),
    Surprise("checkpoints_total_limit", "no state is ever removed"),
)
"""What a recipe is told that leaves these open."""
