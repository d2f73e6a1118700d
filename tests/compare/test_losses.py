from __future__ import annotations

import json

from kohya_runner.compare.training_data import MOST, losses_of


def bar(step, loss):
    return f"steps: {step * 10}%|#| {step}/10 [00:0{step}<00:01,  1.0s/it, avr_loss={loss}]\r"


def test_the_log_says_the_losses_and_the_ends_of_the_epochs(odd_path):
    log = odd_path / "trainer.log"
    log.write_text(
        "\nepoch 1/2\n" + bar(1, 0.5) + bar(2, 0.4) + "\nepoch 2/2\n" + bar(3, "nan") + bar(4, 0.2) + "\n",
        encoding="utf-8",
    )
    found = losses_of(odd_path, log)
    assert found.points == ((1, 0.5), (2, 0.4), (4, 0.2))
    assert found.epochs == ((1, 2), (2, 4))


def test_the_metrics_of_the_run_come_before_the_log(odd_path):
    rows = [{"t": 1, "step": n, "epoch": 1 + n // 3, "loss": 1 / n} for n in range(1, 5)]
    text = "\n".join(map(json.dumps, rows)) + '\n{"t": 9, "step": 5, "lo'
    (odd_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    found = losses_of(odd_path, odd_path / "trainer.log")
    assert found.points[:2] == ((1, 1.0), (2, 0.5))
    assert found.epochs == ((1, 2), (2, 4))


def test_a_long_run_is_thinned_and_keeps_its_end(odd_path):
    rows = "\n".join(json.dumps({"t": n, "step": n, "epoch": 1, "loss": 0.1}) for n in range(1, 10_152))
    (odd_path / "metrics.jsonl").write_text(rows + "\n", encoding="utf-8")
    found = losses_of(odd_path, odd_path / "x")
    assert len(found.points) <= MOST + 1
    assert found.points[-1][0] == 10_151


def test_without_either_there_is_no_curve(odd_path):
    assert losses_of(odd_path, odd_path / "gone") is None
