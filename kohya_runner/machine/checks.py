"""The checks of this machine and its trainer, in one table; here those of the trainer, of memory and of downloads.

Is it there, is it the tested commit, does it import, does it have the packages that the recipe's options import?
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.engine_info import EngineInfo
from kohya_runner.findings import Finding, error, info, warning
from kohya_runner.install.checkout import edited_files
from kohya_runner.install.probe import lacking
from kohya_runner.machine import device_checks
from kohya_runner.machine.device_checks import (
    MODULE,
    PACKAGE_OF,
    PACKAGES_TABLE,
    UNET_FAMILIES,
    MachineNeeds,
    TrainerFacts,
    install_line,
    named_modules,
    whole,
)
from kohya_runner.machine.downloads import FP16_VARIANTS, SINGLE_FILES, pipeline_bytes, wants_fp16_variant
from kohya_runner.machine.host import HostFacts
from kohya_runner.machine.sizes import latent_bytes
from kohya_runner.options.snapshot import matches_snapshot
from kohya_runner.text import package_name, size

if TYPE_CHECKING:
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.install.probe import DeepFacts, PythonFacts

Check = Callable[[MachineNeeds, HostFacts, TrainerFacts], Iterable[Finding]]

MANY = 5


def setup_hint(engine: EngineInfo) -> str:
    return "run 'kohya-runner setup'" if engine.default else f"run 'kohya-runner setup --engine {engine.name}'"


def sources_and_python(_: MachineNeeds, __: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """Both halves of the trainer."""
    engine = trainer.engine
    if trainer.checkout is None:
        named = f"{engine.option} or {engine.variable}" if engine.option else engine.variable
        hint = f"{setup_hint(engine)}, or name a checkout with {named}"
        yield error("trainer.missing", f"the trainer's sources ({engine.name}) are not here", hint=hint)
    if trainer.python is None:
        hint = f"{setup_hint(engine)}, or name a Python with launch.python or {engine.python_variable}"
        yield error("trainer.missing", "the trainer's Python is not here", hint=hint)


def commit(_: MachineNeeds, __: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """The line numbers and rules of the checks are those of the pinned commit."""
    if trainer.checkout is not None and not trainer.pinned:
        found = f"commit {trainer.commit[:12]}" if trainer.commit else "of no known commit"
        message = f"{trainer.engine.name} is {found}, not the one this version was tested with"
        hint = f"its options are read from its own sources; to get the tested one, {setup_hint(trainer.engine)}"
        yield warning("trainer.commit", message, where=str(trainer.checkout), hint=hint)


def edited(_: MachineNeeds, __: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """Files that were changed after they were checked out: another program trains than the one that was tested."""
    if trainer.edited:
        shown = ", ".join(trainer.edited[:MANY]) + (" and more" if len(trainer.edited) > MANY else "")
        message = f"{trainer.engine.name} was changed after it was checked out: {shown}"
        hint = "look at it with: git status; git diff; to get the tested files, git checkout . there"
        yield warning("trainer.edited", message, where=str(trainer.checkout), hint=hint)


def imports(_: MachineNeeds, __: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """The trainer's Python could be started and imports the trainer."""
    if trainer.import_error:
        message = f"the trainer cannot be imported: {trainer.import_error}"
        yield error("trainer.import", message, where=str(trainer.python or ""), hint=setup_hint(trainer.engine))


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that the trainer imports for some values of an option (a pattern); ``line`` is where."""

    package: str
    option: str
    value: str
    line: str
    instead: str

    def applies(self, needs: MachineNeeds) -> bool:
        """Whether this run asks for it; an optimizer is named in whatever case."""
        if self.option == "xformers":
            return needs.xformers and needs.family in UNET_FAMILIES
        said = needs.optimizer.lower() if self.option == "optimizer_type" else str(needs.args.get(self.option))
        return re.fullmatch(self.value, said) is not None


REQUIREMENTS = tuple(Requirement(**row) for row in PACKAGES_TABLE["requirements"])
"""What the trainer imports only for some options; everything else is in its requirements.txt."""


def named_packages(needs: MachineNeeds, _: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """One error per module that a value names and that neither the trainer's Python nor its checkout has."""
    for module, option in named_modules(needs.args).items():
        name, root = f"{MODULE}{module}", trainer.checkout
        own = root is not None and any((root / module).with_suffix(end).exists() for end in ("", ".py"))
        coming = any(package_name(text) == PACKAGE_OF.get(module) for text in needs.packages)
        if trainer.versions.get(name, "") is None and not own and not coming:
            text = f"{needs.args[option]} is of the module {module}, which the trainer's Python does not have"
            hint = install_line(module, trainer.python)
            yield error("trainer.package", f"{option}: {text}", where=needs.place(option), hint=hint)


