"""setup_parser() is followed through the sources without running them, or the line that cannot be followed is named."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.errors import TrainerError
from kohya_runner.options.modules import Modules
from kohya_runner.options.reader import read_script
from kohya_runner.options.script_options import Option
from kohya_runner.options.snapshot import train_scripts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kohya_runner.options.script_options import ScriptOptions

    Read = Callable[..., ScriptOptions]

PERCENT = """
def int_or_float(value):
    if value.endswith("%"):
        try:
            return float(value[:-1]) / 100.0
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{value}' is bad")
    try:
        float_value = float(value)
        if float_value >= 1:
            return int(value)
        return float(value)
    except ValueError:
        raise argparse.ArgumentTypeError("another text than the pinned one")
"""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The options of a script with this body in ``setup_parser()``, other top-level lines, and further files."""
    root = tmp_path / "it's a checkout"

    def reading(body: str, top: str = "", **files: str) -> ScriptOptions:
        for name, text in files.items():
            path = root / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        root.mkdir(exist_ok=True)
        setup = indent(dedent(body).strip(), "    ")
        source = (
            f"import argparse\n{dedent(top)}\ndef setup_parser():\n    parser = argparse.ArgumentParser()\n{setup}\n"
        )
        (root / "a_train.py").write_text(source + "    return parser\n", encoding="utf-8")
        return read_script("a_train.py", Modules(root), SD_SCRIPTS)

    return reading


def test_each_kind_of_option_is_read(read: Read) -> None:
    options = read(
        """
        parser.add_argument("--on", action="store_true", help="unread")
        parser.add_argument("-l", "--learning-rate", type=float, default=-2.0e-6, metavar="LR")
        parser.add_argument("--many", type=int, nargs="+", required=True)
        parser.add_argument("--pick", choices=["a", None], default="a", dest="picked")
        parser.add_argument("--file", type=Path)
        """,
        top="from pathlib import Path",
    )
    assert options.rows == (
        Option("on", ("--on",), "switch", "bool", default=False, where="a_train.py:5"),
        Option("learning_rate", ("-l", "--learning-rate"), "one", "float", default=-2e-6, where="a_train.py:6"),
        Option("many", ("--many",), "many", "int", nargs="+", required=True, where="a_train.py:7"),
        Option("picked", ("--pick",), "one", "str", choices=("a", None), default="a", where="a_train.py:8"),
        Option("file", ("--file",), "one", "path", where="a_train.py:9"),
    )
    assert options["learning_rate"].flag == "--learning-rate"


@pytest.mark.parametrize(
    "top",
    [
        "from library import extra",
        "import library.extra as extra",
        "import library.other as other\nextra = None\nfrom library.other import extra",
        "try:\n    from library import extra\nexcept ImportError:\n    raise",
    ],
)
def test_helpers_are_followed_through_imports(read: Read, top: str) -> None:
    helper = "from . import more\ndef add_extra(p):\n    more.add_more(p)\n"
    more = "def add_more(p, /):\n    p.add_argument('--x')\n"
    files = {"library__extra": helper, "library__more": more, "library__other": "from . import extra\n"}
    assert read("extra.add_extra(parser)", top, **files)["x"].where == "library/more.py:2"


def test_a_dotted_name_is_followed(read: Read) -> None:
    helper = "def add(p):\n    p.add_argument('--x')\n"
    assert list(read("library.extra.add(parser)", "import library.extra", library__extra=helper)) == ["x"]


def test_a_parser_made_by_another_script_is_followed(read: Read) -> None:
    base = """
    import argparse
    def setup_parser():
        parser = argparse.ArgumentParser(description="base")
        parser.add_argument("--x")
        return parser
    """
    assert list(read("parser = base.setup_parser()", "import base", base=base)) == ["x"]


