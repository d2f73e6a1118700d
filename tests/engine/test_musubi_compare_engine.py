"""The epoch sweep by musubi-tuner's unmodified generators, on shrunk models: the pixels of separate processes.

Only with --tier full: about two minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from musubi_cases import OWN, row
from musubi_rig import MODULES, Scripts, draw_pairs, encoders, environment, share_hub, write_dataset, write_models
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
PROMPTS = ("make it red", "a cat, 'quoted'")
SIDE, SEED, STEPS, EPOCHS, GUIDANCE = 64, 11, 2, 2, 3.0


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep that ended well, and what is needed to paint one of its pictures alone."""

    family: str
    root: Path
    told: dict[str, Any]
    log: str
    checkout: Path
    python: Path
    environ: dict[str, str]

    def picture(self, column: int, prompt: int) -> bytes:
        cell = next(c for c in self.told["cells"] if (c["column"], c["prompt"]) == (column, prompt))
        return pixels(Path(self.told["folder"]) / cell["file"])

    def alone(self, lora: Path | None, prompt: int, out: Path) -> bytes:
        """The same picture by a process of its own, without anything of ours in it."""
        merged = ("--lora_weight", str(lora), "--lora_multiplier", "1.0") if lora else ()
        script = self.checkout / f"{MODULES[self.family]}_generate_image.py"
        version = [f"--model_version={OWN['flux2']['model_version']}"] if self.family == "flux2" else []
        guidance = "guidance_scale" if self.family == "flux2" else "embedded_cfg_scale"
        command = (
            self.python, script, *version, *files(self.root, self.family), *merged, "--prompt", PROMPTS[prompt],
            "--image_size", SIDE, SIDE, "--infer_steps", STEPS, "--seed", SEED, "--save_path", out,
            "--control_image_path", self.told["controls"][prompt], "--no_resize_control", f"--{guidance}={GUIDANCE}",
        )  # fmt: skip
        ended = subprocess.run(
            [str(part) for part in command], check=False, capture_output=True, text=True, env=self.environ
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        (picture,) = out.glob("*.png")
        return pixels(picture)


def files(root: Path, family: str) -> list[str]:
    return [f"--{name}={root / 'models' / family / name}.safetensors" for name in ("dit", "vae", *encoders(family))]


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def apart(one: bytes, other: bytes) -> float:
    """The mean difference of two pictures, of 255."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def train(root: Path, family: str, checkout: Path, python: Path) -> None:
    """Two epochs of two pairs, by the real scripts."""
    write_models(root, checkout, python, family)
    rows = draw_pairs(root / "pairs", ((SIDE, SIDE),) * 2, caption=PROMPTS[0])
    dataset = write_dataset(root / "dataset.json", rows, root / "cache", side=SIDE)
    scripts = Scripts(root, checkout, python)
    version = [f"--model_version={OWN['flux2']['model_version']}"] if family == "flux2" else []
    options = [f"--{name}={value}" for name, value in OWN[family].items() if name != "model_version"]
    trained = [
        "--output_name=my lora", f"--output_dir={root / 'loras'}", "--sdpa",
        f"--network_module={row(family).network_module}",
        "--network_dim=4", "--network_alpha=4", "--optimizer_type=AdamW", "--learning_rate=0.1",
        "--mixed_precision=bf16", f"--max_train_epochs={EPOCHS}", "--save_every_n_epochs=1", "--seed=1",
        "--max_data_loader_n_workers=0", *options,
    ]  # fmt: skip
    stages = {
        "cache_latents": scripts.files(family, "vae"),
        "cache_text_encoder_outputs": scripts.files(family, *encoders(family)),
        "train_network": [*scripts.files(family, "dit"), *trained],
    }
    for stage, own in stages.items():
        code, said = scripts.run(family, stage, [f"--dataset_config={dataset}", *version, *own])
        assert code == 0, said
    assert scripts.process is not None
    scripts.process.communicate()


@pytest.fixture(scope="module", params=list(OWN))
def swept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, musubi_tuner: Path, musubi_python: Path
) -> Iterator[Swept]:
    family: str = request.param
    root = tmp_path_factory.mktemp(f"it's {family}")
    train(root, family, musubi_tuner, musubi_python)
    environ = environment(root, musubi_tuner) | {
        "KOHYA_RUNNER_MUSUBI_TUNER": str(musubi_tuner),
        "KOHYA_RUNNER_MUSUBI_PYTHON": str(musubi_python),
    }
    share_hub(root, root / "work space")
    parts = [f"--component={part.removeprefix('--')}" for part in files(root, family)[1:]]
    version = [f"--component=model_version={OWN['flux2']['model_version']}"] if family == "flux2" else []
    command = (
        sys.executable, "-m", "kohya_runner", "compare", root / "loras", f"--family={family}",
        f"--model={root / 'models' / family / 'dit.safetensors'}", *parts, *version,
        *(f"--prompt={prompt}" for prompt in PROMPTS), f"--size={SIDE}x{SIDE}", f"--seeds={SEED}", f"--steps={STEPS}",
        f"--guidance={GUIDANCE}", f"--control={root / 'pairs' / 'control' / '0.png'}",
        f"--control={root / 'pairs' / 'control' / '1.png'}", f"--workspace={root / 'work space'}", "--json",
    )  # fmt: skip
    own = {**environ, "KOHYA_SHRUNK_DROPOUT": "1", "PYTHONPATH": os.pathsep.join((environ["PYTHONPATH"], str(ROOT)))}
    ended = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, env=own, cwd=root
    )
    file = root / "loras" / "comparison" / "compare.log"
    log = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    assert ended.returncode == 0, ended.stderr + ended.stdout[-2000:] + log[-3000:]
    yield Swept(family, root, json.loads(ended.stdout), log, musubi_tuner, musubi_python, environ)
    shutil.rmtree(root)


def test_every_picture_was_made_by_one_process(swept):
    assert swept.told["ok"]
    assert [column["label"] for column in swept.told["columns"]] == ["base", "epoch 1", "epoch 2"]
    assert len(swept.told["cells"]) == 3 * len(PROMPTS)
    assert swept.log.count("Interactive mode. Enter prompts") == 1


def test_the_text_encoder_is_loaded_once_and_the_model_for_every_column(swept):
    encoder = "Loaded T5xxl" if swept.family == "flux_kontext" else "Loaded Qwen3"
    model = "Loaded Flux:" if swept.family == "flux_kontext" else "Loaded Flux 2:"
    assert (swept.log.count(encoder), swept.log.count(model)) == (1, 3)


def test_every_picture_is_another(swept):
    assert len({swept.picture(column, prompt) for column in range(3) for prompt in range(2)}) == 6


@pytest.mark.parametrize(("column", "lora"), [(0, None), (1, "my lora-000001"), (2, "my lora")])
def test_a_column_has_the_pixels_of_a_process_of_its_own(swept, column: int, lora: str | None, tmp_path):
    """Two processes of Kontext's own script differ in the last bits already: there the nearest column must be this."""
    file = swept.root / "loras" / f"{lora}.safetensors" if lora else None
    alone = swept.alone(file, column % 2, tmp_path / "alone")
    if swept.family == "flux2":
        assert swept.picture(column, column % 2) == alone
        return
    far = [apart(swept.picture(other, column % 2), alone) for other in range(3)]
    assert far.index(min(far)) == column
    assert far[column] < 1
