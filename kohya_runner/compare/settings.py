"""What is painted with each checkpoint: prompts, seeds, strengths and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.compare.clip import fault_of
from kohya_runner.engines.painting import Painter
from kohya_runner.errors import UsageError

SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})\Z", re.ASCII)
_VARIANTS = re.compile(r"\{.+\}")
"""gen_img.py:1369; escaping them does not help: it ends with an UnboundLocalError then (:1535)."""
LARGEST_SEED = (1 << 32) - 1
DEFAULT_SIZE = "1024x1024"


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How every picture of a sweep is made. Sizes in pixels; a sampler "" is the script's own, the only one it has."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (42,)
    negative: str = ""
    steps: int = 30
    guidance: float = 7.5
    width: int = 1024
    height: int = 1024
    strengths: tuple[float, ...] = (1.0,)
    samplers: tuple[str, ...] = ("ddim",)
    base: bool = True
    triggers: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()  # a picture to edit for each prompt
    clip: Path | None = None  # a folder with a CLIP model, for figures


@dataclass(frozen=True, slots=True)
class SweepOptions:
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
    controls: tuple[Path, ...] = ()
    clip: Path | None = None


def settings_from(
    given: SweepOptions,
    recipe: Mapping[str, Any],
    *,
    painter: Painter,
    size: str | None,
    captions: tuple[str, ...] = (),
) -> SweepSettings:
    """The command line's word, else the recipe's ``compare``, else the script's. All faults are told at once.

    ``recipe`` holds what the recipe itself says. ``size`` is the run's resolution, ``captions`` stand in for prompts.

    Raises:
        UsageError: a value that cannot be painted with, or no prompt at all.
    """
    faults: list[str] = []
    prompts = _prompts(given, faults) or tuple(map(str, recipe.get("prompts") or ())) or captions
    width, height = _size(given.size or recipe.get("size"), size, painter.multiple, faults)
    clip = given.clip or recipe.get("clip")
    named = given.sampler.split(",") if given.sampler else stated_samplers(recipe)
    settings = SweepSettings(
        prompts=tuple(" ".join(prompt.split()) for prompt in prompts),
        seeds=_numbers("--seeds", given.seeds, int, faults) or tuple(recipe.get("seeds") or (42,)),
        negative=_first(given.negative, recipe.get("negative"), ""),
        steps=_first(given.steps, recipe.get("steps"), 30),
        guidance=float(_first(given.guidance, recipe.get("guidance"), painter.guidance)),
        width=width,
        height=height,
        strengths=_numbers("--strengths", given.strengths, float, faults) or tuple(recipe.get("strengths") or (1.0,)),
        samplers=(tuple(dict.fromkeys(name.strip() for name in named)) or ("ddim",)) if painter.samplers else ("",),
        base=_first(given.base, recipe.get("base"), True),
        triggers=given.triggers or tuple(recipe.get("trigger") or ()),
        clip=Path(clip).expanduser().absolute() if clip else None,
    )
    faults += _faults(settings, painter)
    if faults:
        raise UsageError("\n".join(faults))
    return settings


def _size(stated: str | None, trained: str | None, multiple: int, faults: list[str]) -> tuple[int, int]:
    """What a person said, as it is; what the run was trained with is cut to what the script takes."""
    pixels = SIZE.match(str(stated or trained or DEFAULT_SIZE))
    if pixels is None:
        faults.append(f"--size {stated}: write WIDTHxHEIGHT, such as {DEFAULT_SIZE}")
        return multiple, multiple
    width, height = int(pixels[1]), int(pixels[2])
    if stated:
        return width, height
    return max(multiple, width // multiple * multiple), max(multiple, height // multiple * multiple)


def stated_samplers(recipe: Mapping[str, Any]) -> list[str]:
    """Those of a recipe's ``compare``: ``sampler``, then ``samplers``."""
    return [name for name in (recipe.get("sampler"), *(recipe.get("samplers") or ())) if name]


def _first(*values: Any) -> Any:
    """The first that is set; None alone means "not set"."""
    return next(value for value in values if value is not None)


def _prompts(given: SweepOptions, faults: list[str]) -> tuple[str, ...]:
    if given.prompts_file is None:
        return given.prompts
    try:
        text = given.prompts_file.read_text(encoding="utf-8-sig")
    except OSError as fault:
        faults.append(f"--prompts {given.prompts_file}: {fault.strerror or fault}")
        return given.prompts
    except UnicodeDecodeError:
        faults.append(f"--prompts {given.prompts_file}: is not UTF-8 text")
        return given.prompts
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    kept = [(n, line) for n, line in lines if line and not line.startswith("#")]
    faults += [f"{given.prompts_file}:{n}:1: {_OPTIONS}" for n, line in kept if "--" in line]
    if not kept:
        faults.append(f"--prompts {given.prompts_file}: contains no prompt")
    return (*given.prompts, *(line for _, line in kept if "--" not in line))


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


def _faults(settings: SweepSettings, painter: Painter) -> Iterable[str]:
    """What is wrong with the values, whoever said them."""
    if not any(prompt for prompt in settings.prompts):
        yield "there is no prompt: give --prompts FILE, or write compare.prompts into the recipe"
    for prompt in (*settings.prompts, settings.negative):
        if "--" in prompt:
            yield f"prompt '{prompt[:60]}': {_OPTIONS}"
        if _VARIANTS.search(prompt):
            yield f"prompt '{prompt[:60]}': {{...}} is a choice of several prompts to gen_img.py; write one of them"
    if settings.clip is not None and (fault := fault_of(settings.clip)):
        yield fault
    strange = [name for name in settings.samplers if name and name not in painter.samplers]
    yield from (f"sampler {name}: choose from {', '.join(painter.samplers)}" for name in strange)
    bounds: list[tuple[str, float, float, float]] = [("steps", settings.steps, 1, 1000)]
    bounds += [("seed", seed, 0, LARGEST_SEED) for seed in settings.seeds]
    bounds += [("strength", strength, -10, 10) for strength in settings.strengths]
    yield from (
        f"{name} {n}: must be between {low} and {high}" for name, n, low, high in bounds if not low <= n <= high
    )
    sides = (("width", settings.width), ("height", settings.height))
    many = painter.multiple
    yield from (f"{name} {side}: {painter.family} takes multiples of {many}" for name, side in sides if side % many)
