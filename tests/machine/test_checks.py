from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.findings import Severity
from kohya_runner.machine.checks import machine_findings
from kohya_runner.machine.device_checks import MachineNeeds, TrainerFacts
from kohya_runner.machine.host import Gpu, HostFacts

GB = 2**30
PACKAGES = {"torch": "2.8.0", "xformers": "0.0.32", "bitsandbytes": "0.50.2", "prodigyopt": "1.1.2"}
TRAINER = TrainerFacts(Path("/venv/bin/python"), Path("/sd-scripts"), "48d3", pinned=True, versions=PACKAGES, engine=SD)
RTX = Gpu("RTX 4090", 24 * GB, 0, (8, 9), "570.1")
POD = HostFacts(shm_free_bytes=64 * GB, cpus=8, gpus=(RTX,))
LAPTOP = replace(POD, gpus=())
PLACES = dict.fromkeys(("mixed_precision", "xformers", "optimizer_type", "fp8_base", "full_fp16"), "r.yaml:9:3")
PLAIN = MachineNeeds("sdxl", mixed_precision="bf16", places=PLACES)


def _found(needs: MachineNeeds, host: HostFacts = POD, trainer: TrainerFacts = TRAINER) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in machine_findings(needs, host, trainer)]


def _errors(needs: MachineNeeds, host: HostFacts = POD, trainer: TrainerFacts = TRAINER) -> list[str]:
    return [code for code, severity in _found(needs, host, trainer) if severity is Severity.ERROR]


def _gpu(capability: tuple[int, int], name: str = "GPU") -> HostFacts:
    return replace(POD, gpus=(Gpu(name, 24 * GB, 0, capability, "570.1"),))


def test_an_ordinary_run_on_an_ordinary_gpu_has_no_findings():
    assert _found(replace(PLAIN, xformers=True, optimizer_type="AdamW8bit")) == []


def test_a_run_for_elsewhere_asks_nothing_of_this_machine():
    assert _found(replace(PLAIN, elsewhere=True, num_processes=9), LAPTOP, TrainerFacts(engine=SD)) == []


def test_a_missing_trainer_is_two_errors_that_name_setup():
    findings = machine_findings(PLAIN, POD, TrainerFacts(engine=SD))
    assert [finding.code for finding in findings] == ["trainer.missing", "trainer.missing"]
    assert all("kohya-runner setup" in finding.hint for finding in findings)


def test_another_commit_is_a_warning():
    assert _found(PLAIN, POD, replace(TRAINER, pinned=False)) == [("trainer.commit", Severity.WARNING)]


def test_an_import_error_is_passed_on_as_it_is():
    (finding,) = machine_findings(PLAIN, POD, replace(TRAINER, import_error="No module named 'torch'"))
    assert finding.code == "trainer.import"
    assert "No module named 'torch'" in finding.message


@pytest.mark.parametrize(
    ("changes", "package"),
    [
        ({"xformers": True}, "xformers"),
        ({"optimizer_type": "AdamW8bit"}, "bitsandbytes"),
        ({"optimizer_type": "pagedadamw32bit"}, "bitsandbytes"),
        ({"optimizer_type": "bitsandbytes.optim.AdEMAMix8bit"}, "bitsandbytes"),
        ({"args": {"use_8bit_adam": True}}, "bitsandbytes"),
        ({"args": {"use_lion_optimizer": True}}, "lion-pytorch"),
        ({"optimizer_type": "DAdaptAdam"}, "dadaptation"),
        ({"optimizer_type": "Prodigy"}, "prodigyopt"),
        ({"optimizer_type": "RAdamScheduleFree"}, "schedulefree"),
        ({"args": {"log_with": "wandb"}}, "wandb"),
    ],
)
def test_a_package_that_an_option_needs_must_be_installed(changes, package):
    needs = replace(PLAIN, **changes)
    (finding,) = machine_findings(needs, POD, replace(TRAINER, versions={package: None}))
    assert (finding.code, finding.severity) == ("trainer.package", Severity.ERROR)
    assert package in finding.message
    assert re.search(r"\(library/\w+\.py:\d+\)", finding.message)


def test_a_package_that_was_not_looked_for_is_no_finding():
    assert _found(replace(PLAIN, optimizer_type="AdamW8bit"), POD, replace(TRAINER, versions={})) == []


def test_a_package_that_no_option_needs_may_be_missing():
    assert _found(PLAIN, POD, replace(TRAINER, versions={"xformers": None, "bitsandbytes": None})) == []


def test_flux_does_not_import_xformers_whatever_the_option_says():
    needs = MachineNeeds("flux", mixed_precision="bf16", xformers=True)
    assert _found(needs, POD, replace(TRAINER, versions={"xformers": None})) == []


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"mixed_precision": "fp16"}, "mixed_precision"),
        ({"mixed_precision": "fp16", "full_fp16": True}, "full_fp16"),
        ({"xformers": True}, "xformers"),
        ({"fp8_base": True}, "fp8_base"),
    ],
)
def test_what_fails_on_a_cpu_is_an_error_that_names_the_option(changes, option):
    (finding,) = machine_findings(replace(PLAIN, **changes), LAPTOP, TRAINER)
    assert (finding.code, finding.severity, finding.where) == ("device.none", Severity.ERROR, "r.yaml:9:3")
    assert option in finding.message
    assert finding.hint.startswith("write ")


