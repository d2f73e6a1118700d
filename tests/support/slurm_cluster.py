"""A real Slurm cluster of two nodes on this machine: munged, slurmctld, two slurmd, all their files in one folder."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=30
MinJobAge=300
InactiveLimit=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@dataclass
class Cluster:
    """A running one; ``environ`` leads Slurm's commands to it."""

    root: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[IO[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": PATH}

    def start(self) -> Cluster:
        """Start all of it and wait for the nodes."""
        (self.root / "state").mkdir()
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        config = CONFIG.format(host=host, user=getpass.getuser(), root=self.root, ports=_ports(3))
        (self.root / "slurm.conf").write_text(config, encoding="utf-8")
        munge = (f"--{name}-file={self.root}/munge.{name}" for name in ("key", "pid", "log", "seed"))
        self._run("munged", "--foreground", "--force", f"--socket={self.root}/munge.socket", *munge)
        while not (self.root / "munge.socket").exists():
            self._check()
        conf = ("-D", "-f", str(self.root / "slurm.conf"))
        self._run("slurmctld", *conf, "-c")
        for node in ("n1", "n2"):
            self._run("slurmd", *conf, "-N", node)
        while self.say("sinfo", "-h", "-N", "-o", "%T").split() != ["idle", "idle"]:
            self._check()
        return self

    def say(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env={**os.environ, **self.environ}, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """A job's state, also of one that has ended a short while ago."""
        found = [
            word for word in self.say("scontrol", "-o", "show", "job", job).split() if word.startswith("JobState=")
        ]
        return found[0].partition("=")[2] if found else ""

    def stop(self) -> None:
        """End the jobs, then each process that was started."""
        self.say("scancel", "--user", getpass.getuser())
        until = time.monotonic() + 30
        while self.say("squeue", "-h") and time.monotonic() < until:
            time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        for log in self.logs:
            log.close()

    def _run(self, *command: str) -> None:
        log = (self.root / f"{Path(command[0]).name}-{len(self.processes)}.out").open("wb")
        self.logs.append(log)
        program = shutil.which(command[0], path=PATH) or command[0]
        environ = {**os.environ, **self.environ}
        self.processes.append(subprocess.Popen((program, *command[1:]), env=environ, stdout=log, stderr=log, stdin=-3))

    def _check(self) -> None:
        time.sleep(0.1)
        ended = [process.args for process in self.processes if process.poll() is not None]
        if ended:
            said = "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in self.root.glob("*.out"))
            raise AssertionError(f"{ended} ended: {said}")


def _ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


def cluster(folder: Path) -> Cluster:
    """A new one; the test is skipped where its programs are absent."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        pytest.skip(f"NO SLURM: these tests need {', '.join(missing)} (apt-get install slurm-wlm munge)")
    made = Cluster(folder)
    try:
        return made.start()
    except BaseException:
        made.stop()
        raise
