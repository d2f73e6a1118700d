"""sd-scripts' own part of a plan: the repeat folders, its steps, its options and the rules between them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.layout import Layout, plan_layout, with_metadata
from kohya_runner.engines.arguments import Arg, StatedOption, runner_options
from kohya_runner.engines.protocol import Arranged, Planned, ResolvedRecipe
from kohya_runner.engines.rule_context import context_of
from kohya_runner.engines.sd_scripts import TABLE
from kohya_runner.engines.sd_scripts.batching import batching_from
from kohya_runner.engines.sd_scripts.dataset_config import evaluated, per_dataset, with_config
from kohya_runner.engines.sd_scripts.steps import plan_steps
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.findings import Finding
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.recipe.load import Loaded
from kohya_runner.record.run_paths import RunPaths


def arrange(resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
    """The repeat folders; pairs, a metadata file or a dataset file where the script reads those."""
    facts = {name: resolved.parsed.get(name) for name in TABLE["caches"]["options"]}
    text = json.dumps([resolved.support.key, resolved.models.base, facts], sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]  # with another one old caches are dropped
    layout = plan_layout(scans, tree, key, caption_extension=resolved.loaded.caption_extension)
    if resolved.support.data == "metadata":
        return Arranged(with_metadata(layout))
    if resolved.support.data != "pairs":
        return Arranged(with_config(layout))
    from kohya_runner.dataset.edit import EditSet, Paired
    from kohya_runner.dataset.edit_layout import with_conditions, with_edits

    edits = tuple(pair for pair in resolved.pairs if isinstance(pair, EditSet))
    if edits:
        return Arranged(with_edits(layout, edits))
    return Arranged(with_conditions(layout, tuple(pair for pair in resolved.pairs if isinstance(pair, Paired))))


def steps(resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
    """The numbers of the laid-out folders; none without a resolution, which is said already."""
    if resolved.support.data == "prompts":
        from kohya_runner.engines.sd_scripts import leco

        return leco.steps(values, resolved.recipe.name)
    processes, divisor = resolved.recipe.launch.world, resolved.support.bucket_step
    own = [one["resolution"] for folder in layout.folders if "resolution" in (one := per_dataset(folder))]
    if values.get("resolution") is None and own:  # each dataset has its own
        values = {**values, "resolution": ",".join(map(str, own[0]))}
    batching = batching_from(values, resolved.recipe.name, num_processes=processes, reso_steps_divisor=divisor)
    return plan_steps(layout.folders, batching) if batching else (None, ())


def findings(resolved: ResolvedRecipe, layout: Layout, numbers: StepsPlan | None) -> tuple[Finding, ...]:
    """What the rules have against the options, and against those of each dataset."""
    prompts = resolved.parsed.get("sample_prompts")
    context = context_of(resolved, numbers)
    if prompts is not None:
        own = resolved.recipe.samples if resolved.loaded.args.get("sample_prompts") is None else None
        read = tuple(map(prompt_line, own.prompts)) if own else sample_prompts(Path(prompts))
        bare = sum("image" not in prompt for prompt in read)
        context = replace(
            context, prompt_seeds=sample_seeds(read), prompt_sizes=sample_sizes(read), prompts_without_picture=bare
        )
    found = evaluated(context, resolved.loaded, layout.folders)
    named = resolved.parsed.get("prompts_file")
    if resolved.support.data == "prompts" and named is not None:
        from kohya_runner.engines.sd_scripts import leco

        found += tuple(leco.prompt_findings(named, resolved.loaded.where("args", "prompts_file")))
    return found


def arguments(
    resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
) -> tuple[Arg, ...]:
    """What the runner adds, then the recipe's own options.

    ``.caption`` is the trainer's caption extension (library/args.py:902) and no checkpoint before the end is
    its cadence, so both are passed unless the recipe says null.
    """
    given, options = resolved.recipe.args, resolved.parsed.options
    unsaid = given.get("caption_extension") is None and not resolved.loaded.nulled("caption_extension")
    source = "runner: the trainer's own default is .caption"
    own = [("caption_extension", ".txt", source)] if unsaid and "caption_extension" in options else []
    return runner_options(resolved, run, _data(resolved.loaded, options, arranged.layout), saving, own)


def _data(loaded: Loaded, options: ScriptOptions, layout: Layout) -> Iterator[StatedOption]:
    """Where the script reads its pictures, and what lies beside them."""
    where = loaded.where("datasets")
    repeats = layout.folders[0].repeats if layout.metadata and layout.folders else None
    found = {
        "train_data_dir": layout.train_dir, "reg_data_dir": layout.reg_dir, "in_json": layout.metadata_file,
        "conditioning_data_dir": layout.conditioning_dir, "dataset_repeats": repeats,
    }  # fmt: skip
    if layout.config:
        found = {"dataset_config": layout.config_file}
    for name, value in found.items():
        if value is not None and name in options:
            yield name, value if isinstance(value, int) else str(value), where


MOST_BYTES = 1_000_000
PROMPT_NUMBERS = {name: re.compile(rf"{name[0]} (\d+)", re.IGNORECASE) for name in ("width", "height")}
PROMPT_NUMBERS["seed"] = re.compile(r"d (\d+)", re.IGNORECASE)
PICTURE = re.compile(r"i .", re.IGNORECASE)  # library/sampling.py:186

Prompt = dict[str, int]


def sample_seeds(prompts: tuple[Prompt, ...]) -> tuple[int, ...]:
    """Every seed, in order."""
    return tuple(prompt["seed"] for prompt in prompts if "seed" in prompt)


def sample_sizes(prompts: tuple[Prompt, ...]) -> tuple[tuple[int | None, int | None], ...]:
    """Every size, width first; None for a side that is not stated."""
    return tuple((p.get("width"), p.get("height")) for p in prompts if "width" in p or "height" in p)


def sample_prompts(path: Path) -> tuple[Prompt, ...]:
    """What each asks for; nothing where the file cannot be read, is no file of prompts or is very large."""
    read = PROMPT_READERS.get(path.suffix)
    if read is None:
        return ()
    try:
        if path.stat().st_size > MOST_BYTES:
            return ()
        return tuple(read(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return ()


def prompt_line(line: str) -> Prompt:
    """The last of several counts; a minus is not read at all."""
    parts = line.split(" --")
    found = {
        name: int(m[1]) for part in parts for name, pattern in PROMPT_NUMBERS.items() if (m := pattern.match(part))
    }
    return found | ({"image": 1} if any(map(PICTURE.match, parts)) else {})


def _prompts_of_json(text: str) -> Iterator[Prompt]:
    prompts: Any = json.loads(text)
    for prompt in prompts if isinstance(prompts, list) else ():
        if isinstance(prompt, str):
            yield prompt_line(prompt)
        elif isinstance(prompt, dict):
            found = {name: int(prompt[name]) for name in PROMPT_NUMBERS if isinstance(prompt.get(name), int | str)}
            yield found | ({"image": 1} if prompt.get("image") else {})


PROMPT_READERS: Mapping[str, Callable[[str], Iterator[Prompt]]] = {
    ".txt": lambda text: (prompt_line(s.strip()) for s in text.splitlines() if s.strip() and not s.startswith("#")),
    ".json": _prompts_of_json,
}
"""TOML is read by the trainer as well, and left alone here."""