def test_conditions_on_parameters_choose_the_branch(read: Read) -> None:
    top = """
    def add(parser, first, second=True, *, third: bool = False):
        "A docstring."
        if first and not second:
            parser.add_argument("--a")
        elif third is None or second == True:
            parser.add_argument("--b")
        if third:
            return
        parser.add_argument("--c")
    """
    assert list(read("add(parser, True)", top)) == ["b", "c"]
    assert list(read("add(parser, True, False)", top)) == ["a", "c"]
    assert list(read("add(parser, first=False, third=True)", top)) == ["b"]


def test_constants_loops_and_f_strings_are_evaluated(read: Read) -> None:
    body = """
    prefix: str = "te"
    for n in [1, 1 + 1]:
        parser.add_argument(f"--{prefix}{n}_lr", choices=NAMES + ["x"], default=1 if n in (1,) else SMALL)
    """
    options = read(body, "from library.names import NAMES\nSMALL = 10 / 4\n", library__names="NAMES = ['a']\n")
    assert [(row.name, row.choices, row.default) for row in options.rows] == [
        ("te1_lr", ("a", "x"), 1),
        ("te2_lr", ("a", "x"), 2.5),
    ]


def test_the_trainers_type_function_is_recognised_by_what_it_does(read: Read) -> None:
    assert read(PERCENT + "parser.add_argument('--n', type=int_or_float)")["n"].type == "int_or_float"


def test_a_type_function_that_does_something_else_is_an_error(read: Read) -> None:
    with pytest.raises(TrainerError, match="the type function int_or_float reads values in a way"):
        read(PERCENT.replace("/ 100.0", "/ 10.0") + "parser.add_argument('--n', type=int_or_float)")


def test_groups_and_later_defaults_are_followed(read: Read) -> None:
    options = read("g = parser.add_argument_group('more')\ng.add_argument('--x')\nparser.set_defaults(x=3)")
    assert options["x"].default == 3


def test_a_call_that_has_nothing_to_do_with_the_parser_is_passed_over(read: Read) -> None:
    body = "logger.info('hello')\nprint('hello')\nparser.add_argument('--x', help=f'{unknown()}')"
    assert list(read(body, "import logging\nlogger = logging.getLogger(__name__)")) == ["x"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("parser.add_argument('--x', type=eval)", "cannot tell what 'eval' is", id="builtin"),
        pytest.param("parser.add_argument('--x', type=lambda v: v)", "without running it", id="lambda"),
        pytest.param("parser.add_argument('--x', default=open('f'))", "cannot tell what 'open' is", id="call"),
        pytest.param("parser.add_argument('--x', default='a' * 10**9)", "cannot tell the value", id="huge"),
        pytest.param("parser.add_argument('--x', default={'a': 1})", "without running it", id="mapping"),
        pytest.param("parser.add_argument('--x', action='append')", "cannot follow action='append'", id="action"),
        pytest.param("parser.add_argument('--x', nargs='?')", "cannot follow nargs='?' of --x", id="nargs"),
        pytest.param("parser.add_argument('--x', const=1)", "does not know: const", id="keyword"),
        pytest.param("parser.add_argument('x')", "an option begins with '-'", id="positional"),
        pytest.param("parser.add_argument(*FLAGS)", "cannot follow * and **", id="star"),
        pytest.param("parser.add_argument('--x', **MORE)", "cannot follow * and **", id="double-star"),
        pytest.param("parser.add_argument('--x')\nparser.add_argument('--x')", "a second time", id="twice"),
        pytest.param("parser.add_argument('--help')", "a second time", id="help"),
        pytest.param("parser.add_mutually_exclusive_group()", "cannot follow the parser's", id="method"),
        pytest.param("somewhere.add(parser)", "cannot tell what 'somewhere.add' is", id="unknown-helper"),
        pytest.param("os.add(parser)", "cannot follow 'os.add(...)'", id="helper-outside"),
        pytest.param("if os.name:\n    parser.add_argument('--x')", "without running it", id="condition"),
        pytest.param("if helper:\n    parser.add_argument('--x')", "without running it", id="function-as-condition"),
        pytest.param("while True:\n    pass", "cannot follow 'while True:'", id="while"),
        pytest.param("with x:\n    pass", "cannot follow 'with x:'", id="with"),
        pytest.param("setattr(parser, 'a', 1)", "cannot tell what 'setattr' is", id="setattr"),
        pytest.param("helper(parser, 2)", "cannot follow the arguments of helper", id="too-many-arguments"),
        pytest.param("helper()", "other arguments than it has", id="too-few-arguments"),
        pytest.param("forever(parser)", "nested too deeply", id="recursion"),
        pytest.param("decorated(parser)", "cannot follow the decorators", id="decorator"),
        pytest.param("either(parser)", "cannot tell what 'either' is", id="two-meanings"),
        pytest.param(
            "def add():\n    parser.add_argument('--x')\nadd()", "the function inside a function, add", id="closure"
        ),
        pytest.param("if NEGATED:\n    parser.add_argument('--x')", "without running it", id="hidden-condition"),
        pytest.param("for n in GROWN:\n    parser.add_argument(n)", "cannot tell what 'GROWN' is", id="grown-list"),
        pytest.param(
            "for n in CHANGED:\n    parser.add_argument(n)", "cannot tell what 'CHANGED' is", id="changed-list"
        ),
        pytest.param("parser = other", "cannot tell the value of", id="parser-of-the-module"),
        pytest.param("parser = None", "returns no parser", id="no-parser"),
        pytest.param("parser = argparse.ArgumentParser(prefix_chars='+')", "cannot follow 'argparse", id="settings"),
    ],
)
def test_what_cannot_be_followed_is_named(read: Read, body: str, says: str) -> None:
    top = """
    import os
    FLAGS = ["--x"]
    NEGATED = not os.name
    GROWN = ["--x"]
    GROWN.append("--y")
    CHANGED = ["--x"]
    CHANGED[0] = "--y"
    other = argparse.ArgumentParser()
    if __name__ == "__main__":
        parser = setup_parser()
    def helper(parser):
        pass
    def forever(parser):
        forever(parser)
    @staticmethod
    def decorated(parser):
        pass
    if os.name:
        def either(parser): pass
    else:
        def either(parser): parser.add_argument("--x")
    """
    with pytest.raises(TrainerError) as caught:
        read(body, top)
    assert says in caught.value.message


