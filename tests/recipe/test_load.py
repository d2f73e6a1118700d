from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.errors import UsageError
from kohya_runner.recipe.load import Loaded, load

GOOD = """\
name: baby
family: sdxl
model: stabilityai/sdxl
datasets:
  - images: pictures
    concept: baby
args:
  learning_rate: 1e-4
"""


@pytest.fixture
def write(odd_path: Path):
    def _write(text: str, name: str = "recipe.yaml") -> Path:
        path = odd_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def messages(loaded: Loaded) -> list[str]:
    return [str(f) for f in loaded.findings]


REPOSITORY = "such as user/name: letters, digits, '.', '_' and '-'"
BECOMES = "(it becomes --output_name)"


def test_a_good_recipe_has_no_findings(write):
    loaded = load(write(GOOD))
    assert loaded.findings == ()
    assert loaded.recipe is not None
    assert loaded.recipe.args == {"learning_rate": 0.0001}


def test_numbers_follow_yaml_1_2(write):
    loaded = load(write(GOOD + "  a: 010\n  b: 5e-05\n  c: on\n  d: 1024,1024\n  e: 12:30\n"))
    assert loaded.recipe is not None
    assert [loaded.recipe.args[k] for k in "abcde"] == [10, 5e-05, "on", "1024,1024", "12:30"]


def test_zero_and_false_and_empty_text_are_values_and_null_is_not(write):
    loaded = load(write(GOOD + "  a: 0\n  b: 0.0\n  c: ''\n  d: false\n  e: null\n"))
    assert loaded.recipe is not None
    assert loaded.recipe.args == {"learning_rate": 0.0001, "a": 0, "b": 0.0, "c": "", "d": False}


def test_every_fault_is_reported_at_once_with_its_place(write):
    path = write(
        "name: a/b\nfamly: sdxl\nmodel: {rndom: sd15}\ndatasets:\n  - images: x\n    concept: c\n    repeat: 3\n"
        "args:\n  lr: 1\n  lr: 2\nfinish: {publish: ab}\n"
    )
    found = {line.removeprefix(f"{path}:") for line in messages(load(path))}
    assert found == {
        f"1:7: name: must be a file name: letters, digits, blanks, any of . , + @ ( ) [ ] _ - {BECOMES}; write name: b",
        "2:1: famly: there is no such key; did you mean 'family'? write family: sdxl",
        "3:9: model.rndom: there is no such key; did you mean 'random'? write model.random: sd15",
        "7:5: datasets.0.repeat: there is no such key; did you mean 'repeats'? write datasets.0.repeats: 3",
        "10:3: the key 'lr' stands here a second time (first in line 9); keep one of the two",
        f"11:19: finish.publish: must be a repository of the Hub, {REPOSITORY}; write finish.publish: USER/NAME",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: [1\nb: 2\n", "not valid YAML", id="unclosed list"),
        pytest.param("name: {a: b", "not valid YAML", id="unclosed mapping"),
        pytest.param("\tname: x", "not valid YAML", id="tab"),
        pytest.param("name: !!python/object:os.system x", "is not allowed in a recipe", id="tag"),
        pytest.param("- a\n- b\n", "a recipe is a mapping", id="a list"),
        pytest.param("", "a recipe is a mapping", id="empty"),
        pytest.param("? [a, b]\n: c\n", "a key must be a plain word", id="complex key"),
        pytest.param("a: &x [*x]\n", "", id="recursive alias"),
    ],
)
def test_text_that_is_no_recipe_is_refused_without_a_traceback(write, text: str, expected: str):
    loaded = load(write(text))
    assert loaded.recipe is None
    assert expected in "\n".join(messages(loaded))


