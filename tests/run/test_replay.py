"""A run's recipe.yaml, launched again in another workspace; two runs side by side."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import forked
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_runner.engines.arguments import PATHS
from kohya_runner.recipe.load import load
from kohya_runner.recipe.starter import resolved_recipe
from kohya_runner.yamlio import parse, scalar

ROOT = Path(__file__).parents[2]


def call(home: Path, *args: str) -> tuple[int, str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("KOHYA_", "XDG_CONFIG"))}
    return forked.run(*args, env=env | {"HOME": str(home), "PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The quickstart, its replay in another workspace, and another replay with another seed."""
    home = tmp_path_factory.mktemp("my 'home' ä")
    first, other = home / "ws one", home / "ws two"
    recipe = first / "runs" / "quickstart" / "001" / "recipe.yaml"
    call(home, "launch", str(ROOT / "recipes" / "quickstart.yaml"), "--practice", "--workspace", str(first))
    same = call(home, "launch", str(recipe), "--practice", "--workspace", str(other))
    call(home, "launch", str(recipe), "--practice", "--workspace", str(other), "--set", "args.seed=7")
    return {"home": home, "first": recipe.parent, "other": other / "runs" / "quickstart", "said": same[1] + same[2]}


def record(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "record.json").read_text(encoding="utf-8"))


def test_the_replay_has_the_same_steps_and_the_same_command_but_for_the_workspace(runs):
    before, after = record(runs["first"]), record(runs["other"] / "001")
    rooms = [str(runs["first"].parents[2]), str(runs["other"].parents[1])]
    said = [[t.replace(room, "WS") for t in r["argv"]] for room, r in zip(rooms, (before, after), strict=True)]
    keys = [f"/{r['dataset']['key']}/" for r in (before, after)]
    assert [t.replace(keys[0], "/K/") for t in said[0]] == [t.replace(keys[1], "/K/") for t in said[1]]
    assert before["steps_planned"] == after["steps_planned"] == after["steps_seen"] == 12


def test_a_replay_says_what_is_as_it_was(runs):
    assert "a replay of quickstart/001, and the same as there: options, data, trainer, GPU" in runs["said"]


def test_a_replay_says_what_is_not_as_it_was(runs):
    plan = json.loads((runs["other"] / "002" / "plan.json").read_text(encoding="utf-8"))
    said = {f["code"]: f["message"] for f in plan["findings"]}
    assert said["args.replay"] == "not as in quickstart/001: options: seed: was 42, is 7"


def test_a_run_that_was_asked_to_resume_is_replayed_with_its_states(runs):
    folder, quickstart = runs["home"] / "ws three", str(ROOT / "recipes" / "quickstart.yaml")
    call(runs["home"], "launch", quickstart, "--practice", "--resume", "--workspace", str(folder))
    recipe = folder / "runs" / "quickstart" / "001" / "recipe.yaml"
    code, out, err = call(runs["home"], "launch", str(recipe), "--practice", "--dry-run", "--workspace", str(folder))
    assert code == 0, err
    assert "a replay of quickstart/001, and the same as there: options, data, trainer, GPU" in out


def test_two_runs_side_by_side(runs):
    code, out, err = call(runs["home"], "runs", "diff", str(runs["first"]), str(runs["other"] / "002"), "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["differences"] == [{"kind": "options", "name": "seed", "before": "42", "after": "7"}]
    assert told["outcome"]["steps"] == [12, 12]
    assert all(isinstance(loss, float) for loss in told["outcome"]["loss at the end"])


def test_runs_alone_still_lists_them(runs):
    assert "quickstart/002" in call(runs["home"], "runs", "--workspace", str(runs["other"].parents[1]))[1]


def test_a_value_says_where_it_came_from(runs):
    text = (runs["other"] / "002" / "recipe.yaml").read_text(encoding="utf-8")
    assert "seed: 7  # --set args.seed\n" in text
    assert "network_dim: 8  # " in text
    assert "num_processes: 1  # " in text


def test_no_value_of_the_environment_gets_into_the_file(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "name: a\nfamily: sdxl\nmodel: org/repo\ndatasets: [{images: '{{ env.HF_USER }}/in', concept: a}]\n"
        "args: {training_comment: 'by {{ env.HF_USER }}', sample_prompts: ./p.txt}\nguard: {stalled: null}\n",
        encoding="utf-8",
    )
    text = resolved_recipe(load(tmp_path / "a.yaml", environ={"HF_USER": "jane"}), PATHS, "a/001", ())
    assert "jane" not in text
    assert "by {{ env.HF_USER }}" in text
    assert f"{tmp_path}/{{{{ env.HF_USER }}}}/in" in text
    assert f"sample_prompts: {tmp_path}/p.txt" in text
    assert "stalled: null" in text


@given(st.one_of(st.text(), st.floats(), st.booleans(), st.integers(), st.none()))
def test_a_scalar_is_read_back_as_it_was(value):
    if isinstance(value, str) and (not value.isprintable() or "\ud800" <= max(value, default="") <= "\udfff"):
        value = value.encode("ascii", "ignore").decode().replace("\0", "")
    node, problems = parse(f"a: {scalar(value)}  # why\n", "x.yaml", Path())
    assert not problems
    read = node.child("a").value
    assert read == value or (isinstance(value, float) and math.isnan(value) and math.isnan(read))
