"""SkyPilot: a task handed to the user's own ``sky``, as a cluster of its own or as a managed job that is recovered.

What ``sky`` does not check is checked here. Nothing of it is imported.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from kohya_runner.hub import access
from kohya_runner.remote import engine
from kohya_runner.remote.hub_repo import STOPS, HubRepo, hub_repo
from kohya_runner.remote.machine import SshMachine
from kohya_runner.remote.place import Ask, Billed, Job, RemoteOffer, RemotePlace, Standing, Stay, StayPhase
from kohya_runner.remote.ssh import SshHost
from kohya_runner.text import did_you_mean

_PHASES: Mapping[str, StayPhase] = {
    **dict.fromkeys(("INIT", "PENDING", "SUBMITTED", "STARTING", "SETTING_UP", "RECOVERING"), "waiting"),
    **dict.fromkeys(("RUNNING", "WINDING_DOWN", "CANCELLING"), "running"),
}
"""Of sky/jobs/state.py (ManagedJobStatus) and sky/skylet/job_lib.py (JobStatus); all others are ends."""
_HERE = "kohya-runner"  # in the home folder of the machines


class SkyPlace(RemotePlace):
    """A managed job where ``results`` names what outlives the machines, else a cluster that is stopped when idle."""

    KIND: ClassVar[str] = "sky"
    infra: str = Field("", description="runpod, aws/us-east-1, k8s, ...; the cheapest of all where it is not set")
    gpu: str = Field("", description="the card, as sky gpus list names it (L40S, A100-80GB)")
    image: str = Field(engine.facts()["sky"]["image"], description="docker:IMAGE with bash, git, Python; '' for none")
    results: Literal["", "hub"] = Field("", description="hub: kept in a private dataset repository as the run goes on")
    managed: bool = Field(True, description="false: with results, a cluster all the same (sky launch --down)")
    volumes: dict[str, str] = Field({}, description="SkyPilot's volumes: {/path: name}")
    folder: str = Field("", description="a folder on these machines that all of them share; for several machines")
    idle_minutes: int = Field(10, ge=1, description="after so many idle minutes a cluster is stopped or taken down")

    def _problems(self, ask: Ask) -> Iterator[str]:
        clouds, cloud = engine.facts()["sky"]["lacks"], self._cloud(self.infra)
        if cloud and cloud not in clouds:
            yield f"SkyPilot has no cloud {cloud}; {did_you_mean(cloud, clouds) or ', '.join(clouds)}"
        else:
            yield from (f"{self.infra}: SkyPilot {word}" for word in self._lacks(cloud, ask))
        if not (ask.gpu or self.gpu):
            yield f"SkyPilot needs the name of a card: --gpu L40S, or places.{self.name}.gpu; sky gpus list shows them"
        if ask.spot and not self.results:
            yield f"what a spot machine wrote is gone with it: write places.{self.name}.results: hub"
        if ask.nodes > 1 and not self.folder:
            yield f"several machines need a folder that they share: write places.{self.name}.folder (and volumes)"
        if self.results and not access(os.environ).token:
            yield "there is no token of the Hub for the results: set HF_TOKEN to one with write access"
        if shutil.which("sky") is None:
            yield f"sky is not installed: {engine.facts()['install']['sky']}"

    @staticmethod
    def _cloud(infra: str) -> str:
        word = infra.partition("/")[0].lower()
        return {"k8s": "kubernetes", "*": ""}.get(word, word)

    def _lacks(self, cloud: str, ask: Ask) -> Iterator[str]:
        """What of this a cloud cannot do; nothing where the cloud is not chosen yet."""
        lacks: Sequence[str] = engine.facts()["sky"]["lacks"].get(cloud, ())
        said = engine.facts()["sky"]["says"]
        asked = {"nodes": ask.nodes > 1, "spot": ask.spot, "stop": not self.results, "image": bool(self.image)}
        yield from (said[word].format(name=self.name) for word in lacks if asked.get(word))

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """A line for each cloud of SkyPilot's catalogue that can do what is asked, at its lowest price."""
        gpu, infra = ask.gpu or self.gpu, ("--infra", self.infra) if self.infra else ()
        listed = _ask("listing cards", "gpus", "list", f"{gpu}:{ask.gpus}", *infra)
        found: dict[str, RemoteOffer] = {}
        for row in (row for rows in (listed or {}).values() for row in rows):
            cloud, told = row["cloud"].lower(), row["spot_price" if ask.spot else "price"]
            price = None if told is None or math.isnan(told) else round(told * ask.nodes, 4)
            small = (row["device_memory"] or math.inf) * 2**30 < (ask.vram_bytes or 0)
            dear = ask.max_price is not None and (price is None or price > ask.max_price)
            if small or dear or any(self._lacks(cloud, ask)) or row["accelerator_count"] != ask.gpus:
                continue
            offer = RemoteOffer(row["accelerator_name"], ask.gpus, price, row["cloud"], row["instance_type"] or "",
                                {"infra": self.infra or cloud})  # fmt: skip
            if cloud not in found or (price or math.inf) < (found[cloud].price or math.inf):
                found[cloud] = offer
        if not found and self._cloud(self.infra) in ("kubernetes", "slurm", "ssh"):
            return (RemoteOffer(gpu, ask.gpus, None, self.infra, "a cluster of yours", {"infra": self.infra}),)
        return tuple(sorted(found.values(), key=lambda one: (one.price is None, one.price)))

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        task = self.task(job, offer)
        run = textwrap.indent(task.pop("run"), "  ")
        lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in task.items())
        return {"task.yaml": f"{lines}run: |\n{run}", "commands.txt": f"{shlex.join(self._launch(job, 'task.yaml'))}\n"}

    def task(self, job: Job, offer: RemoteOffer | None) -> dict[str, Any]:
        """SkyPilot's task. Values of secrets are not in it: they come by ``--secret NAME``."""
        ask, infra = job.ask, offer.spec["infra"] if offer else self.infra
        disk = None if ask.disk_bytes is None else max(100, math.ceil(ask.disk_bytes / 1e9) + 40)
        resources: dict[str, Any] = {
            "infra": infra or None, "accelerators": f"{ask.gpu or self.gpu}:{ask.gpus}", "use_spot": ask.spot or None,
            "image_id": self.image or None, "disk_size": disk,
            "max_hourly_cost": ask.max_price / ask.nodes if ask.max_price else None,
        }  # fmt: skip
        if self._is_job():
            resources["job_recovery"] = {"max_restarts_on_errors": 0, "recover_on_exit_codes": [engine.AGAIN]}
        sent = f"~/{_HERE}/{engine.label(job)}.tar"
        mounts = {sent: str(job.pack.with_name(engine.PARCEL).absolute())}
        task = {
            "name": engine.label(job), "num_nodes": ask.nodes, "file_mounts": mounts, "volumes": self.volumes or None,
            "resources": {key: value for key, value in resources.items() if value is not None},
            "run": self._run(job, sent),
        }  # fmt: skip
        return {key: value for key, value in task.items() if value is not None}

    def _is_job(self) -> bool:
        return bool(self.results) and self.managed

    def _run(self, job: Job, sent: str) -> str:
        root = shlex.quote(self.folder) if self.folder else f'"$HOME/{_HERE}"'
        folder = f"{root}/stays/{engine.label(job)}"
        told = engine.node_environment(job, "", "", hours=job.ask.max_hours, kept=self._repo(job), again=3)
        lines = [f"export {name}={shlex.quote(value)}" for name, value in told.items()]
        lines += [f"export KOHYA_RUNNER_SHARED={root} KOHYA_RUNNER_FOLDER={folder}"]
        return "\n".join((*lines, engine.node_script(job, sent), ""))

    def _repo(self, job: Job) -> str:
        return hub_repo("", engine.label(job)).repo if self.results else ""

    def _launch(self, job: Job, file: str) -> tuple[str, ...]:
        name = engine.label(job)
        names = (*job.secrets, *(("HF_TOKEN",) if self.results and "HF_TOKEN" not in job.secrets else ()))
        secrets = [word for one in names for word in ("--secret", one)]
        if self._is_job():
            return ("sky", "jobs", "launch", "-y", "-d", "-n", name, *secrets, file)
        idle = ("-i", str(self.idle_minutes), *(("--down",) if self.results else ()))
        return ("sky", "launch", "-y", "-d", "-c", name, *idle, *secrets, file)

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        name, repo = engine.label(job), self._repo(job)
        ticket = {"name": name, "repo": repo, "job": "managed" if self._is_job() else ""}
        stay = stay.changed(ticket=ticket, root=f"{self.folder or _HERE}/stays/{name}", price=offer.price,
                            gpu=offer.gpu, phase="renting", note="sky looks for a machine")  # fmt: skip
        save(stay)
        row = self._row(stay)
        if row is None or (self._is_job() and row["status"] not in _PHASES):
            environ = job.values(os.environ)
            if kept := _kept(stay):
                kept.make()
                environ["HF_TOKEN"] = kept.reach.token or ""
            with engine.parcel(job), tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "task.yaml"
                file.write_text(self.render(job, offer)[file.name], encoding="utf-8")
                engine.call(self._launch(job, str(file)), "SkyPilot, launching", show=True, env=environ,
                            hint=f"what was begun is shown by sky status and sky jobs queue, as {name}")  # fmt: skip
        stay = stay.changed(phase="waiting", paid_from=time.time(), note=f"SkyPilot has it as {name}")
        save(stay)
        return stay

    def _row(self, stay: Stay) -> dict[str, Any] | None:
        """The managed job or the cluster of a stay, as sky tells it."""
        name = stay.ticket.get("name", "")
        if stay.ticket.get("job"):
            rows = [row for row in _ask("listing jobs", "jobs", "queue", "-a") if row["job_name"] == name]
            return max(rows, key=lambda row: int(row["job_id"]), default=None)
        return next((row for row in _ask("asking for the cluster", "status", name) if row["name"] == name), None)

    def standing(self, stay: Stay) -> Standing:
        row, job, kept = self._row(stay), bool(stay.ticket.get("job")), _kept(stay)
        where = kept.repo if kept else "nothing"
        if row is None:
            return engine.over("SkyPilot has it no more", kept.ended() if kept else None, where)
        if row["status"] == "STOPPED":  # idle, so it has ended; how is seen when its results are brought
            return Standing("ended", "the cluster is stopped, its disk is billed", kept.ended() if kept else None, True)
        if not job and row["status"] != "UP":
            return Standing("waiting", row["status"].lower(), billed=True)
        if not job:
            queued: list[dict[str, Any]] = next(
                iter(_ask("asking for the job", "queue", stay.ticket["name"]).values()), []
            )
            row = max(queued, key=lambda one: one["job_id"], default={"status": "PENDING"})
        state, said = row["status"], row.get("failure_reason") or row.get("details") or ""
        text = f"{state.lower()}{f': {said}' if said else ''}"
        if state in _PHASES:
            return Standing(_PHASES[state], text, billed=True)
        code = kept.ended() if kept else self._machine(stay).standing(stay).code
        return engine.over(text, code, where if job else stay.root, billed=not job)

    @staticmethod
    def _machine(stay: Stay) -> SshMachine:
        """The cluster's first machine: sky writes its address into ~/.ssh/config."""
        return SshMachine(SshHost(stay.ticket["name"]))

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        if kept := _kept(stay):
            kept.bring(into, everything=everything)
            return
        if everything and (self._row(stay) or {}).get("status") == "STOPPED":
            argv = ("sky", "start", "-y", "-i", str(self.idle_minutes), stay.ticket["name"])
            engine.call(argv, "SkyPilot, starting the cluster for its results", show=True)
        self._machine(stay).bring(stay, into, everything=everything)

    def stop(self, stay: Stay, *, now: bool) -> None:
        if kept := _kept(stay):
            kept.stop(now=now)
        else:
            self._machine(stay).host.check(f"touch -- {shlex.quote(f'{stay.root}/{STOPS[now]}')}")

    def release(self, stay: Stay, *, verified: bool) -> Stay:
        if not stay.ticket:
            return stay  # it did not come to that
        name, row, kept = stay.ticket["name"], self._row(stay), _kept(stay)
        if stay.ticket.get("job"):
            if row is not None and row["status"] in _PHASES:
                engine.call(("sky", "jobs", "cancel", "-y", "-n", name), "SkyPilot, ending the job")
        elif row is not None:
            words = ("down",) if verified or kept else ("stop",)
            engine.call(
                ("sky", *words, "-y", name), f"SkyPilot, {words[0]}", hint=f"it is billed until: sky down {name}"
            )
        if verified and kept:
            kept.remove()
        return stay.changed(paid_until=stay.paid_until or time.time())

    def billed(self) -> tuple[Billed, ...]:
        """Clusters that are up, the controller of managed jobs too, and jobs."""
        if shutil.which("sky") is None:
            return ()
        clusters, jobs = _ask("listing clusters", "status"), _ask("listing jobs", "jobs", "queue", "--skip-finished")
        up = [row["name"] for row in clusters if row["status"] != "STOPPED"]
        told = {name: f"sky down {name}" for name in up if name.startswith((engine.MARK, "sky-jobs-controller"))}
        names = [row["job_name"] for row in jobs if row["job_name"].startswith(engine.MARK)]
        told |= {name: f"sky jobs cancel -n {name}" for name in names}
        return tuple(Billed(self.name, name, None, text) for name, text in told.items())


def _ask(doing: str, *words: str) -> Any:
    return engine.answer(("sky", *words, "-o", "json"), f"SkyPilot, {doing}")


def _kept(stay: Stay) -> HubRepo | None:
    return HubRepo(stay.ticket["repo"], access(os.environ)) if stay.ticket.get("repo") else None
