from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import PIL.Image
import pytest
from click.testing import CliRunner
from fake_checkout import fake_checkout
from runs import ended

from kohya_runner.commands.cli import LATER, main
from kohya_runner.engines.table import options_for
from kohya_runner.install import probe
from kohya_runner.show import console

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(odd_path, monkeypatch):
    monkeypatch.setenv("HOME", str(odd_path))
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "ws"))
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        *(name for name in os.environ if name.startswith("KOHYA_RUNNER_")),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def invoke(*args: str):
        return CliRunner().invoke(main, list(args))

    return invoke


def test_a_missing_recipe_is_usage(run):
    result = run("plan", str(ROOT / "recipes" / "quickstar.yaml"))
    assert result.exit_code == 2
    assert "no such recipe" in result.stderr
    assert "quickstart.yaml" in result.stderr


def test_a_wrong_recipe_exits_3_with_every_fault_and_no_traceback(run, odd_path):
    path = odd_path / "bad.yaml"
    path.write_text("name: x\nfamly: sdxl\n", encoding="utf-8")
    result = run("plan", str(path))
    assert result.exit_code == 3
    assert "famly: there is no such key" in result.stdout
    assert "bad.yaml:2:1" in result.stdout
    assert "Traceback" not in result.output


def test_json_is_one_object_also_when_the_recipe_is_wrong(run, odd_path):
    path = odd_path / "bad.yaml"
    path.write_text("name: [\n", encoding="utf-8")
    result = run("plan", str(path), "--json")
    plan = json.loads(result.stdout)
    assert result.exit_code == 3
    assert plan["ok"] is False
    assert plan["findings"][0]["code"] == "recipe.syntax"
    assert result.stderr == ""


def test_plan_elsewhere_of_the_quickstart_is_ready(run):
    result = run("plan", str(ROOT / "recipes" / "quickstart.yaml"), "--elsewhere", "--json")
    plan = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert plan["ok"] is True
    assert plan["dataset"]["images"] == 12
    assert plan["checkpoints"] == ["quickstart-000001.safetensors", "quickstart.safetensors"]


def test_the_verdict_comes_first_and_the_command_last(run):
    lines = run("plan", str(ROOT / "recipes" / "quickstart.yaml"), "--elsewhere").stdout.splitlines()
    assert lines[0].startswith("ready: ")
    assert lines[-2].startswith("$ cd ")
    assert " train_network.py " in lines[-1]


@pytest.mark.parametrize("argv", [False, True])
def test_a_terminal_shows_the_command_where_it_is_asked_for(argv):
    from rich.console import Console

    from kohya_runner.plan.pipeline import make_plan
    from kohya_runner.plan.value import Request
    from kohya_runner.show import plan_screen

    terminal = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    made = make_plan(Request(recipe=ROOT / "recipes" / "quickstart.yaml", elsewhere=True))
    plan_screen.show(terminal, made, argv=argv)
    shown = terminal.file.getvalue()
    assert ("--train_data_dir=" in shown) is argv
    assert ("quickstart.yaml --argv" in " ".join(shown.split())) is not argv


def script_with_its_options():
    """train_network.py with the options of the snapshot, and nothing behind them."""
    lines = ["import argparse", "def setup_parser():", "    parser = argparse.ArgumentParser()"]
    for option in options_for("train_network.py", None).values():
        words = [repr(flag) for flag in option.flags]
        if option.kind == "switch":
            words.append("action='store_true'")
        else:
            words += [f"type={option.type}"] * (option.type in ("int", "float")) + [f"default={option.default!r}"]
            words += [f"nargs={option.nargs!r}"] * (option.nargs is not None)
        lines.append(f"    parser.add_argument({', '.join(words)}, help='what {option.name} does / {option.name}とは')")
    return "\n".join([*lines, "    return parser", ""])


def test_errors_that_need_no_trainer_are_told_before_torch_is_imported(run, odd_path, monkeypatch):
    root = fake_checkout(odd_path / "sd scripts", {"train_network.py": script_with_its_options()})
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(root))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", sys.executable)
    monkeypatch.setattr(probe, "deep_probe", lambda *_, **__: pytest.fail("torch was asked for"))
    result = run("launch", str(ROOT / "recipes" / "quickstart.yaml"), "--set", "datasets.0.expect=99")
    assert "dataset.count" in result.stdout
    assert "the errors that need no trainer come first" in result.stdout
    assert result.exit_code != 0


def test_a_wait_is_told_while_it_lasts(capsys):
    waits = []
    command = (sys.executable, "-c", "import time; time.sleep(1.6); print(1)")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert probe._answer(process, 20.0, waits.append).stdout == "1\n"
    assert len(waits) >= 2
    assert waits == sorted(waits)
    show = console.scan_progress(quiet=False)
    show("importing torch", 0, 0)
    show("importing torch", 1, 0)
    show("", 0, 0)
    assert capsys.readouterr().err == "importing torch\n"


