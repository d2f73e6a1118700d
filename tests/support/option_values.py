"""Random recipe values for the trainer's options, and what the trainer must then hold."""

from __future__ import annotations

import ast
from pathlib import PurePath
from typing import Any

from hypothesis import strategies as st

from kohya_runner.options.keyvalues import KEY_VALUE, PATTERN_LISTS, PATTERN_NUMBERS
from kohya_runner.options.script_options import Option, ScriptOptions

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("-= ,'\"%/"), max_size=12).filter(
    lambda text: text != "--"
)
INTS = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["conv_dim", "weight_decay", "betas", "algo", "rank_dropout", "T_max"])

INT_VALUES = INTS | INTS.map(float) | INTS.map(str)
FLOAT_VALUES = FLOATS | INTS | FLOATS.map(repr)
STEP_VALUES = (
    st.integers(0, 10**6)
    | st.floats(0, 1, exclude_max=True)
    | st.integers(0, 100).map("{}%".format)
    | st.integers(0, 10**6).map(str)
)
BY_TYPE = {
    "int": INT_VALUES, "float": FLOAT_VALUES, "int_or_float": STEP_VALUES, "path": TEXT.filter(bool),
    "str": TEXT | INTS | FLOATS,
}  # fmt: skip

LITERALS = st.recursive(
    st.booleans() | INTS | FLOATS | st.sampled_from(["'text'", "0.9,0.99", "(1,)", "None", "'{}'"]),
    lambda inner: st.lists(inner | st.sampled_from(["a b", "it's"]), max_size=3),
    max_leaves=6,
)
NETWORK_VALUES = TEXT | st.booleans() | INTS | FLOATS | st.lists(st.integers(0, 99), min_size=1, max_size=4)
PATTERNS = st.lists(st.sampled_from([r".*attn.*", r"blocks\.\d+", "it's"]), max_size=3)
RATES = st.dictionaries(st.sampled_from([r".*attn.*", r"mlp\d"]), st.floats(0, 1), min_size=1)

SHAPED: dict[str, st.SearchStrategy[Any]] = {
    "resolution": st.integers(1, 9999) | st.lists(st.integers(1, 9999), min_size=1, max_size=2) | st.just("640, 480"),
    "skip_image_resolution": st.integers(1, 9999) | st.lists(st.integers(1, 9999), min_size=1, max_size=2),
    "face_crop_aug_range": st.lists(st.floats(0.5, 9), min_size=2, max_size=2).map(sorted),
    "block_lr": st.lists(st.floats(0, 1), min_size=23, max_size=23),
    "metadata_tags": st.lists(TEXT.map(lambda text: text.replace(",", " ")), max_size=3),
    "network_args": st.dictionaries(NAMES, NETWORK_VALUES, max_size=3)
    | st.fixed_dictionaries({}, optional={"exclude_patterns": PATTERNS, "network_reg_lrs": RATES})
    | st.just(["conv_dim=8", "preset=a=b"]),
    "optimizer_args": st.dictionaries(NAMES, LITERALS, max_size=3) | st.just(["betas=0.9,0.99", "eps=1e-8"]),
    "lr_scheduler_args": st.dictionaries(NAMES, LITERALS, max_size=3),
}


def _is_item(value: object) -> bool:
    """Whether argparse takes it for a value beside others: no leading '-', but for its idea of negative numbers."""
    return not (isinstance(value, str) and value.startswith("-")) and "e" not in repr(value)


def values(option: Option) -> st.SearchStrategy[Any]:
    """What a recipe may say for an option."""
    if option.kind == "switch":
        return st.booleans()
    if option.name in SHAPED:
        return st.none() | SHAPED[option.name]
    one: st.SearchStrategy[Any] = BY_TYPE[option.type]
    if option.choices is not None:
        one = st.sampled_from([choice for choice in option.choices if choice is not None])
    return st.none() | one | st.lists(one.filter(_is_item), max_size=3) if option.kind == "many" else st.none() | one


@st.composite
def recipe_args(draw: st.DrawFn, options: ScriptOptions) -> dict[str, Any]:
    """Some options of a script, each with a value; those that its parser demands have one."""
    chosen = draw(st.lists(st.sampled_from(options.rows), unique_by=lambda row: row.name, max_size=8))
    needed = {option.name: "needed" for option in options.rows if option.required}
    return needed | {option.name: draw(values(option)) for option in chosen if option.name not in needed}


def differs(option: Option, said: object, read: object) -> bool:
    """Whether what the trainer's parser read is anything but what the recipe said."""
    if said is None or said is False or (option.kind == "many" and said in ([], {})):
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        return bool(read != default or type(read) is not type(default))
    if option.name in KEY_VALUE:
        assert isinstance(read, list)
        return _key_values_differ(option.name, said, read)
    if option.kind == "many":
        items = said if isinstance(said, list) else [said]
        assert isinstance(read, list)
        return len(items) != len(read) or not all(map(_says, [option] * len(read), items, read))
    return not _says(option, said, read)


def _says(option: Option, said: Any, read: Any) -> bool:
    """Whether one value after the option's own type function is the recipe's, type and all."""
    if isinstance(said, list):
        parts = read.split(",") if said else []
        return len(parts) == len(said) and all(map(_text_says, parts, said))
    match option.type:
        case "str":
            return _text_says(read, said)
        case "path":
            return bool(read == PurePath(said))
        case "int_or_float":
            return bool(read == (float(said[:-1]) / 100 if str(said).endswith("%") else float(said)))
        case _:
            expected = {"int": int, "float": float, "bool": bool}[option.type](said)
            return repr(read) == repr(expected)


def _text_says(text: str, said: Any) -> bool:
    """Whether a text is the recipe's, or reads as the recipe's number."""
    if isinstance(said, str | bool):
        return text == str(said)
    return bool(type(said)(text) == said)


def _key_values_differ(name: str, said: Any, read: list[str]) -> bool:
    """The pairs as ``train_network.py:1074`` and ``library/optimizer.py:69`` take them apart."""
    if isinstance(said, list):
        return said != read
    pairs = dict(item.split("=", 1) for item in read)
    if KEY_VALUE[name] == "literal":
        assert all(item.count("=") == 1 for item in read)
        read_as = {key: ast.literal_eval(text) for key, text in pairs.items()}
        return repr(read_as) != repr({key: _tuples(value) for key, value in said.items()})
    return any(not _network_text_says(key, pairs[key], value) for key, value in said.items())


def _tuples(value: Any, *, nested: bool = False) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item, nested=True) for item in value)
    return ast.literal_eval(value) if isinstance(value, str) and not nested else value


def _network_text_says(key: str, text: str, value: Any) -> bool:
    if key in PATTERN_LISTS:
        return repr(ast.literal_eval(text)) == repr(value)
    if key in PATTERN_NUMBERS:
        read = {pattern: float(number) for pattern, _, number in (part.partition("=") for part in text.split(","))}
        return bool(read == value)
    if isinstance(value, list):
        return [int(part) for part in text.split(",")] == value
    return _text_says(text, value)
