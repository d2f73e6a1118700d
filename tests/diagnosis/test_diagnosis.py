from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from causes_page import DOCS, markdown
from excerpts import BAR, EXCERPTS, EXIT_1, KILLED, WARNINGS, raised
from thread_logs import LOGS as THREADS
from unseen_logs import FAILED as UNSEEN

from kohya_runner.diagnosis.diagnose import diagnose, lines
from kohya_runner.diagnosis.lines import parse, read_log
from kohya_runner.diagnosis.signature import from_argv, table

LOGS = Path(__file__).with_name("logs")
HEALTHY = sorted(LOGS.glob("healthy*.log"))
SECRET = "hf_abcdefghijklmnopqrstuvwx"


def of(text, **more):
    return diagnose(parse(text.encode()), **more)


def shown(text):
    return "\n".join(lines(of(text)))


@pytest.mark.parametrize("code", EXCERPTS)
def test_a_row_is_found_in_the_log_that_it_is_of(code):
    found = of(EXCERPTS[code])
    assert [cause.code for cause in found.causes][:1] == [code]


@pytest.mark.parametrize("code", WARNINGS)
def test_what_explains_nothing_is_a_warning_and_no_cause(code):
    found = of(WARNINGS[code])
    assert (found.causes, [warning.code for warning in found.warnings]) == ((), [code])


@pytest.mark.parametrize("name", THREADS)
def test_a_failure_of_a_public_thread_is_recognised(name):
    code, log = THREADS[name]
    found = of(log)
    assert [cause.code for cause in found.causes][:1] == [code]
    assert found.outcome == "failed"


@pytest.mark.parametrize("name", UNSEEN)
def test_what_was_not_seen_before_is_answered_rightly(name):
    code, words, log = UNSEEN[name]
    found = of(log)
    assert [cause.code for cause in found.causes][:1] == [code]
    assert re.search(words, " ".join((code, found.causes[0].cause, *found.causes[0].fixes)), re.IGNORECASE)
    assert found.outcome == "failed"


def test_every_row_has_an_excerpt():
    logs = (*THREADS.values(), *UNSEEN.values())
    assert sorted({*EXCERPTS, *WARNINGS, *(log[0] for log in logs)}) == sorted(row.code for row in table())


def test_the_documentation_holds_the_table():
    assert markdown() in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", table(), ids=lambda row: row.code)
def test_a_row_says_cause_remedy_and_source(row):
    assert row.cause
    assert row.fixes
    assert row.source


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.name)
def test_a_healthy_log_of_the_real_trainer_has_no_cause(path):
    with path.open("rb") as file:
        found = diagnose(read_log(file))
    assert (found.outcome, found.causes, found.traceback) == ("succeeded", (), ())


@pytest.mark.parametrize("path", sorted(LOGS.glob("[!h]*.log")), ids=lambda path: path.stem)
def test_a_real_failure_is_recognised(path):
    """Each was made with the pinned trainer and small random weights; the file is named for its row."""
    with path.open("rb") as file:
        found = diagnose(read_log(file))
    assert found.causes[0].code == path.stem.partition(".")[0]
    assert found.outcome == "failed"


def test_an_unknown_failure_is_said_to_be_unknown_with_its_traceback():
    found = of(raised("FancyError: nobody has seen this before", "fancy()"))
    assert (found.outcome, found.causes, found.understood) == ("failed", (), False)
    text = shown(raised("FancyError: nobody has seen this before", "fancy()"))
    assert "not known: the run failed" in text
    assert "fancy()" in text
    assert "FancyError: nobody has seen this before" in text


def test_a_log_that_just_ends_is_neither():
    found = of("running training\n" + BAR)
    assert (found.outcome, found.step, found.total) == ("unfinished", 4, 40)
    assert "at step 4 of 40" in shown("running training\n" + BAR)


def test_a_warning_at_the_start_does_not_explain_an_unknown_failure():
    start = "WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:\n"
    assert of(start + raised("FancyError: x")).causes == ()
    assert of(start + BAR + EXIT_1).causes == ()


def test_an_error_that_was_overcome_is_no_cause():
    text = raised("torch.OutOfMemoryError: CUDA out of memory").replace(EXIT_1, "") + BAR + "model saved.\n"
    assert (of(text).outcome, of(text).causes) == ("succeeded", ())


