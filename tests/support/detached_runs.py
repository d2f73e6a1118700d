"""The command line with practice runs that go on without it, and terminals that can be closed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import forked
from practice_runs import wait_until

from kohya_runner.record.process_identity import state_of

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "recipes" / "quickstart.yaml")
COMMAND = (sys.executable, "-m", "kohya_runner")


class Machine:
    """A home and a workspace; every process that is started here is gone at the end."""

    def __init__(self, folder):
        self.workspace = folder / "ws"
        self.run_dir = self.workspace / "runs" / "quickstart" / "001"
        names = ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON", "XDG_CONFIG_HOME")
        self.env = {k: v for k, v in os.environ.items() if k not in names}
        self.env |= {"HOME": str(folder / "home"), "KOHYA_WORKSPACE": str(self.workspace), "PYTHONPATH": str(ROOT)}
        self.env |= {"KOHYA_PRACTICE_STEP_SECONDS": "0.1"}
        self.started = []

    def start(self, *args, **env):
        if args[0] != "launch":  # what a launch leaves running has its own command line and environment
            self.started.append(forked.start(*args, env=self.env | env))
            return self.started[-1]
        process = subprocess.Popen(
            (*COMMAND, *args), env=self.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *args, timeout=180, **env):
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    def detach(self, *args, step=0.1, **env):
        """A run that goes on in the background: its record."""
        env = {"KOHYA_PRACTICE_STEP_SECONDS": str(step), **env}
        code, _, err = self.run("launch", RECIPE, "--practice", "--detach", *args, **env)
        assert code == 0, err
        return self.record()

    def record(self):
        return json.loads((self.run_dir / "record.json").read_text(encoding="utf-8"))

    def metrics(self):
        lines = (self.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def wait_for_step(self, step, total=12):
        log = self.run_dir / "trainer.log"
        wait_until(lambda: log.is_file() and f" {step}/{total} " in log.read_text("utf-8", "replace"))

    def wait_for_end(self):
        wait_until(lambda: self.record()["state"] not in ("starting", "running"))
        return self.record()

    def terminal(self, *argv, rows=24, columns=80, **env):
        """A command on a terminal of its own, as SSH gives it."""
        return Terminal(argv, self.env | {"TERM": "xterm-256color"} | env, rows, columns)

    def clean_up(self):
        if (self.run_dir / "record.json").is_file():
            kept = self.record()
            for part in ("runner", "process"):
                with contextlib.suppress(ProcessLookupError, TypeError, PermissionError):
                    os.killpg(kept[part]["pid"], signal.SIGKILL)
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


class Terminal:
    """A child that leads a session on a pseudo-terminal; ``hang_up`` is what a lost connection is."""

    def __init__(self, argv, env, rows, columns):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)  # noqa: S606
        self.resize(rows, columns)
        self.text = ""
        self.code = None

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds=0.2):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                break
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.text += data.decode("utf-8", "replace")
        return self.text

    def wait_for(self, text):
        return wait_until(lambda: text in self.read(0.1))

    def hang_up(self):
        os.close(self.master)
        os.waitpid(self.pid, 0)

    def wait(self, seconds=180):
        """The exit code."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.master)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(self.text[-2000:])


@contextlib.contextmanager
def held(trainer):
    """A trainer that makes no step meanwhile, however long a command takes on a loaded machine."""
    os.kill(trainer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(trainer, signal.SIGCONT)


def gone(pid):
    return state_of(pid) in ("", "Z", "X")
