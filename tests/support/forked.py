"""Commands of the runner in processes of their own, forked from one that has the runner imported already.

A command is a process with its own session, environment, streams and exit code, as ``python -m kohya_runner`` is, and
starts half a second of processor time sooner. What is about the start itself (a variable that Python reads, a
``sitecustomize``, a closed stream) is started anew.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "kohya_runner")
PATIENCE = 180.0
"""Seconds. Nothing here takes as long: what hangs is found, and what is slow on a loaded machine is waited for."""
READ_AT_START = ("PYTHON", "LC_", "LANG")
"""Variables that Python looks at before the first line of a program."""


class Forked:
    """A command that runs, with what the tests use of ``subprocess.Popen``."""

    def __init__(self, words: tuple[str, ...], environ: Mapping[str, str], cwd: Path | None) -> None:
        self.args = (*COMMAND, *words)
        self.returncode: int | None = None
        asked = {"words": words, "environ": dict(environ), "cwd": str(cwd or Path.cwd())}
        (out, out_end), (err, err_end), (self._answer, answer_end) = os.pipe(), os.pipe(), os.pipe()
        ends = (out_end, err_end, answer_end)
        server, lock = _server()
        with lock:
            socket.send_fds(server, [json.dumps(asked).encode()], ends)
            self.pid = int.from_bytes(_whole(server.recv(8), 8), "little")
        for end in ends:
            os.close(end)
        self.stdout: IO[str] | None = open(out, encoding="utf-8")  # noqa: PTH123, SIM115 - a descriptor
        self.stderr: IO[str] | None = open(err, encoding="utf-8")  # noqa: PTH123, SIM115

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal."""
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(_whole(os.read(self._answer, 4), 4), "little"))
            os.close(self._answer)
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Everything that it wrote, once it has ended and nobody holds its streams any more."""
        read = {"out": "", "err": ""}

        def drain(name: str, stream: IO[str] | None) -> None:
            if stream is not None and not stream.closed:
                with stream:
                    read[name] = stream.read()

        threads = [
            threading.Thread(target=drain, args=pair, daemon=True)
            for pair in (("out", self.stdout), ("err", self.stderr))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
        if any(thread.is_alive() for thread in threads):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        return read["out"], read["err"]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _whole(answer: bytes, size: int) -> bytes:
    assert len(answer) == size, "the process that forks is gone"
    return answer


@functools.cache
def _server() -> tuple[socket.socket, threading.Lock]:
    """One for this process of tests; it ends when the other end of its socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen(
            (sys.executable, str(Path(__file__).with_name("fork_server.py")), str(number)), pass_fds=(number,),
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    atexit.register(process.wait, PATIENCE)
    atexit.register(ours.close)  # before the wait: the last that is registered is the first to be called
    return ours, threading.Lock()


def start(*words: str, env: Mapping[str, str], cwd: Path | None = None) -> Forked | subprocess.Popen[str]:
    """``kohya-runner`` with these words in a session of its own, its streams in pipes."""
    mine = {name: value for name, value in env.items() if name.startswith(READ_AT_START)}
    usual = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_START)}
    if mine == usual | {"PYTHONPATH": str(ROOT)}:
        return Forked(words, env, cwd)
    return subprocess.Popen(
        (*COMMAND, *words), env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def run(*words: str, env: Mapping[str, str], cwd: Path | None = None) -> tuple[int, str, str]:
    """The same to its end: exit code, stdout and stderr."""
    process = start(*words, env=env, cwd=cwd)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode is not None
    return process.returncode, out, err
