"""The practice trainer: ``python -m kohya_runner.practice.trainer SCRIPT <the very same arguments>``.

It reads the same command line and folders as the script, prints its lines, writes files under its names, and trains
nothing. It is for trying what is around a trainer; the files say so, and so does every screen.
"""
# ruff: noqa: RUF001 - the trainer's own words

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines.diffusers.families import DIFFUSERS
from kohya_runner.engines.musubi.families import MUSUBI_TUNER
from kohya_runner.engines.table import info_of, options_for
from kohya_runner.errors import TrainerError
from kohya_runner.options.parser import argparse_parser
from kohya_runner.practice import diffusers, musubi
from kohya_runner.practice import faults as practice_faults
from kohya_runner.practice.data import SettingsError, batching_of, read_folders, steps_of
from kohya_runner.practice.files import MARK, Writer, modules
from kohya_runner.practice.loop import Loop
from kohya_runner.practice.screen import BANNER, Bar, log, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kohya_runner.dataset.facts import Folder
    from kohya_runner.engines.steps_plan import StepsPlan

NO_DATA = (
    "No data found. Please verify arguments (train_data_dir must be the parent of folders with images) / "
    "画像がありません。引数指定を確認してください（train_data_dirには画像があるフォルダではなく、"
    "画像があるフォルダの親フォルダを指定する必要があります）"
)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Practise one script; the exit code is the one that the script would end with."""
    if not argv:
        raise TrainerError("name a train script, then its arguments")
    script = Path(argv[0]).name
    args = argparse_parser(options_for(script, None)).parse_args(list(argv[1:]))
    if info_of(script) is MUSUBI_TUNER:
        return _musubi(args, script, environ)
    if info_of(script) is DIFFUSERS:
        say(BANNER)
        return diffusers.train(args, practice_faults.read(environ), environ)
    faults = practice_faults.read(environ)
    say(BANNER)
    faults.prepare()
    folders, batching = read_folders(args), batching_of(args, script)
    _announce_data(folders)
    plan = steps_of(folders, batching)
    if plan is None:
        log(NO_DATA, "ERROR")
        return 0
    _announce_work(args, script, folders)
    time.sleep(faults.seconds.get("silent", 0.0))
    _announce_plan(args, plan)
    pace = float(environ.get(practice_faults.STEP_SECONDS, practice_faults.DEFAULT_STEP_SECONDS))
    writer = Writer(args, script, _metadata(args, plan), faults.slow_save, untrained="zero-weights" in faults.plain)
    Loop(args, plan, writer, faults, pace=pace).run()
    say(BANNER)
    return 0


def _musubi(args: argparse.Namespace, script: str, environ: Mapping[str, str]) -> int:
    """A stage has no outputs of its own."""
    faults = practice_faults.read(environ)
    say(BANNER)
    if hasattr(args, "output_dir"):
        return musubi.train(args, script, faults, environ)
    return musubi.stage(args, faults)


def _announce_data(folders: Sequence[Folder]) -> None:
    """library/train_util.py:2112-2162 and :1061."""
    log("Using DreamBooth method.")
    log("prepare images.")
    for folder in folders:
        log(f"found directory {folder.name} contains {folder.images} image files")
    number = sum(folder.images * folder.repeats for folder in folders if not folder.regularization)
    log(f"{number} train images with repeats.")
    log("loading image sizes.")


def _announce_work(args: argparse.Namespace, script: str, folders: Sequence[Folder]) -> None:
    """From the model to the optimizer (train_network.py:593-730, networks/lora.py:1030-1089)."""
    log("preparing accelerator")
    say("accelerator device: practice")
    log("loading model for process 0/1")
    images = sum(folder.images for folder in folders)
    for wanted, what in ((args.cache_latents, "latents"), (_caches_text(args), "Text Encoder outputs")):
        if wanted or (what == "latents" and args.cache_latents_to_disk):
            log(f"caching {what} with caching strategy.")
            log(f"caching {what}...")
            bar = Bar(images)
            bar.draw(images)
            bar.close()
    if getattr(args, "network_module", None) is None:
        return
    text, image = (len(names) for names in modules(script))
    say(f"import network module: {args.network_module}")
    log(f"create LoRA network. base dim (rank): {args.network_dim or 4}, alpha: {args.network_alpha}")
    log(f"create LoRA for Text Encoder: {text} modules.")
    log(f"create LoRA for U-Net: {image} modules.")
    if not args.network_train_unet_only:
        log(f"enable LoRA for text encoder: {text} modules")
    if not args.network_train_text_encoder_only:
        log(f"enable LoRA for U-Net: {image} modules")
    say("prepare optimizer, data loader etc.")


def _caches_text(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "cache_text_encoder_outputs", False))


def _announce_plan(args: argparse.Namespace, plan: StepsPlan) -> None:
    """train_network.py:803 and :987-1000."""
    if args.max_train_epochs is not None:
        say(f"override steps. steps for {args.max_train_epochs} epochs is / 指定エポックまでのステップ数: {plan.total}")
    if args.resume:
        log(f"resume training from local state: {args.resume}")
    say("running training / 学習開始")
    say(f"  num train images * repeats / 学習画像の数×繰り返し回数: {plan.images_per_epoch}")
    say(f"  num validation images * repeats / 学習画像の数×繰り返し回数: {plan.validation_images}")
    say(f"  num reg images / 正則化画像の数: {plan.regularization_images}")
    say(f"  num batches per epoch / 1epochのバッチ数: {plan.batches_per_epoch}")
    say(f"  num epochs / epoch数: {plan.epochs}")
    say(f"  batch size per device / バッチサイズ: {args.train_batch_size}")
    say(f"  gradient accumulation steps / 勾配を合計するステップ数 = {args.gradient_accumulation_steps}")
    say(f"  total optimization steps / 学習ステップ数: {plan.total}")


def _metadata(args: argparse.Namespace, plan: StepsPlan) -> Mapping[str, str]:
    """What the trainer writes, as far as a stand-in knows it, and what it is (train_network.py:1005)."""
    values = {
        "ss_output_name": args.output_name,
        "ss_network_module": getattr(args, "network_module", None),
        "ss_network_dim": getattr(args, "network_dim", None),
        "ss_network_alpha": getattr(args, "network_alpha", None),
        "ss_learning_rate": args.learning_rate,
        "ss_resolution": args.resolution,
        "ss_seed": args.seed,
        "ss_num_train_images": plan.images_per_epoch,
        "ss_num_epochs": plan.epochs,
        "ss_max_train_steps": plan.total,
        "ss_training_started_at": time.time(),
    }
    return {"practice": MARK, **{name: str(value) for name, value in values.items()}}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], os.environ))
    except SettingsError as fault:
        sys.stderr.write(f"AssertionError: {fault}\n")
        sys.exit(1)
    except (TrainerError, practice_faults.FaultSyntaxError) as fault:
        sys.exit(f"practice: {fault}")
