"""A packed recipe as a kind of place gets it, and the folder of a stay on this machine in the part of the other one."""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image
import pytest

from kohya_runner.remote.place import Ask, Job, Stay

RECIPE = """\
name: tiny
family: sd15
method: lora
model: {random: sd15}
datasets:
  - {images: ./files/0/my pics, concept: cat, repeats: 1}
args: {resolution: "64", max_train_epochs: 2, save_every_n_epochs: 1, save_state: true, network_module: networks.lora}
"""
ENVIRONMENT = Path(sys.prefix)
"""Of these tests: it has the runner in it, as one that a machine made."""


@pytest.fixture
def make_job(odd_path):
    """A pack of four pictures; each is a link, as a pack has them."""

    def make(recipe: str = RECIPE, options: tuple[str, ...] = ("--practice",), **ask) -> Job:
        pictures = odd_path / "home" / "pics"
        pack = odd_path / "home" / "runs" / "tiny" / "007" / "pack"
        pictures.mkdir(parents=True, exist_ok=True)
        (pack / "files" / "0" / "my pics").mkdir(parents=True)
        for number in range(4):
            PIL.Image.effect_noise((64, 64), 40 + 20 * number).convert("RGB").save(pictures / f"{number}.png")
            (pictures / f"{number}.txt").write_text("a cat", encoding="utf-8")
        for path in pictures.iterdir():
            (pack / "files" / "0" / "my pics" / path.name).symlink_to(path)
        (pack / "recipe.yaml").write_text(recipe, encoding="utf-8")
        return Job("tiny", "007", pack, 4000, Ask(**{"gpu": "L40S", **ask}), options)

    return make


@pytest.fixture
def stay():
    return Stay(place="there", kind="kind", phase="renting", name="tiny", number="007")


@pytest.fixture
def quick_node(monkeypatch):
    """node.sh with these tests' own environment, looking every second."""
    monkeypatch.setenv("KOHYA_RUNNER_ENVIRONMENT", str(ENVIRONMENT))
    monkeypatch.setenv("KOHYA_RUNNER_TICK", "1")
    monkeypatch.setenv("KOHYA_RUNNER_EVERY", "2")
