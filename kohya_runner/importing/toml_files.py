"""The trainer's own ``--config_file`` and ``--dataset_config``, and LoRA_Easy_Training_Scripts' form of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli

from kohya_runner.importing.setup import Setup, Subset

TOMLDecodeError = tomli.TOMLDecodeError
Table = Mapping[str, Any]

SUBSET_KEYS = {
    "image_dir": "images", "num_repeats": "repeats", "class_tokens": "concept", "is_reg": "regularization",
    "caption_extension": "extension", "conditioning_data_dir": "conditioning", "metadata_file": "images",
}  # fmt: skip
ALGORITHMS = {"unit": "networks.dylora", "fa": "networks.lora_fa", "algo": "lycoris.kohya"}
OPTIMIZERS = {"came": "CAME", "compass": "Compass", "lpfadamw": "LPFAdamW", "rmsprop": "RMSProp"}
"""Its short names -> classes below library.LoraEasyCustomOptimizer."""


def parsed(text: str) -> dict[str, Any]:
    """A TOML document; a ``TOMLDecodeError`` for anything else."""
    found: dict[str, Any] = tomli.loads(text.lstrip("\ufeff"))
    return found


def is_dataset_config(data: Table) -> bool:
    """``datasets`` with ``subsets``, in TOML or JSON."""
    sets = data.get("datasets")
    return isinstance(sets, list) and all(isinstance(one, Mapping) for one in sets) and "args" not in data


def is_easy(data: Table) -> bool:
    """LoRA_Easy_Training_Scripts: sections with tables ``args`` and ``dataset_args``."""
    tables = [one for one in data.values() if isinstance(one, Mapping)]
    return any("args" in one or "dataset_args" in one for one in tables)


def flat(data: Table) -> dict[str, Any]:
    """Sections are names for people: the trainer flattens one level, the later key wins (library/args.py)."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= value if isinstance(value, Mapping) else {key: value}
    return found


def easy(data: Table, setup: Setup) -> None:
    """The args of every section, and the subsets beside them."""
    given: dict[str, Any] = {}
    general: dict[str, Any] = {}
    for section in data.values():
        if isinstance(section, Mapping):
            given |= section.get("args") or {}
            general |= section.get("dataset_args") or {}
    tables = {name: value for name, value in given.items() if name.endswith("_args") and isinstance(value, Mapping)}
    given |= {name: [f"{key}={item}" for key, item in value.items()] for name, value in tables.items()}
    given |= {"train_batch_size": general.pop("batch_size")} if "batch_size" in general else {}
    _module(given, setup)
    ratio, steps = given.pop("warmup_ratio", None), given.get("max_train_steps")
    if ratio is not None:
        given["lr_warmup_steps"] = round(ratio * steps) if steps else float(ratio)
        setup.note("lr_warmup_steps", f"warmup_ratio {ratio}")
    short = str(given.get("optimizer_type", "")).lower()
    if short in OPTIMIZERS:
        given["optimizer_type"] = f"library.LoraEasyCustomOptimizer.{short}.{OPTIMIZERS[short]}"
        setup.note("optimizer_type", "a class of LoRA_Easy_Training_Scripts itself: it must be importable")
    setup.update(given)
    datasets({"general": general, "datasets": [{"subsets": list(data.get("subsets") or [])}]}, setup)


def _module(given: dict[str, Any], setup: Setup) -> None:
    """Which network it chooses: that is not in its files."""
    fa = given.pop("fa", None)
    if "network_module" in given or "network_dim" not in given:
        return
    keys = {item.partition("=")[0] for item in given.get("network_args", [])}
    found = next((module for key, module in ALGORITHMS.items() if key in keys), "networks.lora")
    found = "networks.lora_flux" if "guidance_scale" in given and found == "networks.lora" else found
    given["network_module"] = "networks.lora_fa" if fa else found
    setup.note("network_module", "not in the file: follows from network_args")


def datasets(data: Table, setup: Setup) -> None:
    """Subset over dataset over general over the command line. What holds for all of them joins the options."""
    general, sets = dict(data.get("general") or {}), [dict(one) for one in data.get("datasets") or []]
    own = [{key: value for key, value in one.items() if key != "subsets"} for one in sets]
    both = zip(own, sets, strict=True)
    subsets = [(settings, subset) for settings, one in both for subset in one.get("subsets") or []]
    lifted = {} if any(own) else {_argument(key): value for key, value in general.items() if key not in SUBSET_KEYS}
    below = {} if lifted else general
    usual, key = setup.given.get("caption_extension"), "caption_extension"
    extensions = {{**general, **settings, **subset}.get(key, usual) for settings, subset in subsets}
    above = {**setup.given, **lifted}  # an option of a subset that says only what holds without it is left out
    for settings, subset in subsets:
        whole = {**general, **settings, **subset}
        fields = {field: whole[key] for key, field in SUBSET_KEYS.items() if whole.get(key) not in (None, "")}
        extension = fields.pop("extension", None)
        if len(extensions) > 1 or any(own):
            fields["extension"] = extension
        options = {
            key: value
            for key, value in {**below, **settings, **subset}.items()
            if key not in SUBSET_KEYS and value is not None
            and (type(value), value) != (type(said := above.get(_argument(key), _DEFAULTS.get(key, False))), said)
        }  # fmt: skip
        setup.subsets.append(Subset(**{"images": "", **fields, "options": options}))
    extension = next(iter(extensions)) if len(extensions) == 1 and not any(own) else None
    setup.update(lifted | ({"caption_extension": extension} if extension else {}))


def _argument(key: str) -> str:
    return "train_batch_size" if key == "batch_size" else key


_DEFAULTS = {"keep_tokens": 0, "caption_dropout_rate": 0, "caption_tag_dropout_rate": 0,
             "caption_dropout_every_n_epochs": 0, "token_warmup_min": 1, "token_warmup_step": 0}  # fmt: skip


def config_file(data: Table, setup: Setup) -> Iterator[tuple[str, Any]]:
    """The options of a configuration file. Neither names nor choices are checked by the trainer: others vanish."""
    options, unknown = setup.options, list[str]()
    for key, value in flat(data).items():
        if value == "":
            continue
        if key in options or key == "caption_extention":
            yield key, value
        else:
            unknown.append(key)
    if unknown:
        setup.note(", ".join(unknown), f"{setup.script} has no such option: the trainer ignores it without a word")
