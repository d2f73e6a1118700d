"""The part of the local Hub that runs jobs: it only notes them; a test says how each goes on."""

from __future__ import annotations

import json
from typing import Any

HARDWARE = [
    {"name": name, "prettyName": pretty, "cpu": "8 vCPU", "ram": "32 GB", "ephemeralStorage": "400 GB",
     "accelerator": card and {"type": "gpu", "model": card, "quantity": str(count), "vram": f"{count * each} GB",
                              "manufacturer": "Nvidia"},
     "unitCostMicroUSD": int(cost * 1e6), "unitCostUSD": cost, "unitLabel": "minute"}
    for name, pretty, card, count, each, cost in (
        ("cpu-basic", "CPU Basic", None, 0, 0, 0.000167), ("t4-small", "Nvidia T4 - small", "T4", 1, 16, 0.006667),
        ("l40sx1", "1x Nvidia L40S", "L40S", 1, 48, 0.03), ("l40sx4", "4x Nvidia L40S", "L40S", 4, 48, 0.138333),
        ("a100-large", "Nvidia A100 - large", "A100", 1, 80, 0.041667),
    )
]  # fmt: skip


class Jobs:
    """Mixed into the Hub's handler. A job's stage is what stands in ``hub.jobs``."""

    def _job(self, parts: list[str]) -> None:
        token, body = self._token(), json.loads(self._body() or b"{}")
        if token not in self.hub.tokens:
            return self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if parts == ["hardware"]:
            return self._json(HARDWARE)
        if len(parts) == 1:
            return self._ask_for(parts[0], body) if self.command == "POST" else self._listed()
        job = self.hub.jobs.get(parts[1])
        if job is None:
            return self._send(404, b"", {"X-Error-Message": "Job not found"})
        if parts[2:] == ["cancel"]:
            job["status"] = {"stage": "CANCELED", "message": None}
        if parts[2:] == ["logs"]:
            lines = "".join(f"data: {json.dumps({'data': line, 'timestamp': '2026-01-01T00:00:00.000Z'})}\n\n"
                            for line in job["log"])  # fmt: skip
            return self._send(200, lines.encode(), {"Content-Type": "text/event-stream"})
        return self._json(_told(job))

    def _ask_for(self, owner: str, spec: dict[str, Any]) -> None:
        name = f"{len(self.hub.jobs):024d}"
        self.hub.jobs[name] = {
            "id": name, "createdAt": "2026-01-01T00:00:00.000Z", "owner": {"id": "1", "name": owner, "type": "user"},
            "status": {"stage": "SCHEDULING", "message": None}, "log": [], "spec": spec, "labels": spec["labels"],
            "flavor": spec["flavor"],
        }  # fmt: skip
        self._json(_told(self.hub.jobs[name]))

    def _listed(self) -> None:
        from urllib.parse import parse_qs, urlsplit

        wanted = [label.partition("=") for label in parse_qs(urlsplit(self.path).query).get("label", [])]
        rows = [job for job in self.hub.jobs.values() if all(job["labels"].get(k) == v for k, _, v in wanted)]
        self._json([_told(job) for job in rows])


def _told(job: dict[str, Any]) -> dict[str, Any]:
    """What the Hub says of a job: not the values of its secrets."""
    return {key: value for key, value in job.items() if key not in ("log", "spec")}
