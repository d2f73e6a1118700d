"""``kind: runpod``: a pod for one run, offered by the catalogue, paid for no longer than needed.

Never tried against RunPod itself: docs/live-checklist.md is for the first person who does.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from kohya_runner.errors import RemoteError
from kohya_runner.machine.runpod_api import (
    CLOUDS,
    RUNPOD,
    RUNPOD_KEYS,
    Cloud,
    GpuType,
    NetworkVolume,
    RentedPod,
    RunPodApi,
    RunPodError,
    named,
    runpod_key,
    words,
)  # fmt: skip
from kohya_runner.remote import runpod_pod
from kohya_runner.remote.machine import SshMachine
from kohya_runner.remote.place import Ask, Billed, Job, RemoteOffer, RemotePlace, Standing, Stay
from kohya_runner.remote.ssh import SshHost
from kohya_runner.text import counted, did_you_mean, size

VOLUME = "/workspace"  # where RunPod mounts volumes
_NAME = re.compile(r"kohya-runner-(.+)-(\d{3,})-[0-9a-f]{8}\Z")
_HOURS = 730  # of a month


class RunPodPlace(RemotePlace):
    """It needs no settings, only the key in the environment."""

    KIND: ClassVar[str] = "runpod"

    image: str = Field("runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404", description="the container's image")
    cuda: str = Field("12.8", pattern=r"^\d+\.\d+$", description='the lowest CUDA of the driver for the image: "12.8"')
    cloud: Literal["secure", "community", "any"] = Field("secure", description="secure, community or any")
    gpu: str | None = Field(None, description="a card by its name, as after --gpu")
    disk: int = Field(40, ge=10, description="GB of the container disk, which is fast and gone when the pod stops")
    volume: int | None = Field(
        None, ge=10, description="GB of the volume disk, which is gone when the pod is terminated"
    )
    network_volume: str | None = Field(None, description="the id of a network volume instead, which outlives the pod")
    data_centers: tuple[str, ...] = Field((), description="where the pod may be: [EU-RO-1, US-KS-2]")
    key: str | None = Field(None, description="the file of a private ssh key without a passphrase")
    max_price: float | None = Field(None, gt=0, description="dollars an hour, as after --max-price")
    max_hours: float | None = Field(None, gt=0, description="hours until the pod stops itself, as after --max-hours")
    arrive_minutes: float = Field(15, ge=0, description="minutes that a pod may take until its ssh answers")
    collect_minutes: float = Field(60, gt=0, description="minutes without a run or a client until the pod stops itself")
    root: str = Field(VOLUME, pattern="^/", description="the folder on the pod, /workspace is the volume")
    runner: str = Field("", description="a folder in the image with a Python environment that has kohya-runner")
    after: Literal["terminate", "stop", "keep"] = Field("terminate", description="the pod's end: terminate, stop, keep")

    def _problems(self, ask: Ask) -> Iterator[str]:
        outside = self.network_volume is not None and self.cloud != "secure"
        wrong = {
            "RunPod's API v2 rents no spot machines: leave --spot out": ask.spot,
            "one pod is one machine: leave --nodes out, or use an Instant Cluster (kind: slurm)": ask.nodes > 1,
            f"network volumes are in the secure cloud: write places.{self.name}.cloud: secure": outside,
            f"RunPod needs your key: export {RUNPOD_KEYS[0]}=...": not runpod_key(os.environ),
        }
        yield from (text for text, holds in wrong.items() if holds)

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """What of the catalogue bears the run, costs no more than asked and is there now."""
        api = RunPodApi(os.environ)
        rows = [
            (cloud, row)
            for cloud in CLOUDS if self.cloud in ("any", cloud)
            for row in api.gpus(cloud, ask.gpus, self.cuda) if row.manufacturer == "NVIDIA"
        ]  # fmt: skip
        volume = self._volume(api)
        centers = (volume.center,) if volume else self.data_centers  # a volume's pods are where it is
        spec = {"centers": " ".join(centers), "gb": str(volume.size) if volume else ""}
        rows = named(ask.gpu or self.gpu, rows)
        judged = [(self._against(ask, row, cloud, centers), cloud, row) for cloud, row in rows]
        found = [_offer(ask.gpus, row, cloud, spec) for why, cloud, row in judged if not why]
        if not found:
            whys = ", ".join(f"{count} {why}" for why, count in Counter(why for why, _, _ in judged).most_common())
            hint = "try again later, raise --max-price, name another --gpu, or write cloud: any into the settings"
            raise RemoteError(f"RunPod has no machine for this run now; of {len(judged)} offers: {whys}", hint=hint)
        return tuple(sorted(found, key=lambda offer: offer.price or 0.0))

    def _volume(self, api: RunPodApi) -> NetworkVolume | None:
        if self.network_volume is None:
            return None
        found = {volume.id: volume for volume in api.volumes()}
        if self.network_volume not in found:
            hint = did_you_mean(self.network_volume, found) or "look at console.runpod.io/user/storage"
            raise RemoteError(f"this RunPod account has no network volume {self.network_volume}", hint=hint)
        return found[self.network_volume]

    def _against(self, ask: Ask, row: GpuType, cloud: Cloud, centers: tuple[str, ...]) -> str:
        most = self.max_price if ask.max_price is None else ask.max_price
        there = {center["id"] for center in row.centers if center["availability"] != "NONE"}
        price = row.price.get(cloud, 0.0)
        if ask.vram_bytes is not None and row.memory << 30 < ask.vram_bytes:
            return f"with less memory than the {size(ask.vram_bytes)} of the plan"
        if most is not None and price * ask.gpus > most:
            return f"above {most:g} dollars an hour"
        if cloud not in row.clouds or ask.gpus > row.most.get(cloud, 0):
            return f"not in the {cloud} cloud with {counted(ask.gpus, 'card')}"
        free = row.availability != "NONE" and (not centers or not there.isdisjoint(centers))
        return "" if free else f"not free{' in ' + ', '.join(centers) if centers else ''}"

    def request(self, job: Job, offer: RemoteOffer, name: str, public_key: str) -> dict[str, object]:
        """The body of ``POST /v2/pods``."""
        needed = math.ceil((job.ask.disk_bytes or 0) * 1.3 / 1e9)
        persistent = {"size": self.volume or max(50, needed), "path": VOLUME}
        network = [{"volumeId": self.network_volume, "path": VOLUME}]
        return {
            "name": name, "image": self.image, "cloud": offer.spec["cloud"].upper(), "disk": self.disk,
            "gpu": {"id": offer.spec["id"], "count": offer.gpus, "minCudaVersion": self.cuda},
            "mounts": {"persistent": persistent} if self.network_volume is None else {"network": network},
            "env": {"PUBLIC_KEY": public_key}, "startSsh": True, "ports": ["22/tcp"],
            "dataCenterIds": offer.spec["centers"].split(),
        }  # fmt: skip

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        """The request of the pod, and what a person would type; the key is on no command line."""
        key, public_key = runpod_pod.ssh_keys(self.key)
        offer = offer or RemoteOffer("", job.ask.gpus, None, spec={"id": "GPU-ID", "cloud": "secure", "centers": ""})
        body = self.request(job, offer, f"kohya-runner-{job.name}-{job.number}", public_key)
        call = f'printf \'header = "Authorization: Bearer %s"\' "${RUNPOD_KEYS[0]}" | curl --config - --json'
        shell = f"ssh -p PORT -i {shlex.quote(str(key))}"
        pack, there = (shlex.quote(one) for one in (f"{job.pack}/", f"{self.root}/stays/{job.name}-{job.number}"))
        lines = (
            f"{call} @pod.json {RUNPOD}/pods  # its id; HOST and PORT: ssh.direct of {RUNPOD}/pods/ID once it runs",
            f"rsync -srLt -e {shlex.quote(shell)} {pack} root@HOST:{there}/pack/",
            f"{shell} root@HOST  # there, in a clone: bash runpod/start_training.sh {there}/pack/recipe.yaml",
            f"rsync -srt -e {shlex.quote(shell)} root@HOST:{there}/runs/ runs/",
            f'{call} \'{{"action":"terminate"}}\' {RUNPOD}/pods/ID/action',
        )
        return {"pod.json": json.dumps(body, indent=2) + "\n", "by-hand.sh": "\n".join((*lines, ""))}

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        """One pod, which stops itself whatever becomes of this machine; then as on any machine with ssh."""
        if stay.phase in ("renting", "lost"):
            host, stay = self._arrived(offer, self._rented(job, offer, stay, save), save)
            runpod_pod.watch(host, stay, self.root, self.collect_minutes * 60)
            runpod_pod.alone(RunPodApi(os.environ), stay)
            stay = stay.changed(phase="sending", note=f"sending {size(job.pack_bytes)} to the pod")
            save(stay)
        machine = self._machine(stay, awake=True)
        stay = machine.send(job, stay, save)
        if stay.max_hours is not None:  # the run is stopped at a save before the pod stops itself
            left = runpod_pod.seconds_left(stay) / 3600
            job = replace(job, ask=replace(job.ask, max_hours=max(left - 0.25, left * 0.8)))
        quota = {"KOHYA_RUNNER_VOLUME_GB": gb} if (gb := offer.spec.get("gb")) else {}  # df shows the whole cluster
        replace(machine, variables=quota).start(job, stay, job.values(os.environ))
        return stay.changed(phase="running", note="started")

    def _rented(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        """The pod of this stay: its own, else one that has its name, else a new one."""
        api = RunPodApi(os.environ)
        pod = api.pod(stay.ticket["pod"]) if "pod" in stay.ticket else None
        if pod is None:
            stay, pod = self._asked_for(api, job, offer, stay, save)
        asleep = pod.status in ("EXITED", "ERROR")
        if asleep:
            runpod_pod.woken(api, pod.id)
        hours = self.max_hours if job.ask.max_hours is None else job.ask.max_hours
        begun = stay.paid_from if stay.phase == "renting" and not asleep else None
        stay = stay.changed(
            phase="renting", ticket={**stay.ticket, "pod": pod.id}, paid_from=begun or time.time(), paid_until=None,
            max_hours=hours, note=f"waiting for pod {pod.id}",
        )  # fmt: skip
        save(stay)
        return stay

    def _asked_for(
        self, api: RunPodApi, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]
    ) -> tuple[Stay, RentedPod]:
        """The name is on disk before the pod is asked for: whoever comes later looks for it first."""
        before = "" if "pod" in stay.ticket else stay.ticket.get("name", "")  # a pod that is gone leaves no name
        key, public_key = runpod_pod.ssh_keys(self.key)
        name = before or f"kohya-runner-{job.name}-{job.number}-{secrets.token_hex(4)}"
        ticket = {"name": name, "key": str(key), "volume": self.network_volume or ""}
        stay = stay.changed(phase="renting", ticket=ticket, paid_from=None, note=f"asking for a pod {name}")
        save(stay)
        try:
            pod = runpod_pod.found(api, name) if before else None
            return stay, pod or runpod_pod.created(api, self.request(job, offer, name, public_key))
        except RunPodError as fault:
            if fault.unknown:
                fault.hint = f"whether there is a pod {name} now is not known: kohya-runner runs --remote; {fault.hint}"
            else:
                save(stay.changed(phase="lost", released=True, note=fault.message))
            raise

    def _arrived(self, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> tuple[SshHost, Stay]:
        """Until ssh answers. A pod that does not come, or costs more than agreed, is ended."""
        api, until = RunPodApi(os.environ), (stay.paid_from or 0.0) + self.arrive_minutes * 60
        pod, host, why = runpod_pod.reached(api, stay, until, lambda note: save(stay.changed(note=note)))
        if pod and host and pod.cost > (offer.price or math.inf) * 1.1 + 0.05:  # its disks may be counted, too
            why = f"costs {pod.cost:.2f} dollars an hour, not {offer.price:.2f} as agreed"
        if pod is None or host is None or why:
            stay = runpod_pod.end(api, stay, "stop" if stay.root else "terminate")  # nothing is on a new one
            save(stay.changed(phase="lost", released=True, note=f"the pod {why}; {stay.note}"))
            raise RemoteError(f"pod {stay.ticket['pod']} {why}; {stay.note}", hint="try again, or another --gpu")
        return host, stay.changed(price=pod.cost or stay.price)

    def _machine(self, stay: Stay, pod: RentedPod | None = None, *, awake: bool = False) -> SshMachine:
        """Its ssh. ``awake``: a pod that stopped itself is started for it, and stops itself again."""
        api = RunPodApi(os.environ)
        pod = pod or api.pod(stay.ticket["pod"])
        if pod is None:
            raise RemoteError(f"pod {stay.ticket['pod']} is gone: {runpod_pod.survives(stay)}")
        if pod.status != "EXITED" or not awake:
            return SshMachine(runpod_pod.host_of(stay, pod), self.root, self.runner)
        runpod_pod.woken(api, pod.id)
        _, host, why = runpod_pod.reached(api, stay, time.time() + self.arrive_minutes * 60)
        if host is None:
            stay = runpod_pod.end(api, stay, "stop")
            raise RemoteError(f"pod {pod.id} was started for what is on its disk, and {why}: {stay.note}")
        runpod_pod.watch(host, stay.changed(max_hours=None), self.root, self.collect_minutes * 60)
        return SshMachine(host, self.root, self.runner)

    def standing(self, stay: Stay) -> Standing:
        """What RunPod says of the pod, then what the pod says of the run; a stopped one is started once for that."""
        pod = RunPodApi(os.environ).pod(stay.ticket["pod"])
        if pod is None:
            return Standing("lost", f"pod {stay.ticket['pod']} is gone: {runpod_pod.survives(stay)}")
        if pod.status == "ERROR":
            return Standing("lost", f"pod {pod.id} is broken (ERROR): {runpod_pod.survives(stay)}", billed=pod.cost > 0)
        if pod.status not in ("RUNNING", "EXITED"):
            return Standing(stay.phase, f"pod {pod.id} is {pod.status.lower()}", billed=True)
        try:
            told = self._machine(stay, pod, awake=True).standing(stay)
        except RemoteError as fault:
            price = f"{pod.status.lower()}, {pod.cost:.2f} dollars an hour"
            raise RemoteError(f"pod {pod.id} ({price}): {fault.message}", hint=fault.hint) from None
        cut = pod.status == "EXITED" and told.phase == "lost"
        return replace(told, billed=True, text="the pod was stopped before the run ended" if cut else told.text)

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        """By rsync; a pod that stopped itself is started only where everything is wanted."""
        if stay.phase != "returned":  # then all is here, and the pod may be gone
            self._machine(stay, awake=everything).bring(stay, into, everything=everything)

    def stop(self, stay: Stay, *, now: bool) -> None:
        self._machine(stay).stop(stay, now=now)

    def release(self, stay: Stay, *, verified: bool) -> Stay:
        """As the settings say; what was not verified stays on a disk or on a network volume."""
        api = RunPodApi(os.environ)
        if "name" not in stay.ticket:
            return stay
        pod = api.pod(stay.ticket["pod"]) if "pod" in stay.ticket and self.after == "keep" and verified else None
        if pod is not None:
            return stay.changed(note=f"pod {pod.id} is kept and costs {pod.cost:.2f} dollars an hour")
        safe = self.after == "terminate" and (verified or stay.ticket["volume"])
        return runpod_pod.end(api, stay, "terminate" if safe or not stay.root else "stop")

    def billed(self) -> tuple[Billed, ...]:
        """All pods of the account, whoever made them, and its network volumes."""
        api, month, found = RunPodApi(os.environ), words()["month"], []
        for pod in api.pods():
            ours = _NAME.match(pod.name)
            disk = pod.volume * month["stopped"] / _HOURS if pod.status == "EXITED" else 0.0
            held = f"{pod.volume} GB" if disk else pod.card
            text = f"{pod.status.lower()}, {held}; end it: runpodctl pod delete {pod.id}"
            run = f"{ours[1]}/{ours[2]}" if ours else None
            found.append(Billed(self.name, f"pod {pod.id} {pod.name}", round(pod.cost or disk, 4), text, run))
        for volume in api.volumes():
            known = volume.type == "STANDARD" and volume.size <= 1000
            price = round(volume.size * month["network"] / _HOURS, 4) if known else None
            text = f"{volume.size} GB in {volume.center}, until it is deleted"
            found.append(Billed(self.name, f"network volume {volume.id} {volume.name}", price, text))
        return tuple(found)


def _offer(gpus: int, row: GpuType, cloud: Cloud, spec: Mapping[str, str]) -> RemoteOffer:
    note, price = f"{row.memory} GB each, stock {row.availability.lower()}", round(row.price[cloud] * gpus, 4)
    return RemoteOffer(row.name, gpus, price, f"{cloud} cloud", note, {"id": row.id, "cloud": cloud, **spec})
