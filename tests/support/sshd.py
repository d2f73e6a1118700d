"""A real sshd of this machine as if it were another one: keys, port and settings of its own, in the foreground."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from practice_runs import wait_until

from kohya_runner.remote.ssh import SshHost

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
TOOLS = ("ssh", "ssh-keygen", "rsync")


class Sshd:
    """``host`` reaches it. ``cut`` ends every session of it, ``freeze`` stops them until ``thaw``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = _free_port()
        self.process: subprocess.Popen | None = None
        for name in ("host", "user"):
            subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name), check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPasswordAuthentication no\n"
            f"PermitRootLogin yes\nMaxStartups 100\n"
        )
        self.start()

    @property
    def host(self) -> SshHost:
        return SshHost(
            f"{getpass.getuser()}@127.0.0.1", self.port, str(self.folder / "user"), self.folder / "known hosts",
            waits=(0.05, 0.1, 0.2),
        )  # fmt: skip

    def settings(self, **more: object) -> dict[str, object]:
        """Of a place of kind ssh that is this machine."""
        host = self.host
        known = str(self.folder / "known hosts")
        return {"kind": "ssh", "host": host.address, "port": host.port, "key": host.key, "known_hosts": known, **more}

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants this empty folder
        self.process = subprocess.Popen(
            (SSHD, "-D", "-e", "-f", self.folder / "config"), stderr=(self.folder / "log").open("ab")
        )
        wait_until(self._answers, 30)

    def stop(self) -> None:
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None

    def cut(self) -> None:
        """As a network that is gone: every session ends, the detached processes live on."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def sessions(self) -> list[int]:
        """The processes of sshd itself that serve a connection, not what was started over one."""
        found, above = [], [self.process.pid] if self.process else []
        while above:
            children = Path(f"/proc/{above[0]}/task/{above[0]}/children")
            with contextlib.suppress(OSError):
                pids = [int(pid) for pid in children.read_text().split()]
                own = [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("sshd")]
                found += own
                above += own
            above.pop(0)
        return found

    def _signal(self, number: int) -> None:
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as made:
            return made.recv(4) == b"SSH-"
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def sshd(tmp_path):
    missing = [name for name in TOOLS if shutil.which(name) is None] + ([] if SSHD else ["sshd"])
    if missing:
        pytest.skip(f"NOT TESTED: needs {', '.join(missing)} (apt-get install openssh-server rsync)")
    folder = tmp_path / "sshd"
    folder.mkdir()
    made = Sshd(folder)
    yield made
    made.stop()