def test_the_command_line_of_the_wall_is_never_shown():
    for text in (EXCERPTS["out-of-vram"], KILLED, EXIT_1):
        assert SECRET not in repr(of(text).as_json())
        assert "--train_batch_size" not in repr(of(text).as_json())
    assert "then:" not in shown(EXCERPTS["out-of-vram"])


def test_the_values_of_the_run_are_read_from_the_wall_and_from_its_argv():
    assert any("train_batch_size (now 4)" in fix for fix in of(EXCERPTS["out-of-vram"]).causes[0].fixes)
    known = from_argv(("accelerate", "launch", "--num_processes=1", "sdxl_train_network.py", "--train_batch_size", "8"))
    fixes = of(EXCERPTS["out-of-vram"], known=known).causes[0].fixes
    assert any("train_batch_size (now 8)" in fix for fix in fixes)


def test_what_the_run_has_already_is_not_advised():
    known = from_argv(("flux_train_network.py", "--gradient_checkpointing", "--cache_latents"))
    fixes = of(EXCERPTS["out-of-vram"], known=known).causes[0].fixes
    assert not any("gradient_checkpointing" in fix or "cache_latents:" in fix for fix in fixes)
    assert any("blocks_to_swap" in fix for fix in fixes)


def test_the_cause_of_a_chain_counts_and_its_end_is_told():
    text = raised("OSError: [Errno 28] No space left on device").replace(EXIT_1, "") + (
        "\nDuring handling of the above exception, another exception occurred:\n\n"
    ) + raised("RuntimeError: could not close the file")  # fmt: skip
    found = of(text)
    assert found.causes[0].code == "disk-full"
    assert found.traceback[-1] == "then: RuntimeError: could not close the file"


def test_a_cause_that_says_much_goes_before_one_that_says_little():
    said = "WARNING  failed to get image size: /data/9.png, error: cannot identify image file '/data/9.png'\n"
    found = of(said + raised("ZeroDivisionError: division by zero", "aspect_ratio = width / height"))
    assert [cause.code for cause in found.causes] == ["picture-broken", "zero-division"]
    assert "/data/9.png" in found.causes[0].line


def test_a_record_behind_a_bar_goes_on_in_the_next_line():
    said = (
        "\r  0%|          | 0/3 [00:00<?, ?it/s]                    WARNING  failed to get image size: "
        "/data/a long name/9.png, error: cannot   dataset.py:920\n"
        "                             identify image file '/data/a long name/9.png'                      \n"
    )
    found = of(said + raised("ZeroDivisionError: division by zero", "aspect_ratio = width / height"))
    assert found.causes[0].code == "picture-broken"
    assert "cannot identify image file '/data/a long name/9.png'" in found.causes[0].line


def test_the_original_traceback_of_a_loaders_worker_counts():
    inner = 'Original Traceback (most recent call last):\n  File "w.py", line 1, in loop\n    open(a)\nOSError: image file is truncated\n'
    found = of(raised("OSError: Caught OSError in DataLoader worker process 0.\n" + inner))
    assert found.causes[0].code == "picture-broken"
    assert "OSError: image file is truncated" in found.traceback


def test_of_several_ranks_the_first_to_fail_counts_and_echoes_do_not():
    def rank(number, text):
        return "".join(f"[rank{number}]: {line}\n" for line in text.splitlines())

    echo = rank(0, raised("torch.distributed.DistBackendError: NCCL error: remote process exited").replace(EXIT_1, ""))
    cause = rank(1, raised("torch.OutOfMemoryError: CUDA out of memory.").replace(EXIT_1, ""))
    both = "\n".join(a + "\n" + b for a, b in zip(echo.splitlines(), cause.splitlines(), strict=True))
    for text in (echo + cause, both):
        assert of(text + EXIT_1).causes[0].code == "out-of-vram"


def test_the_frames_of_the_trainer_are_shown_beside_the_innermost_one():
    text = raised("RuntimeError: x", "train_util.get_optimizer(args)").replace(
        "RuntimeError: x",
        '  File "/venv/lib/python3.11/site-packages/torch/optim/adamw.py", line 9, in __init__\n    raise x\nRuntimeError: x',
    )
    assert of(text).traceback == (
        "Traceback (innermost lines):",
        "  train_network.py:1913 in <module>",
        "    trainer.train(args)",
        "  train_network.py:500 in train",
        "    train_util.get_optimizer(args)",
        "  torch/optim/adamw.py:9 in __init__",
        "    raise x",
        "RuntimeError: x",
    )


