"""A server on this machine that speaks RunPod's API v2 as its openapi documents it: an account with its pods.

Statuses, transitions, fields and problems are those of docs.runpod.io/api-reference-v2/openapi.json (August 2026); the
requests that it gets are checked as ``CreatePodRequest`` and ``PodActionRequest`` say (``additionalProperties`` and
``unevaluatedProperties`` are false there).
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "rpa_NOBODYS0KEY0OF0RUNPOD"
ACTIONS = {
    "PROVISIONING": ("stop", "terminate"), "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"), "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"), "TERMINATED": (),
}  # fmt: skip
LIMIT = {
    "RateLimit": '"minute";r=59;t=12, "hour";r=2800;t=1812, "day";r=49500;t=45012',
    "RateLimit-Policy": '"minute";q=60;w=60, "hour";q=3000;w=3600, "day";q=50000;w=86400',
}
TITLES = {
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    409: "Conflict", 422: "Unprocessable Entity", 429: "Too Many Requests",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
BODY = {
    "name", "image", "cloud", "gpu", "cpu", "dataCenterIds", "globalNetworking", "mounts", "startJupyter", "startSsh",
    "templateId", "args", "disk", "env", "ports", "registry",
}  # fmt: skip


def gpu(name: str, memory: int, price: float, other_price: float, **other: Any) -> dict[str, Any]:
    """A row of the catalogue."""
    maker = "AMD" if name.startswith("AMD") else "NVIDIA"
    return {
        "id": other.pop("id", f"NVIDIA {name}"), "name": name, "pool": None, "manufacturer": maker, "memory": memory,
        "secure": True, "community": True, "price": {"secure": price, "community": other_price},
        "maxCount": {"secure": 8, "community": 4}, "stock": "HIGH",
        "centers": {"US-KS-2": "HIGH", "EU-RO-1": "LOW"}, **other,
    }  # fmt: skip


CATALOGUE = (
    gpu("RTX A4000", 16, 0.25, 0.17),
    gpu("RTX 4090", 24, 0.69, 0.34, id="NVIDIA GeForce RTX 4090"),
    gpu("L4", 24, 0.43, 0.43, community=False),
    gpu("L40S", 48, 0.86, 0.79, stock="NONE"),
    gpu("RTX A6000", 48, 0.49, 0.33, centers={"US-KS-2": "NONE", "EU-RO-1": "MEDIUM"}),
    gpu("H100 SXM", 80, 2.99, 2.69, id="NVIDIA H100 80GB HBM3", maxCount={"secure": 8, "community": 0}),
    gpu("AMD MI300X", 192, 0.1, 0.1, id="AMD Instinct MI300X OAM"),
)


@dataclass
class Fault:
    """What happens to the next ``times`` requests that match instead of, or ("lost") after, what they ask for.

    What is called instead is called after it was done, and before anybody is answered.
    """

    match: str  # "POST /v2/pods"
    kind: int | str | Callable[[], object]  # a status, "cut", "lost", "page"
    times: int = 1
    detail: str = "request could not be processed"
    retry_after: int | None = None


@dataclass
class Cloud:
    """The account. ``arrives`` is how many looks at a pod it takes until it runs, None for never."""

    catalogue: tuple[dict[str, Any], ...] = CATALOGUE
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    arrives: int | None = 1
    arrived: str = "RUNNING"
    address: tuple[str, int, str] = ("127.0.0.1", 22, "root")
    listed_after: int = 0  # looks at the list until a new pod is in it
    made: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"

    def environ(self) -> dict[str, str]:
        return {"KOHYA_RUNPOD_API": self.url, "KOHYA_RUNPOD_API_KEY": KEY}

    def asked(self, what: str) -> list[Any]:
        """The bodies of the requests of a method and path, in order."""
        return [body for method, path, body in self.requests if f"{method} {path}" == what]

    def living(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods.values() if pod["status"] != "TERMINATED"]

    def set(self, status: str) -> None:
        """What becomes of every pod without anybody asking for it."""
        for pod in self.living():
            self._enter(pod, status)

    def _enter(self, pod: dict[str, Any], status: str) -> None:
        host, port, user = self.address
        runs = status == "RUNNING"
        direct = {"host": host, "port": port, "username": user, "command": f"ssh {user}@{host} -p {port}"}
        ports = [{"private": 22, "public": port, "type": "tcp", "ip": host}]
        pod.update(
            status=status, actions=list(ACTIONS[status]), startedAt="2026-08-20T12:02:00Z" if runs else None,
            runtime={"uptime": 7, "ports": ports} if runs else None,
            cost=0.0 if status in ("EXITED", "TERMINATED") else pod["rate"],
        )  # fmt: skip
        pod["ssh"]["direct"] = direct if runs else None

    def shown(self, pod: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in pod.items() if key not in ("rate", "looks", "hidden")}

    def look(self, pod: dict[str, Any]) -> dict[str, Any]:
        pod["looks"] += 1
        if pod["status"] in ("PROVISIONING", "STARTING") and self.arrives is not None and pod["looks"] >= self.arrives:
            self._enter(pod, self.arrived)
        return self.shown(pod)

    def create(self, body: dict[str, Any]) -> tuple[int, Any]:
        wrong = violations(body)
        if wrong:
            return 422, problem(422, "Request validation failed.", wrong)
        row = next((row for row in self.catalogue if row["id"] == body["gpu"]["id"]), None)
        if row is None or row["stock"] == "NONE":
            return 400, problem(400, "There are no longer any instances available with the requested specifications.")
        self.made += 1
        cloud = body.get("cloud", "SECURE")
        pod = {
            "id": f"pod{self.made}x7h9k2", "name": body["name"], "image": body["image"], "args": body.get("args", ""),
            "disk": body.get("disk", 50), "ports": body.get("ports", []), "env": body.get("env", {}), "registry": None,
            "status": "", "actions": [], "mounts": body.get("mounts", {}), "cloud": cloud, "cost": 0.0, "locked": False,
            "gpu": {"id": body["gpu"]["id"], "count": body["gpu"].get("count", 1)}, "dataCenterId": "US-KS-2",
            "cudaVersion": "12.8", "template": None, "globalNetworking": {"enabled": False}, "runtime": None,
            "ssh": {"proxy": None, "direct": None}, "createdAt": f"2026-08-20T12:00:{self.made:02d}Z",
            "startedAt": None, "rate": round(row["price"][cloud.lower()] * body["gpu"].get("count", 1), 4), "looks": 0,
            "hidden": self.listed_after,
        }  # fmt: skip
        self._enter(pod, "PROVISIONING")
        self.pods[pod["id"]] = pod
        return 201, self.shown(pod)

    def act(self, pod: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        if set(body) != {"action"} or body["action"] not in ("start", "stop", "restart", "terminate"):
            return 422, problem(422, "Request validation failed.")
        if body["action"] not in pod["actions"]:
            return 409, problem(409, f"cannot {body['action']} a pod that is {pod['status']}")
        pod["looks"] = 0
        status = {"start": "PROVISIONING", "stop": "EXITED", "terminate": "TERMINATED"}.get(body["action"], "STARTING")
        self._enter(pod, status)
        return (204, None) if body["action"] == "terminate" else (200, self.shown(pod))

    def gpus(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        if (query.get("include") == ["AVAILABILITY"]) != ("product" in query):
            return 400, problem(400, "include=AVAILABILITY requires product")
        cloud, count = query.get("cloud", ["SECURE"])[0].lower(), int(query.get("count", ["1"])[0])
        rows = []
        for row in self.catalogue:
            shown = {key: value for key, value in row.items() if key not in ("stock", "centers")}
            there = row[cloud] and count <= row["maxCount"][cloud] and row["stock"] != "NONE"
            shown["availability"] = row["stock"] if there else "NONE"
            if there and cloud == "secure":
                shown["dataCenters"] = [
                    {"id": name, "name": name, "availability": level} for name, level in row["centers"].items()
                ]
            rows.append(shown)
        return 200, {"gpus": rows}

    def meet(self, method: str, target: str, headers: Any, body: Any) -> tuple[int, Any, Fault | None]:
        """A request: noted, judged by its key, then answered or what is wrong today."""
        address = urlsplit(target)
        self.requests.append((method, address.path, body))
        self.queries.append(address.query)
        fault = next((one for one in self.faults if one.times and one.match == f"{method} {address.path}"), None)
        if fault:
            fault.times -= 1
        if headers.get("Authorization") != f"Bearer {KEY}":
            return 401, problem(401, "invalid bearer token"), None
        if fault and isinstance(fault.kind, int):
            return fault.kind, problem(fault.kind, fault.detail), fault
        if fault and fault.kind in ("cut", "page"):
            return 200, None, fault
        return *self.answer(method, address.path, parse_qs(address.query), body), fault

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if (method, path) == ("GET", "/v2/catalog/gpus"):
            return self.gpus(query)
        if (method, path) == ("GET", "/v2/network-volumes"):
            return 200, {"networkVolumes": self.volumes}
        if (method, path) == ("GET", "/v2/pods"):
            listed = [pod for pod in self.living() if pod["hidden"] <= 0]
            for pod in self.living():
                pod["hidden"] -= 1
            return 200, {"pods": [self.shown(pod) for pod in listed]}
        if (method, path) == ("POST", "/v2/pods"):
            return self.create(body)
        found = re.fullmatch(r"/v2/pods/([\w-]+)(/action)?", path)
        pod = self.pods.get(found[1]) if found else None
        if found is None or pod is None or pod["status"] == "TERMINATED":
            return 404, problem(404, "pod not found")
        return self.act(pod, body) if found[2] else (200, self.look(pod))


def problem(status: int, detail: str, errors: list[str] | None = None) -> dict[str, Any]:
    """RFC 9457, as ``ErrorResponse`` has it."""
    more = {"errors": errors} if errors else {}
    return {"title": TITLES.get(status, "Error"), "status": status, "detail": detail, **more}


def violations(body: dict[str, Any]) -> list[str]:
    """What ``CreatePodRequest`` does not allow."""
    found = [f"$: additional properties '{key}' not allowed" for key in sorted(set(body) - BODY)]
    found += [f"$: missing property '{key}'" for key in ("name", "image", "gpu") if not body.get(key)]
    card, mounts = body.get("gpu") or {}, body.get("mounts") or {}
    found += [
        f"$.gpu: '{key}' not allowed" for key in set(card) - {"id", "count", "allowedCudaVersions", "minCudaVersion"}
    ]
    if not re.fullmatch(r"\d+\.\d+", card.get("minCudaVersion", "12.8")):
        found.append("$.gpu.minCudaVersion: does not match pattern")
    if not isinstance(body.get("disk", 1), int) or body.get("disk", 1) < 1:
        found.append("$.disk: minimum: 1")
    kept, network = mounts.get("persistent"), mounts.get("network")
    if set(mounts) - {"persistent", "network"} or (kept and network):
        found.append("$.mounts: at most one of persistent and network")
    if kept and (set(kept) != {"size", "path"} or not isinstance(kept["size"], int) or kept["size"] < 10):
        found.append("$.mounts.persistent.size: minimum: 10")
    if network and (len(network) > 1 or set(network[0]) != {"volumeId", "path"}):
        found.append("$.mounts.network: maxItems: 1")
    if not all(isinstance(value, str) for value in body.get("env", {}).values()):
        found.append("$.env: got non-string")
    return found


def handler(cloud: Cloud, lock: threading.Lock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            with lock:
                status, value, fault = cloud.meet(self.command, self.path, self.headers, body)
            if fault and callable(fault.kind):
                fault.kind()
            if fault and (fault.kind in ("cut", "lost") or callable(fault.kind)):
                self.close_connection = True
                return
            kind = "application/json" if status < 400 else "application/problem+json"
            data = b"<html>a proxy of somebody" if fault and fault.kind == "page" else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**LIMIT, "Content-Type": kind}.items():
                self.send_header(name, text)
            if fault and fault.retry_after is not None:
                self.send_header("Retry-After", str(fault.retry_after))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def runpod_cloud(**account: Any):
    """A server with an account, until the test ends."""
    cloud = Cloud(**account)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(cloud, threading.Lock()))
    cloud.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
