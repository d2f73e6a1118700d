"""The recipe that a LoRA was trained with, as far as its header says (``ss_*``, train_network.py:524-745)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kohya_runner.artefact.lora import inspect
from kohya_runner.engines import table
from kohya_runner.errors import RecipeError
from kohya_runner.importing.setup import Setup, Subset
from kohya_runner.text import repeats_and_token

RENAMED = {"batch_size_per_device": "train_batch_size", "debiased_estimation": "debiased_estimation_loss",
           "sd_model_name": "pretrained_model_name_or_path", "vae_name": "vae", "new_sd_model_hash": ""}  # fmt: skip
SHORT = ("torch", "bitsandbytes", "transformers", "prodigyopt", "dadaptation", "lion")
PRECISIONS = {"F16": "fp16", "BF16": "bf16", "F32": "float"}
ABSENT = ("says nothing of attention (xformers, sdpa), workers, the scheduler's cycles, caches on disk, captions' "
          "extension, saving, samples, launch and paths")  # fmt: skip


def read_lora(path: Path, setup: Setup) -> None:
    """Take the options from the header; a ``RecipeError`` for a file without any."""
    found = inspect(path)
    said = {key.removeprefix("ss_"): _value(text) for key, text in found.metadata.items() if key.startswith("ss_")}
    said = {key: value for key, value in said.items() if value is not None}
    row = table.find(found.family, "lora")
    if found.practice:
        raise RecipeError(f"{path}: is a practice file: nothing was trained in it")
    if not said or row is None:
        other = f"is a LoRA for {found.family}, which is not supported"
        silent = other if said else "has no ss_ keys: it does not say how it was trained"
        raise RecipeError(f"{path}: {found.problem or silent}")
    setup.script = setup.script or row.script
    setup.method, setup.terse = "lora", True
    setup.open = {"caption_extension", "save_every_n_epochs", "save_model_as"}
    setup.update(dict(_options(said, setup)))
    setup.note("the header", ABSENT)
    if found.names and not any(name.startswith("lora_te") for name in found.names):
        setup.update({"network_train_unet_only": True} if "network_train_unet_only" in setup.options else {})
        setup.note("network_train_unet_only", "the file has no modules of a text encoder")
    if len(found.dtypes) == 1 and found.dtypes[0] in PRECISIONS:
        setup.update({"save_precision": PRECISIONS[found.dtypes[0]]})
        setup.note("save_precision", "as the file was saved")
    setup.subsets += _subsets(said)


def _value(text: str) -> Any:
    """The trainer writes ``str()`` of everything (train_network.py:748)."""
    if text in ("None", ""):
        return None
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def _options(said: Mapping[str, Any], setup: Setup) -> Iterator[tuple[str, Any]]:
    options = setup.options
    for key, value in said.items():
        name = RENAMED.get(key, key)
        if key == "network_args" and isinstance(value, Mapping):
            yield key, [f"{k}={v}" for k, v in value.items()]
        elif key == "resolution":
            yield key, ",".join(map(str, dict.fromkeys(value))) if isinstance(value, (tuple, list)) else str(value)
        elif key == "max_train_steps":
            yield from _length(said, setup)
        elif name in options and not (options[name].kind == "switch" and value is False):
            yield name, list(value) if isinstance(value, tuple) else value
    optimizer = re.fullmatch(r"([\w.]+)(?:\((.*)\))?", str(said.get("optimizer", "")))
    if optimizer:
        # its class as an option takes it: the trainer's own names are short (library/optimizer.py)
        module, _, last = optimizer[1].rpartition(".")
        yield "optimizer_type", last if module.startswith(SHORT) else optimizer[1]
        if optimizer[2]:
            yield "optimizer_args", re.split(r",(?=\w+=)", optimizer[2])


def _length(said: Mapping[str, Any], setup: Setup) -> Iterator[tuple[str, Any]]:
    """Whole epochs, where the steps are those of whole epochs: more pictures are then trained as often."""
    steps, epochs = said["max_train_steps"], said.get("num_epochs")
    batches, gathered = said.get("num_batches_per_epoch"), said.get("gradient_accumulation_steps") or 1
    if isinstance(epochs, int) and isinstance(batches, int) and -(-batches // gathered) * epochs == steps:
        setup.note("max_train_epochs", f"the header says {steps} steps in {epochs} epochs")
        yield "max_train_epochs", epochs
    else:
        yield "max_train_steps", steps


def _subsets(said: Mapping[str, Any]) -> Iterator[Subset]:
    """The folders by their names: where they lay is not in a header."""
    sets = said.get("datasets") or []
    rows = [row for one in sets if isinstance(one, Mapping) for row in one.get("subsets") or []]
    for row in rows:
        folder = str(row.get("image_dir") or "FOLDER")
        concept = str(row.get("class_tokens") or "")
        yield Subset(folder, concept, int(row.get("num_repeats") or 1), regularization=bool(row.get("is_reg")))
    for key in () if rows else ("dataset_dirs", "reg_dataset_dirs"):
        for name, row in (said.get(key) or {}).items():
            repeats = row.get("n_repeats") or 1 if isinstance(row, Mapping) else 1
            yield Subset(name, repeats_and_token(name)[1], int(repeats), regularization=key[0] == "r")
