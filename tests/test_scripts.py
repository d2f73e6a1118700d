"""runpod/start_training.sh, with fakes in place of kohya-runner, Python and df."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "runpod" / "start_training.sh"
RUNNER = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$HOME/calls"
wait_for() { while [ ! -e "$HOME/$1" ]; do sleep 0.05; done; }
case "$1 $*" in
  "setup "*--keep*) touch "$HOME/kept"; exit 0 ;;
  "setup "*)
    echo $$ > "$HOME/installing"
    if [ -n "${SETUP_HANGS:-}" ]; then sleep 600 & echo $! > "$HOME/pip"; wait; fi
    printf '%s\\n' "${SETUP_SAYS:-}"; exit "${SETUP_CODE:-0}" ;;
  *--dry-run*) echo "the plan is $*"; exit "${PLAN_CODE:-0}" ;;
  *--prepare*)
    wait_for installing
    if [ -n "${PREPARE_HANGS:-}" ]; then echo $$ > "$HOME/preparing"; sleep 600 & wait; fi
    echo "prepared: ${PREPARE_SAYS:-well}"; exit "${PREPARE_CODE:-0}" ;;
esac
echo "${KOHYA_RUNNER_BEGAN:-none} ${KOHYA_RUNNER_INSTALLED:-none}" > "$HOME/times"
exit "${LAUNCH_CODE:-0}"
"""
PYTHON = """\
#!/bin/sh
case "$*" in
  --version) echo "Python 3.11.7" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo made >> "$HOME/venvs" ;;
  *"--no-deps --editable ."*)
    [ ! -e "$HOME/offline" ] || { echo "no network" >&2; exit 1; }
    cp "$HOME/kohya-runner" "${0%/python}/kohya-runner" ;;
esac
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def home(odd_path: Path) -> Path:
    program(odd_path / "kohya-runner", RUNNER)
    program(odd_path / "fake python", PYTHON)
    return odd_path


def start(home: Path, *arguments: str, fake: bool = True, cwd: Path | None = None, **environ: str):
    """Run the script with nothing in the environment but HOME and PATH, as ``env -i`` would."""
    runner = {"KOHYA_RUNNER_COMMAND": str(home / "kohya-runner")} if fake else {}
    bootstrap = {"KOHYA_RUNNER_BOOTSTRAP_PYTHON": str(home / "fake python")}
    return subprocess.run(
        ("bash", str(SCRIPT), *arguments), cwd=cwd or home, check=False, capture_output=True, text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **runner, **bootstrap, **environ},
    )  # fmt: skip


def calls(home: Path) -> list[str]:
    return (home / "calls").read_text().splitlines() if (home / "calls").exists() else []


def test_set_up_and_models_come_together_before_the_launch(home):
    done = start(home, "recipes/sd15_lora.yaml", "--set", "name=my run")
    assert done.returncode == 0
    recipe = f"{ROOT}/recipes/sd15_lora.yaml"
    first, *both, last = calls(home)
    assert first == f"launch {recipe} --practice --dry-run --set name=my run"
    assert set(both) == {
        f"setup --json --recipe {recipe} --set=name=my run",
        f"launch {recipe} --prepare --set name=my run",
    }
    assert last == f"launch {recipe} --once --set name=my run"
    assert "prepared: well" in done.stderr


def test_the_launch_is_told_when_the_machine_was_first_used_and_when_the_trainer_was_there(home):
    begun = int(time.time())
    start(home, "recipes/sd15_lora.yaml")
    began, installed = map(int, (home / "times").read_text().split())
    assert begun <= began <= installed <= time.time()


def test_a_model_that_cannot_be_had_ends_the_installation_at_once_with_one_message(home):
    done = start(
        home, "recipes/sd15_lora.yaml", SETUP_HANGS="1", PREPARE_CODE="4", PREPARE_SAYS="hub.gated: no licence"
    )
    assert done.returncode == 4
    assert done.stderr.count("hub.gated: no licence") == 1
    assert "the installation was stopped" in done.stderr.splitlines()[-1]
    assert gone(home, "pip")
    assert not any(call.endswith("--once") for call in calls(home))


def test_an_installation_that_fails_ends_the_download_at_once(home):
    done = start(home, "recipes/sd15_lora.yaml", SETUP_CODE="5", PREPARE_HANGS="1")
    assert done.returncode == 5
    assert gone(home, "preparing")
    assert not any(call.endswith("--once") for call in calls(home))


def test_a_model_that_cannot_be_had_after_the_installation_starts_nothing(home):
    done = start(home, "recipes/sd15_lora.yaml", PREPARE_CODE="4")
    assert done.returncode == 4
    assert not any(call.endswith("--once") for call in calls(home))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_reaches_all_that_was_started(home, sent, code):
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin", "KOHYA_RUNNER_COMMAND": str(home / "kohya-runner"),
               "SETUP_HANGS": "1", "PREPARE_HANGS": "1"}  # fmt: skip
    argv = ("bash", str(SCRIPT), "recipes/sd15_lora.yaml")
    with subprocess.Popen(argv, cwd=home, env=environ, stderr=subprocess.PIPE, start_new_session=True) as script:
        while not all((home / name).exists() and (home / name).read_text() for name in ("pip", "preparing")):
            time.sleep(0.05)
        script.send_signal(sent)
        assert script.wait(60) == code
    assert gone(home, "pip")
    assert gone(home, "preparing")


def test_the_environment_is_kept_on_the_volume_where_that_is_asked_for(home):
    start(home, "recipes/sd15_lora.yaml")
    assert not (home / "kept").exists()
    start(home, "recipes/sd15_lora.yaml", KOHYA_RUNNER_ARCHIVE=str(home / "volume"))
    while not (home / "kept").exists():
        time.sleep(0.05)


def gone(home: Path, name: str) -> bool:
    """Whether the process ends whose number stands in a file: it was told to, and a loaded machine takes its time."""
    while lives(home, name):
        time.sleep(0.05)
    return True


def lives(home: Path, name: str) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{int((home / name).read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_a_resume_is_passed_on(home):
    assert start(home, "recipes/sd15_lora.yaml", "--resume").returncode == 0
    assert calls(home)[-1] == f"launch {ROOT}/recipes/sd15_lora.yaml --once --resume"


def test_a_wrong_recipe_is_told_before_the_set_up(home):
    done = start(home, "recipes/sd15_lora.yaml", PLAN_CODE="3")
    assert done.returncode == 3
    assert "the plan is" in done.stderr
    assert len(calls(home)) == 1


def test_help_sets_nothing_up(home):
    start(home, "--help")
    assert calls(home) == ["launch --help"]


def test_a_link_to_the_script_works_and_a_runner_that_is_none_is_named(home):
    (home / "link.sh").symlink_to(SCRIPT)
    done = subprocess.run(
        ("bash", str(home / "link.sh"), "recipes/sd15_lora.yaml"),
        cwd=home, check=False, capture_output=True, text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "KOHYA_RUNNER_COMMAND": str(home / "none")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be run" in done.stderr


def test_the_default_is_the_bespoke_recipe(home):
    start(home, "--json")
    assert calls(home)[-1] == f"launch {ROOT}/recipes/bespoke_baby_sdxl.yaml --once --json"


def test_a_recipe_is_looked_for_where_the_user_is(home):
    (home / "my recipe.yaml").write_text("")
    start(home, "my recipe.yaml")
    assert calls(home)[-1] == "launch my recipe.yaml --once"


def test_a_missing_recipe_ends_before_anything_is_set_up(home):
    done = start(home, "recipes/nope.yaml")
    assert done.returncode == 2
    assert "recipes/nope.yaml: no such recipe; there are: " in done.stderr
    assert "recipes/quickstart.yaml" in done.stderr
    assert calls(home) == []


@pytest.mark.parametrize("code", ["1", "4", "6", "8", "10", "130"])
def test_the_exit_code_of_the_launch_is_the_scripts(home, code):
    assert start(home, LAUNCH_CODE=code).returncode == int(code)


@pytest.mark.parametrize("code", ["1", "4", "5"])
def test_a_failed_set_up_starts_nothing(home, code):
    done = start(home, SETUP_CODE=code)
    assert done.returncode == int(code)
    assert not any(call.endswith(("--once", "--practice")) for call in calls(home))


@pytest.mark.parametrize("recipe", ["recipes/quickstart.yaml", f"{ROOT}/recipes/../recipes/quickstart.yaml"])
def test_only_the_quickstart_goes_on_in_practice(home, recipe):
    done = start(home, recipe, SETUP_CODE="5", SETUP_SAYS='{"code": "trainer.sources"}')
    assert done.returncode == 0
    assert calls(home)[-1].endswith("quickstart.yaml --once --practice")
    assert "PRACTICE   PRACTICE" in done.stderr
    assert "NOT a training" in done.stderr


@pytest.mark.parametrize(("code", "says"), [("1", "trainer.sources"), ("5", "trainer.missing")])
def test_the_quickstart_does_not_hide_another_failure(home, code, says):
    done = start(home, "recipes/quickstart.yaml", SETUP_CODE=code, SETUP_SAYS=f'{{"code": "{says}"}}')
    assert done.returncode == int(code)
    assert not any(call.endswith(("--once", "--practice")) for call in calls(home))


def test_practice_is_never_chosen_when_the_trainer_is_there(home):
    done = start(home, "recipes/quickstart.yaml")
    assert "--practice" not in calls(home)[-1]
    assert "PRACTICE" not in done.stderr


@pytest.mark.parametrize("arguments", [("--sd-scripts", "/my scripts"), ("--sd-scripts=/my scripts",)])
def test_the_checkout_is_told_to_set_up_as_well(home, arguments):
    start(home, "recipes/sd15_lora.yaml", *arguments)
    assert f"setup --json --recipe {ROOT}/recipes/sd15_lora.yaml --sd-scripts=/my scripts" in calls(home)


def test_runpods_variables_are_read_even_when_they_are_sloppy(home):
    (home / "rp").write_text('false\nexport LAUNCH_CODE="$NOT_SET"7\n')
    assert start(home, RP_ENVIRONMENT=str(home / "rp")).returncode == 7


def test_the_runners_environment_is_made_once(home):
    codes = [start(home, fake=False).returncode for _ in range(2)]
    assert codes == [0, 0]
    assert (home / "venvs").read_text() == "made\n"
    assert len(calls(home)) == 8


def test_once_made_it_works_offline(home):
    start(home, fake=False)
    (home / "offline").touch()
    assert start(home, fake=False).returncode == 0


def test_the_command_is_linked_and_told_where_it_is_not_on_the_path(home):
    first = start(home, fake=False)
    link = home / ".local" / "bin" / "kohya-runner"
    assert link.resolve().parent.parent.name.startswith("runner-")
    assert 'export PATH="$HOME/.local/bin:$PATH"' in first.stderr
    before = link.lstat().st_mtime_ns
    again = start(home, fake=False, PATH=f"{link.parent}:/usr/bin:/bin")
    assert "export PATH" not in again.stderr
    assert link.lstat().st_mtime_ns == before


def test_a_link_of_an_earlier_environment_is_renewed(home):
    start(home, fake=False)
    link = home / ".local" / "bin" / "kohya-runner"
    made = link.readlink()
    link.unlink()
    link.symlink_to(made.parents[2] / "runner-000000000000" / "bin" / "kohya-runner")
    start(home, fake=False)
    assert link.readlink() == made


@pytest.mark.parametrize("foreign", ["file", "link"])
def test_another_program_of_that_name_is_left_as_it_is(home, foreign):
    link = home / ".local" / "bin" / "kohya-runner"
    link.parent.mkdir(parents=True)
    if foreign == "file":
        link.write_text("somebody's own")
    else:
        link.symlink_to("/usr/bin/true")
    done = start(home, fake=False)
    assert done.returncode == 0
    assert "is another program and is left as it is" in done.stderr
    assert link.read_text() == "somebody's own" if foreign == "file" else link.readlink() == Path("/usr/bin/true")


def test_a_half_made_environment_is_made_anew(home):
    (home / "offline").touch()
    done = start(home, fake=False)
    assert done.returncode == 5
    assert "the runner's environment could not be made" in done.stderr
    (home / "offline").unlink()
    assert start(home, fake=False).returncode == 0
    assert (home / "venvs").read_text() == "made\n" * 2


def test_without_a_python_it_says_what_to_install(home):
    tools = home / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "readlink", "df", "tail", "id", "mkdir", "ls"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    done = start(home, fake=False, PATH=str(tools), KOHYA_RUNNER_BOOTSTRAP_PYTHON="")
    assert done.returncode == 5
    assert "no Python 3.10 or newer" in done.stderr


DF = """\
#!/bin/sh
case "$*" in *pod*) echo "mfs#eu-1.example:9421 fuse" ;; *) echo "overlay overlay" ;; esac
"""


def test_an_environment_never_goes_to_a_network_volume(home):
    tools = home / "bin"
    tools.mkdir()
    program(tools / "df", DF)
    program(tools / "id", "#!/bin/sh\necho 0\n")
    program(tools / "mkdir", '#!/bin/sh\necho "$3" >> "$HOME/folders"\nexit 1\n')
    done = start(home, fake=False, PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 5
    assert (home / "folders").read_text() == "/root/.local/share/kohya-runner\n"
