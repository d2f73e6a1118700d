"""What ComfyUI reads of the files that the trainers write: its own functions, their own networks and converters.

ComfyUI is a checkout of 0.33.0 or later in ``KOHYA_RUNNER_COMFYUI``, and a Python with its packages in
``KOHYA_RUNNER_COMFYUI_PYTHON``. ``pytest tests/engine/test_comfyui_engine.py --tier full -s`` shows the counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from comfyui_table import family as rows_of
from number_files import numbers_file

from kohya_runner.artefact.comfyui import comfy_names, known_names, table
from kohya_runner.engines.table import CONVERTERS

HERE = Path(__file__).parent
SD_SCRIPTS = (
    "sd15.lora", "sd2.lora", "sdxl.lora", "sd3.lora", "flux.lora", "lumina.lora", "hunyuan_image.lora", "anima.lora",
    "sdxl.loha", "sdxl.lokr", "anima.loha", "anima.lokr", "sd15.lora_fa",
)  # fmt: skip
MUSUBI = (
    "flux_kontext.lora", "flux_kontext.loha", "flux_kontext.lokr", "flux2.lora", "flux2.loha", "flux2.lokr",
    "z_image.lora", "z_image.loha", "z_image.lokr", "qwen_image.lora", "qwen_image.loha", "qwen_image.lokr",
    "qwen_image_edit.lora", "krea2.lora",
)  # fmt: skip
PARTNERS = {"lora_down": "lora_up", "lora_mid": "lora_up", "lora_A": "lora_B", ".down.weight": ".up.weight",
            "reshape_weight": "lora_up.weight", "b_norm": "w_norm", "rescale": "oft_blocks"}  # fmt: skip


def asked(python: Path, script: str, *words: str, **more: str) -> dict:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **more}
    command = (str(python), str(HERE / script), *words)
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def comfyui():
    """Asks ComfyUI; the words are those of comfyui_child.py."""
    places = [os.environ.get(name) for name in ("KOHYA_RUNNER_COMFYUI", "KOHYA_RUNNER_COMFYUI_PYTHON")]
    if not all(places) or not (Path(str(places[0])) / "comfy" / "lora.py").is_file():
        pytest.skip("NO COMFYUI: name a checkout in KOHYA_RUNNER_COMFYUI, its Python in KOHYA_RUNNER_COMFYUI_PYTHON")
    return lambda *words: asked(Path(str(places[1])), "comfyui_child.py", str(places[0]), *words, PYTHONPATH="")


@pytest.fixture(scope="module")
def files(sd_scripts, trainer_python, musubi_tuner, musubi_python, tmp_path_factory):
    """A file of every family and network, by name."""
    folder = tmp_path_factory.mktemp("lo ras")
    asked(trainer_python, "lora_names_child.py", "sd-scripts", str(sd_scripts), str(folder), *SD_SCRIPTS)
    asked(musubi_python, "lora_names_child.py", "musubi-tuner", str(musubi_tuner), str(folder), *MUSUBI)
    yield {name: folder / f"{name}.safetensors" for name in (*SD_SCRIPTS, *MUSUBI)}
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture
def trainers(sd_scripts, trainer_python, musubi_tuner, musubi_python, monkeypatch):
    """Both trainers, for the runner."""
    names = ("SD_SCRIPTS", "PYTHON", "MUSUBI_TUNER", "MUSUBI_PYTHON")
    for name, place in zip(names, (sd_scripts, trainer_python, musubi_tuner, musubi_python), strict=True):
        monkeypatch.setenv(f"KOHYA_RUNNER_{name}", str(place))


def convert(path: Path, folder: Path, monkeypatch) -> Path:
    monkeypatch.setenv("KOHYA_WORKSPACE", str(folder / "work space"))
    command = (sys.executable, "-m", "kohya_runner", "publish", str(path), "--comfyui", "--output", str(folder / "out"))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "out").iterdir()
    return made


@pytest.mark.full
def test_the_table_is_what_comfyui_says(comfyui):
    told = comfyui()
    assert {name: rows_of(said) for name, said in told.items()} == {
        name: table()["families"][rows] if isinstance(rows, str) else rows for name, rows in table()["families"].items()
    }
    for name, said in told.items():
        biases = {key for key in said["state"] if not key.endswith(".weight")}
        assert known_names(name) == {*said["unet"], *said["clip"]} - biases, name
    print({name: len(known_names(name)) for name in told})  # noqa: T201 - shown with -s


@pytest.mark.full
def test_every_ending_of_the_table_is_read(comfyui, tmp_path):
    base = "lora_unet_double_blocks_0_img_attn_qkv"
    for number, ending in enumerate(table()["suffixes"]):
        keys = {f"{base}{ending}"} | {f"{base}{ending.replace(a, b)}" for a, b in PARTNERS.items() if a in ending}
        if "up" in ending or "lora_B" in ending:
            keys.add(f"{base}{ending.replace('up', 'down').replace('lora_B', 'lora_A')}")
        for group in (
            ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
            ("a1.weight", "a2.weight", "b1.weight", "b2.weight"),
        ):
            keys |= {f"{base}.{one}" for one in group} if ending[1:] in group else set()
        if "hada_t" in ending:
            keys |= {f"{base}.hada_{one}" for one in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")}
        if "reshape" in ending or "mid" in ending:
            keys |= {f"{base}.lora_up.weight", f"{base}.lora_down.weight"}
        path = numbers_file(tmp_path / f"{number}.safetensors", {key: [1.0] for key in keys}, dtype="F32")
        if f"{base}.oft_blocks" in keys:  # ComfyUI tells OFT from BOFT by the number of dimensions
            header, data = path.read_bytes()[8 : -4 * len(keys)], path.read_bytes()[-4 * len(keys) :]
            text = header.replace(b'"shape": [1]', b'"shape": [1, 1, 1]')
            path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    numbers_file(tmp_path / "none.safetensors", {f"{base}.lora_left.weight": [1.0]}, dtype="F32")
    paths = [*(tmp_path / f"{n}.safetensors" for n in range(len(table()["suffixes"]))), tmp_path / "none.safetensors"]
    found = comfyui(*(f"flux={path}" for path in paths))["flux"]["files"]
    assert [row["lost"] for row in found] == [[]] * (len(paths) - 1) + [[f"{base}.lora_left.weight"]]


@pytest.mark.full
def test_every_family_and_network_is_judged_as_comfyui_reads_it(comfyui, files):
    found = comfyui(*(f"{name.partition('.')[0]}={path}" for name, path in files.items()))
    for name, path in files.items():
        row = found[name.partition(".")[0]]["files"].pop(0)
        names = comfy_names(path, name.partition(".")[0])
        print(f"{name}: {row['keys']} keys, {row['patches']} weights changed, {len(row['lost'])} keys skipped")  # noqa: T201
        assert (names.keys, set(names.skipped)) == (row["keys"], set(row["lost"])), name
        assert bool(row["lost"]) is (name.partition(".")[0] in ("hunyuan_image", "z_image")), name


@pytest.mark.full
@pytest.mark.usefixtures("trainers")
@pytest.mark.parametrize("name", ["hunyuan_image.lora", "anima.lora", "z_image.lora", "z_image.loha", "z_image.lokr"])
def test_what_the_converters_make_is_read_whole(comfyui, files, name, tmp_path, monkeypatch):
    family = name.partition(".")[0]
    made = convert(files[name], tmp_path, monkeypatch)
    assert made.name == f"{name}_comfyui.safetensors"
    row = comfyui(f"{family}={made}")[family]["files"][0]
    before = comfyui(f"{family}={files[name]}")[family]["files"][0]
    print(f"{made.name}: {row['keys']} keys, {row['patches']} weights changed, {len(row['lost'])} keys skipped")  # noqa: T201
    assert row["lost"] == []
    assert row["patches"] > before["patches"] or family == "anima"


@pytest.mark.daily
def test_the_real_converter_renames_what_comfyui_does_not_know(sd_scripts, trainer_python, tmp_path, monkeypatch):
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(sd_scripts))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", str(trainer_python))
    block = "lora_unet_double_blocks_0_"
    tensors = {f"{block}{module}.{part}.weight": [0.5, 0.25] for module in ("img_mlp_fc1", "txt_mod_linear")
               for part in ("lora_down", "lora_up")}  # fmt: skip
    path = numbers_file(
        tmp_path / "my cat.safetensors", tensors, metadata={"ss_base_model_version": "hunyuan-image-2.1"}
    )
    made = convert(path, tmp_path, monkeypatch)
    assert comfy_names(path).skipped
    assert comfy_names(made).skipped == ()
    assert comfy_names(made).keys == len(tensors)


@pytest.mark.daily
def test_each_converter_is_a_script_of_its_checkout(sd_scripts, musubi_tuner):
    roots = {"sd-scripts": sd_scripts, "musubi-tuner": musubi_tuner}
    assert all((roots[engine.name] / row.script).is_file() for engine, row in CONVERTERS.values())
