"""Can this machine train? Every part of it looked at, none of it changed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner import __version__, hub
from kohya_runner import workspace as workspaces
from kohya_runner.engine_info import EngineInfo
from kohya_runner.errors import RunnerError, TrainerError, exit_code
from kohya_runner.findings import Finding, error, finding_json, warning
from kohya_runner.install import probe
from kohya_runner.install.checkout import Checkout, TrainerPython, find_trainer
from kohya_runner.machine.checks import machine_findings, trainer_facts
from kohya_runner.machine.device_checks import MachineNeeds
from kohya_runner.machine.host import HostFacts, read_host
from kohya_runner.settings import UserSettings, read_settings
from kohya_runner.text import size

ROOMY = 30 * 10**9
"""Bytes an SDXL run with its model and ten checkpoints takes; less free is worth a word."""


@dataclass(frozen=True, slots=True)
class Report:
    """(part, what was found) rows, and what is wrong."""

    rows: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return exit_code(self.findings)

    def as_json(self) -> dict[str, Any]:
        found = [finding_json(f) for f in self.findings]
        return {"version": 1, "ok": not self.exit_code, "parts": dict(self.rows), "findings": found}


def doctor(
    engines: Sequence[EngineInfo],
    sd_scripts: str | None,
    workspace: str | None,
    environ: Mapping[str, str] | None = None,
) -> Report:
    """Look at the machine; importing torch in the trainer's Python takes 5 to 30 seconds.

    The default one of ``engines`` must be here, the others are told where they are.
    """
    default = next(engine for engine in engines if engine.default)
    env = dict(os.environ if environ is None else environ)
    settings = read_settings(env, [key for engine in engines for key in engine.settings])
    try:
        checkout, python = find_trainer(env, settings, sd_scripts=sd_scripts, engine=default)
    except RunnerError as fault:
        return Report((), fault.findings or (error("trainer.missing", fault.message, hint=fault.hint),))
    room = workspaces.choose(workspace, str(settings.workspace) if settings.workspace else None, env, Path.cwd())
    host = read_host((room.root,), environ=env)
    system = host.filesystem_of(room.root)
    free = size(system.free_bytes if system else None)
    facts, deep, broken = _look(checkout, python)
    trainer = trainer_facts(default, checkout, python, facts, deep)
    reach = hub.access(env)
    answer = hub.hub_facts(["stabilityai/stable-diffusion-xl-base-1.0"], reach)[0]
    rows = (*_machine_rows(host), *_trainer_rows(default, checkout, python, facts, deep),
            ("workspace", f"{room.root}: {free} free ({f'{system.kind} on {system.mount}' if system else 'unknown'})"),
            *_other_rows([engine for engine in engines if engine is not default], env, settings),
            ("Hub", "reachable" if answer.status == "ok" else f"{answer.status}: {answer.detail}"),
            ("Hub token", "set" if reach.token else "none (gated models need one: HF_TOKEN)"))  # fmt: skip
    found = broken or machine_findings(MachineNeeds("sdxl"), host, trainer)
    if system and system.free_bytes is not None and system.free_bytes < ROOMY:
        text = f"{free} free in {room.root}: an SDXL run with its model and ten checkpoints takes about {size(ROOMY)}"
        hint = "choose another disk with --workspace or KOHYA_WORKSPACE"
        found = (*found, warning("disk.tight", text, hint=hint))
    return Report(rows, found)


def _look(
    checkout: Checkout | None, python: TrainerPython | None
) -> tuple[probe.PythonFacts | None, probe.DeepFacts | None, tuple[Finding, ...]]:
    if python is None:
        return None, None, ()
    try:
        facts = probe.probe(python.path)
        return facts, probe.deep_probe(python.path, checkout.root, checkout.engine) if checkout else None, ()
    except TrainerError as fault:
        return None, None, (error("trainer.import", fault.message, hint=fault.hint),)


def _machine_rows(host: HostFacts) -> Iterator[tuple[str, str]]:
    yield "kohya-runner", f"{__version__}, Python {platform.python_version()}"
    memory, shared = size(host.ram_bytes or None), size(host.shm_free_bytes or 0)
    yield "machine", f"{host.cpus} CPU core(s), {memory} memory, /dev/shm {shared} free"
    gpus = "; ".join(f"{g.name}, {size(g.total_bytes or 0)}" for g in host.gpus)
    yield "GPU", gpus or "none (nvidia-smi shows no GPU)"


def _trainer_rows(
    engine: EngineInfo,
    checkout: Checkout | None,
    python: TrainerPython | None,
    facts: probe.PythonFacts | None,
    deep: probe.DeepFacts | None,
) -> Iterator[tuple[str, str]]:
    commit = (checkout.commit or "unknown")[:10] if checkout else ""
    yield engine.name, f"{commit} in {checkout.root} ({checkout.named_by})" if checkout else "not here"
    yield "its Python", f"{python.path} ({python.named_by})" if python else "not here"
    if facts:
        yield "packages", ", ".join(f"{n} {v}" for n, v in facts.packages.items() if v)
    if deep:
        cuda = "CUDA works" if deep.cuda else f"no CUDA{f' ({deep.device_fault})' if deep.device_fault else ''}"
        yield "torch", f"{deep.torch or 'cannot be imported'}, {cuda}"
        for name in ("xformers", "xformers_extensions", "bitsandbytes"):
            if name in deep.faults:
                yield name, deep.faults[name].splitlines()[0]


def _other_rows(
    engines: Sequence[EngineInfo], environ: Mapping[str, str], settings: UserSettings
) -> Iterator[tuple[str, str]]:
    """The engines that only some recipes need, where they are there."""
    for engine in engines:
        try:
            checkout, python = find_trainer(environ, settings, engine=engine)
        except RunnerError as fault:
            yield engine.name, fault.message
            continue
        if checkout is not None:
            commit = f"{(checkout.commit or 'unknown')[:10]}{'' if checkout.pinned else ', not the tested commit'}"
            yield engine.name, f"{commit} in {checkout.root}; {python.path if python else 'no Python for it yet'}"