def test_an_alias_bomb_is_refused_quickly(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too many or too deeply nested values" in messages(load(write("\n".join(lines))))[0]


def test_not_utf8_is_named(odd_path: Path):
    path = odd_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    assert "is not UTF-8 (byte 9)" in messages(load(path))[0]


def test_a_missing_file_suggests_its_neighbour(write):
    path = write(GOOD)
    with pytest.raises(UsageError) as caught:
        load(path.with_name("recip.yaml"))
    assert str(path) in caught.value.hint


def test_extends_merges_mappings_and_replaces_lists(write):
    write("args: {network_dim: 8, seed: 1, optimizer_args: [a, b]}\nfamily: sdxl\n", "base/one.yaml")
    path = write("extends: base/one.yaml\n" + GOOD.replace("family: sdxl\n", "") + "  seed: 2\n  optimizer_args: [c]\n")
    loaded = load(path)
    assert loaded.recipe is not None
    assert loaded.recipe.args == {
        "network_dim": 8,
        "seed": 2,
        "optimizer_args": ["c"],
        "learning_rate": 0.0001,
    }
    assert loaded.where("args", "network_dim").endswith("one.yaml:1:8")


def test_a_later_base_is_laid_on_an_earlier_one_and_null_takes_a_value_away(write):
    write("args: {seed: 1, network_dim: 8}\n", "one.yaml")
    write("args: {seed: 2}\n", "two.yaml")
    loaded = load(write("extends: [one.yaml, two.yaml]\n" + GOOD + "  network_dim: null\n"))
    assert loaded.recipe is not None
    assert loaded.recipe.args == {"seed": 2, "learning_rate": 0.0001}


def test_extends_in_a_circle_is_named(write):
    write("extends: two.yaml\n", "one.yaml")
    path = write("extends: one.yaml\n" + GOOD, "two.yaml")
    assert any("extends itself" in m for m in messages(load(path)))


def test_a_missing_base_is_named_with_its_place(write):
    path = write("extends: bse.yaml\n" + GOOD)
    write("a: 1\n", "base.yaml")
    assert any(m.startswith(f"{path}:1:10: extends: there is no") and "did you mean" in m for m in messages(load(path)))


def test_paths_are_relative_to_the_file_that_states_them(write, monkeypatch, tmp_path):
    base = write("datasets:\n  - images: ../pictures\n    concept: c\n", "base/one.yaml")
    path = write("extends: base/one.yaml\nname: x\nfamily: sdxl\nmodel: a/b\n")
    loaded = load(path)
    assert loaded.path_from("../pictures", "datasets", 0, "images") == base.parent.parent / "pictures"
    monkeypatch.chdir(tmp_path)
    overridden = load(path, ["datasets.0.images=here"])
    assert overridden.path_from("here", "datasets", 0, "images") == tmp_path / "here"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("args.network_dim=32", 32),
        ("args.network_dim=3e-4", 3e-4),
        ("args.network_dim=[1, 2]", [1, 2]),
        ("args.network_dim=true", True),
        ("args.network_dim=a=b", "a=b"),
        ("args.network_dim='7'", "7"),
        ("args.network_dim=", None),
        ("args.network_dim=[oops", "[oops"),
    ],
)
def test_set_reads_its_value_as_yaml(write, override: str, expected: object):
    loaded = load(write(GOOD), [override])
    assert loaded.recipe is not None
    assert loaded.recipe.args.get("network_dim") == expected
    assert loaded.where("args", "network_dim") == "--set args.network_dim"


def test_set_reaches_into_lists_and_says_when_it_cannot(write):
    path = write(GOOD)
    ok = load(path, ["datasets.0.repeats=4"])
    assert ok.recipe is not None
    assert ok.recipe.datasets[0].repeats == 4
    bad = load(path, ["datasets.3.repeats=4"])
    fault = "--set datasets.3.repeats: '3' is not an entry of a list of 1; entries are numbered from 0: "
    fault += "write --set datasets.0.repeats=VALUE"
    assert messages(bad) == [fault]
    with pytest.raises(UsageError):
        load(path, ["args.network_dim"])


