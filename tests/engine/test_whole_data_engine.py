"""Whole datasets, broken and odd, against sd-scripts' own dataset code: what the plan says, and what becomes of them.

Each kind is planned as a recipe, laid out by hand as the trainer's manual says, and laid out by us; both trees go
through the trainer's code, all in one process. ``--keep FOLDER`` leaves the table there.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiers
from whole_data_kinds import KINDS, Kind, Meant, picture

from kohya_runner.dataset.tree_build import build
from kohya_runner.findings import Severity
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request

pytestmark = pytest.mark.daily

CROPPED = 0.15
STAGES = ("dataset", "image", "caption", "steps", "args", "recipe")
FAILS, WRONG, FINE = "fails", "silently wrong", "fine"
ENOUGH = 0.1


@dataclass(frozen=True)
class Outcome:
    """One kind: the plan, and what the trainer made of the tree by hand and of ours (None: there is none)."""

    kind: Kind
    plan: Plan
    by_hand: str
    why_by_hand: str
    ours: str
    why: str
    answer: dict[str, Any] | None

    @property
    def said(self) -> str:
        """The worst that the plan says."""
        found = {f.severity for f in self.plan.findings if f.stage in STAGES}
        return next((s.value for s in (Severity.ERROR, Severity.WARNING) if s in found), FINE)

    @property
    def verdict(self) -> str:
        if self.ours == FINE:
            return "right" if self.said == FINE else "FALSE ALARM"
        return "caught" if self.said == "error" or (self.said == "warning" and self.ours == WRONG) else "MISSED"


def write(kind: Kind, root: Path) -> list[Path]:
    """The folders as they lie on a disk; the folder of each entry."""
    folders = []
    (root / "sources").mkdir(parents=True)
    (root / "sources" / "elsewhere.png").write_bytes(picture(4))
    for number, entry in enumerate(kind.entries):
        folder = folders[-1] if entry.more.get("same") else root / "sources" / f"it's {number}"
        folders.append(folder)
        if not entry.more.get("missing"):
            folder.mkdir(exist_ok=True)
        for name, data in entry.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir()
            elif isinstance(data, str):
                path.symlink_to(data)
            else:
                path.write_bytes(data)
    return folders


def recipe(kind: Kind, root: Path, folders: list[Path]) -> Path:
    entries = [
        {
            "images": str(folder), "concept": entry.concept, "repeats": entry.repeats,
            "regularization": entry.regularization, "expect": entry.more.get("expect"),
        }
        for entry, folder in zip(kind.entries, folders, strict=True)
    ]  # fmt: skip
    args = {"caption_extension": ".txt", "max_train_epochs": 1, "train_batch_size": 2, **kind.options}
    told = {"name": "odd", "family": "sd15", "model": "org/base", "datasets": entries, "args": args}
    path = root / "recipe.yaml"
    path.write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    return path


def lay_out_by_hand(kind: Kind, root: Path, folders: list[Path]) -> tuple[Path, Path | None]:
    """``N_concept`` folders with the same files in them."""
    for entry, folder in zip(kind.entries, folders, strict=True):
        if not folder.is_dir():
            continue
        parent = root / ("reg" if entry.regularization else "train")
        target = parent / f"{entry.repeats}_{entry.concept}"
        subprocess.run(["cp", "-a", "--", f"{folder}/.", str(made(target))], check=True)
        (parent / "elsewhere.png").write_bytes(picture(4))
    return root / "train", root / "reg" if (root / "reg").is_dir() else None


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def argv(kind: Kind, train: Path, reg: Path | None) -> list[str]:
    fixed = {"train_data_dir": train, "reg_data_dir": reg, "caption_extension": ".txt", "train_batch_size": 2}
    merged = {name: value for name, value in {**fixed, **kind.options}.items() if value is not None}
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in merged.items() if value is not False
    ]


def judged(kind: Kind, answer: dict[str, Any], names: dict[str, str]) -> tuple[str, str]:
    """What became of a tree: fails, is silently wrong, or is trained as it is meant. ``names`` leads to the sources."""
    if answer["error"]:
        return FAILS, answer["error"]
    shown: dict[str, list[dict[str, Any]]] = {}
    for one in answer["images"]:
        shown.setdefault(names.get(one["file"], one["file"]), []).append(one)
    if set(shown) != set(kind.meant):
        return WRONG, f"trained {sorted(shown)}, meant {sorted(kind.meant)}"
    for name, found in shown.items():
        wrong = differs(kind, kind.meant[name], found)
        if wrong:
            return WRONG, f"{name}: {wrong}"
    return FINE, ""


def differs(kind: Kind, meant: Meant, found: list[dict[str, Any]]) -> str:
    one = found[0]
    facts = {
        "prompt": (one["prompt"], meant.caption),
        "size": (tuple(one["size"]), meant.size),
        "repeats": (meant.repeats if one["reg"] else sum(f["repeats"] for f in found), meant.repeats),
    }
    wrong = [f"{name} {real!r}, meant {wanted!r}" for name, (real, wanted) in facts.items() if real != wanted]
    if meant.pixel and max(abs(a - b) for a, b in zip(one["pixel"], meant.pixel, strict=True)) > 2:
        wrong.append(f"pixel {one['pixel']}, meant {meant.pixel}")
    if abs(one["stretched"] - 1) > CROPPED:
        wrong.append(f"{one['stretched']:.2f} times as wide as it should be")
    if one["lost"] > CROPPED:
        wrong.append(f"{one['lost']:.0%} cropped")
    if kind.keeps_colours and one["colours"][1] > one["colours"][0]:
        wrong.append(f"{one['colours'][1]} colours of {one['colours'][0]}")
    return "; ".join(wrong)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> dict[str, Outcome]:
    root = tmp_path_factory.mktemp("it's whole")
    plans, jobs, names = {}, [], {}
    for number, (name, kind) in enumerate(KINDS.items()):
        here = root / str(number)
        folders = write(kind, here)
        plan = make_plan(
            Request(recipe(kind, here, folders), workspace=str(here / "ws"), elsewhere=True),
            environ={"HOME": str(here), "PATH": "/usr/bin:/bin"},
        )
        plans[name] = plan
        jobs.append(argv(kind, *lay_out_by_hand(kind, here / "by hand", folders)))
        if plan.layout is not None and plan.layout.folders:
            build(plan.layout)
            jobs.append(argv(kind, plan.layout.train_dir, plan.layout.reg_dir))
            names[name] = {e.name: e.image.path.name for f in plan.layout.folders for e in f.entries}
    answers = iter(ask(jobs, root / "jobs.json", sd_scripts, trainer_python))
    return {name: outcome(KINDS[name], plan, answers, names.get(name)) for name, plan in plans.items()}


def outcome(kind: Kind, plan: Plan, answers: Any, names: dict[str, str] | None) -> Outcome:
    by_hand = judged(kind, next(answers), {})
    answer = next(answers) if names is not None else None
    ours = judged(kind, answer, names or {}) if answer else (FAILS, "nothing to lay out")
    return Outcome(kind, plan, *by_hand, *ours, answer)


def ask(jobs: list[Any], file: Path, sd_scripts: Path, trainer_python: Path) -> Any:
    file.write_text(json.dumps(jobs), encoding="utf-8")
    child = Path(__file__).with_name("whole_data_child.py")
    command = [str(trainer_python), str(child), str(sd_scripts), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", KINDS)
def test_the_plan_says_what_becomes_of_the_data(outcomes: dict[str, Outcome], name: str) -> None:
    one = outcomes[name]
    said = [str(f) for f in one.plan.findings if f.stage in STAGES]
    assert one.verdict in ("right", "caught"), (one.verdict, one.ours, one.why, said)


@pytest.mark.parametrize("name", KINDS)
def test_our_tree_is_never_worse_than_one_made_by_hand(outcomes: dict[str, Outcome], name: str) -> None:
    order = (FINE, WRONG, FAILS)
    one = outcomes[name]
    assert order.index(one.ours) <= order.index(one.by_hand) or one.said == "error", (one.by_hand, one.ours, one.why)


@pytest.mark.parametrize("name", KINDS)
def test_the_numbers_of_the_plan_are_the_trainers(outcomes: dict[str, Outcome], name: str) -> None:
    one = outcomes[name]
    steps = one.plan.steps
    if steps is None or one.answer is None or one.answer["error"]:
        assert one.said == "error"
        return
    assert (steps.images_per_epoch, steps.batches_per_epoch) == (one.answer["samples"], one.answer["batches"])
    assert [[b.width, b.height, b.images, b.samples] for b in steps.buckets] == one.answer["buckets"]
    assert one.plan.layout is not None
    folders = {f.name: (f.images, f.repeats) for f in one.plan.layout.folders if not f.regularization}
    real: dict[str, list[int]] = {}
    for shown in one.answer["images"]:
        if not shown["reg"]:
            real.setdefault(shown["folder"], []).append(shown["repeats"])
    assert {name: (len(repeats), repeats[0]) for name, repeats in real.items()} == folders


def test_there_are_enough_kinds_of_each_fate(outcomes: dict[str, Outcome]) -> None:
    assert len(KINDS) >= 60
    for fate in (FAILS, WRONG, FINE):
        assert sum(one.by_hand == fate for one in outcomes.values()) > ENOUGH * len(KINDS)
    tiers.keep("kinds of datasets.txt", "\n".join(table(outcomes)))


def table(outcomes: dict[str, Outcome]) -> list[str]:
    lines = ["", f"{'kind':46} {'by hand':15} {'our tree':15} {'the plan':9} verdict"]
    lines += [f"{n:46} {o.by_hand:15} {o.ours:15} {o.said:9} {o.verdict}" for n, o in outcomes.items()]
    verdicts = [o.verdict for o in outcomes.values()]
    return [*lines, ", ".join(f"{verdicts.count(v)} {v}" for v in ("caught", "right", "MISSED", "FALSE ALARM"))]
