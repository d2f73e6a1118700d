from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kohya_runner.artefact.model_inspection import SLOTS
from kohya_runner.dataset.token_count import QUOTED, Encoder, alike, count
from kohya_runner.dataset.tokenizer_files import read_tokenizer
from kohya_runner.engines import table
from kohya_runner.engines.support import T5_XXL
from kohya_runner.engines.text_encoders import ROWS, encoders, missing
from kohya_runner.hub import Access
from kohya_runner.plan.inspection_target import complete

CONTROL, UNKNOWN, NORMAL = 3, 2, 1
PIECES = (("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN), ("▁", NORMAL), ("▁cat", NORMAL), ("s", NORMAL))


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def spiece(folder: Path) -> Path:
    """A SentencePiece model of six pieces, written by hand."""
    folder.mkdir(parents=True)
    pieces = [
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", -float(n)) + bytes([3 << 3, kind]))
        for n, (text, kind) in enumerate(PIECES)
    ]
    trainer = field(2, bytes([3 << 3, 1]) + b"\xc0\x02\x02")  # model_type unigram, unk_id 2
    (folder / "spiece.model").write_bytes(b"".join(pieces) + trainer)
    return folder


def test_a_spiece_model_is_counted_piece_by_piece(odd_path: Path):
    files = read_tokenizer(spiece(odd_path / "t5"))
    assert files is not None
    found = count(Encoder("T5", 3, "t5", files=files), "cat cats cat")
    assert (found.most, found.exact, found.cut) == (4, True, 8)


def test_what_is_written_before_the_caption_takes_its_share(odd_path: Path):
    files = read_tokenizer(spiece(odd_path / "t5"))
    encoder = Encoder("Gemma 2", 4, "bytes", files=files, before="cats ")
    found = count(encoder, "cat cat cat")
    assert (found.limit, found.most, found.cut) == (2, 3, 7)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"<html>"),
        ("spiece.model", b"version https://git-lfs.github.com/spec/v1\n"),
        ("spiece.model", b""),
        ("spiece.model", b"\xff" * 40),
    ],
)
def test_files_that_are_no_tokenizer_leave_the_estimate(odd_path: Path, name: str, data: bytes):
    (odd_path / name).write_bytes(data)
    assert read_tokenizer(odd_path) is None


def test_a_tokenizer_is_found_in_the_options_folder_before_the_checkout(odd_path: Path):
    spiece(odd_path / "own" / T5_XXL.replace("/", "_"))
    support = table.find("flux", "lora")
    assert support is not None
    found = encoders(support, {}.get, places=(odd_path / "own",))[-1]
    assert found.known
    assert count(found, "cats").most == 2


def test_what_is_missing_is_asked_of_the_hub_by_its_files(odd_path: Path):
    support = table.find("flux", "lora")
    assert support is not None
    lacking = missing(support, encoders(support, {}.get))
    assert [files for _, _, files in lacking] == [("merges.txt", "vocab.json"), ("spiece.model",)]
    spiece(odd_path / "own" / T5_XXL.replace("/", "_"))
    assert len(missing(support, encoders(support, {}.get, places=(odd_path / "own",)))) == 1


def test_without_the_hub_the_estimate_stays(odd_path: Path):
    support = table.find("flux", "lora")
    assert support is not None
    dead = Access(endpoint="http://127.0.0.1:9", token=None)
    found = complete(support, lambda: encoders(support, {}.get), odd_path / "cache", dead)
    assert [one.known for one in found] == [False, False]


def test_every_family_the_trainer_has_says_what_reads_its_captions():
    assert set(ROWS) == {family for family, _ in SLOTS}
    assert {row.family for row in table.FAMILIES} <= set(ROWS)


def test_encoders_with_other_files_are_not_alike(odd_path: Path):
    files = read_tokenizer(spiece(odd_path / "t5"))
    pair = (Encoder("a", 9, "t5", files=files), Encoder("b", 9, "t5"))
    assert alike(pair) == ((0, "a"), (1, "b"))


@pytest.mark.parametrize(("text", "tokens"), [("no quotes", 0), ('says "ab"', 11), ('says "ä" and "b"', 21)])
def test_byt5_counts_the_bytes_in_quotes(text: str, tokens: int):
    found = count(Encoder("ByT5", 127, QUOTED), text)
    assert (found.most, found.exact) == (tokens, True)
