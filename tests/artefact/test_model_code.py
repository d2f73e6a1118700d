from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.artefact.model_file import code_in, is_pickle

PIPE = json.dumps({"_class_name": ["my", "Pipe"]})
NESTED = json.dumps({"vae": ["diffusers", "StableDiffusionPipeline"]})
IMPORT = json.dumps({"unet": ["antigravity", "Net"]})


@pytest.mark.parametrize("name", ["m.ckpt", "m.PT", "m.pth", "m.bin", "m.pkl"])
def test_a_pickle_is_known_by_its_name(odd_path: Path, name: str):
    assert is_pickle(name)
    assert "is a pickle" in code_in(odd_path / name, "model", "flux")


def test_a_file_of_another_name_is_loaded_as_a_pickle_and_a_safetensors_file_is_not(odd_path: Path):
    for name in ("m", "m.safetensors", "m.sft", "m.SAFETENSORS", "m.pt"):
        (odd_path / name).write_bytes(b"x")
    (odd_path / "link.safetensors").symlink_to("m.pt")
    assert "is a pickle" in code_in(odd_path / "link.safetensors", "model", "sd15")
    assert code_in(odd_path / "m.safetensors", "vae", "sd15") == code_in(odd_path / "gone", "model", "sd15") == ""
    assert code_in(odd_path / "m.sft", "ae", "flux") == ""
    for what in (("m", "ae", "flux"), ("m.sft", "model", "sd15"), ("m.sft", "network_weights", "flux"),
                 ("m.SAFETENSORS", "network_weights", "lumina")):  # fmt: skip
        assert "as a pickle" in code_in(odd_path / what[0], *what[1:])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param("unet/my.py", "print()", "holds Python code (unet/my.py)", id="module"),
        pytest.param("model_index.json", PIPE, "_class_name is a list", id="list"),
        pytest.param("unet/config.json", PIPE, "_class_name is a list", id="part"),
        pytest.param("model_index.json", IMPORT, "import antigravity", id="import"),
        pytest.param("unet/diffusion_pytorch_model.bin", "x", "its weights as a pickle", id="weights"),
        pytest.param("vae/vae/vae/vae/my.py", "print()", "holds Python code", id="deep module"),
        pytest.param("model_index.json", NESTED, "a whole pipeline as a part", id="pipeline"),
        pytest.param("model_index.json", "{", "cannot be read", id="unreadable"),
        pytest.param("model_index.json", "{}" + " " * 2_000_000, "cannot be read", id="padded"),
    ],
)
def test_a_folder_that_brings_code_is_found(odd_path: Path, name: str, text: str, said: str):
    (odd_path / name).parent.mkdir(parents=True, exist_ok=True)
    (odd_path / name).write_text(text, encoding="utf-8")
    assert said in code_in(odd_path, "model", "sd15")


def test_a_usual_folder_brings_none(odd_path: Path):
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": [None, None],
    }
    (odd_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin", "model.ckpt",
                 "safety_checker/pytorch_model.bin"):  # fmt: skip
        (odd_path / name).parent.mkdir(parents=True, exist_ok=True)
        (odd_path / name).write_bytes(b"x")
    assert code_in(odd_path, "model", "sd15") == ""


def test_a_part_that_is_a_link_is_looked_into(odd_path: Path):
    (odd_path / "hidden").mkdir()
    (odd_path / "hidden" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    (odd_path / "model").mkdir()
    (odd_path / "model" / "unet").symlink_to("../hidden")
    assert "its weights as a pickle" in code_in(odd_path / "model", "model", "sd15")
