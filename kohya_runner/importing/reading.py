"""Foreign files, told apart by their content, read together as one set-up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kohya_runner import yamlio
from kohya_runner.engines.table import all_scripts
from kohya_runner.errors import RecipeError, UsageError
from kohya_runner.importing import gui, toml_files
from kohya_runner.importing.branches import script_of, statements
from kohya_runner.importing.command_line import (
    base_name,
    invocations,
    never_passed,
    read_launcher,
    read_words,
    told_variable,
)
from kohya_runner.importing.setup import OPEN, Setup
from kohya_runner.importing.words import Dialect
from kohya_runner.safe_files import open_file
from kohya_runner.text import did_you_mean

Kind = Literal["gui", "config", "easy", "datasets", "script", "accelerate", "lora"]
TITLES: Mapping[Kind, str] = {
    "gui": "settings of the kohya_ss GUI", "config": "a configuration file of sd-scripts",
    "easy": "settings of LoRA_Easy_Training_Scripts", "datasets": "a dataset file of sd-scripts", "script": "a script",
    "accelerate": "a configuration of accelerate", "lora": "the header of a LoRA",
}  # fmt: skip
DIALECTS: Mapping[str, Dialect] = {".sh": "sh", ".bat": "bat", ".cmd": "bat", ".ps1": "ps1", ".ipynb": "sh"}
MOST = 20_000_000
NOT_KNOWN = "known are: settings of the kohya_ss GUI, TOML of sd-scripts and LoRA_Easy, scripts, notebooks, LoRA files"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file and what it is. ``data`` is its table, ``text`` a script."""

    path: Path
    kind: Kind
    data: Mapping[str, Any]
    text: str = ""


def classify(path: Path, content: bytes) -> Foreign:
    """What a file is, by its content. A ``RecipeError`` for what nobody could import."""
    if content[8:9] == b"{" and path.suffix != ".json":
        return Foreign(path, "lora", {})
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    if text.lstrip()[:1] == "{":
        return _table(path, text)
    if found := _toml(path, text):
        return found
    if re.search(r"^compute_environment:", text, re.MULTILINE):
        node, _ = yamlio.parse(text, str(path), path.parent)
        data = node.plain() if node is not None else None
        if isinstance(data, dict):
            return Foreign(path, "accelerate", data)
    return Foreign(path, "script", {}, text)


def _table(path: Path, text: str) -> Foreign:
    try:
        data = json.loads(text)
    except ValueError as fault:
        raise RecipeError(f"{path}: not valid JSON: {fault}") from None
    if "cells" in data:
        return Foreign(path, "script", {}, script_of(data["cells"]))
    if toml_files.is_dataset_config(data):
        return Foreign(path, "datasets", data)
    if gui.is_gui(data) or "pretrained_model_name_or_path" in data:
        return Foreign(path, "gui", data)
    if "compute_environment" in data:
        return Foreign(path, "accelerate", data)
    raise RecipeError(f"{path}: not a file that can be imported", hint=NOT_KNOWN)


def _toml(path: Path, text: str) -> Foreign | None:
    try:
        data = toml_files.parsed(text)
    except toml_files.TOMLDecodeError as fault:
        if path.suffix == ".toml":
            raise RecipeError(f"{path}: not valid TOML: {fault}") from None
        return None
    if not data:
        return None
    kind: Kind = "easy" if toml_files.is_easy(data) else "datasets" if toml_files.is_dataset_config(data) else "config"
    return Foreign(path, kind, data)


def read(files: Sequence[Foreign], script: str | None = None) -> Setup:
    """The one set-up that the files are; a file that another one names is found by its name, beside it too."""
    for kind in ("script", "gui", "easy", "config", "lora", "datasets"):
        mains = [one for one in files if one.kind == kind]
        for main in mains:
            setup = Setup(main.path, TITLES[main.kind], script=script or "")
            if _taken(main, files, setup):
                unused = [one.path.name for one in files if one is not main and one.kind == main.kind]
                if unused:
                    setup.note(", ".join(unused), f"not used: {main.path.name} comes first")
                return setup
    names = ", ".join(str(one.path) for one in files)
    raise RecipeError(f"{names}: no training command in it", hint=f"name the file that has it; {NOT_KNOWN}")


def _of_script(main: Foreign, files: Sequence[Foreign], setup: Setup) -> bool:
    known: dict[str, list[str]] = {}
    lines = statements(main.text, known, DIALECTS.get(main.path.suffix.lower()))
    found = list(invocations(lines))
    if not found:
        return False
    first = found[0]
    setup.script = setup.script or first.script
    if len(found) > 1:
        others = ", ".join(f"line {one.line}: {one.script}" for one in found[1:])
        setup.note("commands", f"line {first.line} is imported; further training commands: {others}")
    for words, _ in lines:
        for word in words[1:] if words[:1] in (("export",), ("$env",)) else words:
            if (pair := re.fullmatch(r"(\w+)=.*", word, re.DOTALL)) and pair[1].isupper():
                told_variable(pair[1], setup)
    for name in known:
        told_variable(name.upper() if name.upper() in ("HF_TOKEN", "WANDB_API_KEY") else name, setup)
    read_launcher(first.before, setup)
    cut = never_passed(lines)
    if cut:
        setup.note("cut off", f"{cut}: stands behind a comment or an empty line, was never passed")
    given = read_words(first.words, setup)
    config = given.pop("config_file", None)
    if config is not None:
        name = str(config)
        named = _find(name if name.endswith(".toml") else f"{name}.toml", main, files)
        if named is not None:
            setup.update(dict(toml_files.config_file(named.data, setup)))
        else:
            why = "is not here: its options are missing: name it beside the script"
            setup.note("config_file", f"{name.replace(OPEN, '')} {why}")
    _launcher_file(main, files, setup)
    setup.update(given)
    _named_datasets(main, files, setup)
    return True


