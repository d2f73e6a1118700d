"""The kind ``slurm``: a batch job on a cluster, submitted here or on its login host, that goes on when it is requeued.

Root is a folder that all nodes see. Each node runs ``launch --resume --once``; who they are they read from Slurm.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from kohya_runner.errors import RemoteError
from kohya_runner.record.run_paths import RECIPE, RunPaths
from kohya_runner.remote.machine import RUN, SshMachine, sources_there
from kohya_runner.remote.place import Ask, Job, RemoteOffer, Standing, Stay
from kohya_runner.remote.ssh import SshHost
from kohya_runner.remote.ssh_place import SshPlace

NOTICE = 300
"""Seconds before the end of its time in which a job stops its trainer: a checkpoint may be on its way."""
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED")
_SUBMIT = "[ -s job ] || { sbatch --parsable --job-name=%s job.sbatch >.job && mv .job job; } && cat job"
_LOOK = """cd -- {stay} 2>/dev/null || {{ echo gone; exit; }}
[ ! -e exit-code ] || {{ echo "ended $(cat exit-code)"; exit; }}
state="$(squeue -h -j {job} -o '%T %r' 2>/dev/null)"
[ -n "$state" ] || {{ echo "none $(sacct -n -X -P -j {job} -o State 2>/dev/null | tail -n 1)"; exit; }}
echo "$state"; tail -n 1 launch.log 2>/dev/null || true"""
_STOP = """cd -- {stay} && touch .stop
case "$(squeue -h -j {job} -o %T)" in
PENDING) scancel {job}; echo 130 >exit-code;;
RUNNING) {softly} || scancel --signal=TERM {job};;
esac"""
_AT_SAVE = """
import sys, time
from pathlib import Path
from kohya_runner.record import record
from kohya_runner.run import stop_request as asked
run = Path(sys.argv[1])
asked.write(run, asked.escalated(asked.read(run), "after-save", time.time(), record.read(run).attempt))
"""


class HereHost(SshHost):
    """This machine in the place of another one: what ssh would be asked to run is run here."""

    @property
    def ssh(self) -> tuple[str, ...]:
        """As ssh: an address, then one text for a shell, or the words of rsync's other end."""
        words = '[ "$1" != -- ] || shift; shift; if [ $# = 1 ]; then eval "$1"; else exec "$@"; fi'
        return ("bash", "-c", words, "here")


