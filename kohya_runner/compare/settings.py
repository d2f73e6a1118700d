"""What is painted with each checkpoint: prompts, seeds, strengths and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SAMPLERS = (
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
    "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
)  # fmt: skip
"""gen_img.py:3251."""
SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})\Z", re.ASCII)
_VARIANTS = re.compile(r"\{.+\}")
"""gen_img.py:1369; escaping them does not help: it ends with an UnboundLocalError then (:1535)."""
LARGEST_SEED = (1 << 32) - 1
GUIDANCE = {"flux": 3.5, "sd3": 5.0, "lumina": 3.5, "hunyuan_image": 3.5, "anima": 3.5}
"""The scripts' own defaults; the SD families have 7.5 (gen_img.py:3274)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How every picture of a sweep is made. Sizes in pixels."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (42,)
    negative: str = ""
    steps: int = 30
    guidance: float = 7.5
    width: int = 1024
    height: int = 1024
    strengths: tuple[float, ...] = (1.0,)
    sampler: str = "ddim"
    base: bool = True
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says about it; None is what it leaves open."""

    prompts_file: Path | None = None
    prompts: tuple[str, ...] = ()
    seeds: str | None = None
    negative: str | None = None
    steps: int | None = None
    guidance: float | None = None
    size: str | None = None
    strengths: str | None = None
    sampler: str | None = None
    base: bool | None = None
    triggers: tuple[str, ...] = ()


def settings_from(
    wish: Wish, recipe: Mapping[str, Any], *, family: str, size: str | None, captions: tuple[str, ...] = ()
) -> Settings:
    """The command line's word, else the recipe's ``compare``, else the family's. All faults are told at once.

    ``recipe`` holds what the recipe itself says. ``size`` is the run's resolution, ``captions`` stand in for prompts.

    Raises:
        UsageError: a value that cannot be painted with, or no prompt at all.
    """
    faults: list[str] = []
    prompts = _prompts(wish, faults) or tuple(map(str, recipe.get("prompts") or ())) or captions
    pixels = SIZE.match(str(wish.size or recipe.get("size") or size or "1024x1024"))
    if pixels is None:
        faults.append(f"--size {wish.size}: write WIDTHxHEIGHT, such as 1024x1024")
    settings = Settings(
        prompts=tuple(" ".join(prompt.split()) for prompt in prompts),
        seeds=_numbers("--seeds", wish.seeds, int, faults) or tuple(recipe.get("seeds") or (42,)),
        negative=_first(wish.negative, recipe.get("negative"), ""),
        steps=_first(wish.steps, recipe.get("steps"), 30),
        guidance=float(_first(wish.guidance, recipe.get("guidance"), GUIDANCE.get(family, 7.5))),
        width=int(pixels[1]) if pixels else 0,
        height=int(pixels[2]) if pixels else 0,
        strengths=_numbers("--strengths", wish.strengths, float, faults) or tuple(recipe.get("strengths") or (1.0,)),
        sampler=_first(wish.sampler, recipe.get("sampler"), "ddim"),
        base=_first(wish.base, recipe.get("base"), True),
        triggers=wish.triggers or tuple(recipe.get("trigger") or ()),
    )
    faults += _faults(settings)
    if faults:
        raise UsageError("\n".join(faults))
    return settings


def _first(*values: Any) -> Any:
    """The first that is set; None alone means "not set"."""
    return next(value for value in values if value is not None)


def _prompts(wish: Wish, faults: list[str]) -> tuple[str, ...]:
    if wish.prompts_file is None:
        return wish.prompts
    try:
        text = wish.prompts_file.read_text(encoding="utf-8-sig")
    except OSError as fault:
        faults.append(f"--prompts {wish.prompts_file}: {fault.strerror or fault}")
        return wish.prompts
    except UnicodeDecodeError:
        faults.append(f"--prompts {wish.prompts_file}: is not UTF-8 text")
        return wish.prompts
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    kept = [(n, line) for n, line in lines if line and not line.startswith("#")]
    faults += [f"{wish.prompts_file}:{n}:1: {_OPTIONS}" for n, line in kept if "--" in line]
    if not kept:
        faults.append(f"--prompts {wish.prompts_file}: holds no prompt")
    return (*wish.prompts, *(line for _, line in kept if "--" not in line))


_OPTIONS = "'--' begins an option of the trainer's scripts; write size, seeds and steps as options of compare"


def _numbers(name: str, text: str | None, kind: Any, faults: list[str]) -> tuple[Any, ...]:
    if text is None:
        return ()
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        faults.append(f"{name} {text}: write {what} with commas between them")
        return ()


def _faults(settings: Settings) -> Iterable[str]:
    """What is wrong with the values, whoever said them."""
    if not any(prompt for prompt in settings.prompts):
        yield "there is no prompt: name a file with --prompts, or write compare.prompts into the recipe"
    for prompt in (*settings.prompts, settings.negative):
        if "--" in prompt:
            yield f"prompt '{prompt[:60]}': {_OPTIONS}"
        if _VARIANTS.search(prompt):
            yield f"prompt '{prompt[:60]}': {{...}} is a choice of several prompts to gen_img.py; write one of them"
    if settings.sampler not in SAMPLERS:
        yield f"sampler {settings.sampler}: choose from {', '.join(SAMPLERS)}"
    bounds: list[tuple[str, float, float, float]] = [("steps", settings.steps, 1, 1000)]
    bounds += [("seed", seed, 0, LARGEST_SEED) for seed in settings.seeds]
    bounds += [("strength", strength, -10, 10) for strength in settings.strengths]
    yield from (
        f"{name} {n}: must be between {low} and {high}" for name, n, low, high in bounds if not low <= n <= high
    )
    sides = (("width", settings.width), ("height", settings.height))
    yield from (f"{name} {side}: must be a multiple of 8" for name, side in sides if side % 8)
