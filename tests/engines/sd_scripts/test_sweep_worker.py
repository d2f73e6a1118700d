from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from kohya_runner.engines.paint_worker import Merged
from kohya_runner.engines.painting import WORKER


class Encoder:
    training = True

    def eval(self) -> None:
        self.training = False


def test_encoders_are_taken_out_of_training_before_a_prompt_is_read():
    encoder = Encoder()
    shared = {"tokenizer1": object(), "text_encoder1": encoder, "conds_cache": {}}
    Merged(SimpleNamespace(lora_weight=None, lora_multiplier=1.0), shared, None)
    assert not encoder.training


def test_the_base_column_gives_up_the_model_that_a_lora_was_merged_into():
    args = SimpleNamespace(lora_weight=["a.safetensors"], lora_multiplier=[0.8])
    shared = {"model": object(), "text_encoder1": Encoder(), "conds_cache": {"a": 1}}
    slot = Merged(args, shared, None)
    slot.hold(None, 0.0)
    assert "model" not in shared
    assert (args.lora_weight, shared["conds_cache"]) == (None, {"a": 1})  # encoders stay, and what they said


SCRIPT = """
import atexit, json, sys
from torch.nn import init
print(json.dumps([init.kaiming_uniform_(7, a=5), init.normal_(7), init.zeros_(7)]))
atexit.register(print, "taken apart")
sys.path.insert(0, {worker!r})
import paint_worker
paint_worker.Prompter(paint_worker.PaintWork(sys.argv[1]), None)()
print("went on")
"""
INIT = "def zeros_(t, **_): return 0\nkaiming_uniform_ = normal_ = uniform_ = zeros_\n"


@pytest.mark.parametrize(("name", "made"), [("gen_img.py", [7, 7, 0]), ("flux_minimal_inference.py", [0, 0, 0])])
def test_weights_that_are_loaded_anyway_are_not_made_up_and_the_end_is_quick(odd_path, name, made):
    script = odd_path / name
    script.write_text(SCRIPT.format(worker=str(WORKER.parent)))
    (odd_path / "torch" / "nn").mkdir(parents=True)
    (odd_path / "torch" / "__init__.py").touch()
    (odd_path / "torch" / "nn" / "__init__.py").touch()
    (odd_path / "torch" / "nn" / "init.py").write_text(INIT)
    jobs = odd_path / "jobs.json"
    told = {"events": "events", "outdir": "out", "merged": False, "tokenizers": None, "cells": []}
    jobs.write_text(json.dumps(told))
    command = (sys.executable, str(WORKER), str(jobs), str(script), str(jobs))
    environ = os.environ | {"PYTHONPATH": str(odd_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert done.stdout == f"{json.dumps(made)}\n", done.stderr