def test_the_examples_own_switch_for_xformers_is_an_error_on_a_cpu_too():
    option = "enable_xformers_memory_efficient_attention"
    (finding,) = machine_findings(replace(PLAIN, args={option: True}), LAPTOP, TRAINER)
    assert (finding.code, finding.severity) == ("device.none", Severity.ERROR)
    assert option in finding.message


@pytest.mark.parametrize(
    "changes", [{}, {"full_bf16": True}, {"mixed_precision": "no"}, {"optimizer_type": "AdamW8bit"}]
)
def test_what_works_on_a_cpu_is_one_warning(changes):
    assert _found(replace(PLAIN, **changes), LAPTOP) == [("device.none", Severity.WARNING)]


@pytest.mark.parametrize("name", ["AdamW8bit", "PagedAdamW8bit", "PagedAdamW"])
def test_bitsandbytes_before_0_50_cannot_step_on_a_cpu(name):
    old = replace(TRAINER, versions={"bitsandbytes": "0.49.0"})
    assert _errors(replace(PLAIN, optimizer_type=name), LAPTOP, old) == ["device.none"]


def test_every_option_that_needs_a_gpu_is_named_at_once():
    needs = replace(PLAIN, mixed_precision="fp16", xformers=True, fp8_base=True)
    assert _errors(needs, LAPTOP) == ["device.none"] * 3


def test_a_gpu_that_torch_found_counts_without_nvidia_smi():
    assert _found(PLAIN, LAPTOP, replace(TRAINER, cuda=True)) == []


def test_a_gpu_that_torch_cannot_use_is_a_driver_fault():
    (finding,) = machine_findings(PLAIN, POD, replace(TRAINER, cuda=False, versions={"torch": "2.8.0+cu128"}))
    assert (finding.code, finding.severity) == ("device.driver", Severity.ERROR)
    assert "driver 570.1" in finding.message
    assert "2.8.0+cu128" in finding.message


def test_a_cpu_build_of_torch_beside_a_gpu_is_named_as_such():
    (finding,) = machine_findings(PLAIN, POD, replace(TRAINER, cuda=False, versions={"torch": "2.8.0+cpu"}))
    assert "CPU build" in finding.hint


def test_bf16_before_ampere_is_slow():
    assert _found(PLAIN, _gpu((7, 5))) == [("device.bf16", Severity.WARNING)]


def test_xformers_refuses_bf16_before_ampere():
    assert _found(replace(PLAIN, xformers=True), _gpu((7, 5))) == [("device.bf16", Severity.ERROR)]


def test_fp16_before_ampere_is_fine():
    assert _found(replace(PLAIN, mixed_precision="fp16"), _gpu((7, 5))) == []


def test_an_unknown_compute_capability_is_no_finding():
    assert _found(PLAIN, replace(POD, gpus=(Gpu("GPU", None, None, None, ""),))) == []


def test_blackwell_with_an_old_torch_is_a_warning():
    old = replace(TRAINER, versions={"torch": "2.6.0+cu124"})
    assert _found(PLAIN, _gpu((12, 0)), old) == [("device.torch", Severity.WARNING)]
    assert _found(PLAIN, _gpu((12, 0))) == []


def test_more_processes_than_gpus_is_an_error():
    assert _found(replace(PLAIN, num_processes=2)) == [("device.count", Severity.ERROR)]
    assert _found(replace(PLAIN, num_processes=2), replace(POD, gpus=(RTX, RTX))) == []


def test_a_gpu_in_use_is_a_warning():
    assert _found(PLAIN, replace(POD, gpus=(replace(RTX, used_bytes=12 * GB),))) == [("device.busy", Severity.WARNING)]


def test_docker_s_64_mb_of_shared_memory_are_too_few_for_eight_workers():
    needs = replace(PLAIN, args={"resolution": "1024,1024", "train_batch_size": 2})
    small = replace(POD, shm_free_bytes=64 * 2**20)
    assert _found(needs, small) == [("memory.shm", Severity.WARNING)]


@pytest.mark.parametrize("args", [{"max_data_loader_n_workers": 0}, {"cache_latents": True}])
def test_no_workers_or_cached_latents_need_little_shared_memory(args):
    needs = replace(PLAIN, args={"resolution": 1024, "train_batch_size": 2, **args})
    assert _found(needs, replace(POD, shm_free_bytes=64 * 2**20)) == []


def test_an_sdxl_hub_id_with_bf16_says_what_it_downloads():
    (finding,) = machine_findings(replace(PLAIN, hub_pipeline=True), POD, TRAINER)
    assert (finding.code, finding.severity) == ("disk.download", Severity.INFO)
    assert "hf://" in finding.hint
    assert _found(replace(PLAIN, hub_pipeline=True, mixed_precision="fp16")) == []