def test_the_file_and_the_line_are_named(read: Read) -> None:
    helper = "def add(p):\n    p.add_argument('--x')\n    p.add_argument('--y', default=f())\n"
    with pytest.raises(TrainerError, match=r"it's a checkout/library/extra\.py:3: "):
        read("extra.add(parser)", "from library import extra", library__extra=helper)


def test_nothing_of_the_checkout_is_run(read: Read, tmp_path: Path) -> None:
    marker = tmp_path / "was run"
    top = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    read("parser.add_argument('--x')", top)
    assert not marker.exists()


@pytest.mark.parametrize("text", ["def setup_parser(:\n", "x = " + "(" * 5000, "\0def setup_parser(): pass"])
def test_a_file_that_is_no_python_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a_train.py").write_text(text, encoding="utf-8")
    with pytest.raises(TrainerError, match=r"a_train\.py: cannot be read as Python"):
        read_script("a_train.py", Modules(tmp_path), SD_SCRIPTS)


def test_many_calls_within_calls_come_to_an_end(read: Read) -> None:
    doubling = "".join(f"def f{n}(p):\n    f{n + 1}(p)\n    f{n + 1}(p)\n" for n in range(18))
    with pytest.raises(TrainerError, match="too many statements"):
        read("f0(parser)", doubling + "def f18(p):\n    pass\n")


def test_train_scripts_are_those_that_train(tmp_path: Path) -> None:
    for name in ("a_train.py", "fine_tune.py", "gen_img.py"):
        (tmp_path / name).write_text("def setup_parser():\n    pass\n", encoding="utf-8")
    (tmp_path / "train_forwarder.py").write_text("from a_train import setup_parser\n", encoding="utf-8")
    assert train_scripts(tmp_path, SD_SCRIPTS) == ("a_train.py", "fine_tune.py")
