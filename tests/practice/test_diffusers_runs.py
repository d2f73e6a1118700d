from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_runner.artefact.lora import judge
from kohya_runner.artefact.safetensors_header import ExpectedTensor
from kohya_runner.diagnosis.events import Fact, Phase, Step
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.practice.files import DTYPES, safetensors
from kohya_runner.run.checkpoints import being_written, found

ROOT = Path(__file__).parents[2]
FINAL = "unet/diffusion_pytorch_model.safetensors"
LOG = (
    "11/24/2026 23:50:01 - INFO - __main__ - Initializing the InstructPix2Pix UNet from the pretrained UNet.\n"
    "11/24/2026 23:50:02 - INFO - __main__ - ***** Running training *****\n"
    "11/24/2026 23:50:02 - INFO - __main__ -   Num examples = 4\n"
    "11/24/2026 23:50:02 - INFO - __main__ -   Num Epochs = 1\n"
    "11/24/2026 23:50:02 - INFO - __main__ -   Total optimization steps = 2\n"
    "\rSteps:   0%|          | 0/2 [00:00<?, ?it/s]"
    "\rSteps:  50%|#####     | 1/2 [00:00<00:00,  3.21it/s, lr=5e-5, step_loss=0.25]"
    "\rSteps: 100%|##########| 2/2 [00:00<00:00,  3.50it/s, lr=5e-5, step_loss=nan]\n"
)


def unet(path: Path, channels: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors(iter([("conv_in.weight", (8, channels, 3, 3))]), {}, DTYPES["float"]))
    return path


def launch(root: Path, *overrides: str, flags: tuple[str, ...] = (), **environ: str) -> tuple[int, str, dict[str, Any]]:
    data = root / "my edits"
    data.mkdir()
    for name in ("a", "b"):
        Image.effect_noise((64, 64), 90).convert("RGB").save(data / f"{name}.png")
    row = {"input_image": "a.png", "instruction": "make it blue", "output_image": "b.png"}
    (data / "metadata.jsonl").write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    command = (
        sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / "sd15_instruct_pix2pix.yaml"),
        "--practice", *flags, "--allow=hub.offline", f"--workspace={root / 'ws'}",
        f"--set=datasets.0.images={json.dumps(str(data / 'metadata.jsonl'))}", "--set=args.max_train_steps=6",
        "--set=args.checkpointing_steps=2", "--set=args.checkpoints_total_limit=2", "--set=args.mixed_precision=no",
        *(f"--set={text}" for text in overrides),
    )  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(root), "KOHYA_PRACTICE_STEP_SECONDS": "0.05", **environ}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=root)
    (path,) = (root / "ws").glob("*/sd15_instruct_pix2pix/001/record.json")
    return ended.returncode, ended.stdout + ended.stderr, json.loads(path.read_text(encoding="utf-8"))


def test_a_whole_run_is_watched_and_judged_by_its_pipeline(odd_path):
    code, said, record = launch(odd_path)
    assert code == 0, said
    assert (record["state"], record["steps_planned"], record["steps_seen"]) == ("succeeded", 6, 6)
    there = [c["file"] for c in record["checkpoints"] if not c["removed"]]
    assert there == [f"checkpoint-4/{FINAL}", f"checkpoint-6/{FINAL}", FINAL]
    assert isinstance(record["loss"], float)


def test_a_loss_of_nan_stops_it(odd_path):
    code, said, record = launch(odd_path, KOHYA_PRACTICE_FAULT="nan@2", KOHYA_PRACTICE_STEP_SECONDS="0.4")
    assert code == 9, said
    assert record["state"] == "failed"
    assert "nan" in record["exit"]["why"].lower()


def test_without_its_pipeline_a_run_is_no_success(odd_path):
    code, said, record = launch(odd_path, KOHYA_PRACTICE_FAULT="no-file")
    assert code == 10, said
    assert record["state"] == "failed"


def test_a_rehearsal_takes_a_few_steps_and_one_state(odd_path):
    code, said, _ = launch(odd_path, "args.max_train_steps=9000", "args.checkpointing_steps=500", flags=("--rehearse",))
    assert code == 0, said
    assert "s a step over" in said
    assert "whole run" in said


def test_the_scripts_lines_are_heard():
    stream = Stream()
    events = [*stream.feed(LOG.encode()), *stream.close()]
    assert [event.name for event in events if isinstance(event, Phase)] == ["loading the model", "training"]
    assert [(f.name, f.value) for f in events if isinstance(f, Fact)] == [
        ("images_per_epoch", 4), ("epochs", 1), ("total", 2),
    ]  # fmt: skip
    steps = [event for event in events if isinstance(event, Step)]
    assert [(s.step, s.total) for s in steps][-2:] == [(1, 2), (2, 2)]
    assert steps[-2].loss == 0.25
    assert steps[-1].loss != steps[-1].loss


@pytest.mark.parametrize(("channels", "expected"), [(8, ""), (4, "reads 4 channels, not 8")])
def test_a_pipeline_must_read_the_picture_too(odd_path, channels, expected):
    path = unet(odd_path / FINAL, channels)
    assert judge(path, "", None, holds=ExpectedTensor("conv_in.weight", 8)).endswith(expected)
    assert bool(judge(path, "", None, holds=ExpectedTensor("conv_in.weight", 8))) == bool(expected)


def test_a_pipeline_without_that_layer_is_another_model(odd_path):
    assert "contains no tensor conv_out" in judge(
        unet(odd_path / FINAL), "", None, holds=ExpectedTensor("conv_out.weight", 8)
    )


def test_states_are_listed_with_their_steps_and_the_pipeline_last(odd_path):
    for number, name in enumerate((f"checkpoint-500/{FINAL}", f"checkpoint-1000/{FINAL}", FINAL)):
        os.utime(unet(odd_path / name), (number + 1e9, number + 1e9))
    listed = found(odd_path, ())
    assert [(one.file.partition("/")[0], one.step) for one in listed] == [
        ("checkpoint-500", 500), ("checkpoint-1000", 1000), ("unet", None),
    ]  # fmt: skip


def test_a_state_that_is_being_written_is_waited_for(odd_path):
    path = unet(odd_path / f"checkpoint-2/{FINAL}")
    assert being_written(odd_path, time.time()) == odd_path / "checkpoint-2"
    (odd_path / "checkpoint-2" / "random_states_0.pkl").write_bytes(b"x")
    assert being_written(odd_path, time.time()) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert being_written(odd_path, time.time()) == path
