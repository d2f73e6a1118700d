"""The identities against the trainer's own modules: real names, real shapes, no weights."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest

from kohya_runner.artefact.model_identity import identify
from kohya_runner.artefact.safetensors_header import Header, Tensor
from kohya_runner.machine.architectures import ARCHITECTURES

pytestmark = pytest.mark.daily
CHILD = Path(__file__).with_name("identity_child.py")
PREFIXES = {"sd3": "model.diffusion_model.", "anima": "net.", "sdxl": "model.diffusion_model."}
NAMES = (
    "flux", "chroma", "sd3", "lumina", "hunyuan_image", "anima", "ae", "hunyuan_vae", "qwen_vae", "clip_l", "clip_g",
    "t5xxl", "sdxl", "sd15 diffusers", "sd2 diffusers",
)  # fmt: skip


@pytest.fixture(scope="module")
def modules(sd_scripts: Path, trainer_python: Path) -> dict[str, dict[str, list[int]]]:
    """Names and shapes by what they are of."""
    done = subprocess.run([trainer_python, "-B", CHILD, sd_scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {row["name"]: row["shapes"] for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_the_trainers_own_module_is_known_for_what_it_is(modules, name):
    prefix = PREFIXES.get(name, "")
    tensors = tuple(Tensor(prefix + key, "BF16", tuple(shape), 0, 0) for key, shape in modules[name].items())
    found = identify(Header(tensors, {}, 0))
    assert found is not None
    assert found.key == name.partition(" ")[0]


def _count(shapes: dict[str, list[int]], prefix: str = "") -> int:
    return sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(prefix))


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima"])
def test_the_parameters_of_a_base_model_are_the_trainers(modules, family):
    assert ARCHITECTURES[family].denoiser == pytest.approx(_count(modules[family]), rel=0.02)


@pytest.mark.parametrize(("family", "double", "single"), [
    ("flux", "double_blocks.", "single_blocks."), ("hunyuan_image", "double_blocks.", "single_blocks."),
    ("sd3", "joint_blocks.", None), ("lumina", "layers.", None), ("anima", "blocks.", None),
])  # fmt: skip
def test_the_blocks_that_can_be_swapped_are_the_trainers(modules, family, double, single):
    for prefix, blocks in ((double, ARCHITECTURES[family].double), (single, ARCHITECTURES[family].single)):
        names = {name.split(".")[1] for name in modules[family] if prefix and name.startswith(prefix)}
        assert blocks.count == len(names)
        if prefix:
            assert blocks.parameters == _count(modules[family], f"{prefix}0.")
