"""How the real script of each family is run on shrunk models, and the one process that runs them all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rule_cases import Case, support

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
SECONDS = 300


@dataclass(frozen=True)
class Real:
    """A family's trainer class, the files it is given, and the options a run on the CPU cannot do without."""

    trainer: str
    model: str = "dit"
    parts: tuple[str, ...] = ()


REAL: Mapping[str, Real] = {
    "sd15": Real("NetworkTrainer", "model"),
    "sd2": Real("NetworkTrainer", "model"),
    "sdxl": Real("SdxlNetworkTrainer", "model"),
    "sd3": Real("Sd3NetworkTrainer", parts=("clip_l", "clip_g", "t5xxl")),
    "flux": Real("FluxNetworkTrainer", parts=("clip_l", "t5xxl", "ae")),
    "lumina": Real("LuminaNetworkTrainer", parts=("gemma2", "ae")),
    "hunyuan_image": Real("HunyuanImageNetworkTrainer", parts=("text_encoder", "byt5", "vae")),
    "anima": Real("AnimaNetworkTrainer", parts=("qwen3", "vae")),
}


@dataclass
class Zygote:
    """A process that imports the scripts once; each run is a fork of it. Models are written when first needed."""

    root: Path
    process: subprocess.Popen[str]
    ready: set[str] = field(default_factory=set)

    def fate(self, case: Case, which: str) -> tuple[bool, str]:
        """Whether the run came to a finished checkpoint, and the last of what it said."""
        self._prepare(case.family)
        output, log = self.root / "out put", self.root / "log"
        shutil.rmtree(output, ignore_errors=True)
        for cache in self.root.glob("data/*/*.npz"):
            cache.unlink()
        chosen = case.argv(which)
        argv = [*self._fixed(case.family, output, chroma="--model_type=chroma" in chosen), *chosen]
        request = {"script": support(case.family).script, "trainer": REAL[case.family].trainer, "argv": argv}
        code = self._ask(request | {"log": str(log)})
        said = log.read_text("utf-8", "replace")
        return code == 0 and (output / "case.safetensors").is_file(), f"exit code {code}: {said[-1500:]}"

    def _prepare(self, family: str) -> None:
        folder, log = self.root / family, self.root / f"{family}.log"
        if family not in self.ready:
            folder.mkdir()
            code = self._ask({"family": family, "folder": str(folder), "log": str(log)})
            assert code == 0, log.read_text("utf-8", "replace")[-1500:]
            self.ready.add(family)

    def _ask(self, request: Mapping[str, Any]) -> int | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def _fixed(self, family: str, output: Path, *, chroma: bool) -> list[str]:
        real, folder = REAL[family], self.root / family
        model = "chroma" if chroma else real.model
        names = {"pretrained_model_name_or_path": model} | {part: part for part in real.parts}
        paths = {name: folder / f"{file}.safetensors" for name, file in names.items()}
        paths |= {"train_data_dir": self.root / "data", "output_dir": output}
        tokenizers = folder / "tokenizers"
        paths |= {"tokenizer_cache_dir": tokenizers} if tokenizers.is_dir() else {}
        return [*(f"--{name}={path}" for name, path in paths.items()), "--output_name=case"]


def start(root: Path, sd_scripts: Path, trainer_python: Path) -> Zygote:
    """One thread, no GPU, no Hub."""
    environ = {
        **os.environ, "PYTHONPATH": str(HERE / "shrink"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(root / "hub"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = (str(trainer_python), str(HERE / "rules_child.py"), str(sd_scripts), str(SECONDS))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ,
        cwd=root,
    )  # fmt: skip
    return Zygote(root, process)
