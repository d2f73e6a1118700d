"""The verdict of the rules against the fate of the real script, on shrunk models: each rule broken and just not."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiers
from PIL import Image
from real_families import REAL, Zygote, start
from rule_cases import BASE, BY_CODE, CASES, Case

from kohya_runner.engines.rule_context import SILENT
from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[Zygote]:
    root = tmp_path_factory.mktemp("it's rules")
    draw(root / "data" / "1_concept")
    started = start(root, sd_scripts, trainer_python)
    yield started
    started.process.communicate()
    shutil.rmtree(root)


def draw(folder: Path) -> None:
    """Two pictures of just the resolution, so that nothing of buckets or sizes is in the way."""
    folder.mkdir(parents=True)
    dice = random.Random(0)
    for name in ("first", "second"):
        Image.frombytes("RGB", (64, 64), dice.randbytes(3 * 64 * 64)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("a, b, c", encoding="utf-8")
    more = {"prompts.txt": "", "prompts.md": "", "seed 0.txt": " --d 0", "odd sizes.txt": " --w 72"}
    for name, flags in more.items():
        (folder.parents[1] / name).write_text(f"a --w 64 --h 64 --s 1{flags}\n", encoding="utf-8")


def refused(case: Case, which: str) -> bool:
    """Whether the rules foretell that the trainer itself will stop; what is silently wrong ends well."""
    rules = (BY_CODE[found.code] for found in case.findings(which))
    return any(rule.severity is Severity.ERROR and rule.moment != SILENT for rule in rules)


def stops_silently(case: Case, which: str) -> bool:
    """A missing file of prompts stops some runs of a flow model and not others: one rule, two fates."""
    return which == "bad" and case.code == "args.sample_missing"


def chosen() -> list[Case]:
    """One case in 24; all of them, in about half an hour, with --tier full."""
    real = [case for case in CASES if case.real]
    return real if tiers.full() else real[::24]


@pytest.fixture(scope="module")
def fates() -> Iterator[list[tuple[str, str, str, str]]]:
    table: list[tuple[str, str, str, str]] = []
    yield table
    missed = sum(row[2:] == ("passes", "stops") for row in table)
    false = sum(row[2:] == ("stops", "passes") for row in table)
    caught = sum(row[2:] == ("stops", "stops") for row in table)
    rules = len({row[0] for row in table})
    lines = [f"rules {rules}, runs {len(table)}, caught {caught}, missed {missed}, false alarms {false}"]
    lines += [f"{code} [{which}]: verdict {said}, trainer {did}" for code, which, said, did in table if said != did]
    print("\n" + "\n".join(lines))  # noqa: T201 - the table is what this test is for
    tiers.keep("rules.txt", "\n".join(map(" | ".join, table)))


@pytest.mark.parametrize("which", ["bad", "good"])
@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.id)
def test_the_verdict_is_the_trainers(case: Case, which: str, zygote, fates):
    finished, said = zygote.fate(case, which)
    stops = refused(case, which) or stops_silently(case, which)
    fates.append((case.code, which, "stops" if stops else "passes", "passes" if finished else "stops"))
    assert finished is not stops, said


@pytest.mark.parametrize("family", REAL)
def test_the_run_under_every_case_is_in_order(family: str, zygote):
    case = Case("", {}, family=family)
    assert BASE["max_train_steps"] == 2
    finished, said = zygote.fate(case, "bad")
    assert finished, said
    assert case.findings("bad") == ()
