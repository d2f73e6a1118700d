"""Arguments of a network module from elsewhere are judged by the sources of its package; nothing is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines.foreign_networks import network_faults
from kohya_runner.options.package_sources import PackageSources

KOHYA = """
import torch
from .wrapper import deprecated_arg_dict, network_module_dict
raise SystemExit("imported")
def create_network(multiplier, network_dim, network_alpha, vae, text_encoder, unet, **kwargs):
    conv_dim = int(kwargs.get("conv_dim", network_dim) or network_dim)
    dropout = float(kwargs.get("dropout", 0.0) or 0.0)
    algo = (kwargs.get("algo", "lora") or "lora").lower()
    preset = kwargs.get("preset", "full")
    return Network(algo, factor=kwargs.get("factor", -1), whole=kwargs.get("whole", False))
"""
WRAPPER = """
from .modules import Lokr, Lora
from .config_sdk import VALID_PRESET_KEYS
network_module_dict = {"lora": Lora, "lokr": Lokr}
deprecated_arg_dict = {"constrain": "dropout"}
"""
MODULES = """
class Lora:
    def __init__(self, name, **kwargs): ...
class Lokr(Lora):
    def __init__(self, name, factor: int = -1, **kwargs):
        factor = int(factor)
"""
CONFIG = """
LAYERS = ["time_embedding.linear_1", "conv_in"]
BUILTIN_PRESET_CONFIGS = {
    "full": make(unet_target_module=["Block", "TimestepEmbedding"], unet_target_name=LAYERS),
    "attn-only": make(unet_target_module=["Block"], unet_target_name=LAYERS),
}
PRESET = {name: cfg.to_dict() for name, cfg in BUILTIN_PRESET_CONFIGS.items()}
"""


@pytest.fixture
def sources(tmp_path: Path) -> PackageSources:
    folder = tmp_path / "an odd 'place" / "lycoris"
    folder.mkdir(parents=True)
    texts = {
        "__init__": "", "kohya": KOHYA, "wrapper": WRAPPER, "modules": MODULES, "config": CONFIG,
        "config_sdk": 'VALID_PRESET_KEYS: tuple[str, ...] = ("enable_conv", "unet_target_module")',
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return PackageSources({"lycoris": str(folder)})


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"algo": "lokrr"}, "lycoris.kohya has no algorithm lokrr (lycoris/kohya.py:5)", "did you mean 'lokr'?"),
        ({"factr": "8"}, "lycoris.kohya never looks at factr", "did you mean 'factor'?"),
        ({"conv_dim": "four"}, "conv_dim=four is no number", "whole number"),
        ({"dropout": "much"}, "dropout=much is no number", "write a number"),
        ({"algo": "LoKr", "factor": "x"}, "factor=x is no number", "whole number"),
        ({"preset": "ful"}, "preset=ful is neither a preset nor the whole path of a file", "did you mean 'full'?"),
        ({"preset": "./mine.toml"}, "preset=./mine.toml is neither", "attn-only"),
    ],
)
def test_what_is_wrong_is_told_with_the_nearest_name(sources, given, message, hint):
    ((said, fix),) = network_faults("lycoris.kohya", given, sources)
    assert message in said
    assert hint in fix


def test_what_it_takes_is_no_fault(sources):
    given = {"algo": "LoKr", "factor": "8", "conv_dim": "4", "preset": "attn-only", "constrain": "1", "whole": "True"}
    assert list(network_faults("lycoris.kohya", given, sources)) == []


@pytest.mark.parametrize(("family", "given", "count"), [
    ("sd15", {}, 1), ("sd2", {"preset": "full"}, 1), ("sd15", {"preset": "attn-only"}, 0), ("sdxl", {}, 0),
])  # fmt: skip
def test_a_preset_that_names_a_layer_twice_is_told(sources, family, given, count):
    found = list(network_faults("lycoris.kohya", given, sources, family))
    assert len(found) == count
    assert all("names time_embedding.linear_1 twice" in said for said, _ in found)


@pytest.mark.parametrize("module", ["lycoris.absent", "lycoris.wrapper", "other.kohya"])
def test_a_module_that_cannot_be_read_is_not_judged(sources, module):
    assert list(network_faults(module, {"any": "x"}, sources)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enable_conv = true\n", ""),
        ("enable_con = true\n", "has a key that no preset has: enable_con"),
        ("enable_conv = \n", "is no TOML file"),
    ],
)
def test_a_preset_file_is_read(sources, tmp_path, text, message):
    file = tmp_path / "preset.toml"
    file.write_text(text, encoding="utf-8")
    found = [said for said, _ in network_faults("lycoris.kohya", {"preset": str(file)}, sources)]
    assert bool(found) is bool(message)
    assert message in "".join(found)