def test_a_boxed_traceback_of_kohya_ss_is_read():
    text = """╭───────────────────── Traceback (most recent call last) ──────────────────────╮
│ C:\\kohya_ss\\sd-scripts\\train_network.py:1012 in <module>                     │
│                                                                              │
│ ❱ 1012 │   trainer.train(args)                                               │
╰──────────────────────────────────────────────────────────────────────────────╯
OutOfMemoryError: CUDA out of memory. Tried to allocate 128.00 MiB
"""
    found = of(text.replace("\n", "\r\n"))
    assert found.causes[0].code == "out-of-vram"
    assert "trainer.train(args)" in "\n".join(found.traceback)


def test_records_wrapped_at_80_columns_are_joined():
    text = (
        "2026-01-31 11:06:21 INFO     No data found. Please verify arguments        train_network.py:577\n"
        "                             (train_data_dir must be the parent of folders                     \n"
    )
    assert of(text).causes[0].code == "no-data"


def test_nothing_of_a_log_can_command_a_terminal():
    text = shown(raised("FancyError: \x1b]0;title\x07\x1b[2Jhello\u202e\x08\x00"))
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "hello" in text


@pytest.mark.parametrize(
    "secret",
    ["hf_" + "a" * 30, "--huggingface_token=abcd1234efgh", "Authorization: Bearer abcdefghijkl", "wandb_api_key: 0123456789ab",
     "https://discord.com/api/webhooks/123/abcdefgh"],
)  # fmt: skip
def test_secrets_in_a_log_are_blotted_out(secret):
    text = shown(raised(f"FancyError: sent {secret} away"))
    assert re.split(r"[=/ ]", secret)[-1] not in text
    assert "***" in text


def test_a_hundred_megabytes_are_read_from_their_ends(tmp_path):
    path = tmp_path / "big.log"
    with path.open("wb") as file:
        file.write(b"running training\n")
        for _ in range(100):
            file.write((BAR * 12000).encode()[: 1 << 20])
        file.write(EXCERPTS["out-of-vram"].encode())
    begun = time.process_time()
    with path.open("rb") as file:
        found = diagnose(read_log(file))
    assert found.causes[0].code == "out-of-vram"
    assert time.process_time() - begun < 10


def test_a_pipe_is_read_to_its_end():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    data = b"x" * (12 << 20) + b"\n" + EXCERPTS["disk-full"].encode()
    assert diagnose(read_log(Pipe(data))).causes[0].code == "disk-full"


PATTERNS = ("pattern", "raises", "frame", "also", "before", "script", "unless")
HOSTILE = {
    "one line": b"A" * (5 << 20),
    "brackets": b"[" * (5 << 20),
    "bars": b"%|" * (2 << 20),
    "colons": b"://" * (1 << 20),
    "zeros": bytes(5 << 20),
    "tracebacks": b"Traceback (most recent call last):\n" * 100_000,
    "words": b"Error: " * 500_000,
    "walls": b"CalledProcessError: Command '[" * 100_000,
    "frames": b"Traceback (most recent call last):\n" + b'  File "a", line 1, in f\n    x\n' * 100_000,
    "escapes": b"\x1b[" * (1 << 20),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_no_log_takes_long(data):
    begun = time.process_time()
    diagnose(read_log(io.BytesIO(data)))
    assert time.process_time() - begun < 15


@pytest.mark.parametrize("row", table(), ids=lambda row: row.code)
def test_no_pattern_takes_long(row):
    patterns = [p for sign in row.signs for p in (getattr(sign, name) for name in PATTERNS) if p]
    for pattern in patterns:
        seed = re.sub(r"[\\^$*+?{}()\[\]|]", " ", pattern.pattern)
        for line in (seed * 20, seed[:8] * 300, "a" * 2000, " " * 2000, "x: " * 700):
            begun = time.process_time()
            pattern.search(line[:2000])
            assert time.process_time() - begun < 0.2
