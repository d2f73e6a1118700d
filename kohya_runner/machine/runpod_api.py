"""RunPod's API v2 (docs.runpod.io, openapi v2): its shapes, its errors in plain words, and what may be asked again.

The key is in a header and nowhere else. Written from the documentation, tried against a server that speaks it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AliasPath, BaseModel, Field, ValidationError

from kohya_runner import web
from kohya_runner.errors import RemoteError
from kohya_runner.tables import read_table
from kohya_runner.text import MASK, did_you_mean, duration, plain

RUNPOD = "https://api.runpod.io/v2"
RUNPOD_VARIABLE = "KOHYA_RUNPOD_API"
"""Another address of the API, for tests."""
RUNPOD_KEYS = ("KOHYA_RUNPOD_API_KEY", "RUNPOD_API_KEY")
"""The user's key before the pod's own: nobody documents that the latter may stop a pod through API v2."""
Cloud = Literal["secure", "community"]
CLOUDS: tuple[Cloud, ...] = ("secure", "community")
PodStep = Literal["start", "stop", "terminate"]
BECOMES = {"start": ("PROVISIONING", "STARTING", "RUNNING"), "stop": ("EXITED",), "terminate": ()}
"""What a pod is after a step; one that was terminated is gone."""
WAITS = (1.0, 4.0, 10.0)
"""Seconds before what may be asked again is asked again."""
LONGEST_PAUSE = 90.0
"""The longest Retry-After that is waited for: windows of an hour or a day are told instead."""
_SECONDS = 60.0  # the documentation's own sample waits as long for a pod
_LARGEST = 4 << 20
_SHOWN = 300
_MAKERS = re.compile(r"nvidia|geforce|tesla|[^a-z0-9]")


def runpod_api(environ: Mapping[str, str]) -> str:
    """Another address counts only for this machine itself: a key must not go to a stranger."""
    other = environ.get(RUNPOD_VARIABLE, "")
    ours = other and urlsplit(other).hostname in ("127.0.0.1", "localhost", "::1")
    return other.rstrip("/") if ours else RUNPOD


def runpod_key(environ: Mapping[str, str]) -> str:
    return next((value for name in RUNPOD_KEYS if (value := environ.get(name, "").strip())), "")


@cache
def words() -> dict[str, Any]:
    """What is data: prices of disks, words of errors."""
    return read_table(Path(__file__).with_name("runpod.toml"))


class RunPodError(RemoteError):
    """RunPod refused, or did not answer; ``status`` is HTTP's, 0 where nothing came."""

    def __init__(self, what: str, status: int, detail: str = "") -> None:
        named = (row for pattern, row in words()["words"].items() if re.search(pattern, detail, re.IGNORECASE))
        code = "200" if 200 <= status < 300 else str(min(status, 500))
        row = next(named, None) or words()["status"].get(code) or words()["status"]["422"]
        said = ": ".join(text for text in (f"HTTP {status}" if status else "", detail) if text)
        super().__init__(f"RunPod, {what}: {row['says']} ({said})", hint=row["hint"])
        self.status = status

    @property
    def unknown(self) -> bool:
        """Whether it may have done what was asked all the same."""
        return self.status < 300 or self.status >= 500


class _Address(BaseModel):
    host: str
    port: int
    username: str


class RentedPod(BaseModel):
    """What ``GET /v2/pods/ID`` says of a pod, as far as it is used here. ``volume``: GB of its volume disk."""

    id: str
    name: str
    status: str
    cost: float
    created: str = Field("", alias="createdAt")
    card: str = Field("", validation_alias=AliasPath("gpu", "id"))
    volume: int = Field(0, validation_alias=AliasPath("mounts", "persistent", "size"))
    direct: _Address | None = Field(None, validation_alias=AliasPath("ssh", "direct"))


class GpuType(BaseModel):
    """A row of ``GET /v2/catalog/gpus``: the price of one an hour, and how many are there in the cloud asked for."""

    id: str
    name: str
    manufacturer: str
    memory: int
    secure: bool
    community: bool
    price: dict[str, float]
    most: dict[str, int] = Field(alias="maxCount")
    availability: str = "NONE"
    centers: tuple[dict[str, Any], ...] = Field((), alias="dataCenters")

    @property
    def clouds(self) -> tuple[Cloud, ...]:
        there: dict[Cloud, bool] = {"secure": self.secure, "community": self.community}
        return tuple(cloud for cloud in CLOUDS if there[cloud] and self.price.get(cloud, 0.0) > 0)


class NetworkVolume(BaseModel):
    """A row of ``GET /v2/network-volumes``."""

    id: str
    name: str
    size: int
    center: str = Field(alias="dataCenter")
    type: str = "STANDARD"


_Shape = TypeVar("_Shape", bound=BaseModel)