class SlurmPlace(SshPlace):
    """A cluster. It asks for no money; what came back stays there unless ``clean`` says so."""

    KIND: ClassVar[str] = "slurm"
    root: str = Field(min_length=1, pattern="^/", description="a folder that all nodes see under this whole path")
    host: str = Field("", pattern=r"^([^-\s]\S*)?$", description="the login host, user@machine; without: this machine")
    partition: str = Field("", description="the partition of the jobs; the cluster's own by default")
    account: str = Field("", description="the account that the jobs are charged to")
    gres: str = Field("gpu", description="what a GPU is called in --gres; an empty text asks for none")
    hours: float | None = Field(None, gt=0, description="the longest time of one start, as the partition allows it")
    extra: list[str] = Field(default_factory=list, description="further options of sbatch, such as --mem=64G")
    before: list[str] = Field(default_factory=list, description="lines of bash before the launch: module load cuda")
    notice: int = Field(NOTICE, ge=1, description="seconds before the end of its time in which a job stops its trainer")

    @property
    def machine(self) -> SshMachine:
        machine = super().machine
        return machine if self.host else replace(machine, host=HereHost("here"))

    def _problems(self, ask: Ask) -> Iterator[str]:
        unfit = {"--spot": ask.spot, "--max-price": ask.max_price is not None}
        yield from (
            f"{name}: {self.name} is a Slurm cluster, it has no prices" for name, asked in unfit.items() if asked
        )
        if self.host and not self.runner:
            yield f"places.{self.name}.runner: name the folder of a Python environment on {self.host}"

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        said = self.machine.host.run("sinfo -h -o '%P %a %D %l' && command -v sbatch srun scancel >/dev/null", tries=2)
        if said.code:
            raise RemoteError(f"{self.name}: Slurm does not answer: {(said.err or said.out).strip()[:300]}",
                              hint="sinfo and sbatch must work there; name the login host with host:")  # fmt: skip
        found = [line for line in said.out.splitlines() if self.partition in ("", line.split()[0].rstrip("*"))]
        if not found:
            raise RemoteError(f"{self.name}: there is no partition {self.partition}", hint=said.out.strip())
        return (RemoteOffer(ask.gpu or "GPU", ask.gpus, None, self.host or "here", f"partition {found[0]}"),)

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        """The batch script; its folder is there once the stay has begun."""
        del offer
        stay = f"{self.root}/stays/{job.name}-{job.number}"
        return {"job.sbatch": self._script((job,), (stay,), f"{self.root}/runner")}

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        """Send and submit; a job that was submitted is not submitted again."""
        return self.begin_array((job,), offer, (stay,), save)[0]

    def begin_array(
        self, jobs: Sequence[Job], offer: RemoteOffer, stays: Sequence[Stay], save: Callable[[Stay], None]
    ) -> tuple[Stay, ...]:
        """Several recipes as one array: a task each, with a stay of its own; ``save`` knows whose it is."""
        sent = [self.machine.send(j, s.changed(phase="sending"), save) for j, s in zip(jobs, stays, strict=True)]
        for job, stay in zip(jobs, sent, strict=True):
            lines = "".join(f"{n}={shlex.quote(v)}\n" for n, v in job.values(os.environ).items())
            file = shlex.quote(f"{stay.root}/.secrets")
            if lines:
                self.machine.host.check(f"umask 077; cat > {file}", stdin=lines.encode())
        first = sent[0].root
        text = self._script(jobs, [stay.root for stay in sent], sources_there(sent[0]))
        self.machine.host.check(f"cat > {shlex.quote(f'{first}/job.sbatch')}", stdin=text.encode())
        submit = _SUBMIT % shlex.quote(Path(first).name)
        number = self.machine.host.check(f"cd -- {shlex.quote(first)} || exit\n{submit}")
        number = number.strip().partition(";")[0]
        names = [number] if len(sent) == 1 else [f"{number}_{index}" for index in range(len(sent))]
        done = tuple(
            stay.changed(phase="waiting", gpu=offer.gpu, ticket={"job": name}, note=f"job {name} is in the queue")
            for stay, name in zip(sent, names, strict=True)
        )
        for stay in done:
            save(stay)
        return done

    def standing(self, stay: Stay) -> Standing:
        """The queue first, then what the job left."""
        job = shlex.quote(stay.ticket["job"])
        state, _, said = self.machine.host.check(_LOOK.format(stay=shlex.quote(stay.root), job=job)).partition("\n")
        word, _, rest = state.partition(" ")
        if word == "ended":
            return Standing("ended", f"job {job} has ended", int(rest) if rest.strip().isdecimal() else None)
        if word in ("gone", "none"):
            text = f"{stay.root} is not there any more" if word == "gone" else f"job {job} is gone: {rest or 'no word'}"
            return Standing("lost", text)
        waiting = word in WAITING
        return Standing(
            "waiting" if waiting else "running", f"job {job}: {state}" if waiting else said.strip() or state
        )

    def stop(self, stay: Stay, *, now: bool) -> None:
        """A job that waits is taken back; one that runs is asked for at its next save, or hears TERM at once.

        Its launches end then as they do at Ctrl-C: a checkpoint that is being written is finished.
        """
        job, run = shlex.quote(stay.ticket["job"]), shlex.quote(f"runs/{stay.name}/{RUN}")
        ask = f"PYTHONPATH={shlex.quote(sources_there(stay))} {self._python} -c {shlex.quote(_AT_SAVE)} {run}"
        softly = "false" if now else ask
        self.machine.host.check(_STOP.format(stay=shlex.quote(stay.root), job=job, softly=softly))

    @property
    def _python(self) -> str:
        return shlex.quote(f"{self.runner}/bin/python" if self.runner else sys.executable)

    def _script(self, jobs: Sequence[Job], stays: Sequence[str], sources: str) -> str:
        import jinja2

        ask, many = jobs[0].ask, len(jobs) > 1
        limits = [hours for hours in (ask.max_hours, self.hours) if hours is not None]
        time = str(max(1, round(min(limits) * 60))) if limits else ""
        kind = f":{ask.gpu.lower()}" if ask.gpu else ""
        said = {
            "--partition": self.partition, "--account": self.account, "--array": f"0-{len(jobs) - 1}" if many else "",
            "--gres": f"{self.gres}{kind}:{ask.gpus}" if self.gres else "", "--time": time,
        }  # fmt: skip
        lines = (*(f"{name}={value}" for name, value in said.items() if value), *self.extra)
        template = Path(__file__).with_name("slurm.sbatch.j2").read_text(encoding="utf-8")
        text: str = jinja2.Template(template, trim_blocks=True, undefined=jinja2.StrictUndefined).render(
            lines=lines, nodes=ask.nodes, notice=self.notice,
            log=RunPaths(Path()).remote_log.name, stays=shlex.join(stays),
            before=self.before, variables=[(n, shlex.quote(v)) for n, v in self.env.items()], run=RUN,
            sources=shlex.quote(sources), python=self._python, recipe=RECIPE, options=shlex.join(jobs[0].options),
            seconds=None if ask.max_hours is None else round(ask.max_hours * 3600),
        )  # fmt: skip
        return text
