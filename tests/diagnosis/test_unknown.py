"""What must not be answered: thin evidence, words of another error, errors that were survived."""

from __future__ import annotations

from pathlib import Path

import pytest
from excerpts import BAR, EXIT_1, WALL
from thread_logs import FLUX, LOGS, SDXL, S, V, tb
from unseen_logs import FAILED, NOBODY, QUIET

from kohya_runner.diagnosis.diagnose import diagnose, lines
from kohya_runner.diagnosis.lines import parse

DOCS = Path(__file__).parents[2] / "docs" / "diagnosis.md"

THIN = {
    "a key of nothing known": tb("KeyError: 'foo'"),
    "a list": tb("IndexError: list index out of range"),
    "a None": tb("AttributeError: 'NoneType' object has no attribute 'shape'"),
    "a missing attribute": tb(
        "AttributeError: 'DDPMScheduler' object has no attribute 'all_snr'",
        f"{S}library/custom_train_functions.py|apply_snr_weight|snr = noise_scheduler.all_snr[t]",
    ),
    "a shape while training": tb(
        "RuntimeError: The size of tensor a (77) must match the size of tensor b (231) at non-singleton dimension 1",
        script=SDXL,
    ),
    "a keyword of nobody": tb("TypeError: forward() got an unexpected keyword argument 'foo'"),
    "a syntax error in a package": tb("SyntaxError: invalid syntax", f"{V}foo/__init__.py|<module>|match x:"),
    "a value": tb("ValueError: not what I want", script=FLUX),
    "exit status 1 alone": BAR + "\n" + EXIT_1,
    "an end of file in a package": tb("EOFError", f"{V}foo/bar.py|read|raise EOFError"),
    "a compiler of another program": tb(
        "subprocess.CalledProcessError: Command '['git', 'rev-parse']' returned non-zero exit status 128.",
        f"{V}foo/version.py|get|subprocess.check_output(x)",
    ),
}


@pytest.mark.parametrize("name", THIN)
def test_thin_evidence_is_not_known_and_the_true_line_is_shown(name):
    found = diagnose(parse(THIN[name].encode()))
    assert found.causes == ()
    assert found.outcome == "failed"
    assert found.error
    text = "\n".join(lines(found))
    assert text.startswith("not known")
    assert found.error in text
    assert "->" not in text


def test_the_compiler_that_failed_is_named_and_the_launcher_is_not_blamed():
    found = diagnose(parse(THIN["a compiler of another program"].encode()))
    assert found.error == "subprocess.CalledProcessError: the command git returned non-zero exit status 128."
    assert any("foo" in line for line in found.traceback)


def test_an_error_that_was_survived_is_told_after_the_one_that_ended_the_run():
    survived = tb(
        "ModuleNotFoundError: No module named 'triton'",
        f"{V}xformers/__init__.py|_is_triton_available|import triton",
        after="",
    )
    text = (
        "A matching Triton is not available\n"
        + survived
        + "prepare tokenizers\nloading model for process 0/1\n"
        + LOGS["refiner kohya_ss#2526"][1]
    )
    found = diagnose(parse(text.encode()))
    assert [cause.code for cause in found.causes] == ["sdxl-refiner"]
    assert found.earlier == ("ModuleNotFoundError: No module named 'triton'",)
    assert "earlier in the log: ModuleNotFoundError" in "\n".join(lines(found))


def test_a_run_that_goes_on_after_an_error_has_not_failed():
    survived = tb(
        "ModuleNotFoundError: No module named 'triton'",
        f"{V}xformers/__init__.py|_is_triton_available|import triton",
        after="",
    )
    found = diagnose(parse((survived + "prepare tokenizers\nrunning training\n" + BAR).encode()))
    assert (found.outcome, found.causes) == ("unfinished", ())
    assert found.earlier == ("ModuleNotFoundError: No module named 'triton'",)


def test_a_box_that_a_narrow_window_broke_is_read():
    text = """─────────────────────────────── Traceback (most recent call last)
────────────────────────────────╮
│ F:\\kohya_ss\\sdxl_train_network.py:176 in <module>
                       │
│ ❱ 176 │   trainer.train(args)
                       │
│ F:\\kohya_ss\\library\\train_util.py:3257 in
resume_from_local_or_hf_if_specified           │
│ ❱ 3257 │   │   accelerator.load_state(args.resume)
                       │
╰──────────────────────────────────────────────────────────────────────────────╯
ValueError: loaded state dict contains a parameter group that doesn't match the
size of optimizer's group
"""
    assert [cause.code for cause in diagnose(parse(text.encode())).causes] == ["resume-settings"]


