"""The practice trainer's sd-scripts: the folders as it reads them, and its lines up to the first step."""
# ruff: noqa: RUF001 - the trainer's own words

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from kohya_runner.dataset.facts import IMAGE_EXTENSIONS, Entry, Folder, Image
from kohya_runner.dataset.picture import FORMATS
from kohya_runner.engines.sd_scripts import leco
from kohya_runner.engines.sd_scripts.batching import Batching, batching_from
from kohya_runner.engines.sd_scripts.dataset_config import canonical
from kohya_runner.engines.sd_scripts.steps import plan_steps
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.engines.table import FAMILIES
from kohya_runner.findings import Severity
from kohya_runner.practice.faults import Faults
from kohya_runner.practice.files import modules
from kohya_runner.practice.loop import WORDS, Bar, SettingsError, StandIn, log, say

if TYPE_CHECKING:
    import argparse

EXTENSIONS = frozenset({*IMAGE_EXTENSIONS, *(extension.upper() for extension in IMAGE_EXTENSIONS)})
"""library/dataset.py:77: all lower or all upper, nothing between."""

PROCESSES = "KOHYA_PRACTICE_PROCESSES"
"""The number of processes that a run is planned for: the stand-in is one, and counts as all of them."""


class SdScripts(StandIn):
    """train_network.py:1394-1407."""

    numbers = tuple(WORDS["sd_scripts"])


class Leco(StandIn):
    """train_leco.py: no pictures, and no numbers before the first step."""

    numbers = ()


def prepare(args: argparse.Namespace, script: str, faults: Faults) -> StandIn | None:
    """Everything up to the plan; None where there are no pictures, which the trainer does not call a failure."""
    faults.prepare()
    if not hasattr(args, "train_data_dir"):
        made, _ = leco.steps(vars(args), args.output_name or "last")
        return Leco(args, script, made, faults) if made else None
    folders, batching = read_folders(args), batching_of(args, script)
    _announce_data(folders)
    plan = steps_of(folders, batching)
    if plan is None:
        log(WORDS["no_data"], "ERROR")
        return None
    _announce_work(args, script, folders)
    return SdScripts(args, script, plan, faults)


def _announce_data(folders: Sequence[Folder]) -> None:
    """library/dreambooth_dataset.py:274-324 and library/dataset.py:692."""
    log("Using DreamBooth method.")
    log("prepare images.")
    for folder in folders:
        log(f"found directory {folder.name} contains {folder.images} image files")
    number = sum(folder.images * folder.repeats for folder in folders if not folder.regularization)
    log(f"{number} train images with repeats.")
    log("loading image sizes.")


def _announce_work(args: argparse.Namespace, script: str, folders: Sequence[Folder]) -> None:
    """From the model to the optimizer (train_network.py:1000-1137, networks/lora.py:1030-1089)."""
    log("preparing accelerator")
    say("accelerator device: practice")
    log("loading model for process 0/1")
    images = sum(folder.images for folder in folders)
    for wanted, what in (
        (args.cache_latents, "latents"),
        (getattr(args, "cache_text_encoder_outputs", False), "Text Encoder outputs"),
    ):
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


def read_folders(args: argparse.Namespace) -> tuple[Folder, ...]:
    """The folders of ``--train_data_dir`` and ``--reg_data_dir`` (library/config_util.py:614-652)."""
    extension = str(args.caption_extension)
    if getattr(args, "dataset_config", None) is not None:
        return tuple(_listed(Path(args.dataset_config), extension))
    if getattr(args, "conditioning_data_dir", None) is not None:  # one flat folder (library/config_util.py:654)
        pairs = tuple(_entries(Path(args.train_data_dir), extension))
        return (Folder("pairs", 1, regularization=False, entries=pairs),)
    return (
        *_folders(args.train_data_dir, extension, regularization=False),
        *_folders(getattr(args, "reg_data_dir", None), extension, regularization=True),
    )


def batching_of(args: argparse.Namespace, script: str) -> Batching:
    """What decides the number of steps; ``SettingsError`` without a resolution (library/dreambooth_dataset.py:65)."""
    divisor = next((row.bucket_step for row in FAMILIES if row.script == script), None)
    processes = int(os.environ.get(PROCESSES, "1"))
    name = args.output_name or "last"
    found = batching_from(vars(args), name, num_processes=processes, reso_steps_divisor=divisor)
    if found is None:
        raise SettingsError("resolution is required / resolution（解像度）指定は必須です")
    return found


def steps_of(folders: tuple[Folder, ...], batching: Batching) -> StepsPlan | None:
    """The numbers of the run, None for no data; ``SettingsError`` where the trainer would end before."""
    plan, findings = plan_steps(folders, batching)
    errors = [f for f in findings if f.severity is Severity.ERROR]
    if plan is not None and not errors:
        return plan
    if not any(folder.entries for folder in folders):
        return None
    raise SettingsError("; ".join(finding.message for finding in errors))


def _listed(path: Path, extension: str) -> Iterator[Folder]:
    """The folders of a dataset file as the runner writes it, each with the options of its own dataset."""
    try:
        datasets = json.loads(path.read_text(encoding="utf-8"))["datasets"]
    except (OSError, ValueError, LookupError, TypeError) as fault:
        raise SettingsError(f"{path} is not a dataset file of the runner: {fault}") from fault
    for made in datasets:
        own = {name: value for name, value in made.items() if name != "subsets"}
        for subset in made["subsets"]:
            entries = tuple(_entries(Path(subset["image_dir"]), extension))
            yield Folder(subset["class_tokens"], subset["num_repeats"], subset["is_reg"], entries, canonical(own))


def _folders(root: str | None, extension: str, *, regularization: bool) -> Iterator[Folder]:
    if root is None or not Path(root).is_dir():
        return
    for folder in Path(root).iterdir():
        repeats, concept = _name(folder.name)
        if folder.is_dir() and repeats > 0:
            yield Folder(concept, repeats, regularization, tuple(_entries(folder, extension)))


def _name(name: str) -> tuple[int, str]:
    first, _, rest = name.partition("_")
    try:
        return int(first), rest
    except ValueError:
        return 0, ""


def _entries(folder: Path, extension: str) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        if path.suffix in EXTENSIONS and not path.name.startswith("."):
            caption = path.with_suffix(extension if extension.startswith(".") else f".{extension}")
            width, height = size_of(path)
            yield Entry(path.name, Image(path, width, height, 0, ""), caption.name if caption.is_file() else "")


def size_of(path: Path) -> tuple[int, int]:
    """From the file's head; 0 by 0 if it is not a picture, and the trainer divides by that."""
    try:
        with PIL.Image.open(path, formats=FORMATS) as image:
            return image.width, image.height
    except OSError:
        return 0, 0
