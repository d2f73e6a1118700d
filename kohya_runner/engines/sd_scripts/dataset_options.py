"""``datasets[].options``: what is wrong with them, and the rules between options as one dataset sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.buckets import parse_resolution
from kohya_runner.dataset.trainer_view import Rules, rules_from
from kohya_runner.engines.arguments import as_one_dataset
from kohya_runner.engines.rule_context import evaluate
from kohya_runner.engines.sd_scripts.dataset_config import (
    ARGUMENT,
    INSTEAD,
    KEYS,
    WITHOUT_ARGUMENT,
    canonical,
    converted,
    options_of,
    per_dataset,
)
from kohya_runner.engines.sd_scripts.rules import SUBJECTS
from kohya_runner.findings import Finding, error
from kohya_runner.options import values
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kohya_runner.dataset.facts import Folder, Source
    from kohya_runner.dataset.token_count import Encoder
    from kohya_runner.engines.arguments import ParsedOptions
    from kohya_runner.engines.rule_context import Context, EffectiveOptions
    from kohya_runner.engines.support import Support
    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.recipe.load import Loaded


def usable(entry_options: Mapping[str, Any]) -> str:
    """The options that the trainer would take, as one text; the others are findings."""
    known = {key: converted(key, value) for key, value in entry_options.items() if key in KEYS and value is not None}
    return canonical({key: value for key, (value, problem) in known.items() if not problem})


def findings(loaded: Loaded, support: Support, options: ScriptOptions) -> Iterator[Finding]:
    """Every key that there is not and every value that the trainer would refuse."""
    if not support.takes_dataset_options:
        yield from as_one_dataset(loaded, support)
    for index, entry in loaded.datasets.items():
        for key, value in entry.options.items():
            problem, hint = _problem(key, value, options)
            if problem:
                where = loaded.where("datasets", index, "options", key)
                yield error("dataset.options", f"datasets.{index}.options.{key}: {problem}", where=where, hint=hint)
    yield from _alone(loaded)


def _problem(key: str, value: Any, options: ScriptOptions) -> tuple[str, str]:
    """What is wrong with one option, and what to write instead; two empty texts for nothing."""
    if key in INSTEAD:
        return "is not an option of a dataset", INSTEAD[key]
    argument = ARGUMENT.get(key, key)
    if key not in KEYS or (argument not in options and key not in WITHOUT_ARGUMENT):
        return f"{options.script} has no such option of one dataset", did_you_mean(key, tuple(KEYS))
    if value is None:
        return "", ""
    plain, problem = converted(key, value)
    if problem or key in WITHOUT_ARGUMENT:
        return problem, ""
    text = ",".join(map(str, plain)) if isinstance(plain, list) else plain
    return values.problem(options[argument], text) or _least(key, plain), ""


def _least(key: str, value: Any) -> str:
    return "must be 1 or more" if key == "batch_size" and value < 1 else ""


def _alone(loaded: Loaded) -> Iterator[Finding]:
    """Class images are measured by the pictures of their own dataset (library/train_util.py:2167)."""
    made = {i: _dataset_key(entry.options) for i, entry in loaded.datasets.items()}
    trained = {made[i] for i, entry in loaded.datasets.items() if not entry.regularization}
    for index, entry in loaded.datasets.items():
        if trained and entry.regularization and made[index] not in trained:
            text = "class images with a resolution, batch size or buckets that no dataset of the subject has"
            hint = "give them the options of the subject's dataset, or none"
            yield error("dataset.options", text, where=loaded.where("datasets", index, "options"), hint=hint)


def _dataset_key(options: Mapping[str, Any]) -> str:
    return canonical({key: value for key, value in options_of(usable(options)).items() if KEYS[key].per_dataset})


@dataclass(frozen=True, slots=True)
class _Overlaid:
    """The run's options with those of one dataset over them, under the names of the command line."""

    below: EffectiveOptions
    own: Mapping[str, Any]

    @property
    def given(self) -> Mapping[str, Any]:
        return {**self.below.given, **self.own}

    def get(self, name: str) -> Any:
        value = self.own.get(name)
        return self.below.get(name) if value is None else value

    def on(self, name: str) -> bool:
        return self.get(name) is True


def rules_of(option: Callable[[str], Any], encoders: tuple[Encoder, ...] = ()) -> Callable[[Source], Rules]:
    """How the pictures of each dataset are seen."""

    def rules(source: Source) -> Rules:
        own = _arguments(source.options)
        return rules_from(lambda name: option(name) if own.get(name) is None else own[name], encoders)

    return rules


def evaluated(context: Context, loaded: Loaded, folders: Sequence[Folder]) -> tuple[Finding, ...]:
    """The rules between options for the run, then what each dataset's own options add to them."""
    rules = [rule for rows in SUBJECTS.values() for rule in rows]
    found = dict.fromkeys(evaluate(context, rules))
    known = {finding.code for finding in found}
    for text in dict.fromkeys(folder.options for folder in folders if folder.options):
        own = _arguments(text)
        places = {**context.places, **_places(loaded, text)}
        view = replace(context, options=_Overlaid(context.options, own), places=places)
        found |= dict.fromkeys(one for one in evaluate(view, rules) if one.code not in known)
    return tuple(found)


def _arguments(text: str) -> dict[str, Any]:
    return {ARGUMENT.get(key, key): value for key, value in options_of(text).items()}


def _places(loaded: Loaded, text: str) -> dict[str, str]:
    """Where the options of the first dataset with them stand."""
    for index, entry in loaded.datasets.items():
        if usable(entry.options) == text:
            return {ARGUMENT.get(k, k): loaded.where("datasets", index, "options", k) for k in entry.options}
    return {}


def heaviest(settings: ParsedOptions, folders: Sequence[Folder]) -> ParsedOptions:
    """The run's options with the largest resolution and batch of any dataset: what memory and room are for."""
    own = [per_dataset(folder) for folder in folders]
    sizes = [one["resolution"] for one in own if "resolution" in one]
    batches = [one["batch_size"] for one in own if "batch_size" in one]
    if any("resolution" not in one for one in own):
        sizes.append(parse_resolution(settings.get("resolution")) or (0, 0))
    if any("batch_size" not in one for one in own):
        batches.append(settings.get("train_batch_size") or 1)
    if not any(own):
        return settings
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    largest = {"resolution": f"{width},{height}", "train_batch_size": max(batches)}
    return replace(settings, given={**settings.given, **largest})