class RunPodApi:
    """The account of one key."""

    def __init__(self, environ: Mapping[str, str], sleep: Callable[[float], None] = time.sleep) -> None:
        self.url, self.key, self.sleep = runpod_api(environ), runpod_key(environ), sleep

    def gpus(self, cloud: Cloud | None = None, count: int = 1, cuda: str = "") -> tuple[GpuType, ...]:
        """Prices, and what a cloud has in stock."""
        asked = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": str(cloud).upper()}
        query = f"?{urlencode({**asked, 'minCudaVersion': cuda})}" if cloud else ""
        return self._list(f"catalog/gpus{query}", "gpus", GpuType)

    def pods(self) -> tuple[RentedPod, ...]:
        """All of the account; those that were terminated are not listed."""
        return self._list("pods", "pods", RentedPod)

    def volumes(self) -> tuple[NetworkVolume, ...]:
        return self._list("network-volumes", "networkVolumes", NetworkVolume)

    def pod(self, pod_id: str) -> RentedPod | None:
        """One pod, None where it is gone."""
        try:
            pod = _shaped("the pod", RentedPod, self._ask("the pod", f"pods/{quote(pod_id, safe='')}"))
        except RunPodError as fault:
            if fault.status == 404:
                return None
            raise
        return None if pod.status == "TERMINATED" else pod

    def create(self, body: Mapping[str, object]) -> RentedPod:
        """Asked once: after an error that is ``unknown`` there may be a pod, to be found by its name."""
        return _shaped("a new pod", RentedPod, self._ask("a new pod", "pods", body, again=False))

    def act(self, pod_id: str, step: PodStep) -> RentedPod | None:
        """Start, stop or terminate, and look until it is so; the pod as it is then. What is so already is no error."""
        refused = None
        try:
            self._ask(f"{step} pod {pod_id}", f"pods/{quote(pod_id, safe='')}/action", {"action": step})
        except RunPodError as fault:
            if fault.status not in (404, 409):
                raise
            refused = fault
        for wait in (*WAITS, None):
            pod = self.pod(pod_id)
            if pod.status in BECOMES[step] if pod else step != "start":
                return pod
            if refused or wait is None:
                break
            self.sleep(wait)
        raise refused or RunPodError(f"{step} pod {pod_id}", 200, "it was accepted and did not happen")

    def _list(self, path: str, key: str, shape: type[_Shape]) -> tuple[_Shape, ...]:
        answer = self._ask(key, path)
        if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
            raise RunPodError(key, 200, f"no list {key}")
        return tuple(_shaped(key, shape, row) for row in answer[key])

    def _ask(self, what: str, path: str, body: Mapping[str, object] | None = None, *, again: bool = True) -> Any:
        """JSON, or an error. 429 is asked again once its time is over, what failed only where that is harmless."""
        if not self.key:
            raise RemoteError("RunPod needs your key", hint=f"export {RUNPOD_KEYS[0]}=...")
        waits = list(WAITS)
        while True:
            status, value, detail, after = self._once(path, body)
            if 200 <= status < 300 and value is not None:
                return value
            pause = after if status == 429 and after is not None else waits[0] if waits else 0.0
            fleeting = status == 429 or (again and (status < 300 or status >= 500))
            if not waits or not fleeting or pause > LONGEST_PAUSE:
                raise RunPodError(what, status, f"{detail}; wait {duration(after)}" if after else detail)
            waits.pop(0)
            self.sleep(pause)

    def _once(self, path: str, body: Mapping[str, object] | None) -> tuple[int, Any, str, float | None]:
        """Status, JSON (None where it is none), what an error says (RFC 9457), Retry-After."""
        url, headers = f"{self.url}/{path}", {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        headers |= {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        answer = web.post(url, data, headers, seconds=_SECONDS, longest=_LARGEST)
        try:
            value = {} if answer.status == 204 else json.loads(answer.text)
        except ValueError:
            value = None
        detail = answer.reason if answer.status == 0 else ""
        if not answer.ok and isinstance(value, dict):
            errors = value.get("errors")
            said = (value.get("detail"), *(errors if isinstance(errors, list) else ()))
            detail = "; ".join(str(one) for one in said if one)
        shown = plain(" ".join(detail.replace(self.key, MASK).split()))[:_SHOWN]
        return answer.status, value, shown, float(answer.retry_after) if answer.retry_after.isdecimal() else None


def _shaped(what: str, shape: type[_Shape], value: object) -> _Shape:
    try:
        return shape.model_validate(value)
    except ValidationError as fault:
        first = fault.errors()[0]
        raise RunPodError(what, 200, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def plain_card(card: str) -> str:
    """``NVIDIA GeForce RTX 4090`` is ``rtx4090``, and ``RTX4090`` of other catalogues."""
    return _MAKERS.sub("", card.lower())


def named(card: str | None, rows: list[tuple[Cloud, GpuType]]) -> list[tuple[Cloud, GpuType]]:
    """The cards of this name; where none has it, those whose names hold it: ``4090`` is one, ``L4`` is not an L40S."""
    said = plain_card(card or "")
    exact = [(cloud, row) for cloud, row in rows if said in (plain_card(row.id), plain_card(row.name))]
    found = exact or [(cloud, row) for cloud, row in rows if said in f"{plain_card(row.id)} {plain_card(row.name)}"]
    if not found:
        names = sorted({row.name for _, row in rows})
        hint = did_you_mean(card or "", names) or f"it has: {', '.join(names)}"
        raise RemoteError(f"RunPod has no card named {card}", hint=hint)
    return found