def test_a_dry_run_is_the_plan_and_writes_nothing(run, odd_path):
    result = run("launch", str(ROOT / "recipes" / "quickstart.yaml"), "--practice", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "PRACTICE" in result.stdout
    assert not (odd_path / "ws").exists()


def test_options_are_found_by_script_family_and_word(run):
    by_script = json.loads(run("options", "sdxl_train_network.py", "snr", "--json").stdout)
    assert "min_snr_gamma" in [row["name"] for row in by_script["options"]]
    assert json.loads(run("options", "sdxl", "snr", "--json").stdout) == by_script
    assert "min_snr_gamma" in run("options", "snr_gamma").stdout
    missing = run("options", "sdxl", "epochs_of_doom")
    assert missing.exit_code == 2


def test_options_are_found_by_several_words_and_explained_by_the_checkout(run, odd_path, monkeypatch):
    without = run("options", "lr", "warmup", "--json")
    assert {row["name"] for row in json.loads(without.stdout)["options"]} == {"lr_warmup_steps"}
    assert {row["help"] for row in json.loads(without.stdout)["options"]} == {""}
    assert "kohya-runner setup" in run("options", "lr", "warmup").stderr
    root = fake_checkout(odd_path / "sd scripts", {"train_network.py": script_with_its_options()})
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(root))
    [row] = json.loads(run("options", "sd15", "lr", "warmup", "--json").stdout)["options"]
    assert row["help"] == "what lr_warmup_steps does"
    shown = run("options", "sd15", "lr", "warmup").stdout
    assert "    what lr_warmup_steps does" in shown
    by_help = json.loads(run("options", "sd15", "what", "snr", "gamma", "does", "--json").stdout)["options"]
    assert [row["name"] for row in by_help] == ["min_snr_gamma"]


def test_no_help_text_of_a_trainer_is_shipped():
    for file in (ROOT / "kohya_runner" / "options").glob("snapshot*.json"):
        assert '"help"' not in file.read_text(encoding="utf-8"), file


def test_models_fit_into_80_columns_and_fold_what_cannot_be_had(run):
    lines = run("models").stdout.splitlines()
    assert lines[0].split()[0] == "sd15"
    assert sum("not available upstream" in line for line in lines) == 1
    assert any(line.startswith("stand-in  sd15: ") for line in lines)
    assert lines[lines.index("trained by musubi-tuner, not by a recipe here yet:") + 1].startswith("  HunyuanVideo")
    one = run("models", "flux").stdout
    assert "recipes/flux_lora.yaml" in one
    assert "not available upstream: sd-scripts trains embeddings" in one
    assert "did you mean 'flux'" in run("models", "flx").stderr


def test_rules_are_found_by_words(run):
    found = json.loads(run("rules", "Caption", "cut", "--json").stdout)
    named = [row["code"] for row in (*found["rules"], *found["codes"])]
    assert "caption.truncated" in named
    assert len(named) < 20
    assert run("rules", "caption").exit_code == 0


