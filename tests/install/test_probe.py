from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_checkout import fake_checkout

from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.errors import TrainerError
from kohya_runner.install.probe import deep_probe, probe

PYTHON = Path(sys.executable)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_versions_are_known_without_importing():
    facts = probe(PYTHON, ("pytest", "no-such-package"))
    assert facts.packages == {"pytest": pytest.__version__, "no-such-package": None}
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.minor == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_venv_is_told_from_a_base_python():
    assert probe(PYTHON, ()).venv == (sys.prefix != sys.base_prefix)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("echo torn to pieces >&2; exit 3", "exit code 3: torn to pieces", id="fails"),
        pytest.param("exit 0", "exit code 0 and no output", id="silent"),
        pytest.param("kill -SEGV $$", "SIGSEGV", id="crashes"),
        pytest.param("echo 42", "is not a Python: it printed '42'", id="another program"),
    ],
)
def test_a_broken_python_is_one_line(odd_path, text, said):
    with pytest.raises(TrainerError, match=r"broken|no Python") as caught:
        probe(script(odd_path / "python", text), ())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_python_that_is_not_there_is_a_trainer_error(odd_path):
    with pytest.raises(TrainerError, match="cannot be run: No such file"):
        probe(odd_path / "python", ())


def test_a_python_that_hangs_is_given_up(odd_path):
    with pytest.raises(TrainerError, match="gave no answer within 0 s"):
        probe(script(odd_path / "python", "exec sleep 60"), (), seconds=0.3)


def test_a_trainer_that_imports_trains(checkout):
    facts = deep_probe(PYTHON, checkout, SD)
    assert facts.trains
    assert (facts.torch, facts.cuda) == ("2.8.0+cu128", False)


def test_why_there_is_no_gpu_is_in_torchs_own_words(checkout):
    assert deep_probe(PYTHON, checkout, SD).device_fault == "RuntimeError: Found no NVIDIA driver on your system."


def test_missing_xformers_does_not_stop_a_trainer(checkout):
    facts = deep_probe(PYTHON, checkout, SD)
    assert "No module named 'xformers'" in facts.faults["xformers"]
    assert facts.trains


@pytest.mark.parametrize("text", ["import no_such_module", "raise SystemExit(1)", "1 / 0"])
def test_a_trainer_module_that_does_not_import_is_a_fact(odd_path, text):
    facts = deep_probe(PYTHON, fake_checkout(odd_path / "broken", {"library/train_util.py": text}), SD)
    assert not facts.trains
    assert set(facts.faults) >= {"library.train_util"}


def test_a_broken_torch_leaves_the_device_unknown(odd_path):
    facts = deep_probe(
        PYTHON,
        fake_checkout(odd_path / "broken", {"torch/__init__.py": "raise OSError('libcudart.so.12')"}),
        SD,
    )
    assert facts.faults["torch"] == "OSError: libcudart.so.12"
    assert facts.torch is None
