"""The first hour in a real terminal, from a clone to a picked epoch, on an empty HOME: what is typed and what is shown.

One session, its tests in their order. A stand-in trains and a stand-in paints: it takes seconds, and shows nothing of
what a LoRA learns.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest
import sweep_trainer

ROOT = Path(__file__).parents[2]
MARK = "first-hour> "
FEW = "--set args.max_train_epochs=4 --set datasets.0.repeats=3 --set args.save_every_n_epochs=1"

pytestmark = [
    pytest.mark.daily,
    pytest.mark.skipif(not shutil.which("tmux"), reason="NO TMUX: the first hour is not tried; apt-get install tmux"),
]


class Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]):
        self.socket, self.count = str(folder / "tmux"), 0
        shell = (
            "env",
            "-i",
            *(f"{name}={value}" for name, value in environ.items()),
            "bash",
            "--norc",
            "--noprofile",
            "-i",
        )
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-c", folder, shlex.join(shell))

    def tmux(self, *words):
        done = subprocess.run(("tmux", "-S", self.socket, *map(str, words)), check=True, capture_output=True, text=True)
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J")

    def resize(self, width, height):
        self.tmux("resize-window", "-x", width, "-y", height)

    def until(self, pattern, seconds=180.0):
        """The screen, once the pattern is on it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, shown := self.screen(), re.MULTILINE):
            assert time.monotonic() < end, f"{pattern!r} was not shown:\n{shown}"
            time.sleep(0.1)
        return shown

    def keys(self, text):
        self.tmux("send-keys", "-l", text)

    def type(self, line, seconds=180.0):
        """A command, on a fresh screen; what it showed and its exit code."""
        self.count += 1
        self.keys(f'clear; {line}; echo "{self.count} exits $?"\n')
        shown = self.until(rf"^{self.count} exits \d+$", seconds)
        return shown, int(re.findall(r"exits (\d+)$", shown, re.MULTILINE)[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first hour") / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def terminal(home):
    venv.create(home / "env", with_pip=False, symlinks=True)
    site = next((home / "env" / "lib").iterdir()) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what pip would have fetched
    environ = {
        "HOME": str(home), "PATH": f"{home}/env/bin:/usr/bin:/bin", "PS1": MARK, "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip
    made = Terminal(home.parent, environ)
    yield made
    made.tmux("kill-server")


def files(folder, pattern):
    return sorted(path.name for path in folder.glob(pattern))


def test_from_the_clone_to_a_plan(terminal, home):
    assert terminal.type(f"cd; git clone -q {shlex.quote(f'file://{ROOT}')} kohya-runner; cd kohya-runner")[1] == 0
    shown, code = terminal.type("python -m pip install -q . && kohya-runner --version", 120)
    assert (code, "kohya-runner, version" in shown) == (0, True), shown

    terminal.type("cp -r recipes/sprites ~/pictures; cd")
    shown, code = terminal.type("kohya-runner new mine --family sd15 --images pictures")
    assert (code, "next: kohya-runner plan mine.yaml" in shown) == (0, True), shown
    terminal.resize(120, 50)
    shown, code = terminal.type("kohya-runner plan mine.yaml --elsewhere")
    assert code == 0, shown
    assert shown.splitlines()[0].startswith("ready: ")
    assert "kohya-runner plan mine.yaml --argv" in shown
    assert "--train_data_dir" not in shown
    shown, code = terminal.type("kohya-runner dataset report mine.yaml --output pictures.html")
    assert (code, (home / "pictures.html").is_file()) == (0, True), shown


def test_a_launch_in_the_background_is_watched_in_a_small_and_in_a_large_terminal(terminal, home):
    pace = "KOHYA_PRACTICE_STEP_SECONDS=0.25"
    shown, code = terminal.type(f"{pace} kohya-runner launch mine.yaml --practice --detach {FEW}")
    assert (code, "kohya-runner watch mine/001" in shown) == (0, True), shown
    terminal.resize(80, 24)
    terminal.keys("clear; kohya-runner watch\n")
    # the last line as well: the screen may be read while a frame is being painted
    small = terminal.until(r"step [1-9]\d*/\d+[\s\S]*q leaves the run alone").splitlines()
    assert small[0].startswith("mine/001  running  PRACTICE")
    assert "q leaves the run alone" in small[23]
    terminal.resize(200, 50)
    terminal.until(r"q leaves the run alone")
    terminal.keys("q")
    left = terminal.until("it goes on: kohya-runner watch mine/001")
    assert "mine/001  running  PRACTICE" in left
    shown, code = terminal.type("kohya-runner watch mine/001")
    assert code == 0, shown
    assert "mine/001  succeeded  PRACTICE" in shown
    assert "next: kohya-runner report mine/001" in shown
    shown, code = terminal.type("kohya-runner report mine/001")
    assert (code, "report.html" in shown) == (0, True), shown


def test_practice_files_paint_nothing_and_a_stop_is_told_as_one(terminal):
    shown, code = terminal.type("kohya-runner compare mine/001")
    assert code != 0
    slow = "KOHYA_PRACTICE_STEP_SECONDS=0.5"
    terminal.keys(f'clear; {slow} kohya-runner launch mine.yaml --practice --again {FEW}; echo "ended $?"\n')
    terminal.until(r"step [2-9]/")
    terminal.tmux("send-keys", "C-c")
    shown = terminal.until(r"^ended 130$")
    assert "stopped as you asked at step " in shown
    assert "SIGINT" not in shown


def test_a_run_is_compared_and_an_epoch_picked(terminal, home):
    painter = sweep_trainer.painting_checkout(home / "painter")
    run_dir = sweep_trainer.trained_run(home / "workspace")
    terminal.type(f"export KOHYA_RUNNER_SD_SCRIPTS={shlex.quote(str(painter))} KOHYA_RUNNER_PYTHON={sys.executable}")
    shown, code = terminal.type("kohya-runner compare 'my cat/001'")
    assert (code, "contact-sheet.png" in shown) == (0, True), shown
    assert files(run_dir / "comparison", "*.html") == ["report.html"]
    shown, code = terminal.type(
        "kohya-runner compare 'my cat/001' --pick 2; kohya-runner compare 'my cat/001' --pick 1"
    )
    assert (code, "epoch 1 is picked instead of epoch 2" in shown) == (0, True), shown
    assert (run_dir / "output" / "my cat-picked.safetensors").samefile(run_dir / "output" / "my cat-000001.safetensors")
