from __future__ import annotations

import math
from pathlib import Path

import pytest

from kohya_runner.diagnosis.events import (
    CheckpointRemoved,
    CheckpointStarted,
    Epoch,
    Fact,
    Finished,
    ModulesMade,
    NoData,
    OtherBar,
    Phase,
    Step,
)
from kohya_runner.diagnosis.progress import Stream

BAR = "steps:  12%|█▏        | 2/16 [00:12<01:20,  6.00s/it, avr_loss=0.123]"
STEP = Step(2, 16, 6.0, 12.0, 80.0, 0.123)
# as the trainer's own log handler laid it out with COLUMNS=160
WRAPPED = (
    f"2026-11-21 11:06:21 INFO     {'saving checkpoint: /runs/my cat/output/a name with spaces in it':<115}"
    " train_util.py:5889\n"
    f"{'':29}so that it wraps-000001.safetensors{'':50}\n"
    f"{'':20}INFO     {'saving state at epoch 1':<115} train_util.py:5942\n"
)
FOLDED = (
    f"{'':20}INFO     {'saving checkpoint:':<115} train_util.py:5889\n"
    f"{'':29}/w{'x' * 113}{'':17}\n"
    f"{'':29}yy.safetensors{'':30}\n"
    f"{'':20}INFO     {'next':<115} train_util.py:1\n"
)


def events(text, *, phases=False):
    stream = Stream()
    data = text if isinstance(text, bytes) else text.encode()
    found = [*stream.feed(data), *stream.close()]
    return found if phases else [e for e in found if not isinstance(e, Phase)]


def test_a_bar_is_a_step():
    assert events(f"\r{BAR}\n") == [STEP]


def test_a_bar_counts_before_its_line_is_ended_and_only_once():
    stream = Stream()
    assert stream.feed(f"\r{BAR}".encode())[-1] == STEP
    assert stream.feed(b"\r") == []
    assert stream.close() == []


def test_a_bar_that_is_cut_counts_when_it_is_whole():
    stream = Stream()
    data = BAR.encode()
    assert stream.feed(data[:-3]) == []
    assert stream.feed(data[-3:])[-1] == STEP


def test_any_cutting_gives_the_same_events():
    data = (f"running training / 学習開始\n  num epochs / epoch数: 2\n\r{BAR}{WRAPPED}model saved.\n").encode()
    whole = events(data, phases=True)
    stream = Stream()
    pieces = [event for i in range(len(data)) for event in stream.feed(data[i : i + 1])]
    assert [*pieces, *stream.close()] == whole


@pytest.mark.parametrize(
    ("bar", "step"),
    [
        ("steps:   0%|          | 0/16 [00:00<?, ?it/s]", Step(0, 16, None, 0.0, None, None)),
        (
            "steps: 100%|██████████| 16/16 [1:00:02<00:00,  2.00it/s, loss=1.5e-3]",
            Step(16, 16, 0.5, 3602.0, 0.0, 0.0015),
        ),
        (
            "steps:  50%|█████     | 8/16 [00:01<00:01,  4.00it/s, Keys Scaled=3, Average key norm=0.1, avr_loss=0.2]",
            Step(8, 16, 0.25, 1.0, 1.0, 0.2),
        ),
    ],
    ids=["empty", "full", "norms"],
)
def test_every_form_of_the_bar_is_read(bar, step):
    assert events(bar) == [step]


def test_a_loss_that_is_no_number_is_a_value():
    (step,) = events(BAR.replace("0.123", "nan"))
    assert math.isnan(step.loss)


@pytest.mark.parametrize(
    ("bar", "work"),
    [
        ("100%|██████████| 5/5 [00:00<00:00, 23.75it/s]", OtherBar("", 5, 5)),
        ("read caption:  40%|████      | 2/5 [00:00<00:00, 3.75it/s]", OtherBar("read caption", 2, 5)),
        (
            "epoch validation steps:  40%|████      | 2/5 [00:00<00:00, 3.75it/s, val_loss=0.1]",
            OtherBar("epoch validation steps", 2, 5),
        ),
    ],
    ids=["bare", "labelled", "validation"],
)
def test_other_bars_are_work(bar, work):
    assert events(bar) == [work]