def test_a_complaint_at_the_start_does_not_explain_a_later_end():
    start = "The installed version of bitsandbytes was compiled without GPU support.\nprepare tokenizers\nloading model for process 0/1\n"
    killed = WALL.format(end="died with <Signals.SIGKILL: 9>")
    assert [cause.code for cause in diagnose(parse((start + killed).encode())).causes] == ["out-of-ram"]
    assert diagnose(parse((start + tb("FancyError: x")).encode())).causes == ()
    assert diagnose(parse((start + EXIT_1).encode())).causes == ()


def test_a_worker_that_fell_comes_before_what_its_end_did_to_the_trainer():
    worker = 'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n  File "C:\\Python310\\lib\\multiprocessing\\spawn.py", line 116, in spawn_main\n    exitcode = _main(fd, parent_sentinel)\nOSError: [WinError 1455] The paging file is too small for this operation to complete.\n'
    text = (
        tb(
            "BrokenPipeError: [Errno 32] Broken pipe",
            "C:\\Python310\\lib\\multiprocessing\\reduction.py|dump|ForkingPickler(file, protocol).dump(obj)",
            after="",
        )
        + worker
        + EXIT_1
    )
    assert diagnose(parse(text.encode())).causes[0].code == "windows-memory"


def test_a_loss_that_is_none_does_not_explain_another_error():
    text = BAR.replace("0.12", "nan") + "\n" + tb("FancyError: x")
    found = diagnose(parse(text.encode()))
    assert found.causes == ()
    assert found.error == "FancyError: x"
    assert any("nan-loss" in line for line in found.earlier)


def test_the_line_of_a_native_error_is_shown_where_nobody_knows_it():
    text = BAR + "\nfoo.cpp:12: fatal: the frobnicator failed\n" + EXIT_1
    found = diagnose(parse(text.encode()))
    assert found.causes == ()
    assert found.error == "foo.cpp:12: fatal: the frobnicator failed"


def test_of_two_rows_the_one_with_more_evidence_wins():
    code, log = LOGS["hunyuan's module for wan musubi-tuner#817"]
    found = diagnose(parse(log.encode()))
    assert found.causes[0].code == code
    assert found.causes[0].fixes == ("args: {network_module: networks.lora_wan}   the one for this script",)
    without = log.replace("0 modules", "72 modules")
    assert diagnose(parse(without.encode())).causes[0].code == "nothing-trained"


@pytest.mark.parametrize("name", NOBODY)
def test_what_nobody_knows_is_not_answered(name):
    found = diagnose(parse(NOBODY[name].encode()))
    assert (found.causes, found.outcome) == ((), "failed")


@pytest.mark.parametrize("name", QUIET)
def test_a_run_that_has_not_failed_is_left_alone(name):
    found = diagnose(parse(QUIET[name].encode()))
    assert found.causes == ()
    assert found.outcome in ("succeeded", "unfinished")


GOES_ON = (
    f"prepare tokenizers\nloading model for process 0/1\nrunning training\n{BAR}\n" + BAR.replace("4/40", "9/40") + "\n"
)
SOME = [
    log.replace(EXIT_1, "")
    for _, _, log in FAILED.values()
    if "FAILED" not in log and "CalledProcess" not in log.replace(EXIT_1, "")
][::4]


@pytest.mark.parametrize("way", ["survived", "a prompt", "a warning"])
def test_an_error_that_ended_nothing_does_not_explain_another(way):
    other = tb("FancyError: x", f"{S}train_network.py|train|x()")
    for log in SOME:
        error = diagnose(parse(log.encode())).error
        told = {
            "survived": log + GOES_ON,
            "a prompt": f"{GOES_ON}INFO     prompt: {error}                 train_util.py:77\n",
            "a warning": f"{GOES_ON}/venv/x.py:12: UserWarning: {error}\n",
        }
        found = diagnose(parse((told[way] + other).encode()))
        assert (found.causes, found.error) == ((), "FancyError: x"), log


def test_the_answers_over_all_logs_are_right_or_not_known_and_none_is_wrong():
    """The figures of docs/diagnosis.md; thin ones count as right where the answer is that nobody knows."""
    known = {**LOGS, **{f"unseen: {name}": (code, log) for name, (code, _, log) in FAILED.items()}}
    logs = {**known, **{name: ("", log) for name, log in {**THIN, **NOBODY}.items()}}
    answers = {
        name: next((cause.code for cause in diagnose(parse(log.encode())).causes), "")
        for name, (_, log) in logs.items()
    }
    wrong = [name for name, answer in answers.items() if answer and answer != logs[name][0]]
    unknown = [name for name, answer in answers.items() if not answer]
    assert (wrong, sorted(unknown)) == ([], sorted([*THIN, *NOBODY]))
    figures = f"{len(known)} right, {len(unknown)} not known, {len(wrong)} wrong"
    assert figures in DOCS.read_text(encoding="utf-8")
