from __future__ import annotations

import pytest

from kohya_runner.findings import Severity
from kohya_runner.machine.device_checks import MachineNeeds
from kohya_runner.machine.host import Gpu, HostFacts
from kohya_runner.machine.memory_checks import Load, memory_plan, swap_bytes
from kohya_runner.machine.memory_use import HostUse, VramSettings, ram_estimate
from kohya_runner.machine.sizes import LoraShape

GIB = 2**30
FLUX = {
    "resolution": "1024", "fp8_base": True, "gradient_checkpointing": True, "cache_latents": True,
    "cache_text_encoder_outputs": True, "network_train_unet_only": True, "sdpa": True,
}  # fmt: skip


def _gpu(gigabytes: float) -> Gpu:
    return Gpu("NVIDIA RTX", int(gigabytes * GIB), 0, (8, 9), "570")


def _host(*gpus: Gpu, ram: float = 64) -> HostFacts:
    return HostFacts(ram_bytes=int(ram * GIB), gpus=gpus)


def _flux(**more: object) -> tuple[MachineNeeds, Load]:
    needs = MachineNeeds(
        "flux", "bf16", optimizer_type="AdamW8bit", fp8_base=more.get("fp8_base", True) is True, args=FLUX | more,
        places={"resolution": "r.yaml:9:3", "model": "r.yaml:3:1"},
    )  # fmt: skip
    return needs, Load(LoraShape("flux", 16, text_encoder=False), 1024 * 1024)


def _sdxl(**more: object) -> tuple[MachineNeeds, Load]:
    args = {"resolution": "1024", "gradient_checkpointing": True, "cache_latents": True, "sdpa": True, **more}
    return MachineNeeds("sdxl", "bf16", optimizer_type="AdamW8bit", args=args), Load(LoraShape("sdxl", 16), 1024 * 1024)


def test_a_run_that_fits_is_no_finding():
    assert memory_plan(*_flux(), _host(_gpu(24))).findings == ()


def test_a_gpu_that_is_too_small_is_a_warning_with_the_lines_that_lower_it():
    (finding,) = memory_plan(*_flux(gradient_checkpointing=False), _host(_gpu(24))).findings
    assert (finding.severity, finding.code, finding.where) == (Severity.WARNING, "memory.vram", "r.yaml:9:3")
    assert finding.message.startswith("estimate: training takes about")
    assert finding.hint.startswith("write args.gradient_checkpointing: true (saves ")


def test_where_no_line_is_enough_the_hint_asks_for_another_gpu():
    (finding,) = memory_plan(*_flux(), _host(_gpu(2))).findings
    assert finding.hint.startswith("use a GPU with more memory; even with ")


def test_the_smallest_of_the_gpus_in_use_counts():
    needs, load = _flux()
    two = MachineNeeds("flux", "bf16", fp8_base=True, num_processes=2, args=needs.args)
    assert memory_plan(two, load, _host(_gpu(24), _gpu(12))).gpu_bytes == 12 * GIB
    assert memory_plan(needs, load, _host(_gpu(24), _gpu(12))).gpu_bytes == 24 * GIB


def test_for_another_machine_there_are_estimates_and_no_findings():
    plan = memory_plan(*_flux(), None)
    assert (plan.findings, plan.vram is not None, plan.as_json()["vram"]["gpu_bytes"]) == ((), True, None)


def test_without_a_gpu_there_is_no_gpu_estimate_and_the_host_trains():
    plan = memory_plan(*_sdxl(), _host())
    assert plan.vram is None
    assert plan.ram.parts["training"] > 0


def test_the_json_and_the_row_say_that_it_is_an_estimate():
    plan = memory_plan(*_flux(), _host(_gpu(24)))
    assert plan.as_json()["estimate"] is True
    assert str(plan).startswith("estimate: GPU about 15.7 GiB of 24.0 GiB (base model 11.1 GiB, ")


def test_sdxl_on_a_host_smaller_than_its_weights_is_certain_and_an_error():
    """3.47 billion weights in float32 are 12.9 GiB, before anything goes to the GPU."""
    (finding,) = memory_plan(*_sdxl(), _host(_gpu(24), ram=12)).findings
    assert (finding.severity, finding.code) == (Severity.ERROR, "memory.ram")
    assert "lowram: true" in finding.hint


@pytest.mark.parametrize(
    ("gigabytes", "swap"), [pytest.param(13.5, 0, id="just above"), pytest.param(12, 8, id="with swap space")]
)
def test_where_it_may_go_well_it_is_a_warning(gigabytes, swap):
    (finding,) = memory_plan(*_sdxl(), _host(_gpu(24), ram=gigabytes), swap=swap * GIB).findings
    assert (finding.severity, finding.message.startswith("estimate: ")) == (Severity.WARNING, True)


def test_lowram_loads_sdxl_straight_to_the_gpu():
    assert memory_plan(*_sdxl(lowram=True), _host(_gpu(24), ram=12)).findings == ()


def test_flux_is_never_certain_for_its_file_is_mapped():
    (finding,) = memory_plan(*_flux(fp8_base=False, blocks_to_swap=20), _host(_gpu(48), ram=16)).findings
    assert (finding.severity, "fp8_base: true" in finding.hint) == (Severity.WARNING, True)


def test_caches_in_memory_count():
    needs, load = _flux()
    big = Load(load.lora, load.pixels, cached=60 * GIB)
    (finding,) = memory_plan(needs, big, _host(_gpu(24))).findings
    assert "cache_latents_to_disk: true" in finding.hint


def test_sd15_on_a_cpu_takes_what_was_measured():
    """Resident 7.61 to 7.75 GB at 64 px, batch 4, dim 8: 2.13 GB of that is the mapped file."""
    found = ram_estimate(VramSettings("sd15", lora=0, pixels=0), HostUse(on_gpu=False))
    assert found is not None
    assert found.total + 2.13e9 == pytest.approx(7.7e9, rel=0.1)


def test_sdxl_on_a_cpu_takes_about_14_gb():
    found = ram_estimate(VramSettings("sdxl", lora=0, pixels=0), HostUse(on_gpu=False))
    assert found is not None
    assert found.total == pytest.approx(14e9, rel=0.1)


def test_the_swap_space_is_read(odd_path):
    (odd_path / "meminfo").write_text("MemTotal: 100 kB\nSwapTotal:     2048 kB\n")
    assert (swap_bytes(odd_path / "meminfo"), swap_bytes(odd_path / "absent")) == (2048 * 1024, 0)