def recipe_packages(needs: MachineNeeds, _: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """One error per package of ``launch.packages`` that the trainer's Python does not have in that version."""
    for text in lacking(needs.packages, trainer.versions) if trainer.versions else ():
        there = trainer.versions.get(package_name(text))
        message = f"launch.packages: {text} is not in the trainer's Python" + (f", which has {there}" if there else "")
        hint = "run kohya-runner setup --recipe RECIPE, which installs it"
        yield error("trainer.package", message, where=needs.place("packages"), hint=hint)


def packages(needs: MachineNeeds, _: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """One error per package that an option needs and that is known to be missing."""
    said: set[str] = set()
    for row in REQUIREMENTS:
        known_missing = row.package in trainer.versions and trainer.versions[row.package] is None
        if known_missing and row.package not in said and row.applies(needs):
            said.add(row.package)
            value = f" {needs.optimizer}" if row.option == "optimizer_type" else ""
            message = f"{row.option}{value} needs {row.package}, which the trainer's Python does not have ({row.line})"
            hint = f"install {row.package} there, or write args.{row.instead}"
            yield error("trainer.package", message, where=needs.place(row.option), hint=hint)


PREFETCH = 2
"""Batches that every worker of torch's DataLoader holds ready; the trainer leaves this default."""
WORKERS = 8
SIDE = 512
IMAGE_BYTES = 3 * 4
"""Three float32 channels per pixel."""
SDXL_FILE = "hf://stabilityai/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors"


def shared_memory(needs: MachineNeeds, host: HostFacts, _: TrainerFacts) -> Iterator[Finding]:
    """Workers hand their batches over in /dev/shm, which a container often limits to 64 MB."""
    workers = min(needs.number("max_data_loader_n_workers", WORKERS), host.cpus)  # train_network.py:1185
    batch = needs.number("train_batch_size", 1)
    expected = workers * PREFETCH * batch * _example_bytes(needs)
    if host.shm_free_bytes is not None and expected > host.shm_free_bytes:
        message = f"max_data_loader_n_workers: {workers} workers hold about {size(expected)} of batches in /dev/shm, "
        message += f"which has {size(host.shm_free_bytes)} free: the run can die with a bus error"
        hint = "write args.max_data_loader_n_workers: 0, or start the container with a larger --shm-size"
        yield warning("memory.shm", message, where=needs.place("max_data_loader_n_workers"), hint=hint)


def full_precision_download(needs: MachineNeeds, _: HostFacts, __: TrainerFacts) -> Iterator[Finding]:
    """The trainer asks for SDXL's half-size files with mixed_precision fp16 alone (library/sdxl_train_util.py:99)."""
    half = wants_fp16_variant(needs.family, needs.mixed_precision)
    if half or not needs.hub_pipeline or needs.family not in FP16_VARIANTS:
        return
    count = pipeline_bytes(needs.family, needs.mixed_precision) or 0
    message = (
        f"model: as a Hub id costs a download of about {size(count)} with mixed_precision {needs.mixed_precision}, "
        "the float32 files (library/sdxl_train_util.py:99)"
    )
    hint = f"its single file has {size(SINGLE_FILES['sdxl'])}: {SDXL_FILE} for the official base model"
    yield info("disk.download", message, where=needs.place("model"), hint=hint)


def _example_bytes(needs: MachineNeeds) -> int:
    """One image of a batch: its latents where they are cached, else its pixels."""
    value = needs.args.get("resolution")  # 512, "1024,768" or [1024, 768]
    parts = value if isinstance(value, (list, tuple)) else str(value or SIDE).split(",")
    sides = [whole(part, SIDE) for part in parts] or [SIDE]
    width, height = sides[0], sides[-1]
    cached = needs.args.get("cache_latents") is True or needs.args.get("cache_latents_to_disk") is True
    latents = latent_bytes(needs.family, width, height) if cached else None
    return latents if latents is not None else width * height * IMAGE_BYTES


def is_pinned(checkout: Checkout | None) -> bool:
    """By its commit; an unpacked archive by its files."""
    if checkout is None:
        return False
    return checkout.pinned or (checkout.commit is None and matches_snapshot(checkout.root, checkout.engine))


def trainer_facts(
    engine: EngineInfo, checkout: Checkout | None, python: TrainerPython | None, facts: PythonFacts | None,
    deep: DeepFacts | None,
) -> TrainerFacts:  # fmt: skip
    """What was found of a trainer, as the checks take it; ``deep``: what really imports, where that was asked."""
    broken = [f"{name}: {deep.faults[name]}" for name in deep.needed if name in deep.faults] if deep else []
    return TrainerFacts(
        python=python.path if python else None,
        checkout=checkout.root if checkout else None,
        commit=checkout.commit if checkout else None,
        pinned=is_pinned(checkout),
        edited=edited_files(checkout, os.environ) if checkout else (),
        versions=facts.packages if facts else {},
        cuda=deep.cuda if deep else None,
        import_error="; ".join(broken),
        engine=engine,
    )


CHECKS: tuple[Check, ...] = (
    sources_and_python, commit, edited, imports, packages, recipe_packages, named_packages, device_checks.driver,
    device_checks.no_gpu, device_checks.old_gpu, device_checks.new_gpu, device_checks.count, device_checks.busy,
    shared_memory, full_precision_download,
)  # fmt: skip


def machine_findings(needs: MachineNeeds, host: HostFacts, trainer: TrainerFacts) -> tuple[Finding, ...]:
    """Every problem of this run on this machine; none where the run is for another machine."""
    if needs.elsewhere:
        return ()
    return tuple(finding for check in CHECKS for finding in check(needs, host, trainer))
