"""A learning rate that goes on after a cut is the whole run's: every scheduler, by the trainers' own code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kohya_runner.engines import arguments
from kohya_runner.engines.arguments import as_parsed
from kohya_runner.engines.table import options_for
from kohya_runner.options import values
from kohya_runner.plan.resume_options import curves, remaining_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
TOTAL, PER_EPOCH, EPOCH = 40, 5, 3
RATE = 1e-3
NEEDY = ("warmup_stable_decay", "cosine_with_min_lr")
"""They cannot do without more."""
CASES: Sequence[Mapping[str, Any]] = (
    *({"lr_scheduler": name, "lr_warmup_steps": 4} for name in curves() if name not in NEEDY),
    {"lr_scheduler": "cosine", "lr_warmup_steps": 0.2},
    {"lr_scheduler": "cosine"},
    {"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 3, "lr_warmup_steps": 2},
    {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1, "lr_warmup_steps": 2},
    {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1, "lr_scheduler_num_cycles": 3},
    {"lr_scheduler": "polynomial", "lr_scheduler_power": 2.0},
    {"lr_scheduler": "polynomial", "lr_scheduler_args": ["lr_end=1e-5"]},
    {"lr_scheduler": "warmup_stable_decay", "lr_warmup_steps": 5, "lr_decay_steps": 0.25},
    {"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 10, "lr_scheduler_min_lr_ratio": 0.2},
    {"lr_scheduler": "constant"},
    {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 0.5},
    {"lr_scheduler": "inverse_sqrt", "lr_warmup_steps": 4},
    {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": ["T_max=40"]},
)  # fmt: skip
SCRIPTS = {"sd_scripts": "sdxl_train.py", "musubi": "flux_kontext_train_network.py"}
REX = {"lr_scheduler": "rex", "lr_warmup_steps": 4}
"""musubi-tuner's own; its state holds the number of steps."""


def written(script: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The case for the trainer's Python."""
    options = options_for(script, None)
    given = {"learning_rate": RATE, "max_train_steps": TOTAL, "output_name": "x", **chosen}
    args = tuple(arguments.Arg(n, v, values.tokens(options[n], v), "test") for n, v in given.items())
    series = SimpleNamespace(
        epoch=EPOCH, output_name=f"x+{EPOCH:06d}", first_step=lambda each: EPOCH * each,
        state=SimpleNamespace(path=Path("/x-000003-state")),
    )  # fmt: skip
    steps = SimpleNamespace(total=TOTAL, steps_per_epoch=PER_EPOCH, epochs=TOTAL // PER_EPOCH)
    rest: Any = remaining_args(as_parsed(options, args), args, series, steps, 1)  # type: ignore[arg-type]
    return {"script": script, "whole": arguments.tokens(args), "rest": arguments.tokens(rest), "cut": EPOCH * PER_EPOCH,
            "total": TOTAL}  # fmt: skip


@pytest.mark.parametrize("engine", list(SCRIPTS))
def test_the_rate_goes_on_where_it_was(engine, request, tmp_path):
    fixtures = ("sd_scripts", "trainer_python") if engine == "sd_scripts" else ("musubi_tuner", "musubi_python")
    checkout, python = (request.getfixturevalue(name) for name in fixtures)
    chosen = CASES if engine == "sd_scripts" else (*CASES, REX)
    cases = [written(SCRIPTS[engine], case) for case in chosen]
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    folder = checkout if engine == "sd_scripts" else checkout / "src"
    command = (
        python,
        HERE / "curves_child.py",
        folder,
        "" if engine == "sd_scripts" else "musubi",
        tmp_path / "cases.json",
    )
    ended = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for case, (whole, resumed) in zip(chosen, json.loads(ended.stdout.splitlines()[-1]), strict=True):
        assert resumed == pytest.approx(whole, rel=1e-9, abs=1e-15), case
        assert len(whole) == TOTAL
        assert len(set(whole)) > 1 or case == {"lr_scheduler": "constant"}
