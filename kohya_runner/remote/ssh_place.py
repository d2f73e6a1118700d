"""The kind ``ssh``: a machine of your own, or any that is rented already, with sshd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from kohya_runner.errors import RemoteError
from kohya_runner.record.run_paths import RECIPE
from kohya_runner.remote.machine import SshMachine
from kohya_runner.remote.place import Ask, Job, RemoteOffer, RemotePlace, Standing, Stay
from kohya_runner.remote.ssh import SshHost
from kohya_runner.text import size

TOOLS = ("bash", "rsync", "setsid", "flock", "timeout")
_LOOK = f"""for tool in {" ".join(TOOLS)}; do command -v $tool >/dev/null || echo "missing $tool"; done
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits 2>/dev/null | sed 's/^/gpu /'; true"""


class SshPlace(RemotePlace):
    """One machine. Nothing is rented, nothing is billed, and what came back stays there unless ``clean`` says so."""

    KIND: ClassVar[str] = "ssh"
    host: str = Field(min_length=1, pattern=r"^[^-\s]\S*$", description="user@machine, or a name of ~/.ssh/config")
    port: int | None = Field(None, ge=1, le=65535, description="the port of its sshd, a number such as 22")
    key: str | None = Field(None, description="the file of a private key, such as ~/.ssh/id_ed25519")
    known_hosts: str | None = Field(
        None, description="a file of known hosts of its own: a host that is not in it is accepted and remembered"
    )
    root: str = Field("", description="the folder there, a whole path; /workspace or ~/kohya-runner by default")
    runner: str = Field(
        "", description="a folder there with a Python environment that has kohya-runner; else one is made"
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="variables of the run there, {NAME: value}; no secrets"
    )
    clean: bool = Field(
        False, description="true: remove the stay's folder there once its results are here and verified"
    )

    @property
    def machine(self) -> SshMachine:
        known = Path(os.path.expanduser(self.known_hosts)) if self.known_hosts else None  # noqa: PTH111
        return SshMachine(SshHost(self.host, self.port, self.key, known), self.root, self.runner, self.env)

    def _problems(self, ask: Ask) -> Iterator[str]:
        unfit = {"--nodes": ask.nodes > 1, "--spot": ask.spot, "--max-price": ask.max_price is not None}
        for option in (option for option, asked in unfit.items() if asked):
            yield f"{option}: {self.name} is one machine that is there already; leave {option} out"

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """The machine itself, once it answered and has what is needed."""
        lines = self.machine.host.check(_LOOK, tries=2).splitlines()
        missing = [line.split(" ", 1)[1] for line in lines if line.startswith("missing ")]
        if missing:
            raise RemoteError(f"{self.host} has no {', '.join(missing)}", hint="install them there, then try again")
        cards = [line.removeprefix("gpu ").rpartition(", ") for line in lines if line.startswith("gpu ")]
        names = [name for name, _, _ in cards]
        if ask.gpu and not any(ask.gpu.lower() in name.lower() for name in names):
            raise RemoteError(f"{self.host} has no {ask.gpu}", hint=f"it has: {', '.join(names) or 'no GPU'}")
        memory = min((int(mib) << 20 for _, _, mib in cards if mib.isdecimal()), default=None)
        small = memory is not None and ask.vram_bytes is not None and memory < ask.vram_bytes
        note = f"{size(memory)}, the plan needs {size(ask.vram_bytes)}" if small else ""
        return (RemoteOffer(names[0] if names else "no GPU", len(names), None, self.host, note),)

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        del offer
        root = self.root or "kohya-runner"
        target, shell = f"{root}/stays/{job.name}-{job.number}", self.machine.host.shown()
        train = f"bash runner/runpod/start_training.sh {target}/pack/{RECIPE} --workspace {target} --resume"
        steps = (
            f"rsync -rLt {job.pack}/ {self.host}:{target}/pack/",
            f"{shell} 'cd {root} && {' '.join((train, *job.options))}'",
            f"rsync -rt {self.host}:{target}/runs/ runs/",
        )
        return {"by-hand.sh": "\n".join(("# the sources of kohya-runner are in runner/ there", *steps, ""))}

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        stay = stay.changed(
            phase="sending", gpu=offer.gpu, ticket={"host": self.host}, note=f"sending {size(job.pack_bytes)}"
        )
        save(stay)
        stay = self.machine.send(job, stay, save)
        self.machine.start(job, stay, job.values(os.environ))
        return stay.changed(phase="running", note="started")

    def standing(self, stay: Stay) -> Standing:
        return self.machine.standing(stay)

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        self.machine.bring(stay, into, everything=everything)

    def stop(self, stay: Stay, *, now: bool) -> None:
        self.machine.stop(stay, now=now)

    def release(self, stay: Stay, *, verified: bool) -> Stay:
        """Nothing is paid for; the folder goes where the settings say so."""
        if verified and self.clean:
            self.machine.remove(stay)
        return stay
