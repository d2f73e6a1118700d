"""What we say the trainer will see against its own dataset code: 46 kinds of files, captions, buckets, tokens."""

# ruff: noqa: RUF001, SIM905

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from odd_pictures import PICTURES, write_all

from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.picture import read_picture
from kohya_runner.dataset.survey import Survey, survey
from kohya_runner.dataset.token_count import Encoder, count, read_merges
from kohya_runner.dataset.trainer_view import Rules, TrainerView, bucketing_size, rules_from, trainer_views
from kohya_runner.dataset.tree_build import build

pytestmark = pytest.mark.daily

OPTIONS: dict[str, dict[str, Any]] = {
    "buckets": {"resolution": "256,256", "enable_bucket": True, "min_bucket_reso": 64, "max_bucket_reso": 512},
    "no upscale": {
        "resolution": "128",
        "enable_bucket": True,
        "min_bucket_reso": 64,
        "bucket_no_upscale": True,
        "bucket_reso_steps": 8,
    },
    "one size": {"resolution": "128,64", "cache_latents": True},
    "nearest": {"resolution": "128", "enable_bucket": True, "min_bucket_reso": 64, "resize_interpolation": "nearest"},
    "area": {"resolution": "64", "enable_bucket": True, "min_bucket_reso": 64, "resize_interpolation": "area"},
    "prefix": {"resolution": "64", "cache_latents": True, "caption_prefix": "pixel art,", "caption_suffix": ", 24x24"},
    "separators": {"resolution": "64", "cache_latents": True, "secondary_separator": ";;;"},
    "alpha mask": {"resolution": "64", "cache_latents": True, "alpha_mask": True},
}
SIZES = ((24, 24), (64, 64), (100, 300), (513, 200), (1000, 400), (37, 41), (128, 64), (640, 640))
CAPTIONS = {
    0: b"a plain cat\n",
    1: b"\xef\xbb\xbfwith a mark",
    2: b"  first \r\nsecond\r\n",
    3: b"\nsecond",
    4: "tags;;;of a cat; ünïcode \u2028 here".encode(),
    5: b"first\rsecond",
}
WORDS = tuple(
    "pixel art 24x24 a cat's dog'll it_is snake_case #ff00aa #12ab34 palette: (best:1.2) [low] don't I'm 100% e-mail "
    "C++ 3.14159 https://example.org/a?b=c ... !!! <lora:x:1> {a|b} 'quoted' under__score UPPER Mixed bespoke punk"
    .split()
)  # fmt: skip
ODD = (
    "café au lait", "naïve façade", "日本語の猫", "“curly” quotes—dash…", "ﬁne ligature", "e\u0301 combining", "🐱 cat",
    "a&amp;b", "zero\u200bwidth", "ｆｕｌｌ width", "Ünïcödé Straße", "tab\tand\nline", "ﷺ", "don’t", "x²", "½ cup",
    "\ufeffmark", "cafÃ© garÃ§on", "Ã©tÃ©",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What we said, and what the trainer's code did."""

    seen: dict[str, dict[str, TrainerView]]  # by case and laid-out name
    cases: dict[str, dict[str, Any]]
    paths: dict[str, Path]
    pictures: dict[str, Any]
    texts: tuple[str, ...]
    tokenizer: Path
    tokens: dict[str, list[Any]]


def write_sources(root: Path) -> Source:
    folder = root / "it's a source"
    folder.mkdir(parents=True)
    for index, size in enumerate(SIZES):
        mode = "RGBA" if index % 2 else "RGB"
        PIL.Image.new(mode, size, (index, 0, 0, 100)[: len(mode)]).save(folder / f"{index}.png")
        if index in CAPTIONS:
            (folder / f"{index}.txt").write_bytes(CAPTIONS[index])
    return Source(folder, "class_token")


def laid_out(read: Survey, root: Path) -> Layout:
    layout = plan_layout([read.scan], root / "datasets" / "x", "settings")
    build(layout)
    return layout


def argv(options: dict[str, Any], layout: Layout) -> list[str]:
    merged = {"train_data_dir": layout.train_dir, "caption_extension": ".txt", **options}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in merged.items()]


