"""The shipped snapshot, the static walk and the real parsers say the same, and the real parsers read our tokens."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from option_values import differs, recipe_args

from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.engines.table import options_for
from kohya_runner.options.script_options import Option
from kohya_runner.options.snapshot import encode, matches_snapshot, read_checkout, scripts, shipped_file
from kohya_runner.options.values import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

WORKER = Path(__file__).with_name("live_parsers.py")
RUNNABLE = scripts(SD)


@dataclass(frozen=True)
class Live:
    """The trainer's own parsers, in one process of the trainer's Python."""

    process: subprocess.Popen[str]

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def live(sd_scripts: Path, trainer_python: Path) -> Iterator[Live]:
    argv = (str(trainer_python), str(WORKER), str(sd_scripts), *scripts(SD))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, text=True, encoding="utf-8", cwd=sd_scripts, **pipes) as process:
        yield Live(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=180)


def test_the_snapshot_is_the_static_walk_of_the_pinned_checkout(sd_scripts: Path) -> None:
    assert encode(read_checkout(sd_scripts, SD, SD.commit)) == shipped_file(SD).read_text(encoding="utf-8")


def test_the_pinned_checkout_is_recognised(sd_scripts: Path) -> None:
    assert matches_snapshot(sd_scripts, SD)


def _as_live(option: Option) -> dict[str, Any]:
    """The option as the trainer's parser describes it."""
    switch, types = option.kind == "switch", {"path": "Path"}
    written = option.type not in {"str", "bool"}
    return {
        "name": option.name,
        "flags": list(option.flags),
        "action": "_StoreTrueAction" if switch else "_StoreAction",
        "type": types.get(option.type, option.type) if written else None,
        "nargs": 0 if switch else option.nargs,
        "choices": None if option.choices is None else list(option.choices),
        "default": option.default,
        "required": option.required,
    }


@pytest.mark.parametrize("script", RUNNABLE)
def test_the_real_parser_has_exactly_the_snapshots_options(live: Live, script: str) -> None:
    real = [{**row, "type": None if row["type"] == "str" else row["type"]} for row in live.ask(describe=script)]
    assert repr(real) == repr([_as_live(option) for option in options_for(script, None).rows])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_real_parser_reads_back_what_the_recipe_said(live: Live, data: st.DataObject) -> None:
    options = options_for(data.draw(st.sampled_from(RUNNABLE)), None)
    said = data.draw(recipe_args(options))
    answer = live.ask(script=options.script, argv=[t for k, v in said.items() for t in tokens(options[k], v)])
    read = {k: PurePath(v["path"]) if isinstance(v, dict) else v for k, v in answer["read"].items()}
    assert [name for name, option in options.items() if differs(option, said.get(name), read[name])] == []


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--base_weights", "a", "-b"], "unrecognized arguments: -b"),
        (["--xformers=true"], "ignored explicit argument 'true'"),
        (["--lr_warmup_steps=1.0"], "'1.0' is not an int or float"),
        (["--save_precision=fp32"], "invalid choice: 'fp32'"),
        (["--network_dim=1.5"], "invalid int value: '1.5'"),
    ],
)
def test_the_real_parser_refuses_what_is_refused_here(live: Live, argv: list[str], complaint: str) -> None:
    assert complaint in live.ask(script="sdxl_train_network.py", argv=argv)["error"]


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--lr_warmup_steps=-1"], "lr_warmup_steps", -1.0),
        (["--lr_warmup_steps=150%"], "lr_warmup_steps", 1.5),
        (["--text_encoder", "1e-5"], "text_encoder_lr", [1e-5]),
    ],
)
def test_the_real_parser_takes_what_makes_no_sense(live: Live, argv: list[str], name: str, value: Any) -> None:
    assert live.ask(script="sdxl_train_network.py", argv=argv)["read"][name] == value