def completed(run, monkeypatch, *words):
    monkeypatch.setenv("_KOHYA_RUNNER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(("kohya-runner", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    found = CliRunner().invoke(main, [], prog_name="kohya-runner").stdout.split()
    monkeypatch.delenv("_KOHYA_RUNNER_COMPLETE")
    return [line.partition(",")[2] for line in found]


def test_a_shell_completes_families_runs_and_recipes(run, odd_path, monkeypatch):
    assert completed(run, monkeypatch, "new", "x", "--family", "flux_") == ["flux_kontext"]
    (odd_path / "work").mkdir()
    for name in ("b.yaml", "a.yml", "c.txt", ".hidden.yaml"):
        (odd_path / "work" / name).touch()
    (odd_path / "work" / "folder").mkdir()
    monkeypatch.chdir(odd_path / "work")
    assert completed(run, monkeypatch, "plan", '""') == ["a.yml", "b.yaml", "folder/"]
    assert completed(run, monkeypatch, "status", '""') == []
    ended(odd_path / "ws")
    (odd_path / "ws" / "runs" / "my cat").rename(odd_path / "ws" / "runs" / "cat")
    for command in ("status", "watch", "report", "compare"):
        assert completed(run, monkeypatch, command, "c") == ["cat/001"], command


def test_options_say_which_recipe_key_sets_an_owned_one(run):
    assert "write name: ..." in run("options", "sdxl", "output_name").stdout


def test_models_name_every_family_that_the_trainer_has_a_lora_script_for(run):
    rows = json.loads(run("models", "--json").stdout)["models"]
    states = {(row["family"], row["method"]): row["state"] for row in rows}
    assert states["sdxl", "lora"] == "supported"
    assert states["flux", "textual_inversion"] == "not available upstream"
    loras = {row["family"]: row["state"] for row in rows if row["method"] == "lora" and "yet" not in row["state"]}
    sd_scripts = {"sd15", "sd2", "sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima"}
    assert set(loras) == sd_scripts | {"flux_kontext", "flux2", "krea2", "z_image", "qwen_image", "qwen_image_edit"}
    assert set(loras.values()) == {"supported"}


def test_new_writes_a_recipe_that_plans_and_leaves_an_old_one_alone(run, odd_path):
    target = odd_path / "mine.yaml"
    images = ROOT / "recipes" / "sprites"
    for family in ("sd15", "sd2", "sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima"):
        assert run("new", "mine", "--family", family, "--images", str(images), "--output", str(target)).exit_code == 0
        result = run("plan", str(target), "--elsewhere")
        assert result.exit_code == 0, result.output
        again = run("new", "mine", "--family", family, "--images", str(images), "--output", str(target))
        assert again.exit_code == 2
        target.unlink()


def test_new_names_what_is_wrong(run, odd_path):
    assert "did you mean 'sdxl'" in run("new", "x", "--family", "sdx", "--images", str(odd_path)).stderr
    assert "no such folder" in run("new", "x", "--family", "sdxl", "--images", str(odd_path / "no")).stderr


def test_a_broken_settings_file_is_named_with_its_line(run, odd_path):
    config = odd_path / ".config" / "kohya-runner" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("sd_script: /x\n", encoding="utf-8")
    result = run("plan", str(ROOT / "recipes" / "quickstart.yaml"))
    assert result.exit_code == 2
    assert "config.yaml:1:1" in result.stderr
    assert "did you mean 'sd_scripts'" in result.stderr


def test_without_a_trainer_the_plan_says_so_and_exits_5(run):
    result = run("plan", str(ROOT / "recipes" / "quickstart.yaml"))
    if "sd-scripts 48d368fa" in result.stdout:
        pytest.skip("this clone has its submodule")
    assert result.exit_code == 5
    assert "kohya-runner setup" in result.stdout


def test_json_holds_the_error_where_there_is_no_plan_at_all(run):
    result = run("plan", "no-such.yaml", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"], answer["error"]["exit_code"]) == (2, False, 2)
    assert "no such recipe" in answer["error"]["message"]


def test_a_wrong_trainer_is_reported_with_everything_else(run, odd_path):
    result = run("plan", str(ROOT / "recipes" / "quickstart.yaml"), "--sd-scripts", str(odd_path), "--set", "args.lr=1")
    assert result.exit_code == 3
    assert "is not a checkout of sd-scripts" in result.stdout
    assert "did you mean 'learning_rate'" in result.stdout


def test_a_wrong_option_is_one_object_too(run):
    result = run("plan", "x.yaml", "--json", "--bogus")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["ok"] is False


def test_what_help_says_of_commands_that_are_imported_later_is_what_they_say():
    context = click.Context(main)
    for name, (_, text) in LATER.items():
        command = main.get_command(context, name)
        assert command.name == name
        assert command.get_short_help_str(90) == click.Command(name, help=text).get_short_help_str(90)


def test_a_list_of_all_commands_imports_none_of_them():
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from kohya_runner.commands.cli import main\n"
        "main(['--help'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in ended.stderr.split() if name.startswith("kohya_runner.")}
    assert ours == {
        "kohya_runner.commands",
        "kohya_runner.commands.cli",
        "kohya_runner.commands.entry",
        "kohya_runner.errors",
    }
    assert all(f"\n  {name} " in ended.stdout for name in ("plan", "compare", "setup", "watch"))


@pytest.mark.parametrize(("words", "most"), [((), 101), (("--elsewhere",), 97)], ids=["here", "elsewhere"])
def test_a_plan_loads_the_modules_that_it_needs(odd_path, words, most):
    (odd_path / "pictures").mkdir()
    for number in range(2):
        PIL.Image.new("RGB", (24, 24)).save(odd_path / "pictures" / f"{number}.png")
        (odd_path / "pictures" / f"{number}.txt").write_text("pixel art", encoding="utf-8")
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write('\\n' + ' '.join(sys.modules)))\n"
        "from kohya_runner.commands.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    given = (f"--set=datasets.0.images={odd_path / 'pictures'}", f"--workspace={odd_path / 'ws'}", *words)
    argv = (sys.executable, "-c", code, "plan", str(ROOT / "recipes" / "bespoke_baby_sdxl.yaml"), *given)
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    ours = {name for name in ended.stderr.split() if name.partition(".")[0] == "kohya_runner"}
    assert 70 < len(ours) <= most, sorted(ours)