def expected(read: Survey, layout: Layout, rules: Rules) -> dict[str, TrainerView]:
    names = {entry.image.path: entry.name for entry in layout.folders[0].entries}
    return {names[one.image.path]: one for one in trainer_views(read, rules)}


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer in CLIP's files, with merges learnt from our words: the code is CLIP's, the words are not."""
    folder.mkdir()
    merges = learnt(" ".join((*WORDS, "the cat sat on a mat in the park")).lower().split())
    byte_signs = [chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 256 + 68))]
    vocabulary = [*byte_signs, *(f"{sign}</w>" for sign in byte_signs), *("".join(pair) for pair in merges)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({sign: n for n, sign in enumerate(vocabulary)}), encoding="utf-8")
    text = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])
    (folder / "merges.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77}), encoding="utf-8")
    return folder


def learnt(words: list[str], number: int = 150) -> list[tuple[str, str]]:
    """Byte pair encoding of plain words: the most frequent pair, again and again."""
    parts = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    for _ in range(number):
        pairs = [pair for part in parts for pair in pairwise(part)]
        if not pairs:
            break
        best = max(sorted(set(pairs)), key=pairs.count)
        merges.append(best)
        parts = [joined(part, best) for part in parts]
    return merges


def joined(part: list[str], pair: tuple[str, str]) -> list[str]:
    made: list[str] = []
    for sign in part:
        if made and (made[-1], sign) == pair:
            made[-1] += sign
        else:
            made.append(sign)
    return made


def some_texts() -> tuple[str, ...]:
    chance = random.Random(1)
    plain = [" ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 60))) for _ in range(250)]
    odd = [f"{chance.choice(WORDS)} {chance.choice(ODD)} {chance.choice(WORDS)}" for _ in range(60)]
    return (*plain, *ODD, *odd, "", "a  b   c", "<|endoftext|> a")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Truth:
    root = tmp_path_factory.mktemp("it's data")
    read = survey(write_sources(root))
    layout = laid_out(read, root)
    paths, texts, tokenizer = write_all(root / "odd ä"), some_texts(), write_tokenizer(root / "tokenizer")
    jobs = {
        "cases": [argv(options, layout) for options in OPTIONS.values()],
        "pictures": [str(path) for path in paths.values()],
        "tokenizer": str(tokenizer),
        "texts": texts,
    }
    answer = ask(jobs, root / "jobs.json", sd_scripts, trainer_python)
    ours = {name: expected(read, layout, rules_from(options.get)) for name, options in OPTIONS.items()}
    cases = dict(zip(OPTIONS, answer["cases"], strict=True))
    pictures = dict(zip(paths, answer["pictures"], strict=True))
    return Truth(ours, cases, paths, pictures, texts, tokenizer, answer["tokens"])


def ask(jobs: dict[str, Any], file: Path, sd_scripts: Path, trainer_python: Path) -> Any:
    file.write_text(json.dumps(jobs), encoding="utf-8")
    child = Path(__file__).with_name("dataset_child.py")
    command = [str(trainer_python), str(child), str(sd_scripts), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", OPTIONS)
def test_prompt_bucket_crop_and_interpolation_are_the_trainers(truth: Truth, name: str) -> None:
    ours = {
        key: {
            "prompt": one.caption,
            "size": list(one.size),
            "bucket": list(one.bucket or ()),
            "resized": list(one.resized or ()),
            "interpolation": one.interpolation,
        }
        for key, one in truth.seen[name].items()
    }
    real = {key: {k: v for k, v in one.items() if k != "shape"} for key, one in truth.cases[name].items()}
    assert len(ours) == len(SIZES)
    assert ours == real


@pytest.mark.parametrize("name", OPTIONS)
def test_the_bucket_is_what_the_vae_gets(truth: Truth, name: str) -> None:
    channels = 4 if name == "alpha mask" else 3
    shapes = {key: [*reversed(one.bucket or ()), channels] for key, one in truth.seen[name].items()}
    assert {key: one["shape"] for key, one in truth.cases[name].items()} == shapes


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_is_usable_here_exactly_if_the_trainer_can_load_it(truth: Truth, name: str) -> None:
    ours, real = read_picture(truth.paths[name]), truth.pictures[name]
    assert bool(ours.image.problem) == (real["error"] is not None), (ours.image.problem, real)


@pytest.mark.parametrize("name", PICTURES)
def test_the_size_is_what_the_trainer_loads_and_what_it_sorts_into_buckets_by(truth: Truth, name: str) -> None:
    ours, real = read_picture(truth.paths[name]).image, truth.pictures[name]
    if real["error"] is None:
        assert [ours.width, ours.height] == real["size"]
        assert list(bucketing_size((ours.width, ours.height), read_picture(ours.path).traits)) == real["told"]
        assert real["channels"] == 3


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_called_clipped_exactly_if_it_becomes_white(truth: Truth, name: str) -> None:
    traits, real = read_picture(truth.paths[name]).traits, truth.pictures[name]
    if traits is not None and traits.mode != "1":
        assert traits.clipped == real["white"]


def test_of_an_animation_the_trainer_takes_the_first_frame(truth: Truth) -> None:
    moving = [n for n in PICTURES if (t := read_picture(truth.paths[n]).traits) is not None and t.animated]
    assert moving == ["moving.webp", "moving.png", "moving gif named.jpg"]
    for name in moving:
        red, green, blue = truth.pictures[name]["corner"]
        assert red > 150 > max(green, blue)


def test_what_lies_below_a_clear_pixel_is_trained(truth: Truth) -> None:
    traits = read_picture(truth.paths["clear.png"]).traits
    assert traits is not None
    assert traits.transparent == 48 * 32
    assert truth.pictures["clear.png"]["corner"] == [200, 100, 50]


def test_plain_texts_have_exactly_the_tokens_counted(truth: Truth) -> None:
    encoder = Encoder("CLIP-L", 75, "clip", read_merges(truth.tokenizer))
    counts = {text: count(encoder, text) for text in truth.texts}
    exact = {
        text: number for text, number in zip(truth.texts, truth.tokens["counts"], strict=True) if counts[text].exact
    }
    assert len(exact) > 200
    assert {text: counts[text].most for text in exact} == exact


def test_other_texts_never_have_more_tokens_than_estimated_nor_fewer(truth: Truth) -> None:
    for merges in (read_merges(truth.tokenizer), None):
        encoder = Encoder("CLIP-L", 75, "clip", merges)
        for text, real in zip(truth.texts, truth.tokens["counts"], strict=True):
            ours = count(encoder, text)
            assert ours.fewest <= real <= ours.most, text


def test_the_trainer_reads_what_stands_before_the_cut(truth: Truth) -> None:
    encoder = Encoder("CLIP-L", 75, "clip", read_merges(truth.tokenizer))
    cut = 0
    for text, left in zip(truth.texts, truth.tokens["left"], strict=True):
        ours = count(encoder, text)
        if ours.exact and ours.cut is not None:
            cut += 1
            whole, rest = plain(text[: ours.cut]), plain(text[ours.cut :])
            assert plain(left).startswith(whole)
            assert not plain(left).endswith(rest)
    assert cut > 20


def plain(text: str) -> str:
    return "".join(text.lower().split())
