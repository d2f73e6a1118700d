"""Which machine of how many this is and where they meet, as the variables of whoever started the launch say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.findings import Finding, error
from kohya_runner.tables import read_table

PORT = 29500
JOB_PORTS = (20_000, 10_000)
"""Of a Slurm job without one of its own: below those that the system gives away, and another one for the next job."""
_MENTIONS = re.compile(r"(NUM_NODES|NNODES|WORLD_SIZE)$")
_LIST = re.compile(r"\[(\d+)[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """``rank`` of ``machines``, counted from 0; they meet at ``address``. ``source``: who says so, "" for nobody.

    ``processes``: how many GPUs each machine has for it, None where that is not said.
    """

    machines: int = 1
    rank: int = 0
    processes: int | None = None
    address: str = ""
    port: int = PORT
    source: str = ""

    def __str__(self) -> str:
        return f"machine {self.rank} of 0 to {self.machines - 1}, meeting at {self.address}:{self.port} ({self.source})"


ALONE = Rendezvous()


def rendezvous(environ: Mapping[str, str]) -> tuple[Rendezvous, tuple[Finding, ...]]:
    """What all launchers in the environment agree on, and an error for each that contradicts itself or another.

    One machine is found where nobody says anything; then no table is read.
    """
    if not any(map(_MENTIONS.search, environ)):
        return ALONE, ()
    found: list[tuple[Mapping[str, Any], Rendezvous]] = []
    faults: list[Finding] = []
    for row in read_table(Path(__file__).with_suffix(".toml"))["launchers"]:
        if all(environ.get(name) for name in row["needs"]) and not any(map(environ.get, row.get("unless", ()))):
            wrong = tuple(_faults(row, environ))
            faults += wrong
            found += [] if wrong else [(row, _read(row, environ))]
    faults += _outside_a_step(environ) if not found else []
    if not found or faults:
        return ALONE, tuple(faults)
    first, chosen = found[0]
    for row, other in found[1:]:
        if (other.machines, other.rank) != (chosen.machines, chosen.rank):
            text = f"{chosen.source} says machine {chosen.rank} of {chosen.machines}, {other.source} says "
            hint = f"unset {row['machines']} or {first['machines']}, whichever is not of this launch"
            faults.append(_fault(f"{text}{other.rank} of {other.machines}", hint))
    return (ALONE if chosen.machines == 1 else chosen), tuple(faults)


def first_host(nodes: str) -> str:
    """The first of a list of hosts: Slurm's ``n[01-03,7],m1``, one a line, or behind commas."""
    first = re.split(r"[\s,]+(?![^\[]*\])", nodes.strip())[0]
    return _LIST.sub(r"\1", first)


def _fault(text: str, hint: str) -> Finding:
    return error("device.rendezvous", text, hint=hint)


def _faults(row: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Finding]:
    name = row["name"]
    for key in (row["machines"], row["rank"]):
        if not (environ.get(key) or "").strip().isdecimal():
            text = f"{name}: {key} is {environ.get(key, 'not set')!r}, not a number"
            yield _fault(text, f"export {key}, or unset {row['needs'][0]}")
            return
    machines, rank = int(environ[row["machines"]]), int(environ[row["rank"]])
    if rank >= max(1, machines):
        hint = f"ranks begin at 0: {row['rank']} is less than {row['machines']}"
        yield _fault(f"{name}: {row['rank']} is {rank}, and there are {machines} machine(s)", hint)
    elif machines > 1 and not _first(row["address"], environ):
        yield _fault(f"{name}: nothing says where machine 0 is", f"export {row['address'][0]}")
    for key, once in row.get("once", {}).items() if machines > 1 else ():
        if environ.get(key) and not re.fullmatch(once, environ[key]):
            text = f"{name} starts several launches on a machine ({key}={environ[key]}), and each starts all processes"
            yield _fault(text, f"start it with {row['again']}, and write launch.num_processes: N")
    port = _first(row["port"], environ)
    if port and not (port.isdecimal() and 0 < int(port) < 1 << 16):
        yield _fault(f"{name}: {' or '.join(row['port'])} is {port!r}, not a port", "export a number below 65536")


def _outside_a_step(environ: Mapping[str, str]) -> Iterator[Finding]:
    """A batch script runs on the first node alone, whatever its job has."""
    nodes = environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES") or "1"
    if environ.get("SLURM_JOB_ID") and nodes.isdecimal() and int(nodes) > 1:
        text = f"this Slurm job has {nodes} nodes, and the launch was started on one of them alone"
        yield _fault(text, "srun --ntasks-per-node=1 kohya-runner launch ...; on one node: srun -N1 -n1")


def _read(row: Mapping[str, Any], environ: Mapping[str, str]) -> Rendezvous:
    given = environ.get(row.get("processes", ""), "")
    port, job = _first(row["port"], environ), environ.get("SLURM_JOB_ID", "")
    by_job = row["name"] == "Slurm" and job.isdecimal()
    spare = JOB_PORTS[0] + int(job) % JOB_PORTS[1] if by_job else PORT
    return Rendezvous(
        int(environ[row["machines"]]), int(environ[row["rank"]]), int(given) if given.isdecimal() else None,
        first_host(_first(row["address"], environ)), int(port) + row.get("beside", 0) if port else spare, row["name"],
    )  # fmt: skip


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")
