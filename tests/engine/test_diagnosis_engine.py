"""Faults made for real: the unmodified trainer on small random weights, and what ``diagnose`` says of its log.

Every day three of them, about half a minute; ``--tier full`` makes every fault, about 4 minutes, and ``--keep FOLDER``
leaves each log there, for the excerpts of the unit tests.
"""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from PIL import Image

from kohya_runner.diagnosis.diagnose import diagnose
from kohya_runner.diagnosis.lines import read_log

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def cut(folder: Path) -> None:
    path = folder / "0.png"
    path.write_bytes(path.read_bytes()[:3000])


def no_picture(folder: Path) -> None:
    (folder / "0.png").write_bytes(b"no picture")


def empty_caption(folder: Path) -> None:
    (folder / "0.txt").write_bytes(b"")


def latin_caption(folder: Path) -> None:
    (folder / "0.txt").write_bytes("français".encode("latin-1"))


def without_repeats(folder: Path) -> None:
    folder.rename(folder.with_name("cat"))


def wider(folder: Path) -> None:
    for path in folder.glob("*.png"):
        Image.new("RGB", (96, 64)).save(path)


@dataclass(frozen=True)
class Fault:
    """What is wrong, and the row that must be found; "" for a run that is well."""

    code: str
    options: dict[str, Any] = field(default_factory=dict)
    data: Callable[[Path], None] = lambda _: None
    model: str = ""
    environ: dict[str, str] = field(default_factory=dict)


FEW = {
    "healthy": Fault(""),
    "nan": Fault("nan-loss", {"learning_rate": "1e6", "unet_lr": "1e6", "max_train_epochs": 3}),
    "cut picture": Fault("picture-broken", data=cut),
}
MANY = {
    **FEW,
    "no picture": Fault("picture-broken", data=no_picture),
    "empty caption": Fault("caption-empty", data=empty_caption),
    "latin caption": Fault("caption-encoding", data=latin_caption),
    "no repeats": Fault("no-data", data=without_repeats),
    "another size": Fault("picture-size", {"cache_latents": None}, data=wider),
    "buckets": Fault("bucket-bounds", {"enable_bucket": True}),
    "resolution": Fault("resolution-value", {"resolution": "64x64"}),
    "offline": Fault("no-network", {"tokenizer_cache_dir": None}, environ={"HF_HUB_OFFLINE": "1"}),
    "no model": Fault("no-network", {"pretrained_model_name_or_path": "no/where"}, environ={"HF_HUB_OFFLINE": "1"}),
    "pointer": Fault("safetensors-broken", model="pointer"),
    "cut model": Fault("safetensors-broken", model="cut"),
    "module": Fault("network-module", {"network_module": "networks.lora_fla"}),
    "lycoris": Fault("network-module", {"network_module": "lycoris.none"}),
    "unknown option": Fault("option-unknown", {"network_rank": 4}),
    "wrong value": Fault("option-value", {"network_dim": "abc"}),
    "optimizer args": Fault("optimizer-args", {"optimizer_args": "foo=bar"}),
    "optimizer keyword": Fault("optimizer-keyword", {"optimizer_args": "decouple=True"}),
    "optimizer name": Fault("optimizer-name", {"optimizer_type": "AdamWW"}),
    "warmup": Fault("warmup", {"lr_scheduler": "constant", "lr_warmup_steps": 1}),
    "scheduler": Fault("scheduler-name", {"lr_scheduler": "cosinus"}),
    "full fp16": Fault("full-precision", {"full_fp16": True}),
    "fp8": Fault("fp8-precision", {"fp8_base": True}),
    "no prompts": Fault("sample-prompts", {"sample_every_n_epochs": 1}),
    "zero": Fault("zero-interval", {"save_every_n_epochs": 0}),
    "workers": Fault("persistent-workers", {"persistent_data_loader_workers": True}),
    "no output": Fault("path-missing", {"output_dir": None}),
    "no state": Fault("resume-state", {"resume": "/nowhere/cat-state"}),
    "tensorboard": Fault("logging-dir", {"log_with": "tensorboard"}),
    "xformers": Fault("no-xformers", {"sdpa": None, "xformers": True}),
}
FAULTS = MANY if tiers.full() else FEW


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Path:
    """A small SD 1.5 model and its tokenizer, and what is left of it when it is cut."""
    folder = tmp_path_factory.mktemp("tiny models")
    made_models.put(trainer_python, sd_scripts, "sd15", folder)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(data[: len(data) // 2])
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7\nsize 2132625894\n"
    (folder / "pointer.safetensors").write_text(pointer, encoding="utf-8")
    return folder


def environ(**more: str) -> dict[str, str]:
    search = os.pathsep.join((str(HERE / "shrink"), str(ROOT)))
    fixed = {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "160", "PYTHONIOENCODING": "utf-8"}
    return {**os.environ, **fixed, **more}


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(3):
        dice = random.Random(number)
        Image.frombytes("RGB", (64, 64), dice.randbytes(3 * 64 * 64)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", FAULTS)
def test_the_trainers_own_words_are_understood(
    name: str, tiny: Path, tmp_path: Path, sd_scripts: Path, trainer_python: Path
):
    fault, log = FAULTS[name], tmp_path / "trainer.log"
    fault.data(pictures(tmp_path / "data" / "1_cat"))
    options: dict[str, Any] = {
        "pretrained_model_name_or_path": tiny / f"{fault.model or 'model'}.safetensors",
        "tokenizer_cache_dir": tiny / "tokenizers", "train_data_dir": tmp_path / "data", "resolution": 64,
        "output_dir": tmp_path / "out", "output_name": "cat", "network_module": "networks.lora", "network_dim": 2,
        "max_train_epochs": 1, "mixed_precision": "no", "optimizer_type": "AdamW", "max_data_loader_n_workers": 0,
        "caption_extension": ".txt", "cache_latents": True, "save_model_as": "safetensors", "sdpa": True, "seed": 1,
        **fault.options,
    }  # fmt: skip
    words = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items() if value is not None]
    with log.open("wb") as file:
        command = (str(trainer_python), "train_network.py", *words)
        home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub")}
        subprocess.run(
            command, cwd=sd_scripts, env=environ(**home, **fault.environ), stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, check=False, timeout=200,
        )  # fmt: skip
    tiers.keep(f"faults/{name}.log", log.read_bytes())
    with log.open("rb") as file:
        found = diagnose(read_log(file))
    last = log.read_text("utf-8", "replace")[-1500:]
    assert [cause.code for cause in found.causes][:1] == ([fault.code] if fault.code else []), last
