"""The plan against the real thing: train() of train_network.py with stand-in modules, every case in one child."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from steps_cases import BUCKETS, CASES, EPOCHS, FATAL, PLAIN, Case

from kohya_runner.dataset.buckets import BucketSettings, make_buckets, select
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.survey import survey
from kohya_runner.dataset.tree_build import build
from kohya_runner.engines.sd_scripts.batching import batching_from
from kohya_runner.engines.sd_scripts.steps import plan_steps
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.findings import Finding, Severity

pytestmark = pytest.mark.daily


@dataclass(frozen=True)
class Outcome:
    """What was planned, and what the trainer did."""

    case: Case
    layout: Layout
    plan: StepsPlan | None
    findings: tuple[Finding, ...]
    truth: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """All that the one child said."""

    outcomes: dict[str, Outcome]
    selections: list[Any]


CAPTIONS = {
    "plain": b"a cat, sitting\n",
    "bom": b"\xef\xbb\xbfa cat",
    "two lines": b"first\nsecond\n",
    "mac lines": b"first\rsecond",
    "windows lines": b"  first \r\nsecond\r\n",
    "separators of unicode": "one\u2028still one\x0band\x85more\nsecond".encode(),
    "blank first line": b"\nsecond",
    "a_b_c_d_e": b"its own caption",
    "a": b"not for a_b_c_d_e",
}


def write_sources(case: Case, root: Path) -> tuple[Source, ...]:
    sources = []
    for number, data in enumerate(case.data):
        folder = root / f"source {number}"
        folder.mkdir(parents=True)
        for index, size in enumerate(data.sizes):
            PIL.Image.new("RGB", size, (index, number, 0)).save(folder / f"it's {index}.png")
            (folder / f"it's {index}.txt").write_text(f"caption {index}", encoding="utf-8")
        sources.append(Source(folder, data.concept, data.repeats, data.regularization))
    return tuple(sources)


def laid_out(sources: tuple[Source, ...], root: Path) -> Layout:
    layout = plan_layout([survey(source).scan for source in sources], root / "datasets" / "x", "settings")
    build(layout)
    return layout


def argv(case: Case, layout: Layout, out: Path) -> list[str]:
    fixed = {
        "pretrained_model_name_or_path": "none",
        "train_data_dir": layout.train_dir,
        "reg_data_dir": layout.reg_dir,
        "output_dir": out,
        "output_name": "it's x",
        "network_module": "stand_in_network",
        "caption_extension": ".txt",
        "max_data_loader_n_workers": 0,
        "seed": 1,
    }
    merged = {name: value for name, value in {**fixed, **case.options}.items() if value is not None}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in merged.items()]


def planned(case: Case, layout: Layout) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    batching = batching_from({"seed": 1, **case.options}, "it's x", reso_steps_divisor=64)
    assert batching is not None
    return plan_steps(layout.folders, batching)


def selections() -> list[tuple[tuple[Any, ...], list[tuple[int, int]]]]:
    """Bucket settings and image sizes, many and odd, the same at every call."""
    chance = random.Random(1)
    made = []
    for _ in range(60):
        steps = chance.choice((8, 32, 48, 64, 100))
        width, height = chance.randint(steps, 1600), chance.randint(steps, 1600)
        low, high = chance.randint(steps, max(steps, min(width, height))), chance.randint(max(width, height), 2400)
        sizes = [(int(2 ** chance.uniform(2, 12)), int(2 ** chance.uniform(2, 12))) for _ in range(60)]
        made.append(((width, height, low, high, steps, chance.random() < 0.5), [*sizes, (width, height)]))
    return made


def odd_captions(root: Path) -> Layout:
    folder = root / "captions"
    folder.mkdir(parents=True)
    for stem, data in CAPTIONS.items():
        PIL.Image.new("RGB", (64, 64)).save(folder / f"{stem}.png")
        (folder / f"{stem}.txt").write_bytes(data)
    PIL.Image.new("RGB", (64, 64)).save(folder / "none.Jpg")
    return laid_out((Source(folder, "class_token"),), root)


def prefix_stems(root: Path) -> Layout:
    """``cat`` beside a cached ``cat2``: read by their own names, ``cat`` would get the size of ``cat2``."""
    folder = root / "prefixes"
    folder.mkdir(parents=True)
    PIL.Image.new("RGB", (64, 64)).save(folder / "cat.png")
    PIL.Image.new("RGB", (256, 64)).save(folder / "cat2.png")
    PIL.Image.new("RGB", (128, 64)).save(folder / "cat.JPG")
    layout = laid_out((Source(folder, "cat"),), root)
    for entry in layout.folders[0].entries:
        if entry.image.path.name == "cat2.png":
            cache = layout.folder_path(layout.folders[0]) / entry.name.replace(".png", "_0256x0064_sd.npz")
            cache.write_bytes(b"PK\x05\x06" + bytes(18))  # a zip archive of nothing: the trainer makes it anew
    return layout


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Truth:
    """Every case planned by us and run by the trainer."""
    root = tmp_path_factory.mktemp("it's a run")
    cases = {**CASES, **{name: case for name, (case, _) in FATAL.items()}}
    layouts = {
        name: laid_out(write_sources(case, root / str(n)), root / str(n))
        for n, (name, case) in enumerate(cases.items())
    }
    cases["captions"], layouts["captions"] = Case((), {**PLAIN, **EPOCHS}), odd_captions(root / "c")
    cases["prefixes"] = Case((), {**BUCKETS, **EPOCHS, "cache_latents": True, "cache_latents_to_disk": True})
    layouts["prefixes"] = prefix_stems(root / "p")
    jobs = [{"argv": argv(case, layouts[name], root / f"out {name}")} for name, case in cases.items()]
    answers = ask({"cases": jobs, "selections": selections()}, root / "cases.json", sd_scripts, trainer_python)
    outcomes = {
        name: Outcome(case, layouts[name], *planned(case, layouts[name]), truth)
        for (name, case), truth in zip(cases.items(), answers["cases"], strict=True)
    }
    return Truth(outcomes, answers["selections"])


def ask(jobs: dict[str, Any], file: Path, sd_scripts: Path, trainer_python: Path) -> Any:
    file.write_text(json.dumps(jobs), encoding="utf-8")
    child = Path(__file__).with_name("steps_child.py")
    command = [str(trainer_python), str(child), str(sd_scripts), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture
def outcomes(truth: Truth) -> dict[str, Outcome]:
    return truth.outcomes


@pytest.mark.parametrize("name", CASES)
def test_the_planned_numbers_are_the_printed_ones(outcomes: dict[str, Outcome], name: str) -> None:
    plan, truth = outcomes[name].plan, outcomes[name].truth
    assert truth["error"] is None
    assert plan is not None
    assert {
        "images": plan.images_per_epoch,
        "validation": plan.validation_images,
        "regularization": plan.regularization_images,
        "batches": plan.batches_per_epoch,
        "epochs": plan.epochs,
        "total": plan.total,
    } == {key: truth[key] for key in ("images", "validation", "regularization", "batches", "epochs", "total")}


@pytest.mark.parametrize("name", CASES)
def test_the_planned_buckets_are_the_real_ones(outcomes: dict[str, Outcome], name: str) -> None:
    plan, truth = outcomes[name].plan, outcomes[name].truth
    assert plan is not None
    assert [[b.width, b.height, b.images, b.samples] for b in plan.buckets] == truth["buckets"]


@pytest.mark.parametrize("name", CASES)
def test_the_planned_sizes_after_resizing_are_the_real_ones(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    batching = batching_from(outcome.case.options, "x")
    assert batching is not None
    made = make_buckets(batching.buckets)
    sizes = {entry.name: entry.size for folder in outcome.layout.folders for entry in folder.entries}
    choices = {entry: select(made, sizes[entry]) for entry in outcome.truth["resized"]}
    assert {entry: list(choice[1]) for entry, choice in choices.items() if choice} == outcome.truth["resized"]


@pytest.mark.parametrize("name", CASES)
def test_the_planned_checkpoints_appear_in_that_order(outcomes: dict[str, Outcome], name: str) -> None:
    plan, truth = outcomes[name].plan, outcomes[name].truth
    assert plan is not None
    assert list(plan.checkpoints) == truth["saved"]


@pytest.mark.parametrize("name", CASES)
def test_the_planned_checkpoints_and_states_remain(outcomes: dict[str, Outcome], name: str) -> None:
    plan, truth = outcomes[name].plan, outcomes[name].truth
    assert plan is not None
    assert sorted(plan.saves.checkpoints_kept) == truth["files"]
    assert sorted(plan.saves.states_kept) == truth["states"]


@pytest.mark.parametrize("name", FATAL)
def test_what_is_planned_as_impossible_does_not_run(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    errors = {finding.code for finding in outcome.findings if finding.severity is Severity.ERROR}
    assert FATAL[name][1] in errors
    assert outcome.truth["error"] is not None or outcome.truth["total"] is None


def test_3660_sizes_go_to_the_same_buckets(truth: Truth) -> None:
    chosen = []
    for (width, height, low, high, steps, no_upscale), sizes in selections():
        made = make_buckets(BucketSettings((width, height), True, low, high, steps, no_upscale))
        chosen.append([choice and [list(part) for part in choice] for choice in (select(made, size) for size in sizes)])
    assert chosen == truth.selections


def test_the_trainer_reads_the_captions_as_the_scan_does(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["captions"]
    entries = outcome.layout.folders[0].entries
    assert len(entries) == len(CAPTIONS) + 1
    read = {e.name: e.image.caption.text if e.image.caption else "class_token" for e in entries}
    assert outcome.truth["captions"] == read


def test_a_cached_neighbour_does_not_lend_its_size(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["prefixes"]
    sizes = {entry.name: list(entry.size) for entry in outcome.layout.folders[0].entries}
    assert outcome.truth["sizes"] == sizes


def test_caches_lie_in_the_tree_and_never_beside_the_sources(outcomes: dict[str, Outcome]) -> None:
    layout = outcomes["prefixes"].layout
    beside = [path for entry in layout.folders[0].entries for path in entry.image.path.parent.glob("*.npz")]
    assert len(list(layout.folder_path(layout.folders[0]).glob("*.npz"))) == 3
    assert beside == []
