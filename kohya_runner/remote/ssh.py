"""The transport to any machine with sshd: commands by ssh, files by rsync.

Nothing here asks for a password. A connection that is cut is tried again; what was transferred stays. A command that
may have run although its answer was lost must therefore be safe to repeat. Secrets go over stdin, never in an argv.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kohya_runner.errors import RemoteError

CUT = 255  # ssh's own exit code: no connection, or one that was cut
RSYNC_CUT = frozenset({CUT, 10, 11, 12, 30, 35})
"""rsync's codes for sockets, streams and timeouts (11: file I/O, which a remote end that dies may give)."""
PARTLY, VANISHED = 23, 24
"""Something could not be read, which may be what is not there yet; files that went away while they were listed."""
REFUSED = (
    "Permission denied",
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Could not resolve hostname",
    "Bad configuration option",
    "UNPROTECTED PRIVATE KEY",
)
"""What no second try changes."""
WAITS = (1.0, 3.0, 10.0, 30.0)  # seconds before each further try
SILENCE = 15
"""Seconds without an answer after which ssh asks whether the other side is still there; three times."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SshAnswer:
    """What a command on the other machine said; ``code`` is its own."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class SshHost:
    """Where a machine is reached. What is None follows the user's own ``~/.ssh/config``."""

    address: str  # host, user@host, or a name of ~/.ssh/config
    port: int | None = None
    key: str | None = None  # a private key's file
    known_hosts: Path | None = None  # a file of ours: a host that is not in it is accepted and remembered (rented pods)
    waits: tuple[float, ...] = WAITS

    @property
    def ssh(self) -> tuple[str, ...]:
        """The command up to the address."""
        options = ["BatchMode=yes", "ConnectTimeout=20", f"ServerAliveInterval={SILENCE}", "ServerAliveCountMax=3"]
        if self.known_hosts is not None:
            options += [f'UserKnownHostsFile="{self.known_hosts}"', "StrictHostKeyChecking=accept-new"]
            options += ["LogLevel=ERROR"]
        if self.key is not None:
            options += ["IdentitiesOnly=yes"]
        words = [word for option in options for word in ("-o", option)]
        words += ["-p", str(self.port)] if self.port is not None else []
        words += ["-i", os.path.expanduser(self.key)] if self.key is not None else []  # noqa: PTH111 - ~nobody raises nothing
        return ("ssh", "-T", *words)

    def shown(self, *words: str) -> str:
        """A command on that machine as a person would type it."""
        port = ("-p", str(self.port)) if self.port is not None else ()
        key = ("-i", self.key) if self.key is not None else ()
        return shlex.join(("ssh", *port, *key, self.address, *words))

    def run(
        self, script: str, *, stdin: bytes = b"", tries: int | None = None, timeout: float | None = None
    ) -> SshAnswer:
        """Run a bash script there, in its login folder. It is repeated where the connection was cut.

        Raises ``RemoteError``: no connection; ``tries`` of them (all waits by default).
        """
        argv = (*self.ssh, "--", self.address, f"bash -c {shlex.quote(script)}")
        done = self._again(argv, stdin=stdin, tries=tries, timeout=timeout)
        return SshAnswer(done.returncode, _text(done.stdout), _text(done.stderr))

    def check(self, script: str, *, stdin: bytes = b"", tries: int | None = None) -> str:
        """``run`` of a script that must succeed; what it printed."""
        answer = self.run(script, stdin=stdin, tries=tries)
        if answer.code:
            said = (answer.err.strip() or answer.out.strip()).splitlines()
            raise RemoteError(f"{self.address}: {said[-1] if said else f'exit code {answer.code}'}")
        return answer.out

    def send(self, source: Path, target: str, *options: str) -> None:
        """What is in a folder into a folder there, links followed. A file that was begun goes on where it was cut."""
        self._rsync(("-rLt", *options), f"{source}/", f"{self.address}:{target}/", loud=True)

    def bring(self, sources: Sequence[str], target: Path, *options: str, loud: bool = False) -> None:
        """Files, and what is in folders (they end with /), from there into one folder, as far as they are there.

        Links there are passed over, too: they could name any file here.
        """
        target.mkdir(parents=True, exist_ok=True)
        self._rsync(("-rt", "--no-links", *options), *(f"{self.address}:{one}" for one in sources), f"{target}/",
                    loud=loud)  # fmt: skip

    def _rsync(self, options: Sequence[str], *ends: str, loud: bool) -> None:
        """``loud``: on a terminal rsync shows how far it is."""
        fixed = ["rsync", "-s", "--timeout=120", "-e", shlex.join(self.ssh)]
        fixed += [] if "--inplace" in options else ["--partial-dir=.rsync-partial"]
        shown = loud and sys.stderr.isatty()
        fixed += ["--info=progress2"] if shown else []
        done = self._again((*fixed, *options, "--", *ends), stdout=sys.stderr if shown else subprocess.PIPE)
        said = [line for line in _text(done.stderr).splitlines() if line.strip()]
        absent = done.returncode == PARTLY and any("No such file or directory" in line for line in said)
        if done.returncode not in (0, VANISHED) and not absent:
            hint = f"install rsync there: {self.shown('apt-get install -y rsync')}" if done.returncode == 127 else ""
            raise RemoteError(f"{self.address}: rsync: {said[0] if said else done.returncode}", hint=hint)

    def _again(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        tries: int | None = None,
        timeout: float | None = None,
        stdout: IO[str] | int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:
        """The process, started again while its connection is cut."""
        cut = RSYNC_CUT if argv[0] == "rsync" else {CUT}
        waits = self.waits[: None if tries is None else tries - 1]
        said = ""
        for wait in (*waits, None):
            try:
                done = subprocess.run(argv, input=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False,
                                      timeout=timeout)  # fmt: skip
            except FileNotFoundError:
                raise RemoteError(f"{argv[0]} is not installed here", hint=f"apt-get install {argv[0]}") from None
            except subprocess.TimeoutExpired:
                said = f"no answer within {timeout:g} s"
            else:
                if done.returncode not in cut:
                    return done
                said = (_text(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                whole = _text(done.stderr)
                if wait is None or any(word in whole for word in REFUSED):
                    break
            if wait is not None:
                time.sleep(wait)
        hint = f"try it by hand: {self.shown()}; nothing here asks for a password or for a new host's key"
        raise RemoteError(f"{self.address} cannot be reached: {said}", hint=hint)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
