"""The practice trainer's musubi-tuner: stages that fill caches with marks, and a training that reads nothing else."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.musubi.steps import MusubiBuckets, MusubiLength, Part, plan_steps
from kohya_runner.engines.steps_plan import SaveSettings, StepsPlan
from kohya_runner.practice.faults import Faults
from kohya_runner.practice.files import MARK, modules
from kohya_runner.practice.loop import BANNER, WORDS, SettingsError, StandIn, log, say
from kohya_runner.practice.sd_scripts import PROCESSES, size_of

if TYPE_CHECKING:
    import argparse

ABSENT: Mapping[str, Any] = {
    "save_n_epoch_ratio": None, "save_model_as": "safetensors", "network_train_unet_only": True,
    "network_train_text_encoder_only": False,
}  # fmt: skip
"""Options of sd-scripts that this engine's scripts lack, as they behave."""
BUCKETS = ("enable_bucket", "bucket_no_upscale", "no_resize_control")
LATENTS, TEXTS = ".practice", "_te.practice"  # how the marks end that stand for a picture's two caches
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class MusubiTuner(StandIn):
    """training/trainer_base.py:1800-1830."""

    numbers = tuple(WORDS["musubi"])


def prepare(args: argparse.Namespace, script: str, faults: Faults) -> StandIn | None:
    """A script without outputs is a stage before the training: it fills the caches of one kind, and that is all."""
    if not hasattr(args, "output_dir"):
        _fill_caches(args, faults)
        return None
    faults.prepare()
    for name, value in ABSENT.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    plan = _plan(args)
    say(f"import network module: {args.network_module}")
    log(f"create LoRA for U-Net/DiT: {len(modules(script)[1])} modules.")
    return MusubiTuner(args, script, plan, faults)


def _fill_caches(args: argparse.Namespace, faults: Faults) -> None:
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


def _plan(args: argparse.Namespace) -> StepsPlan:
    """What lacks one of its caches is left out, as in the training (dataset/image_video_dataset.py:521)."""
    saves = {name: getattr(args, name) for name in SaveSettings.__dataclass_fields__ if hasattr(args, name)}
    length = MusubiLength(
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
    found = tuple(_pictures(Path(dataset["image_directory"])))
    stems, controls = {path.stem for path in found}, defaultdict[str, list[tuple[int, int]]](list)
    for path in _pictures(Path(control)) if control else ():  # a second one has a number after its picture's stem
        controls[path.stem if path.stem in stems else path.stem.rpartition("_")[0]].append(size_of(path))
    pictures = [
        (size_of(path), tuple(controls[path.stem]))
        for path in found
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
