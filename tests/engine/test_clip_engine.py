"""The CLIP figures by a tiny random CLIP in the trainer's own Python: the same as transformers' own forward pass.

Only with --tier full (half a minute).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from kohya_runner.compare import clip
from kohya_runner.compare.comparison import Shown
from kohya_runner.compare.painting import PaintingPlace

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.full

CHILD = Path(__file__).parent / "clip_child.py"
PROMPTS = ("a cat", "a portrait, it's longer than what this model reads at once, and is cut")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, trainer_python: Path) -> Callable[..., str]:
    """Runs the child in the trainer's Python; what it printed."""
    root = tmp_path_factory.mktemp("it's clip")

    def run(*arguments: object) -> str:
        command = (str(trainer_python), str(CHILD), *map(str, arguments))
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=os.environ | {"root": str(root)}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def model(asked, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("a model") / "tiny clip"
    asked("model", folder)
    return folder


def drawn(path: Path, side: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(3 * side * side)).save(path)
    return path


@pytest.fixture
def place(odd_path: Path, sd_scripts: Path, trainer_python: Path) -> PaintingPlace:
    output = odd_path / "comparison"
    output.mkdir()
    return PaintingPlace(output, sd_scripts, trainer_python, {}, os.environ)


@pytest.fixture
def question(odd_path: Path, model: Path) -> clip.Asked:
    shown = [
        Shown(
            column, prompt, 1, drawn(odd_path / f"{column} {prompt}.png", 48, 2 * column + prompt), f"{column}{prompt}"
        )
        for column in range(3)
        for prompt in range(2)
    ]
    training = [drawn(odd_path / "data" / f"{n}.png", 40, 100 + n) for n in range(4)]
    return clip.Asked(model, shown, PROMPTS, training)


def quiet(_line: str, *, lasting: bool) -> None: ...


def test_the_figures_are_those_of_transformers_itself(question, place, asked, odd_path):
    found, notes = clip.likenesses(question, place, quiet)
    assert notes == ()
    questions = odd_path / "questions.json"
    pictures = [[str(one.path), PROMPTS[one.prompt]] for one in question.shown]
    questions.write_text(json.dumps({"pictures": pictures, "training": list(map(str, question.training))}))
    expected = json.loads(asked("figures", question.folder, questions))
    told = [[found[one.path].prompt, found[one.path].training] for one in question.shown]
    assert told == [pytest.approx(row, abs=1e-5) for row in expected]
    assert len({round(row[0], 6) for row in told}) == 6


def test_a_small_picture_is_the_same_as_its_enlargement(question, place, odd_path):
    small = Image.open(drawn(odd_path / "small.png", 16, 9))
    small.resize((64, 64), Image.Resampling.NEAREST).save(odd_path / "large.png")
    pair = [Shown(0, 0, 1, odd_path / f"{name}.png", name) for name in ("small", "large")]
    found, _ = clip.likenesses(replace(question, shown=pair, training=()), place, quiet)
    one, other = (found[shown.path] for shown in pair)
    assert one.training is None
    assert one.prompt == pytest.approx(other.prompt, abs=2e-2)


def test_only_what_is_missing_is_measured_again(question, place):
    said: list[str] = []

    def say(line: str, *, lasting: bool) -> None:
        said.append(line if not lasting else "")

    clip.likenesses(question, place, say)
    fewer = replace(question, shown=question.shown[:4])
    clip.likenesses(fewer, place, say)
    clip.likenesses(question, place, say)
    assert said == ["measuring 6 pictures with CLIP"]
    more = [*question.shown, Shown(3, 0, 1, drawn(place.output.parent / "new.png", 48, 50), "new")]
    found, _ = clip.likenesses(replace(question, shown=more), place, say)
    assert said[1:] == ["measuring 1 pictures with CLIP"]
    assert len(found) == 7


def test_a_model_that_cannot_be_used_costs_a_note_and_no_comparison(question, place, odd_path):
    broken = odd_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(b"x" * 40)
    assert clip.fault_of(broken) == ""
    found, notes = clip.likenesses(replace(question, folder=broken), place, quiet)
    assert found == {}
    assert notes[0].startswith("CLIP could not measure the pictures: ")
