"""A sweep of edits, by a stand-in for musubi-tuner's generator that paints at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from sweep_trainer import COMMON, FILES, MODULES, lora_file

from kohya_runner.compare.settings import SweepOptions
from kohya_runner.compare.subject import Named
from kohya_runner.compare.sweep import compare
from kohya_runner.errors import TrainerError, UsageError

GENERATE = (
    COMMON
    + """
import argparse

from musubi_tuner.here import SAID

parser = argparse.ArgumentParser()
for name in ("dit", "vae", "text_encoder1", "text_encoder2", "save_path", "attn_mode", "embedded_cfg_scale"):
    parser.add_argument("--" + name)
parser.add_argument("--lora_weight", nargs="*")
parser.add_argument("--lora_multiplier", nargs="*", type=float, default=1.0)
for name in ("interactive", "no_resize_control"):
    parser.add_argument("--" + name, action="store_true")


def load_shared_models(args):
    return {}


def process_interactive(args):
    shared_models = load_shared_models(args)
    while True:
        prompt, *options = input("> ").split(" --")
        told = dict(option.split(" ", 1) for option in options)
        Path(__file__).with_name("lines.txt").open("a").write(json.dumps(told) + "\\n")
        os.makedirs(args.save_path, exist_ok=True)
        if "model" not in shared_models:
            network = shared_models["model"] = Network()
            network.multiplier = args.lora_multiplier[0] if args.lora_weight else 0
            network.state = Path(args.lora_weight[0]).read_bytes() if args.lora_weight else b""
        size = Image.open(told["ci"]).size
        assert size == (int(told["w"]), int(told["h"])), size
        paint(shared_models["model"], prompt + told["ci"], told["d"], size, os.path.join(args.save_path, "x.png"))


import json

process_interactive(parser.parse_args())
"""
)


@pytest.fixture
def musubi(odd_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like musubi-tuner and paints; its modules are only found with its src on the path."""
    sources = odd_path / "it's musubi" / "src" / "musubi_tuner"
    files = {
        "flux_kontext_generate_image.py": GENERATE, "here.py": "SAID = 1\n", "__init__.py": "",
        "flux_kontext_train_network.py": "", "training/parser_common.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(text, encoding="utf-8")
    for name in ("torch/__init__.py", "safetensors/__init__.py", "safetensors/torch.py"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(FILES[name], encoding="utf-8")
    monkeypatch.setenv("KOHYA_RUNNER_MUSUBI_TUNER", str(sources.parents[1]))
    monkeypatch.setenv("KOHYA_RUNNER_MUSUBI_PYTHON", sys.executable)
    return sources


@pytest.fixture
def named(odd_path: Path) -> Named:
    loras = odd_path / "my 'loras'"
    for number in (1, 2):
        lora_file(loras / f"a-00000{number}.safetensors", number, modules=MODULES["flux"])
    parts = []
    for part in ("dit", "vae", "text_encoder1", "text_encoder2"):
        (odd_path / f"{part}.safetensors").write_bytes(b"weights")
        parts.append(f"{part}={odd_path / part}.safetensors")
    return Named(
        targets=(str(loras),), family="flux_kontext", model=str(odd_path / "dit.safetensors"),
        components=tuple(parts[1:]),
    )  # fmt: skip


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (50, 30), colour).save(path)
    return path


def given(*controls: Path, size: str = "32x16") -> SweepOptions:
    return SweepOptions(prompts=("make it red", "make it blue"), size=size, seeds="7", controls=controls)


def test_every_prompt_is_painted_on_its_own_picture_by_one_process(musubi, named, odd_path):
    controls = [picture(odd_path / "one 'a'.png", "red"), picture(odd_path / "two.png", "blue")]
    found = compare(named, given(*controls))
    assert found.failed == ()
    assert [head.label for head in found.columns] == ["base", "epoch 1", "epoch 2"]
    assert len((musubi / "loads.txt").read_text().splitlines()) == 1
    told = [json.loads(line) for line in (musubi / "lines.txt").read_text().splitlines()]
    assert len({line["ci"] for line in told}) == 2
    answer = json.loads((found.folder / "compare.json").read_bytes())
    assert [Image.open(path).getpixel((0, 0)) for path in answer["controls"]] == [(255, 0, 0), (0, 0, 255)]
    assert len({(found.folder / cell["file"]).read_bytes() for cell in answer["cells"]}) == 6


def test_the_same_again_paints_nothing_and_another_picture_paints_its_own_row(musubi, named, odd_path):
    controls = [picture(odd_path / "one.png", "red"), picture(odd_path / "two.png", "blue")]
    compare(named, given(*controls))
    compare(named, given(*controls))
    assert len((musubi / "lines.txt").read_text().splitlines()) == 6
    picture(odd_path / "two.png", "green")
    compare(named, given(*controls))
    assert len((musubi / "lines.txt").read_text().splitlines()) == 6 + 3


def test_an_edit_of_nothing_is_refused_before_anything_is_loaded(musubi, named):
    with pytest.raises(UsageError, match="edits pictures"):
        compare(named, given())
    assert not (musubi / "loads.txt").exists()


def test_a_size_that_the_script_would_refuse_is_refused(musubi, named, odd_path):
    with pytest.raises(UsageError, match="multiples of 16"):
        compare(named, given(picture(odd_path / "one.png", "red"), size="40x40"))


def test_without_that_trainer_the_way_to_it_is_said(checkout, named, odd_path, monkeypatch):
    for name in ("KOHYA_RUNNER_MUSUBI_TUNER", "KOHYA_RUNNER_MUSUBI_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    for name in ("KOHYA_RUNNER_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(odd_path / "home"))
    with pytest.raises(TrainerError) as caught:
        compare(named, given(picture(odd_path / "one.png", "red")))
    assert "kohya-runner setup --engine musubi-tuner" in caught.value.hint
