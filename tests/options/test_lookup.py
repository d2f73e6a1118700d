"""Which options a script has, where that is known from, and what people are told about names it has not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import options_for
from kohya_runner.engines.update_snapshot import write_shipped
from kohya_runner.errors import TrainerError
from kohya_runner.options import snapshot as options_module
from kohya_runner.options.script_options import Option, ScriptOptions, argparse_parser
from kohya_runner.options.snapshot import (
    Snapshot,
    decode,
    encode,
    fingerprint,
    matches_snapshot,
    scripts,
    shipped,
    shipped_file,
)

SCRIPT = """\
import argparse

def setup_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network_dim", type=int, default=4, help="dim")
    parser.add_argument("--tags", nargs="*", default=None, choices=["a", "b"])
    return parser
"""
LORA = options_for("train_network.py", None)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / 'it\'s a "fork"'
    root.mkdir()
    (root / "my_train.py").write_text(SCRIPT, encoding="utf-8")
    return root


def test_the_snapshot_has_the_options_of_every_train_script() -> None:
    assert len(scripts(SD_SCRIPTS)) == 23
    assert [len(options_for(name, None)) for name in ("train_network.py", "flux_train_network.py", "fine_tune.py")] == [
        195,
        219,
        169,
    ]


def test_the_snapshot_is_small_and_holds_no_help_texts() -> None:
    text = shipped_file(SD_SCRIPTS).read_text(encoding="utf-8")
    assert len(text) < 120_000
    assert text.isascii()
    assert '"help"' not in text


def test_writing_the_snapshot_again_changes_nothing() -> None:
    assert encode(decode(shipped_file(SD_SCRIPTS).read_text())) == shipped_file(SD_SCRIPTS).read_text()


def test_a_snapshot_keeps_the_types_of_defaults() -> None:
    rows = (
        Option("a", ("--a",), "one", "float", default=1),
        Option("b", ("-b", "--b"), "one", "float", default=1.0),
        Option("c", ("--c",), "switch", "bool", default=0),
        Option("d", ("--d",), "many", "int", nargs=2, default=(1, 2), choices=(None, 1, 2), required=True),
    )
    snapshot = Snapshot("", {}, {"x_train.py": ScriptOptions("x_train.py", rows)})
    assert repr(decode(encode(snapshot)).scripts["x_train.py"].rows) == repr(rows)


def test_an_option_says_where_it_is_declared() -> None:
    assert LORA["caption_extension"] == Option(
        "caption_extension",
        ("--caption_extension",),
        "one",
        "str",
        default=".caption",
        where="library/args.py:901",
    )


def test_an_abbreviation_is_no_option() -> None:
    assert "network_alph" not in LORA
    assert LORA.get("text_encoder") is None


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("lr", "learning_rate"),
        ("batch_size", "train_batch_size"),
        ("epochs", "max_train_epochs"),
        ("num_epochs", "max_train_epochs"),
        ("network_rank", "network_dim"),
        ("rank", "network_dim"),
        ("dim", "network_dim"),
        ("alpha", "network_alpha"),
        ("optimizer", "optimizer_type"),
        ("output", "output_dir"),
        ("text_encoder", "text_encoder_lr"),
        ("network_alph", "network_alpha"),
        ("gradient_checkpoint", "gradient_checkpointing"),
        ("network_arg", "network_args"),
        ("--Network-Dim", "network_dim"),
        ("unet_rl", "unet_lr"),
        ("zzz", None),
        ("", None),
    ],
)
def test_the_name_somebody_meant_is_found(word: str, name: str | None) -> None:
    assert LORA.nearest(word) == name


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("lr", "did you mean 'learning_rate'?"),
        ("repeats", "write datasets.0.repeats: 10"),
        ("fp8", "did you mean 'fp8_base' or 'fp8_base_unet'?"),
        ("zzz", ""),
    ],
)
def test_the_advice_is_a_clause(word: str, advice: str) -> None:
    assert LORA.advice(word) == advice


def test_every_name_people_use_leads_to_an_option_of_some_script() -> None:
    known = {name for script in scripts(SD_SCRIPTS) for name in options_for(script, None)}
    from kohya_runner.options.script_options import PEOPLE_SAY

    assert {name for names in PEOPLE_SAY.values() for name in names} <= known


def test_an_unknown_script_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(TrainerError) as caught:
        options_for("flux_train_networks.py", None)
    assert caught.value.message == "the trainer has no train script 'flux_train_networks.py'"
    assert caught.value.hint == "did you mean 'flux_train_network.py'?"


def test_another_checkout_is_read_from_its_sources(checkout: Path) -> None:
    assert not matches_snapshot(checkout, SD_SCRIPTS)
    assert options_for("my_train.py", checkout).rows == (
        Option("network_dim", ("--network_dim",), "one", "int", default=4, where="my_train.py:5"),
        Option("tags", ("--tags",), "many", "str", nargs="*", choices=("a", "b"), where="my_train.py:6"),
    )


def test_an_unknown_script_of_another_checkout_is_an_error(checkout: Path) -> None:
    with pytest.raises(TrainerError, match="no train script 'train_network"):
        options_for("train_network.py", checkout)


def test_a_folder_without_train_scripts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no train scripts here"):
        options_for("train_network.py", tmp_path)


def test_nothing_is_written_unless_asked_for(checkout: Path, tmp_path: Path) -> None:
    options_for("my_train.py", checkout, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_was_read_is_kept_and_used(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = options_for("my_train.py", checkout, tmp_path / "cache", write_cache=True)
    monkeypatch.setattr(options_module, "_read", None)
    assert options_for("my_train.py", checkout, tmp_path / "cache") == first


def test_a_changed_source_is_read_again(checkout: Path, tmp_path: Path) -> None:
    options_for("my_train.py", checkout, tmp_path / "cache", write_cache=True)
    (checkout / "my_train.py").write_text(SCRIPT.replace("default=4", "default=8"), encoding="utf-8")
    assert options_for("my_train.py", checkout, tmp_path / "cache")["network_dim"].default == 8


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "options": [{}], "scripts": 3}']
)
def test_a_broken_cache_is_read_from_the_sources(checkout: Path, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "cache"
    options_for("my_train.py", checkout, cache, write_cache=True)
    (file,) = cache.iterdir()
    file.write_text(content, encoding="utf-8")
    assert len(options_for("my_train.py", checkout, cache)) == 2


def test_a_script_that_cannot_be_read_does_not_spoil_the_others(checkout: Path, tmp_path: Path) -> None:
    (checkout / "bad_train.py").write_text("def setup_parser():\n    return unknown()\n", encoding="utf-8")
    options_for("my_train.py", checkout, tmp_path / "cache", write_cache=True)
    (file,) = (tmp_path / "cache").iterdir()
    assert list(json.loads(file.read_text(encoding="utf-8"))["scripts"]) == ["my_train.py"]


def test_a_cache_that_cannot_be_written_is_no_failure(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")
    assert len(options_for("my_train.py", checkout, tmp_path / "cache", write_cache=True)) == 2


def test_the_snapshot_is_only_written_from_the_pinned_commit(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="is at None"):
        write_shipped(checkout, SD_SCRIPTS, tmp_path / "snapshot.json")


def test_line_ends_do_not_make_another_checkout(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    (copy / "my_train.py").write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    assert fingerprint(copy, SD_SCRIPTS) == fingerprint(checkout, SD_SCRIPTS)


def test_the_rebuilt_parser_has_the_trainers_defaults() -> None:
    read = vars(argparse_parser(LORA).parse_args([]))
    assert read["learning_rate"] == 2e-6
    assert read["caption_extension"] == ".caption"
    assert read["max_train_steps"] == 1600
    assert read["xformers"] is False


def test_the_rebuilt_parser_takes_abbreviations_like_the_trainers() -> None:
    assert argparse_parser(LORA).parse_args(["--text_encoder", "1e-5"]).text_encoder_lr == [1e-5]


def test_every_snapshot_row_belongs_to_a_hashed_file() -> None:
    files = {row.where.rpartition(":")[0] for options in shipped(SD_SCRIPTS).scripts.values() for row in options.rows}
    assert files <= set(shipped(SD_SCRIPTS).sources)
