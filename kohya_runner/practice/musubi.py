"""The practice trainer's musubi-tuner: stages that fill caches with marks, and a training that reads nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.musubi.buckets import MusubiBuckets
from kohya_runner.engines.musubi.steps import Length, Part, plan_steps
from kohya_runner.engines.saves import SaveSettings
from kohya_runner.practice import faults as practice_faults
from kohya_runner.practice.data import PROCESSES, SettingsError, size_of
from kohya_runner.practice.files import MARK, Writer, modules
from kohya_runner.practice.loop import Loop
from kohya_runner.practice.screen import BANNER, log, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from kohya_runner.engines.steps_plan import StepsPlan

ABSENT: Mapping[str, Any] = {
    "save_n_epoch_ratio": None, "save_model_as": "safetensors", "network_train_unet_only": True,
    "network_train_text_encoder_only": False,
}  # fmt: skip
"""Options of sd-scripts that this engine's scripts lack, as they behave."""
BUCKETS = ("enable_bucket", "bucket_no_upscale", "no_resize_control")
LATENTS, TEXTS = ".practice", "_te.practice"
"""How the marks end that stand for a picture's two caches."""
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def stage(args: argparse.Namespace, faults: practice_faults.Faults) -> int:
    """Fill the caches of one kind; the exit code."""
    if "fail-stage" in faults.plain:
        raise RuntimeError("practice fault: stage")
    ending = TEXTS if hasattr(args, "text_encoder1") or hasattr(args, "text_encoder") else LATENTS
    log(f"Load dataset config from {args.dataset_config}")
    for dataset in _datasets(args):
        cache = Path(dataset["cache_directory"])
        cache.mkdir(parents=True, exist_ok=True)
        pictures = tuple(_pictures(Path(dataset["image_directory"])))
        for picture in pictures:
            (cache / f"{picture.stem}{ending}").write_text(MARK, encoding="utf-8")
        log(f"{len(pictures)}it [00:00, 9.99it/s]")
    say(BANNER)
    return 0


def train(args: argparse.Namespace, script: str, faults: practice_faults.Faults, environ: Mapping[str, str]) -> int:
    """Train nothing on what the stages left; the exit code."""
    faults.prepare()
    for name, value in ABSENT.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    plan = _plan(args)
    say(f"import network module: {args.network_module}")
    log(f"create LoRA for U-Net/DiT: {len(modules(script)[1])} modules.")
    time.sleep(faults.seconds.get("silent", 0.0))
    _announce(args, plan)
    pace = float(environ.get(practice_faults.STEP_SECONDS, practice_faults.DEFAULT_STEP_SECONDS))
    said = {"ss_output_name": args.output_name, "ss_network_module": args.network_module, "ss_seed": args.seed}
    metadata = {"practice": MARK, **{name: str(value) for name, value in said.items()}}
    writer = Writer(args, script, metadata, faults.slow_save, untrained="zero-weights" in faults.plain)
    Loop(args, plan, writer, faults, pace=pace).run()
    say(BANNER)
    return 0


def _plan(args: argparse.Namespace) -> StepsPlan:
    """What lacks one of its caches is left out, as in the training (dataset/image_video_dataset.py:521)."""
    saves = {name: getattr(args, name) for name in SaveSettings.__dataclass_fields__ if hasattr(args, name)}
    length = Length(
        SaveSettings(**saves), args.max_train_steps, args.max_train_epochs, args.gradient_accumulation_steps,
        num_processes=int(os.environ.get(PROCESSES, "1")),
    )  # fmt: skip
    plan, findings = plan_steps(tuple(_part(dataset) for dataset in _datasets(args)), length)
    if plan is None:
        raise SettingsError("; ".join(finding.message for finding in findings))
    return plan


def _part(dataset: Mapping[str, Any]) -> Part:
    size, most = dataset.get("resolution", [960, 544]), dataset.get("control_resolution")
    buckets = MusubiBuckets(_pair(size), **{name: dataset.get(name, False) for name in BUCKETS},
                            control_resolution=_pair(most) if most else None)  # fmt: skip
    cache, control = Path(dataset["cache_directory"]), dataset.get("control_directory")
    controls = {path.stem: size_of(path) for path in _pictures(Path(control))} if control else {}
    pictures = [
        (size_of(path), (controls[path.stem],) if path.stem in controls else ())
        for path in _pictures(Path(dataset["image_directory"]))
        if all((cache / f"{path.stem}{ending}").is_file() for ending in (LATENTS, TEXTS))
    ]
    return Part(tuple(pictures), dataset.get("num_repeats", 1), dataset.get("batch_size", 1), buckets)


def _pair(value: Any) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def _datasets(args: argparse.Namespace) -> list[dict[str, Any]]:
    found = json.loads(Path(args.dataset_config).read_text(encoding="utf-8"))
    return list(found["datasets"])


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS)


def _announce(args: argparse.Namespace, plan: StepsPlan) -> None:
    """training/trainer_base.py:1655-1830."""
    if args.max_train_epochs is not None:
        say(f"override steps. steps for {args.max_train_epochs} epochs is / 指定エポックまでのステップ数: {plan.total}")
    if args.resume:
        log(f"resume training from local state: {args.resume}")
    say("running training / 学習開始")
    say(f"  num train items / 学習画像、動画数: {plan.images_per_epoch}")
    say(f"  num batches per epoch / 1epochのバッチ数: {plan.batches_per_epoch}")
    say(f"  num epochs / epoch数: {plan.epochs}")
    say(f"  gradient accumulation steps / 勾配を合計するステップ数 = {args.gradient_accumulation_steps}")
    say(f"  total optimization steps / 学習ステップ数: {plan.total}")
