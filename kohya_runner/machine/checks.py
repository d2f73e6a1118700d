"""The checks of this machine and its trainer: a table of pure functions over facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.machine import device_checks, resource_checks, trainer_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kohya_runner.findings import Finding
    from kohya_runner.machine.host import HostFacts
    from kohya_runner.machine.needs import MachineNeeds, TrainerFacts

    Check = Callable[[MachineNeeds, HostFacts, TrainerFacts], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    trainer_checks.sources_and_python,
    trainer_checks.commit,
    trainer_checks.imports,
    trainer_checks.packages,
    device_checks.driver,
    device_checks.no_gpu,
    device_checks.old_gpu,
    device_checks.new_gpu,
    device_checks.count,
    device_checks.busy,
    resource_checks.shared_memory,
    resource_checks.full_precision_download,
)


def machine_findings(needs: MachineNeeds, host: HostFacts, trainer: TrainerFacts) -> tuple[Finding, ...]:
    """All that speaks against this run on this machine; nothing where the run is for another one."""
    if needs.elsewhere:
        return ()
    return tuple(finding for check in CHECKS for finding in check(needs, host, trainer))
