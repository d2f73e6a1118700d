"""The verdict of the rules against the fate of the real scripts of the methods beside LoRA, on shrunk models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import made_models
import pytest
import tiers
from method_cases import METHOD_CASES, OWN, MethodCase
from rule_cases import BY_CODE
from tiny_methods import draw, fill_hub_cache

from kohya_runner.engines import table
from kohya_runner.engines.rule_context import SILENT
from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ENTRY = {
    "train_network.py": "NetworkTrainer",
    "sdxl_train_network.py": "SdxlNetworkTrainer",
    "train_textual_inversion.py": "TextualInversionTrainer",
    "sdxl_train_textual_inversion.py": "SdxlTextualInversionTrainer",
}
"""Scripts that train by a class; the others by a function."""
SECONDS = 300
SIZES = ((64, 64), (64, 64))


@dataclass
class Scripts:
    """One process that forks for each case; the models of a family are written once."""

    root: Path
    checkout: Path
    python: Path
    process: subprocess.Popen[str] | None = None
    written: set[str] = field(default_factory=set)

    def fate(self, case: MethodCase, which: str) -> tuple[bool, str]:
        """Whether the run came to a finished checkpoint, and the last of what it said."""
        self._write(case.family)
        process, output, log = self._ready(), self.root / "out put", self.root / "log"
        assert process.stdin is not None
        assert process.stdout is not None
        shutil.rmtree(output, ignore_errors=True)
        script = case.row.script
        argv = [*self._fixed(case, output), *case.argv(which)]
        request = {"script": script, "trainer": ENTRY.get(script, "-"), "argv": argv, "log": str(log)}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        code = json.loads(process.stdout.readline())
        said = log.read_text("utf-8", "replace")
        return code == 0 and (output / "case.safetensors").is_file(), f"exit code {code}: {said[-1500:]}"

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()

    def _ready(self) -> subprocess.Popen[str]:
        if self.process is None:
            command = (self.python, HERE / "rules_child.py", self.checkout, SECONDS)
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.DEVNULL, env=self._environ(), cwd=self.root,
            )  # fmt: skip
        return self.process

    def _write(self, family: str) -> None:
        models = self.root / family
        if family in self.written:
            return
        made_models.put(self.python, self.checkout, family, models, self._environ())
        if (models / "tokenizers").is_dir():
            fill_hub_cache(self.root / "hub", models / "tokenizers")
        self.written.add(family)

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ, "PYTHONPATH": str(HERE / "shrink"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_CACHE": str(self.root / "hub"),
        }  # fmt: skip

    def _fixed(self, case: MethodCase, output: Path) -> Iterator[str]:
        models = self.root / case.family
        flat = case.row.data == "pairs"
        yield f"--train_data_dir={self.root / ('data/1_concept' if flat else 'data')}"
        if flat:
            yield f"--conditioning_data_dir={self.root / 'conditions'}"
        if case.row.data == "metadata":
            yield f"--in_json={self.root / 'metadata.json'}"
        yield from (f"--output_dir={output}", "--output_name=case")
        if case.row.components:
            required = (part.name for part in case.row.components if part.required)
            yield from (f"--{name}={models / name}.safetensors" for name in required)
            yield f"--pretrained_model_name_or_path={models / 'dit.safetensors'}"
            return
        yield f"--pretrained_model_name_or_path={models / 'model.safetensors'}"
        yield f"--tokenizer_cache_dir={models / 'tokenizers'}"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Iterator[Scripts]:
    root = tmp_path_factory.mktemp("it's rules of methods")
    draw(root / "data" / "1_concept", SIZES)
    draw(root / "conditions", SIZES, captions=None, seed=1)
    keys = [f"1_concept/a picture {number}.png" for number in range(len(SIZES))]
    rows = {key: {"caption": "a, b, c", "image_size": list(size)} for key, size in zip(keys, SIZES, strict=True)}
    (root / "metadata.json").write_text(json.dumps(rows), encoding="utf-8")
    found = Scripts(root, sd_scripts, trainer_python)
    yield found
    found.close()
    shutil.rmtree(root)


def stops(case: MethodCase, which: str) -> bool:
    """Whether the rules foretell that the trainer itself will stop; what is silently wrong ends well."""
    rules = (BY_CODE[found.code] for found in case.findings(which))
    return any(rule.severity is Severity.ERROR and rule.moment != SILENT for rule in rules)


def by_script(cases: list[MethodCase]) -> list[MethodCase]:
    return sorted(cases, key=lambda case: case.row.script)


def chosen() -> list[MethodCase]:
    """Every twelfth case; all of them with --tier full."""
    real = by_script([case for case in METHOD_CASES if case.real])
    return real if tiers.full() else real[::12]


def plain() -> list[MethodCase]:
    """What each method starts from, nothing added."""
    rows = [row for row in table.FAMILIES if row.method in OWN and row.engine == "sd-scripts"]
    rows = [row for row in rows if row.data != "prompts"]  # their scripts read the command line themselves
    return by_script([MethodCase("", {}, family=row.family, method=row.method) for row in rows])


@pytest.fixture(scope="module")
def fates() -> Iterator[list[tuple[str, str, str, str]]]:
    table: list[tuple[str, str, str, str]] = []
    yield table
    missed = sum(row[2:] == ("passes", "stops") for row in table)
    false = sum(row[2:] == ("stops", "passes") for row in table)
    caught = sum(row[2:] == ("stops", "stops") for row in table)
    rules = len({row[0].partition(" ")[0] for row in table})
    lines = [f"rules {rules}, runs {len(table)}, caught {caught}, missed {missed}, false alarms {false}"]
    lines += [f"{code} [{which}]: verdict {said}, trainer {did}" for code, which, said, did in table if said != did]
    print("\n" + "\n".join(lines))  # noqa: T201 - the table is what this test is for
    tiers.keep("method rules.txt", "\n".join(map(" | ".join, table)))


@pytest.mark.parametrize("which", ["bad", "good"])
@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.id)
def test_the_verdict_is_the_trainers(case: MethodCase, which: str, scripts: Scripts, fates):
    finished, said = scripts.fate(case, which)
    stopped = stops(case, which)
    row = f"{case.code} {case.row.script}"
    fates.append((row, which, "stops" if stopped else "passes", "passes" if finished else "stops"))
    assert finished is not stopped, said


@pytest.mark.full
@pytest.mark.parametrize("case", plain(), ids=lambda case: f"{case.family}-{case.method}")
def test_the_run_under_every_case_is_in_order(case: MethodCase, scripts: Scripts):
    finished, said = scripts.fate(case, "bad")
    assert finished, said
    assert [finding for finding in case.findings("bad") if finding.severity is not Severity.INFO] == []
