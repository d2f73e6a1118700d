"""HF Jobs, by huggingface_hub's own client: a private dataset repository brings the parcel and takes the results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from kohya_runner.hub import access
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote import engine
from kohya_runner.remote.hub_repo import HubRepo, hub_repo, told
from kohya_runner.remote.place import Ask, Billed, Job, RemoteOffer, RemotePlace, Standing, Stay, StayPhase
from kohya_runner.safe_files import write_text
from kohya_runner.text import number

_PHASES: Mapping[str, StayPhase] = {"SCHEDULING": "waiting", "RUNNING": "running"}
_HOURS = {"minute": 60.0, "hour": 1.0, "second": 3600.0}
_SENT, _ROOT = "/stay", "/tmp/kohya-runner"  # noqa: S108 - in the job's own container


class HfJobsPlace(RemotePlace):
    """Every job has a limit of time; ours is the hours that were asked for, else those of the settings."""

    KIND: ClassVar[str] = "hf-jobs"
    namespace: str = Field("", description="the user or organisation that pays; the token's own where it is not set")
    flavor: str = Field("", description="the hardware, as hf jobs hardware lists it (l40sx1, a100-large)")
    image: str = Field(engine.facts()["hf"]["image"], description="a container image with bash, git and Python")
    hours: float = Field(24, gt=0, description="the limit of a job, where --max-hours is not given")

    def _problems(self, ask: Ask) -> Iterator[str]:
        import huggingface_hub

        if ask.nodes > 1:
            yield "several machines need a folder that all of them share, and HF Jobs has none"
        if ask.spot:
            yield "HF Jobs has no spot machines: leave --spot out"
        if not access(os.environ).token:
            yield "there is no token of the Hub: set HF_TOKEN to one with write access"
        if not hasattr(huggingface_hub.HfApi, "list_jobs_hardware"):
            yield f"HF Jobs {engine.facts()['hf']['client']}"

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """The hardware with so many cards of enough memory, at the price that the Hub tells now."""
        reach, word = access(os.environ), (ask.gpu or self.flavor).lower()
        with told("asking for hardware", reach):
            rows: list[Any] = HubRepo("", reach).api.list_jobs_hardware()
        found = []
        for row in rows:
            card = row.accelerator
            if card is None or int(card.quantity) != ask.gpus or (word and word not in (row.name, card.model.lower())):
                continue
            each = (number(card.vram.split()[0]) or 0) / ask.gpus
            price = round(row.unit_cost_usd * _HOURS[row.unit_label], 4) if row.unit_label in _HOURS else None
            dear = ask.max_price is not None and (price is None or price > ask.max_price)
            if not dear and (word == row.name or each * 1e9 >= (ask.vram_bytes or 0)):
                note = f"{row.pretty_name}: {each:g} GB a card, {row.ram}, disk {row.ephemeral_storage}"
                found.append(RemoteOffer(card.model, ask.gpus, price, "HF Jobs", note, {"flavor": row.name}))
        return tuple(sorted(found, key=lambda offer: (offer.price is None, offer.price)))

    def _spec(self, job: Job, flavor: str, repo: str) -> dict[str, Any]:
        """What ``run_job`` takes, without the values of secrets."""
        hours, name = job.ask.max_hours or self.hours, engine.label(job)
        environment = engine.node_environment(job, f"{_ROOT}/{name}", _ROOT, hours=hours, kept=repo)
        return {
            "image": self.image, "command": ["bash", "-c", engine.node_script(job, f"{_SENT}/{engine.PARCEL}")],
            "env": environment, "flavor": flavor, "timeout": int(hours * 3600) + 1800, "name": name,
            "labels": {"kohya-runner": "stay"}, "namespace": repo.partition("/")[0],
        }  # fmt: skip

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        repo, flavor = f"{self.namespace or 'YOU'}/{engine.label(job)}", offer.spec["flavor"] if offer else self.flavor
        spec = {**self._spec(job, flavor, repo), "volumes": [f"hf://datasets/{repo}:{_SENT}"],
                "secrets": ["HF_TOKEN", *job.secrets]}  # fmt: skip
        lines = (
            f"hf repo create {repo} --repo-type dataset --private",
            f"hf upload {repo} {engine.PARCEL} --repo-type dataset",
            f"hf jobs run --detach --flavor {flavor} ...    # job.json has all of it",
            f"hf download {repo} --repo-type dataset --local-dir .",
        )
        return {"job.json": json.dumps(spec, indent=2) + "\n", "commands.txt": "\n".join(lines) + "\n"}

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        from huggingface_hub import Volume

        kept = hub_repo(self.namespace, engine.label(job))
        stay = stay.changed(ticket={"repo": kept.repo, "name": engine.label(job)}, phase="sending", price=offer.price,
                            gpu=offer.gpu, note=f"pictures and runner go to {kept.repo}, private")  # fmt: skip
        save(stay)
        found = next(self._jobs(stay), None)
        if found is None:
            with engine.parcel(job) as file:
                kept.send(file)
            secrets = {**job.values(os.environ), "HF_TOKEN": kept.reach.token}
            with told("asking for a job", kept.reach):
                found = kept.api.run_job(
                    **self._spec(job, offer.spec["flavor"], kept.repo), secrets=secrets,
                    volumes=[Volume(type="dataset", source=kept.repo, mount_path=_SENT)],
                )  # fmt: skip
        stay = stay.changed(
            ticket={**stay.ticket, "job": found.id}, phase="waiting", paid_from=time.time(), note=found.url
        )
        save(stay)
        return stay

    def _jobs(self, stay: Stay | None, namespace: str = "") -> Iterator[Any]:
        """Ours that are not over: of a stay, or all."""
        space = stay.ticket["repo"].partition("/")[0] if stay else namespace
        labels = {"name": stay.ticket["name"]} if stay else {"kohya-runner": "stay"}
        reach = access(os.environ)
        with told("asking for jobs", reach):
            jobs = HubRepo("", reach).api.list_jobs(namespace=space, labels=labels)
            yield from (job for job in jobs if _stage(job) in _PHASES)

    def standing(self, stay: Stay) -> Standing:
        if "job" not in stay.ticket:
            return Standing("sending", "no job was asked for yet")
        kept = self._kept(stay)
        with told("asking for the job", kept.reach):
            job = kept.api.inspect_job(job_id=stay.ticket["job"], namespace=kept.repo.partition("/")[0])
        stage, said = _stage(job), job.status.message or ""
        if stage in _PHASES:
            return Standing(_PHASES[stage], said or stage.lower(), billed=stage == "RUNNING")
        return engine.over(f"{stage.lower()}{f': {said}' if said else ''}", kept.ended(), kept.repo)

    def _kept(self, stay: Stay) -> HubRepo:
        return HubRepo(stay.ticket["repo"], access(os.environ))

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        """The run's folder; the job's own log where it left none, so that a job that never began is understood."""
        kept = self._kept(stay)
        kept.bring(into, everything=everything)
        log = RunPaths(into).remote_log
        if "job" in stay.ticket and not log.exists():
            with told("asking for the job's log", kept.reach):
                lines = kept.api.fetch_job_logs(job_id=stay.ticket["job"], namespace=kept.repo.partition("/")[0])
                write_text(log, "".join(f"{line}\n" for line in lines))

    def stop(self, stay: Stay, *, now: bool) -> None:
        self._kept(stay).stop(now=now)

    def release(self, stay: Stay, *, verified: bool) -> Stay:
        if not stay.ticket:
            return stay  # it did not come to that
        kept = self._kept(stay)
        for job in self._jobs(stay):
            with told("ending the job", kept.reach):
                kept.api.cancel_job(job_id=job.id, namespace=kept.repo.partition("/")[0])
        if verified:
            kept.remove()
        return stay.changed(paid_until=stay.paid_until or time.time())

    def billed(self) -> tuple[Billed, ...]:
        if not access(os.environ).token:
            return ()
        space = self.namespace or hub_repo("", "x").repo.partition("/")[0]
        jobs = [job for job in self._jobs(None, space) if _stage(job) == "RUNNING"]
        return tuple(
            Billed(self.name, f"{job.labels['name']} ({job.flavor})", None, f"hf jobs cancel {job.id}") for job in jobs
        )


def _stage(job: Any) -> str:
    return str(getattr(job.status.stage, "value", job.status.stage))
