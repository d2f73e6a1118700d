"""LECO: prompts in place of pictures. Its steps, and its prompt file as library/leco_train_util.py:219 reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from kohya_runner.engines.steps_plan import MOST_STEPS, BucketCount, SaveSettings, StepsPlan, plan_saves, save_problems
from kohya_runner.findings import Finding, Severity, error, warning
from kohya_runner.tables import toml
from kohya_runner.text import did_you_mean

NUMBERS = {"guidance_scale": 1.0, "batch_size": 1, "multiplier": 1.0, "weight": 1.0}
SWITCHES, TEXTS = ("dynamic_resolution", "dynamic_crops"), ("positive", "neutral", "unconditional")
SHARED = ("resolution", *SWITCHES, *NUMBERS)
PROMPT_KEYS = ("target", *TEXTS, "action", *SHARED)
SLIDER_KEYS = (
    "target_class", "positive", "negative", "neutral", "neutrals", "neutral_prompt_file", "prompt_file", "resolutions",
    *SHARED,
)  # fmt: skip
ACTIONS = ("erase", "enhance")
MOST_BYTES = 1_000_000


def steps(values: Mapping[str, Any], name: str) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    """max_train_steps steps; after the last one there is the final file alone (train_leco.py:309)."""
    known = {field.name for field in fields(SaveSettings)} & {"save_model_as", "save_every_n_steps"}
    settings = SaveSettings(name, **{key: values[key] for key in known if values.get(key) is not None})
    total, found = int(values.get("max_train_steps") or 0), tuple(save_problems(settings))
    if not 1 <= total <= MOST_STEPS:
        found += (error("steps.none", f"max_train_steps: {total}", hint="write an args.max_train_steps such as 500"),)
    if any(finding.severity is Severity.ERROR for finding in found):
        return None, found
    saves = plan_saves(settings, total=total - 1, steps_per_epoch=total, epochs=1)
    sides = (_sides(row) for _, row in _rows(_read(values.get("prompts_file"))[0]))
    sizes = sorted({(side[0], side[-1]) for side in sides if side})
    return StepsPlan(0, 0, 0, 0, total, total, 1, total, tuple(BucketCount(*s, 0, 0) for s in sizes), saves), found


def _read(named: object) -> tuple[Mapping[str, Any], str]:
    """What a prompt file holds, and why it cannot be read ("" where it can)."""
    path = Path(str(named))
    try:
        if path.stat().st_size > MOST_BYTES or not path.is_file():
            return {}, "is no file of prompts"
        return toml(path.read_text(encoding="utf-8")), ""
    except (OSError, ValueError) as fault:
        return {}, str(fault)


def prompt_findings(named: object, where: str) -> Iterator[Finding]:
    """Everything that is wrong with a prompt file, each with its place in it."""
    held, problem = _read(named)
    rows = tuple(_rows(held))
    if not rows:
        hint = (
            "write a TOML file as recipes/leco_prompts.toml: [[prompts]] with target, or [[targets]] with target_class"
        )
        text = f"prompts_file: {named}: {problem or 'holds no prompts and no targets'}"
        yield error("args.prompts_file", text, where=where, hint=hint)
    for place, row in rows:
        yield from _problems(f"{named}: {place}", row)


def _rows(held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "prompts" in held:
        name, found = "prompts", held["prompts"]
    else:
        inner = held.get("slider", held)
        inner = inner if isinstance(inner, dict) else {}
        alone = [inner] if "target" in inner or "target_class" in inner else []
        name, found = "targets", inner.get("targets", alone)
    for number, row in enumerate(found if isinstance(found, list) else [], 1):
        yield f"{name} {number}", row if isinstance(row, dict) else {}


def _problems(place: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    known = SLIDER_KEYS if "target_class" in row else PROMPT_KEYS
    for key in (key for key in row if key not in known):
        said, hint = f"{place}: there is no key '{key}'", did_you_mean(key, known)
        # of a prompt the script stops at it, of a slider it looks at none (leco_train_util.py:232, :156)
        yield (
            error("args.prompts_file", said, hint=hint)
            if known is PROMPT_KEYS
            else warning("args.prompts_unread", said, hint=hint)
        )
    if known is PROMPT_KEYS and not isinstance(row.get("target"), str):
        yield error("args.prompts_file", f"{place}: target is missing", hint='write target = "what to change"')
    if known is SLIDER_KEYS and not any(str(row.get(key) or "").strip() for key in ("positive", "negative")):
        hint = 'write positive = "..." or negative = "..."'
        yield error("args.prompts_file", f"{place}: a slider needs positive or negative", hint=hint)
    if row.get("action", "erase") not in ACTIONS:
        text = f"{place}: action is {row['action']}, and there are erase and enhance"
        yield error("args.prompts_file", text, hint='write action = "erase"')
    for key in (key for key in NUMBERS if isinstance(row.get(key, 1), str | list | dict)):
        yield error("args.prompts_file", f"{place}: {key} must be a number", hint=f"write {key} = {NUMBERS[key]}")
    if not isinstance(row.get("batch_size", 1), str | list | dict) and row.get("batch_size", 1) < 1:
        yield error("args.prompts_file", f"{place}: batch_size is below 1", hint="write batch_size = 1")
    yield from _sizes(place, row)


def _sides(row: Mapping[str, Any]) -> list[int]:
    """Height and width, or both at once; none where they are no sizes."""
    stated = row.get("resolution", 512)
    sides = stated if isinstance(stated, list) else [stated]
    return sides if len(sides) in (1, 2) and all(isinstance(side, int) and side > 0 for side in sides) else []


def _sizes(place: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    """Latents are an eighth of a side, and the U-Net halves them three times."""
    stated, sides = row.get("resolution", 512), _sides(row)
    if not sides:
        hint = "write resolution = 512 or resolution = [512, 768]"
        yield error("args.prompts_file", f"{place}: resolution is {stated}", hint=hint)
    elif any(side % 64 for side in sides):
        text = f"{place}: resolution {stated}: the U-Net's halves fit together for multiples of 64"
        yield error("args.prompts_file", text, hint="write multiples of 64")