def _launcher_file(main: Foreign, files: Sequence[Foreign], setup: Setup) -> None:
    named = setup.launch.pop("config_file", None)
    found = _find(str(named), main, files) if named else next((one for one in files if one.kind == "accelerate"), None)
    if found is not None:
        kept = {key: value for key, value in found.data.items() if isinstance(value, (str, int, float, bool))}
        setup.launch = {**kept, **setup.launch}
    elif named:
        setup.note("accelerate", f"{named} is not here: what it says of the launch is missing")


def _named_datasets(main: Foreign, files: Sequence[Foreign], setup: Setup) -> None:
    """``--dataset_config``; a dataset file that nobody names is taken where there are no pictures else."""
    name = setup.given.pop("dataset_config", None)
    if name:
        found = _find(str(name), main, files)
        if found is None:
            setup.note("dataset_config", f"{name} is not here: name it beside the other file")
        else:
            toml_files.datasets(found.data, setup)
            for key in ("train_data_dir", "reg_data_dir", "in_json"):
                setup.given.pop(key, None)
        return
    alone = next((one for one in files if one.kind == "datasets"), None)
    if alone is not None and not setup.subsets and not setup.given.get("train_data_dir"):
        toml_files.datasets(alone.data, setup)


def _find(name: str, main: Foreign, files: Sequence[Foreign]) -> Foreign | None:
    """A file by the last part of its name: among those given, beside the main one, or where it says."""
    last = base_name(name.replace(OPEN, ""))
    for one in files:
        if one.path.name == last and one is not main:
            return one
    for path in (main.path.parent / name, main.path.parent / last):
        with suppress(OSError, RecipeError, ValueError), open_file(path) as file:
            return classify(path, file.read(MOST))
    return None


def _taken(main: Foreign, files: Sequence[Foreign], setup: Setup) -> bool:
    """Whether a file is a set-up, read into it; a script may hold no command that trains."""
    data = main.data
    match main.kind:
        case "script":
            return _of_script(main, files, setup)
        case "gui":
            gui.read(data, setup)
        case "easy":
            inner = (t.get(k) or {} for t in data.values() if isinstance(t, Mapping) for k in ("args", "dataset_args"))
            guess_script({**toml_files.flat(data), **dict(pair for one in inner for pair in one.items())}, setup)
            toml_files.easy(data, setup)
        case "config":
            guess_script(toml_files.flat(data), setup)
            setup.update(dict(toml_files.config_file(data, setup)))
        case "lora":
            from kohya_runner.importing.header import read_lora

            read_lora(main.path, setup)
            return True
        case "datasets":
            guess_script({}, setup)
            toml_files.datasets(data, setup)
            return True
        case "accelerate":
            return False
    _named_datasets(main, files, setup)
    return True


_MODULES = {"networks.lora_flux": "flux", "networks.oft_flux": "flux", "networks.lora_sd3": "sd3",
            "networks.lora_lumina": "lumina", "networks.lora_anima": "anima",
            "networks.lora_hunyuan_image": "hunyuan_image"}  # fmt: skip
_KEYS = {"ae": "flux", "guidance_scale": "flux", "clip_g": "sd3", "qwen3": "anima", "gemma2": "lumina",
         "byt5": "hunyuan_image", "learning_rate_te1": "sdxl", "t5xxl": "flux"}  # fmt: skip
_WORDS = {"flux": "flux", "sd3": "sd3", "lumina": "lumina", "anima": "anima", "hunyuan": "hunyuan_image",
          "xl": "sdxl", "pony": "sdxl", "illustrious": "sdxl", "noob": "sdxl"}  # fmt: skip
LARGE = 900


def guess_script(given: Mapping[str, Any], setup: Setup) -> None:
    """The script of a file that names none: by its network, by options that one family has, by the model's name."""
    if setup.script:
        if setup.script not in all_scripts():
            raise UsageError(f"--script {setup.script}: no such script", hint=did_you_mean(setup.script, all_scripts()))
        return
    family, why = next(_signs(given), ("", "nothing speaks for another one"))
    lora = "network_module" in given or "network_dim" in given or not given
    if "token_string" in given:
        setup.script = f"{family}_train_textual_inversion.py" if family else "train_textual_inversion.py"
    elif lora:
        setup.script = f"{family}_train_network.py" if family else "train_network.py"
    else:
        plain = "fine_tune.py" if given.get("in_json") else "train_db.py"
        setup.script = f"{family}_train.py" if family else plain
    setup.note("script", f"not in the file: {setup.script}, because {why}; --script NAME chooses another")


def _signs(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    module = str(given.get("network_module", ""))
    if module in _MODULES:
        yield _MODULES[module], f"network_module is {module}"
    for key, family in _KEYS.items():
        if given.get(key):
            yield family, f"it has {key}"
    if given.get("v2"):
        yield "", "v2 is on"
    name = base_name(str(given.get("pretrained_model_name_or_path", ""))).lower()
    for word, family in _WORDS.items():
        if word in name:
            yield family, f"the model is called {name}"
    sides = re.findall(r"\d+", str(given.get("resolution", "")))
    if sides and max(map(int, sides)) >= LARGE:
        yield "sdxl", f"the resolution is {given['resolution']}"
