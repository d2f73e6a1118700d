"""The verdict of the rules against the fate of musubi-tuner's real scripts, on shrunk models with all their blocks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiers
from musubi_cases import MUSUBI_CASES, OWN, WHOLE, MusubiCase
from musubi_rig import MODULES, Scripts, draw_pairs, encoders, write_dataset, write_models
from rule_cases import BY_CODE

from kohya_runner.engines.rule_context import SILENT
from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

ALL = tiers.full()
VARIANTS = {"dev": "flux2_dev", "klein-base-9b": "flux2_9b"}
STAGES = {"latents": "cache_latents", "text": "cache_text_encoder_outputs", "train": "train_network"}
SCRIPTS = {"finetune": "train", "lora": "train_network"}
CONTINUES = {"args.musubi_show_timesteps"}
"""What ends well and leaves nothing."""


def models_of(case: MusubiCase, which: str) -> str:
    return VARIANTS.get(str(case.chosen(which).get("model_version")), case.family)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, musubi_tuner: Path, musubi_python: Path) -> Iterator[Scripts]:
    root = tmp_path_factory.mktemp("it's musubi's rules")
    names = MODULES if ALL else ("flux_kontext", "flux2", "krea2")
    write_models(root, musubi_tuner, musubi_python, *names, blocks="all")
    rows = draw_pairs(root / "pairs", ((64, 64), (64, 64)))
    for name in names:
        write_dataset(root / f"{name}.json", rows, root / f"cache {name}")
    for name in ("prompts.txt", "prompts.md"):
        (root / name).write_text(f"a --w 64 --h 64 --s 1 --d 1 --ci {rows[0]['control_path']}\n", encoding="utf-8")
    found = Scripts(root, musubi_tuner, musubi_python, blocks="all")
    yield found
    found.close()


def prepare(scripts: Scripts, models: str, version: tuple[str, ...]) -> None:
    """The caches that the training reads, once."""
    if models in scripts.cached:
        return
    data = (f"--dataset_config={scripts.root / models}.json", *version)
    for stage, parts in (("latents", ("vae",)), ("text", encoders(models))):
        code, said = scripts.run(models, STAGES[stage], (*data, *scripts.files(models, *parts)))
        assert code == 0, said
    scripts.cached.add(models)


def fate(scripts: Scripts, case: MusubiCase, which: str) -> tuple[bool, str]:
    """Whether the stage came to its end with what it is for, and the last of what it said."""
    models, output = models_of(case, which), scripts.root / "out put"
    shutil.rmtree(output, ignore_errors=True)
    chosen = {arg.name: arg.tokens for arg in case.args(which)}
    version = chosen.get("model_version", ())
    data = (f"--dataset_config={scripts.root / models}.json",)
    if case.stage != "train":
        parts = ("vae",) if case.stage == "latents" else encoders(models)
        names = ("vae_dtype", "fp8_t5", "fp8_text_encoder")
        own = [token for name in names for token in chosen.get(name, ())]
        code, said = scripts.run(models, STAGES[case.stage], (*data, *version, *scripts.files(models, *parts), *own))
        return code == 0, f"exit code {code}: {said}"
    prepare(scripts, models, version)
    fixed = (*data, *scripts.files(models, "dit"), f"--output_dir={output}", "--output_name=case")
    tokens = [token for tokens in chosen.values() for token in tokens]
    named = [_placed(token, scripts.root / "models" / models) for token in tokens]
    code, said = scripts.run(models, SCRIPTS[case.method], (*fixed, *named))
    if case.gpu and which == "good":
        return "CUDA" in said and "Cannot swap more" not in said, said
    return code == 0 and (output / "case.safetensors").is_file(), f"exit code {code}: {said}"


def _placed(token: str, folder: Path) -> str:
    """The cases name the files of the models alone."""
    name, equals, value = token.partition("=")
    return f"{name}={folder / value}" if equals and value.endswith(".safetensors") else token


def stops(case: MusubiCase, which: str) -> bool:
    """Whether the rules foretell that the script stops or leaves nothing; what is silently wrong ends well."""
    rules = [BY_CODE[found.code] for found in case.findings(which)]
    return any(rule.severity is Severity.ERROR and (rule.moment != SILENT or rule.code in CONTINUES) for rule in rules)


def chosen() -> list[MusubiCase]:
    """Two cases; all of them, in some minutes, with --tier full."""
    real = [case for case in MUSUBI_CASES if case.real]
    usual = ("args.musubi_swap_kontext", "args.musubi_fp8_t5", "args.musubi_fp8_plain")
    return real if ALL else [case for case in real if case.code in usual]


@pytest.fixture(scope="module")
def fates() -> Iterator[list[tuple[str, ...]]]:
    table: list[tuple[str, ...]] = []
    yield table
    missed = sum(row[2:4] == ("passes", "stops") for row in table)
    false = sum(row[2:4] == ("stops", "passes") for row in table)
    caught = sum(row[2:4] == ("stops", "stops") for row in table)
    rules = len({row[0] for row in table})
    lines = [f"rules {rules}, runs {len(table)}, caught {caught}, missed {missed}, false alarms {false}"]
    lines += [f"{code} [{which}]: verdict {said}, trainer {did}" for code, which, said, did, _ in table if said != did]
    print("\n" + "\n".join(lines))  # noqa: T201 - the table is what this test is for
    tiers.keep("musubi rules.txt", "\n".join(map(" | ".join, table)))


@pytest.mark.parametrize("which", ["bad", "good"])
@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.id)
def test_the_verdict_is_the_trainers(case: MusubiCase, which: str, scripts: Scripts, fates):
    finished, said = fate(scripts, case, which)
    foretold = stops(case, which)
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")[:200]
    fates.append((case.code, which, "stops" if foretold else "passes", "passes" if finished else "stops", last))
    assert finished is not foretold, said


@pytest.mark.full
@pytest.mark.parametrize(("family", "method"), [*((name, "lora") for name in OWN), *((n, "finetune") for n in WHOLE)])
def test_the_run_under_every_case_is_in_order(family: str, method: str, scripts: Scripts):
    case = MusubiCase("", {}, family=family, method=method)
    finished, said = fate(scripts, case, "bad")
    assert finished, said
    assert case.findings("bad") == ()
