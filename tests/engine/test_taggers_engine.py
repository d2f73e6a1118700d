"""sd-scripts' own taggers by their real scripts, with tiny models that a local Hub gives into the workspace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.daily
REPOS = {"wd14": "SmilingWolf/wd-v1-4-convnext-tagger-v2", "git": "microsoft/git-large-textcaps"}


@pytest.fixture(scope="module")
def python(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainer's Python with what wd14 needs: itself, or one on top of it."""
    if (
        subprocess.run((trainer_python, "-c", "import onnx, onnxruntime"), capture_output=True, check=False).returncode
        == 0
    ):
        return trainer_python
    folder = tmp_path_factory.mktemp("python")
    asked = (trainer_python, "-c", "import site; print(site.getsitepackages()[0])")
    packages = subprocess.check_output(asked, text=True).strip()
    subprocess.run((trainer_python, "-m", "venv", folder), check=True)
    own = next(folder.glob("lib/python*/site-packages"))
    (own / "base.pth").write_text(packages + "\n", encoding="utf-8")
    install = (folder / "bin" / "python", "-m", "pip", "install", "-q", "onnx", "onnxruntime")
    if subprocess.run(install, capture_output=True, check=False).returncode != 0:
        pytest.skip("NO ONNX: the trainer's Python lacks onnx and onnxruntime, and pip cannot get them")
    return folder / "bin" / "python"


@pytest.fixture
def dataset(odd_path: Path) -> Path:
    for name, colour in (("red", (250, 0, 0)), ("blue", (0, 0, 250)), ("hand", (9, 9, 9))):
        (odd_path / "cat").mkdir(exist_ok=True)
        PIL.Image.new("RGB", (64, 48), colour).save(odd_path / "cat" / f"{name}.png")
    PIL.Image.new("RGB", (64, 48), (250, 0, 250)).save(odd_path / "cat" / "both.jpg")
    (odd_path / "cat" / "hand.txt").write_text("by hand", encoding="utf-8")
    return odd_path / "cat"


@pytest.mark.parametrize("tagger", ["wd14", "git"])
def test_a_tagger_runs_with_its_model_from_the_hub(tagger, python, sd_scripts, dataset, hub, make_repo):  # noqa: PLR0917
    tiny = dataset.parent / "tiny"
    make = (python, ROOT / "tests" / "engine" / "tiny_taggers.py", tagger, tiny)
    subprocess.run(make, check=True, capture_output=True)
    make_repo(REPOS[tagger], {path.name: path.read_bytes() for path in tiny.iterdir()})
    before = {path.name: (path.read_bytes(), path.stat().st_ctime_ns) for path in dataset.iterdir()}
    env = os.environ | {"KOHYA_WORKSPACE": str(dataset.parent / "ws"), "HF_ENDPOINT": hub.endpoint,
                        "HOME": str(dataset.parent),
                        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(python),
                        "PYTHONPATH": f"{ROOT / 'tests' / 'engine' / 'start'}:{ROOT}"}  # fmt: skip
    words = (
        sys.executable,
        "-m",
        "kohya_runner",
        "dataset",
        "caption",
        "cat",
        "--tagger",
        tagger,
        "--trigger",
        "sks",
        *(("--option", "always_first_tags=sky") if tagger == "wd14" else ()),
        "--json",
    )
    done = subprocess.run(words, cwd=dataset.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    texts = {path.stem: path.read_text(encoding="utf-8").strip() for path in Path(said["folder"]).glob("*.txt")}
    assert (said["written"], said["kept"], texts.pop("hand")) == (3, ["hand.png"], "by hand")
    assert all(text.startswith("sks, ") for text in texts.values())
    if tagger == "wd14":
        assert texts == {"red": "sks, red thing", "blue": "sks, sky", "both": "sks, sky, red thing"}
    assert (dataset.parent / "ws" / "models" / REPOS[tagger]).is_dir()
    assert {path.name: (path.read_bytes(), path.stat().st_ctime_ns) for path in dataset.iterdir()} == before
    again = subprocess.run(words, cwd=dataset.parent, env=env, capture_output=True, text=True, check=False)
    assert (json.loads(again.stdout)["known"], json.loads(again.stdout)["folder"]) == (3, said["folder"])


def test_options_that_the_script_does_not_have_are_told_before_anything_is_fetched(trainer_python, sd_scripts, dataset):
    env = os.environ | {"KOHYA_WORKSPACE": str(dataset.parent / "ws"), "HOME": str(dataset.parent),
                        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
                        "KOHYA_RUNNER_PYTHON": str(trainer_python)}  # fmt: skip
    words = ("dataset", "caption", str(dataset), "--tagger", "wd14")
    given = ("undesired_tag=x", "use_rating_tags=3", "recursive", "general_threshold=0.5")
    options = [word for one in given for word in ("--option", one)]
    done = subprocess.run(
        (sys.executable, "-m", "kohya_runner", *words, *options),
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "did you mean 'undesired_tags'?" in said
    assert "use_rating_tags is a switch and got '3'" in said
    assert "'recursive' is decided by the version" in said
    assert "general_threshold" not in said.partition("there are:")[0]
    assert not (dataset.parent / "ws").exists()


def test_what_the_trainers_python_lacks_is_told_with_the_line_to_paste(trainer_python, sd_scripts, dataset):
    if subprocess.run((trainer_python, "-c", "import onnx"), capture_output=True, check=False).returncode == 0:
        pytest.skip("the trainer's Python has onnx")
    env = os.environ | {"KOHYA_WORKSPACE": str(dataset.parent / "ws"), "HOME": str(dataset.parent),
                        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
                        "KOHYA_RUNNER_PYTHON": str(trainer_python)}  # fmt: skip
    words = (sys.executable, "-m", "kohya_runner", "dataset", "caption", str(dataset), "--tagger", "wd14")
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert f"{trainer_python} -m pip install onnx onnxruntime" in " ".join(done.stderr.split())
    assert not (dataset.parent / "ws" / "prepared").exists()