def test_variables_are_filled_in_and_typed(write):
    text = (
        GOOD + '  network_dim: "{{ env.DIM }}"\n  training_comment: "{{ name }} by {{ env.WHO | default(\'me\') }}"\n'
    )
    loaded = load(write(text), environ={"DIM": "16"}, readable=("DIM", "WHO"))
    assert loaded.recipe is not None
    assert loaded.recipe.args["network_dim"] == 16
    assert loaded.recipe.args["training_comment"] == "baby by me"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{{ env.HF_USER }}", "an environment variable it names is not set"),
        ("{{ nam }}", "there is no variable 'nam'; did you mean 'name'?"),
        ("{{ env.HF_TOKEN }}", "holds a secret"),
        ("{{ env['WANDB_API_KEY'] }}", "holds a secret"),
        ("{{ env[name] }}", "only env has names below it"),
        ("{{ env }}", "env alone is not a value"),
        ("{{ env.DATABASE_URL }}", "holds a secret"),
        ("{{ env.GITHUB_PAT }}", "holds a secret"),
        ("{{ env.HOMEPAGE }}", "is not a variable that a recipe may read; allow it in your settings: env: [HOMEPAGE]"),
        ("{{ env.KOHYA_RECIPE_PAGE }}", "not set"),
        ("{{ name " + "| replace('b', 'bbbbbbbbbb') " * 5 + "}}", "longer than 10000 characters"),
        ("{{ 'a' * 99999999 }}", "only variables and filters"),
        ("{% for x in 'ab' %}x{% endfor %}", "only variables and filters"),
        ("{{ env.__class__ }}", "only env has names below it"),
        ("{{ env.keys() }}", "only variables and filters"),
        ("{{ name.format }}", "only env has names below it"),
        ("{{ name | attr('x') }}", "the filter 'attr' is not available"),
        ("{{ name ", "not a valid expression"),
    ],
)
def test_an_expression_cannot_do_more_than_look_up(write, expression: str, message: str):
    loaded = load(
        write(GOOD + f'  training_comment: "{expression}"\n'),
        environ={"HF_TOKEN": "hf_secret", "baby": "x", "KOHYA_RECIPE_PAGE": "https://me:pw@x"},
    )
    text = "\n".join(messages(loaded)) or str(loaded.recipe and loaded.recipe.args)
    assert message in text
    assert "hf_secret" not in text


@pytest.mark.parametrize("path", ["", ".", "args..x", "a." * 30 + "b", "datasets.\u00b2.images"])
def test_a_set_path_that_is_none_is_refused_without_a_traceback(write, path: str):
    recipe = write(GOOD)
    if "\u00b2" in path:
        assert any("is not an entry of a list" in m for m in messages(load(recipe, [f"{path}=1"])))
    else:
        with pytest.raises(UsageError):
            load(recipe, [f"{path}=1"])


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('name: "t\\n"', "name"),
        ('model: "a/b\\0"', "NUL"),
        ('compare: {size: "64x64\\n"}', "size"),
        ("compare: {size: 00x00}", "size"),
        ("compare: {clip: models/clip}", "clip"),
    ],
)
def test_odd_characters_do_not_slip_through(write, line: str, path: str):
    key = line.partition(":")[0]
    text = "\n".join(row for row in GOOD.splitlines() if not row.startswith(f"{key}:"))
    found = messages(load(write(f"{line}\n{text}\n")))
    assert any(path in message for message in found)


def test_a_base_is_read_once_however_often_it_is_extended(write):
    write("args: {seed: 1}\n", "b0.yaml")
    for level in range(1, 15):
        write(f"extends: [b{level - 1}.yaml, b{level - 1}.yaml, b{level - 1}.yaml]\n", f"b{level}.yaml")
    loaded = load(write("extends: b14.yaml\n" + GOOD))
    assert loaded.recipe is not None
    assert loaded.recipe.args["seed"] == 1


def test_too_many_levels_and_variables_in_extends_are_called_so(write):
    write("args: {seed: 1}\n", "c0.yaml")
    for level in range(1, 20):
        write(f"extends: c{level - 1}.yaml\n", f"c{level}.yaml")
    assert any("more than 16 levels" in m for m in messages(load(write("extends: c19.yaml\n" + GOOD))))
    odd = load(write('extends: "{{ env.HOME }}/x.yaml"\n' + GOOD))
    assert any("variables do not work here" in m for m in messages(odd))
    with pytest.raises(UsageError):
        load(write(GOOD), ["extends=c0.yaml"])


def test_a_current_folder_that_is_gone_is_no_traceback(write, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(write(GOOD)).recipe is not None