def test_a_record_may_follow_a_bar_on_its_line():
    line = f"{BAR}2026-11-21 11:06:21 INFO     model saved.                      train_network.py:1729\n"
    assert events(line) == [STEP, Finished()]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("  num train images * repeats / 学習画像の数×繰り返し回数: 2030", Fact("images_per_epoch", 2030)),  # noqa: RUF001
        ("  num examples / サンプル数: 7", Fact("images_per_epoch", 7)),
        ("  num batches per epoch / 1epochのバッチ数: 1015", Fact("batches_per_epoch", 1015)),
        ("  gradient accumulation steps / 勾配を合計するステップ数 = 4", Fact("gradient_accumulation_steps", 4)),
        ("  total optimization steps / 学習ステップ数: 10150", Fact("total", 10150)),
        ("epoch 3/10", Epoch(3, 10)),
        ("create LoRA for Text Encoder: 264 modules.", ModulesMade("Text Encoder", 264, enabled=False)),
        ("create LoRA for Text Encoder 1: 72 modules.", ModulesMade("Text Encoder 1", 72, enabled=False)),
        ("create LoRA for FLUX all blocks: 304 modules.", ModulesMade("FLUX all blocks", 304, enabled=False)),
        ("enable LoRA for U-Net: 722 modules", ModulesMade("U-Net", 722, enabled=True)),
        ("saving checkpoint: /a b/it's.safetensors", CheckpointStarted(Path("/a b/it's.safetensors"))),
        ("removing old checkpoint: /a b/it's.safetensors", CheckpointRemoved(Path("/a b/it's.safetensors"))),
        ("model saved.", Finished()),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_line_of_the_script_is_understood(line, event):
    assert events(f"{line}\n") == [event]


def test_no_data_is_understood_in_its_record():
    message = "No data found. Please verify arguments (train_data_dir must be the parent of folders with"
    line = f"2026-11-21 11:06:22 ERROR    {message:<115} train_network.py:576\n"
    assert events(line) == [NoData()]


def test_a_path_that_was_wrapped_at_a_blank_is_whole_again():
    assert events(WRAPPED)[0] == CheckpointStarted(
        Path("/runs/my cat/output/a name with spaces in it so that it wraps-000001.safetensors")
    )


def test_a_path_that_was_cut_inside_a_word_is_whole_again():
    assert events(FOLDED) == [CheckpointStarted(Path(f"/w{'x' * 113}yy.safetensors"))]


def test_phases_come_once_each_and_training_comes_back_after_a_save():
    text = (
        "caching latents with caching strategy.\ncaching latents...\nrunning training / 学習開始\n"
        f"{BAR}\nsaving checkpoint: /x.safetensors\n{BAR.replace('2/16', '3/16')}\n"
    )
    phases = [e.name for e in events(text, phases=True) if isinstance(e, Phase)]
    assert phases == ["caching latents", "training", "saving a checkpoint", "training"]


def test_colours_and_broken_text_do_no_harm():
    assert events(b"\x1b[32m\xff\xfe\x1b[0m\n\x1b[1mepoch 1/2\x1b[0m\n") == [Epoch(1, 2)]


def test_a_line_without_end_does_not_fill_the_memory():
    stream = Stream()
    for _ in range(40):
        stream.feed(b"x" * 10_000)
    assert len(stream._rest) <= 1 << 16
    assert stream.feed(b"\nepoch 1/2\n") == [Epoch(1, 2)]


MUSUBI = """kohya-runner stage: caching text encoder outputs
INFO:musubi_tuner.flux_2.flux2_utils:Loading state dict from /m/text_encoder.safetensors
3it [00:00,  6.70it/s]
kohya-runner stage: starting
INFO:musubi_tuner.training.trainer_base:Loading DiT model from /m/dit.safetensors
import network module: networks.lora_flux
INFO:musubi_tuner.networks.lora:create LoRA for U-Net/DiT: 22 modules.
INFO:musubi_tuner.networks.lora:enable LoRA for U-Net: 22 modules
running training / \u5b66\u7fd2\u958b\u59cb
  num train items / \u5b66\u7fd2\u753b\u50cf\u3001\u52d5\u753b\u6570: 9
  total optimization steps / \u5b66\u7fd2\u30b9\u30c6\u30c3\u30d7\u6570: 14
steps:   7%|7         | 1/14 [00:00<00:05,  2.40it/s, avr_loss=1.62]
INFO:musubi_tuner.training.trainer_base:model saved.
"""


def test_what_musubi_tuner_says_is_understood():
    found = events(MUSUBI, phases=True)
    names = [e.name for e in found if isinstance(e, Phase)]
    assert names == [
        "caching text encoder outputs", "starting", "loading the model", "building the network", "training",
    ]  # fmt: skip
    assert ModulesMade("U-Net", 22, enabled=True) in found
    assert Fact("images_per_epoch", 9) in found
    assert Fact("total", 14) in found
    assert [e.step for e in found if isinstance(e, Step)] == [1]
    assert Finished() in found
