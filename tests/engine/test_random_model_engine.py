"""The trainer's own loaders take the random-weight model, and its numbers stay numbers."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from kohya_runner.install.random_model import RandomWeights, ensure_random_model
from kohya_runner.machine.downloads import RANDOM_MODELS
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.daily

LOOK = """\
import json, sys
sys.path[0] = "."
import torch
from library import model_util, strategy_sd

checkpoint, tokenizers = sys.argv[1:]
text_model, vae, unet = model_util.load_models_from_stable_diffusion_checkpoint(False, checkpoint)
strategy = strategy_sd.SdTokenizeStrategy(False, 150, tokenizers)
(tokens,) = strategy.tokenize("pixel art, 24x24, a slime")
with torch.no_grad():
    words = text_model(tokens[0])[0][:1]
    noise = unet(torch.randn(1, 4, 8, 8), torch.tensor([500]), words).sample
    latents = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean
print(json.dumps({"tokens": list(tokens.shape), "ends": [int(tokens.min()), int(tokens.max())],
                  "finite": [bool(x.isfinite().all()) for x in (words, noise, latents)], "spread": float(noise.std())}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[RandomWeights]:
    workspace = Workspace(tmp_path_factory.mktemp("work space"))
    made = ensure_random_model("sd15", workspace, python=trainer_python, checkout=sd_scripts)
    yield made
    made.checkpoint.unlink()  # 2 GB, and pytest keeps temporary folders


@pytest.fixture(scope="module")
def seen(model: RandomWeights, sd_scripts: Path, trainer_python: Path) -> dict[str, Any]:
    command = (str(trainer_python), "-c", LOOK, str(model.checkpoint), str(model.tokenizers))
    done = subprocess.run(command, cwd=sd_scripts, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_disk_need_is_known_in_advance(model):
    assert abs(model.checkpoint.stat().st_size - RANDOM_MODELS["sd15"]) < 1000


def test_the_tokenizer_needs_no_hub(seen):
    assert seen["tokens"] == [1, 2, 77]
    assert seen["ends"][1] == 49407


def test_every_part_of_the_model_gives_finite_numbers(seen):
    assert seen["finite"] == [True, True, True]
    assert 0 < seen["spread"] < 100
