"""From a plan to a stay: a run's folder here, the pack in it, and all that a later command needs to go on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kohya_runner.errors import RemoteError, RunExistsError
from kohya_runner.plan.value import Plan
from kohya_runner.record.run_paths import RunPaths, claim, next_run
from kohya_runner.remote import stay as stays
from kohya_runner.remote.pack import options_there, pack, secrets
from kohya_runner.remote.place import Ask, Job, RemoteOffer, RemotePlace, Stay
from kohya_runner.safe_files import PRIVATE, write_bytes
from kohya_runner.text import size

JOB = TypeAdapter(tuple[Job, RemoteOffer])  # ``remote-job.json``: what was asked, and the offer that was taken


def with_needs(ask: Ask, plan: Plan) -> Ask:
    """What is asked, with what the plan knows of GPUs, memory and disk."""
    recipe, rent = plan.loaded.recipe, plan.forecast.rent if plan.forecast else None
    vram = next((one.needed for one in rent.classes if one.fits and not one.lines), None) if rent else None
    disk = sum(use.needed for use in plan.disk.uses) if plan.disk else None
    gpus, nodes = (recipe.launch.num_processes, recipe.launch.nodes or ask.nodes) if recipe else (1, ask.nodes)
    return replace(ask, gpus=gpus, nodes=nodes, vram_bytes=vram, disk_bytes=disk)


def job_of(plan: Plan, ask: Ask, offer: RemoteOffer, folder: Path) -> Job:
    """The pack of a plan, written into a run's folder or wherever it is to be looked at."""
    number, where = folder.name, RunPaths(folder).pack
    bytes_ = pack(plan, where, f"{plan.name}/{number}")
    budget = plan.loaded.recipe.budget if plan.loaded.recipe else None
    priced = offer.price is not None and budget is not None and budget.price_per_hour is None
    price = (f"--set=budget.price_per_hour={offer.price:g}",) if priced else ()
    return Job(plan.name, number, where, bytes_, ask, (*options_there(plan), *price), secrets(plan))


def claimed(plan: Plan, place: RemotePlace, ask: Ask, offer: RemoteOffer) -> Path:
    """A run's folder of its own, with the pack and the first word about the stay: from here on nothing is lost."""
    folder = next_run(plan.workspace.runs / plan.name)
    if not claim(folder):
        raise RunExistsError(f"{folder} was taken by another launch a moment ago", hint="launch again")
    try:
        job = job_of(plan, ask, offer, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    write_bytes(RunPaths(folder).remote_job, JOB.dump_json((job, offer), indent=2), PRIVATE)
    begun = Stay(
        place=place.name, kind=place.KIND, phase="renting", name=job.name, number=job.number, gpu=offer.gpu,
        price=offer.price, asked=time.time(), max_hours=ask.max_hours, note=f"{size(job.pack_bytes)} to send",
    )  # fmt: skip
    stays.write(folder, begun)
    return folder


def asked_for(folder: Path) -> tuple[Job, RemoteOffer]:
    """What was asked of the place; the pack is where the run's folder is now."""
    file = RunPaths(folder).remote_job
    try:
        job, offer = JOB.validate_json(file.read_bytes())
    except (OSError, ValidationError) as fault:
        hint = f"give it up with: kohya-runner stop {folder.parent.name}/{folder.name}"
        raise RemoteError(f"{file}: cannot be read: {str(fault).splitlines()[0]}", hint=hint) from None
    return replace(job, pack=RunPaths(folder).pack), offer


def open_stay(runs: Path, name: str, *, resume: bool) -> Path | None:
    """The folder of the latest run of this name that is at a place and not done with; ``resume``: or is lost there."""
    for folder in reversed([one for one in stays.folders(runs) if one.parent.name == name]):
        stay = stays.read(folder)
        if stay is not None and (stay.is_open or (resume and stay.phase == "lost")):
            return folder
    return None


def offer_rows(offers: tuple[RemoteOffer, ...]) -> Iterator[tuple[str, ...]]:
    for one in offers:
        price = "" if one.price is None else f"{one.price:.2f}"
        yield f"{one.gpus} x {one.gpu}" if one.gpus > 1 else one.gpu, price, one.where, one.note
