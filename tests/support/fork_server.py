"""Has the whole runner imported, and forks a process for each command: a command without half a second of start.

Started by ``forked.py`` with one end of a socket pair. A request is JSON (words, environ, cwd) with three descriptors:
stdout, stderr, and where the exit status goes.
"""

from __future__ import annotations

import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

WORDS = 1 << 20


def read_everything() -> None:
    """Every module of the package but those that are programs of their own or belong to the trainer's Python."""
    import kohya_runner

    for module in pkgutil.walk_packages(kohya_runner.__path__, "kohya_runner."):
        if not module.name.endswith(("__main__", "_worker", "update_snapshot", "modal_app")):
            import_module(module.name)


def serve(server: socket.socket) -> tuple[list[str], list[int]]:
    """For ever, in the server; in the process of a command its words and the descriptors of its streams."""
    running: dict[int, tuple[int, int]] = {}  # by the pidfd: the process, and where its status goes
    with selectors.DefaultSelector() as waiting:
        waiting.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is server:
                    request, files, *_ = socket.recv_fds(server, WORDS, 3)
                    if not request:
                        sys.exit()
                    if (pid := os.fork()) == 0:
                        asked = json.loads(request)
                        os.environ.clear()
                        os.environ.update(asked["environ"])
                        os.chdir(asked["cwd"])
                        os.close(files.pop())
                        return asked["words"], files
                    for file in files[:2]:
                        os.close(file)
                    server.sendall(pid.to_bytes(8, "little"))
                    pidfd = os.pidfd_open(pid)
                    running[pidfd] = pid, files[2]
                    waiting.register(pidfd, selectors.EVENT_READ)
                else:
                    waiting.unregister(key.fileobj)
                    pid, answer = running.pop(key.fd)
                    os.write(answer, os.waitpid(pid, 0)[1].to_bytes(4, "little"))
                    os.close(answer)
                    os.close(key.fd)


def main(server_end: int) -> None:
    read_everything()
    with socket.socket(fileno=server_end) as server:
        words, streams = serve(server)
    os.setsid()
    for target, source in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *streams), strict=True):
        os.dup2(source, target)
        os.close(source)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):  # the server's own knew other files
        stream = open(number, "w" if number else "r", 1 if number == 2 else -1, "utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    sys.argv = ["kohya_runner", *words]
    sys.path[0] = str(Path.cwd())  # as with -m
    runpy.run_module("kohya_runner", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(int(sys.argv[1]))
