"""musubi-tuner on shrunk models: small files, pairs of pictures, and one process that runs its scripts in forks."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parent
SECONDS = 90
MODULES = {"flux_kontext": "flux_kontext", "flux2": "flux_2", "flux2_9b": "flux_2", "flux2_dev": "flux_2",
           "krea2": "krea2", "z_image": "zimage", "qwen_image": "qwen_image",
           "qwen_image_edit": "qwen_image"}  # fmt: skip
"""How the scripts of a folder of models begin; ``flux2_9b`` and ``flux2_dev`` are other variants of FLUX.2."""
ENCODERS = {"flux_kontext": ("text_encoder1", "text_encoder2")}


def encoders(models: str) -> tuple[str, ...]:
    """The text encoders of a folder of models, as options and as files."""
    return ENCODERS.get(models, ("text_encoder",))


def environment(root: Path, checkout: Path, *, blocks: str = "few") -> dict[str, str]:
    """One thread, no GPU, no Hub, the shrinking hook."""
    return {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(checkout / "src"), str(HERE / "shrink"))),
        "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(root / "hub"),
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
        "KOHYA_SHRUNK_BLOCKS": blocks,
    }  # fmt: skip


def write_models(root: Path, checkout: Path, python: Path, *models: str, blocks: str = "few") -> None:
    """``root/models/NAME`` and the tokenizers in ``root/hub``."""
    command = (python, HERE / "tiny_musubi.py", checkout, root / "models", *models)
    environ = environment(root, checkout, blocks=blocks)
    ended = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, env=environ)
    assert ended.returncode == 0, ended.stderr[-3000:]


def share_hub(root: Path, workspace: Path) -> None:
    """Put the tokenizers of ``root/hub`` into the workspace: the link is outside, since one inside is an error."""
    inside = workspace / "cache" / "huggingface" / "hub"
    inside.parent.mkdir(parents=True)
    (root / "hub").rename(inside)
    (root / "hub").symlink_to(inside)


def draw_pairs(folder: Path, sizes: Sequence[tuple[int, int]], *, caption: str = "make it red") -> list[dict[str, str]]:
    """Noise as targets and as inputs, and the rows that name them."""
    rows = []
    for number, size in enumerate(sizes):
        places = {kind: folder / kind / f"{number}.png" for kind in ("target", "control")}
        for kind, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            dice = random.Random(f"{kind} {number}")
            Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1])).save(place)
        rows.append({"image_path": str(places["target"]), "control_path": str(places["control"]), "caption": caption})
    return rows


def write_dataset(path: Path, rows: Sequence[Mapping[str, str]], cache: Path, *, side: int = 64) -> Path:
    """The JSON file that tells the scripts of the pairs."""
    lines = path.with_suffix(".jsonl")
    lines.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    dataset = {"image_jsonl_file": str(lines), "cache_directory": str(cache), "resolution": [side, side],
               "batch_size": 1, "num_repeats": 1, "enable_bucket": True}  # fmt: skip
    path.write_text(json.dumps({"datasets": [dataset]}), encoding="utf-8")
    return path


@dataclass
class Scripts:
    """A process that imports each script once and forks for each run."""

    root: Path
    checkout: Path
    python: Path
    blocks: str = "few"
    process: subprocess.Popen[str] | None = None
    cached: set[str] = field(default_factory=set)

    def run(self, models: str, stage: str, argv: Sequence[str]) -> tuple[int | None, str]:
        """The exit code of ``PREFIX_STAGE.py`` and the last of what it said."""
        process, log = self._ready(), self.root / "log"
        assert process.stdin is not None
        assert process.stdout is not None
        script = f"{MODULES[models]}_{stage}"
        process.stdin.write(json.dumps({"script": script, "argv": list(argv), "log": str(log)}) + "\n")
        process.stdin.flush()
        code = json.loads(process.stdout.readline())
        return code, log.read_text("utf-8", "replace")[-2500:]

    def files(self, models: str, *names: str) -> list[str]:
        """Options that name the small files."""
        return [f"--{name}={self.root / 'models' / models / name}.safetensors" for name in names]

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
        shutil.rmtree(self.root)

    def _ready(self) -> subprocess.Popen[str]:
        if self.process is None:
            command = (str(self.python), str(HERE / "musubi_child.py"), str(SECONDS))
            environ = environment(self.root, self.checkout, blocks=self.blocks)
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=environ, cwd=self.root,
            )  # fmt: skip
        return self.process
