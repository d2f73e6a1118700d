"""The facts behind the preflight tables, asked of the trainer's own Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kohya_runner.machine.sizes import NETWORKS

pytestmark = pytest.mark.daily

ON_CPU = """
import json, sys, torch, accelerate
def fault(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def step(name):
    import bitsandbytes
    layer = torch.nn.Linear(128, 128)
    optimizer = getattr(bitsandbytes.optim, name)(layer.parameters(), lr=1e-3)
    layer(torch.randn(2, 128)).sum().backward()
    optimizer.step()
def xformers():
    import xformers.ops
    x = torch.randn(1, 64, 8, 40)
    xformers.ops.memory_efficient_attention(x, x, x)
def autocasts(precision):
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    return accelerate.Accelerator(mixed_precision=precision).native_amp
def groupnorm_fp8():
    torch.nn.GroupNorm(2, 4).to(torch.float8_e4m3fn)(torch.randn(1, 4, 8, 8))
print(json.dumps({
    "8bit": fault(lambda: step("AdamW8bit")), "paged": fault(lambda: step("PagedAdamW")), "xformers": fault(xformers),
    "fp8": fault(groupnorm_fp8), "fp16": autocasts("fp16"), "bf16": autocasts("bf16"),
}))
"""

MODULES = """
import json, logging, sys
sys.path.insert(0, sys.argv[1])
logging.disable(logging.CRITICAL)
import torch
from library import model_util, sdxl_original_unet
from library.original_unet import UNet2DConditionModel
from networks import lora
from transformers import CLIPTextConfig, CLIPTextModel
def text(width, depth):
    size = dict(hidden_size=width, intermediate_size=width * 4, num_hidden_layers=depth, num_attention_heads=8)
    return CLIPTextModel(CLIPTextConfig(vocab_size=9, **size))
def sum_up(modules):
    return [len(modules), sum(p.numel() for m in modules for n, p in m.named_parameters() if "lora_" in n)]
with torch.device("meta"):
    rows = {
        "sd15": (text(768, 12), UNet2DConditionModel(**model_util.create_unet_diffusers_config(False))),
        "sd2": (text(1024, 23), UNet2DConditionModel(**model_util.create_unet_diffusers_config(True))),
        "sdxl": ([text(768, 12), text(1280, 32)], sdxl_original_unet.SdxlUNet2DConditionModel()),
    }
    found = {}
    for options in ({}, {"conv_dim": "1"}):  # in this order: conv_dim changes a list of the class for good
        for family, (encoder, unet) in rows.items():
            network = lora.create_network(1.0, 1, 1.0, None, encoder, unet, **options)
            found.setdefault(family, []).append([sum_up(network.text_encoder_loras), sum_up(network.unet_loras)])
print(json.dumps(found))
"""


def _ask(python: Path, script: str, *arguments: str) -> Any:
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "-c", script, *arguments], capture_output=True, text=True, env=environ, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_cpu(trainer_python: Path) -> Any:
    """What the libraries of the trainer do without a GPU."""
    return _ask(trainer_python, ON_CPU)


def test_bitsandbytes_steps_on_a_cpu(on_cpu):
    assert (on_cpu["8bit"], on_cpu["paged"]) == (None, None)


def test_xformers_has_no_attention_on_a_cpu(on_cpu):
    assert "NotImplementedError" in on_cpu["xformers"]


def test_group_norm_has_no_fp8_on_a_cpu(on_cpu):
    assert "mixed dtype (CPU)" in on_cpu["fp8"]


def test_accelerate_autocasts_bf16_but_not_fp16_on_a_cpu(on_cpu):
    assert (on_cpu["bf16"], on_cpu["fp16"]) == (True, False)


def test_the_table_counts_what_the_trainer_makes(sd_scripts: Path, trainer_python: Path):
    for family, (plain, conv) in _ask(trainer_python, MODULES, str(sd_scripts)).items():
        row = NETWORKS[family]
        encoder, unet = [row.text_encoder.count, row.text_encoder.per_rank], [row.unet.count, row.unet.per_rank]
        assert plain == [encoder, unet]
        assert conv[1] == [row.unet.count + row.conv.count, row.unet.per_rank + row.conv.per_rank]
