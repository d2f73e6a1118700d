"""T5, Gemma and Qwen as we count them against the trainer's own Python, on real sentences with made-up vocabularies."""

# ruff: noqa: RUF001

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kohya_runner.dataset.token_count import QUOTED, Encoder, count
from kohya_runner.dataset.tokenizer_files import Tokenizer, read_tokenizer
from kohya_runner.engines import table
from kohya_runner.engines.text_encoders import encoders

pytestmark = pytest.mark.daily

LIMIT = 20
PROSE = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
ODD = (
    "café au lait", "naïve façade", "日本語の猫と犬", "“curly” quotes—dash…", "ﬁne ligature", "e\u0301 combining",
    "🐱 cat 👩‍👩‍👧", "a&amp;b", "zero\u200bwidth", "ｆｕｌｌ width", "Ünïcödé Straße", "tab\tand\nline", "x²", "½ cup",
    "don’t", "\ufeffmark", "<extra_id_0> and </s> and <pad>", "<|im_start|>user", "<bos> or <unk>", " lead",
    "two  blanks   here",
    "ﷺ", "\u3000wide blank", "soft\u00adhyphen", "\u1e9b\u0323", "trail  ", "", " ", "①②③ ⅷ", "नमस्ते", "مرحبا بالعالم",
)  # fmt: skip
QUOTES = (
    'a sign that says "OPEN"',
    'two "one" and "two"',
    "‘左’ und “rechts”",
    'empty "" quotes',
    "no quotes",
    'half "',
)
HERE = {
    "t5 of the hub": ("t5", "t5 of the hub", False), "t5 saved": ("t5", "t5 saved", False),
    "gemma saved": ("bytes", "gemma saved", False), "anima qwen3": ("bytes", "configs/qwen3_06b", False),
    "anima t5": ("t5", "configs/t5_old", False), "hunyuan qwen": ("bytes", "configs/qwen3_06b", False),
    "flux t5": ("t5", "configs/t5_old", True), "hunyuan template": ("bytes", "configs/qwen3_06b", False),
}  # fmt: skip
"""Of each of the trainer's tokenizers: how it is estimated, its folder, and whether it is made of the pieces."""


@dataclass(frozen=True)
class Truth:
    texts: tuple[str, ...]
    answers: dict[str, dict[str, list[Any]]]
    folder: Path
    checkout: Path

    def files(self, name: str) -> Tokenizer:
        _, where, converted = HERE[name]
        root = self.checkout if where.startswith("configs") else self.folder
        found = read_tokenizer(root / where, converted=converted)
        assert found is not None
        return found


def sentences() -> list[str]:
    words = " ".join(path.read_text(encoding="utf-8") for path in PROSE)
    return [part.strip() for part in re.split(r"(?<=[.:;|])\s", words) if 3 < len(part.strip()) < 400]


def some_texts() -> tuple[str, ...]:
    chance, prose = random.Random(3), sentences()
    mixed = [f"{' '.join(chance.sample(prose, 4))} {chance.choice(ODD)} {chance.choice(prose)}" for _ in range(120)]
    return (*chance.sample(prose, 250), *mixed, *ODD, *QUOTES, " ".join(QUOTES) * 3)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Truth:
    root = tmp_path_factory.mktemp("it's tokens")
    texts = some_texts()
    jobs = {"folder": str(root), "corpus": sentences(), "texts": texts, "limit": LIMIT}
    (root / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    child = Path(__file__).with_name("tokens_child.py")
    command = [str(trainer_python), str(child), str(sd_scripts), str(root / "jobs.json")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return Truth(texts, json.loads(done.stdout), root, sd_scripts)


@pytest.mark.parametrize("name", HERE)
def test_every_text_has_exactly_the_tokens_the_trainer_makes_of_it(truth: Truth, name: str) -> None:
    encoder = Encoder(name, LIMIT, HERE[name][0], files=truth.files(name))
    ours = {text: count(encoder, text) for text in truth.texts}
    if name == "hunyuan template":  # what stands around the prompt joins blanks at its ends
        ours = {text: one for text, one in ours.items() if text == text.strip()}
    real = dict(zip(truth.texts, truth.answers[name]["counts"], strict=True))
    assert len(ours) > 300
    assert {text: one.most for text, one in ours.items()} == {text: real[text] for text in ours}
    assert all(one.exact for one in ours.values())


@pytest.mark.parametrize("name", HERE)
def test_an_estimate_never_counts_too_few(truth: Truth, name: str) -> None:
    encoder = Encoder(name, LIMIT, HERE[name][0])
    for text, real in zip(truth.texts, truth.answers[name]["counts"], strict=True):
        ours = count(encoder, text)
        assert ours.fewest <= real <= ours.most, text


@pytest.mark.parametrize("name", [name for name in HERE if name != "hunyuan template"])
def test_the_trainer_reads_what_stands_before_the_cut(truth: Truth, name: str) -> None:
    files = truth.files(name)
    cut = 0
    for text, left in zip(truth.texts, truth.answers[name]["left"], strict=True):
        ours = count(Encoder(name, LIMIT, HERE[name][0], files=files), text)
        assert (ours.cut is not None) == (ours.most > LIMIT)
        if ours.cut is not None and text.isascii() and "<" not in text:
            cut += 1
            assert plain(left) == plain(text[: ours.cut])
    assert cut > 25


def test_byt5_gets_the_words_in_quotes_byte_by_byte(truth: Truth) -> None:
    encoder = Encoder("ByT5", 127, QUOTED)
    ours = [count(encoder, text) for text in truth.texts]
    assert [one.most for one in ours] == truth.answers["byt5"]["counts"]
    assert any(one.cut is not None for one in ours)
    assert sum(one.most > 0 for one in ours) >= 5


@pytest.mark.parametrize("family", ["flux"])
def test_a_checkout_alone_is_enough_to_count_t5(truth: Truth, family: str) -> None:
    support = table.find(family, "lora")
    assert support is not None
    found = encoders(support, {}.get, checkout=truth.checkout)[-1]
    assert count(found, "a cat sitting on a mat").exact


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
