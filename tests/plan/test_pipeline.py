from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kohya_runner.engines.arguments import CONFIG, STANDALONE
from kohya_runner.errors import UsageError
from kohya_runner.findings import Severity
from kohya_runner.plan.report import exit_code, plan_json, rows

ROOT = Path(__file__).parents[2]
SEED = """
--pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0 --resolution=1024,1024
--output_name=bespoke_baby_sdxl --save_model_as=safetensors --max_train_epochs=10 --learning_rate=0.0001
--unet_lr=0.0001 --text_encoder_lr=0.00005 --network_module=networks.lora --network_dim=128 --network_alpha=64
--save_every_n_epochs=1 --mixed_precision=bf16 --cache_latents --cache_latents_to_disk --optimizer_type=AdamW8bit
--caption_extension=.txt --lr_scheduler=cosine_with_restarts --lr_scheduler_num_cycles=3 --min_snr_gamma=5
--noise_offset=0.1 --train_batch_size=2 --gradient_checkpointing --xformers --seed=42
"""


def errors(plan) -> list[str]:
    return [str(f) for f in plan.findings if f.severity is Severity.ERROR]


def test_the_bespoke_recipe_is_the_proven_command_option_for_option(planned, pictures):
    plan = planned("bespoke_baby_sdxl.yaml", f"datasets.0.images={json.dumps(str(pictures(203)))}")
    assert errors(plan) == []
    passed = set(plan.command.argv[2:])
    folders = {t for t in passed if t.startswith(("--train_data_dir=", "--output_dir="))}
    assert len(folders) == 2
    assert passed - folders == set(SEED.split())
    assert plan.command.argv[1].endswith("sdxl_train_network.py")


def test_the_bespoke_arithmetic_is_the_documented_one(planned, pictures):
    plan = planned("bespoke_baby_sdxl.yaml", f"datasets.0.images={json.dumps(str(pictures(203)))}")
    result = plan_json(plan)
    assert result["steps"] == {
        "images_per_epoch": 2030, "regularization_images": 0, "batches_per_epoch": 1015, "steps_per_epoch": 1015,
        "epochs": 10, "total": 10150,
    }  # fmt: skip
    numbered = [f"bespoke_baby_sdxl-{n:06d}.safetensors" for n in range(1, 10)]
    assert result["checkpoints"] == [*numbered, "bespoke_baby_sdxl.safetensors"]
    assert [f["name"] for f in result["dataset"]["folders"]] == ["10_bespoke_baby"]
    assert result["dataset"]["buckets"] == [{"width": 1024, "height": 1024, "images": 203}]


def test_202_pictures_are_refused_before_anything_is_paid_for(planned, pictures):
    plan = planned("bespoke_baby_sdxl.yaml", f"datasets.0.images={json.dumps(str(pictures(202)))}")
    assert [f.code for f in plan.findings if f.severity is Severity.ERROR] == ["dataset.count"]
    assert exit_code(plan) == 6


def test_a_caption_without_its_beginning_is_refused(planned, pictures):
    folder = pictures(203)
    (folder / "lad_007.txt").write_text("portrait of bespoke punk lad, palette: #a0b1a6\n", encoding="utf-8")
    plan = planned("bespoke_baby_sdxl.yaml", f"datasets.0.images={json.dumps(str(folder))}")
    assert [f.code for f in plan.findings if f.severity is Severity.ERROR] == ["caption.starts_with"]
    assert "lad_007" in errors(plan)[0]


def test_nothing_is_written_by_a_plan(planned, pictures, odd_path):
    folder = pictures(3)
    before = sorted(odd_path.rglob("*"))
    planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(folder))}")
    assert sorted(odd_path.rglob("*")) == before


def test_faults_of_recipe_options_and_data_are_reported_together(planned, pictures):
    folder = pictures(3)
    (folder / "lad_001.txt").unlink()
    plan = planned(
        "sd15_lora.yaml", f"datasets.0.images={json.dumps(str(folder))}",
        "args.network_dimm=3", "args.train_batch_size=many", "args.output_dir=/x", "components.vea=/x",
    )  # fmt: skip
    codes = {f.code for f in plan.findings if f.severity is Severity.ERROR}
    assert codes == {"args.unknown", "args.value", "args.owned", "recipe.component", "caption.missing"}
    assert "did you mean 'network_dim'?" in "\n".join(errors(plan))
    assert exit_code(plan) == 3


def test_allow_turns_a_named_error_into_a_warning(planned, pictures):
    folder = pictures(3)
    (folder / "lad_001.txt").unlink()
    choice = f"datasets.0.images={json.dumps(str(folder))}"
    assert not planned("sd15_lora.yaml", choice).ok
    assert planned("sd15_lora.yaml", choice, allow=("caption.missing",)).ok


def test_the_runner_passes_caption_extension_and_cadence_where_a_recipe_does_not(planned, pictures, odd_path):
    silent = odd_path / "silent.yaml"
    silent.write_text(
        "name: a\nfamily: sd15\nmodel: a/b\nargs: {resolution: 512, max_train_epochs: 120}\n"
        f"datasets: [{{concept: a, images: {json.dumps(str(pictures(3)))}}}]\n"
    )
    plan = planned(silent)
    assert "--caption_extension=.txt" in plan.command.argv
    assert "--save_every_n_epochs=3" in plan.command.argv
    assert len(plan.steps.checkpoints) == 40


def test_null_gives_the_trainers_own_caption_extension_and_cadence_back(planned, pictures):
    folder = pictures(3)
    for path in folder.glob("*.txt"):
        path.rename(path.with_suffix(".caption"))
    plan = planned(
        "sd15_lora.yaml", f"datasets.0.images={json.dumps(str(folder))}",
        "args.save_every_n_epochs=null", "args.caption_extension=null",
    )  # fmt: skip
    assert plan.ok
    assert not [token for token in plan.command.argv if token.startswith(("--caption_ext", "--save_every"))]
    assert plan.layout.folders[0].entries[0].caption.endswith(".caption")
    assert len(plan.steps.checkpoints) == 1


def test_defaults_that_bite_are_shown_when_not_set(planned, pictures):
    plan = planned(
        "sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", "args.unet_lr=null",
        "args.learning_rate=null", "args.max_train_epochs=null", "args.save_precision=null",
    )  # fmt: skip
    shown = dict(rows(plan))["not set"]
    assert "learning_rate 2e-06" in shown
    assert "max_train_steps 1600" in shown
    assert "save_precision unset" in shown
    assert plan.steps.total == 1600


def test_a_missing_resolution_is_an_error_with_a_hint(planned, pictures):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", "args.resolution=null")
    assert [f.code for f in plan.findings if f.severity is Severity.ERROR] == ["args.missing"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("family=sdx", "family: sdx is not supported; did you mean 'sdxl'?"),
        ("method=finetun", "method: finetun is not supported for family sd15; did you mean 'finetune'?"),
        ("method=lllite", "method: lllite is not supported for family sd15; sd-scripts trains ControlNet-LLLite for"),
        ("model={random: sdxl}", "random weights of sdxl are not a base model for family sd15"),
        ("launch.accelerate={no_python: true}", "launch.accelerate.no_python: not an option a recipe may set"),
        ("launch.accelerate={num_processes: 4}", "write launch.num_processes: N"),
        ("launch.accelerate={gpu_idss: '0'}", "launch.accelerate.gpu_idss: not an option a recipe may set"),
        ("launch.accelerate={fsdp_sharding_strategy: FULL}", "fsdp_sharding_strategy: 'FULL' is none of the choices"),
        ("launch.accelerate={zero_stage: x}", "launch.accelerate.zero_stage: 'x' is not a whole number"),
        ("launch.accelerate={deepspeed_hostfile: h}", "launch.accelerate.deepspeed_hostfile: not an option"),
        ("launch.packages=['--index-url=x']", "launch.packages: must be names of packages with a version"),
        ("launch.packages=[./folder]", "launch.packages: must be names of packages with a version"),
        ("launch.packages=['a==1\n-r x']", "launch.packages: must be names of packages with a version"),
        ("launch.accelerate={gpu_ids: 'all; rm -rf /'}", "launch.accelerate.gpu_ids: must be all, or numbers"),
        ("datasets.0.concept=a/b", "datasets.0.concept: becomes the name of a folder"),
        ("datasets.0.captions={matches: '('}", "datasets.0.captions.matches:"),
        ("model=hf://only/repo", "names a repository, not a file in it"),
    ],
)
def test_a_wrong_word_is_named_with_what_to_write(planned, pictures, override, message):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", override)
    assert message in "\n".join(errors(plan))


@pytest.mark.parametrize("faults", [("family=sdx1",), ("family=sdx1", "name=a b"), ("method=lorra",)], ids=" ".join)
def test_with_an_unknown_family_the_options_are_read_by_the_nearest(planned, pictures, faults):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    found = errors(planned("bespoke_baby_sdxl.yaml", images, *faults, "args.network_dims=8"))
    assert len([line for line in found if "network_dims" in line and "did you mean 'network_dim'" in line]) == 1
    assert len([line for line in found if "is not supported" in line]) == 1


def test_an_option_of_another_trainer_is_no_fault_of_a_recipe_whose_family_is_guessed(planned, pictures):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    (found,) = errors(planned("sd15_lora.yaml", images, "family=qwen-image"))
    assert "write family: qwen_image" in found


def test_several_processes_are_launched_with_every_choice_explicit(planned, pictures):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", "launch.num_processes=2")
    launcher = plan.command.argv[1:12]
    assert launcher == (
        "-m", "accelerate.commands.launch", f"--config_file={CONFIG}", "--num_processes=2",
        "--num_machines=1", "--main_process_port=0", "--rdzv_backend=c10d", "--mixed_precision=fp16",
        "--dynamo_backend=no", "--num_cpu_threads_per_process=1", "--multi_gpu",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("accelerate", "found", "tokens"),
    [
        ("{}", STANDALONE, ["--main_process_port=0", "--rdzv_backend=c10d"]),
        ("{main_process_port: 0}", STANDALONE, ["--main_process_port=0", "--rdzv_backend=c10d"]),
        ("{main_process_port: 29501}", {}, ["--main_process_port=29501"]),  # with c10d as well it would be 29400
        ("{rdzv_backend: static}", {}, ["--rdzv_backend=static"]),
    ],
)
def test_processes_of_one_machine_meet_alone_unless_the_recipe_says_where(planned, pictures, accelerate, found, tokens):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    plan = planned("sd15_lora.yaml", images, f"launch={{num_processes: 2, accelerate: {accelerate}}}")
    assert {name: value for name, value in plan.command.env.items() if name.startswith("PET_")} == found
    said = [token for token in plan.command.argv if token.startswith(("--main_process", "--rdzv"))]
    assert said == tokens


def test_flux_components_are_files_in_the_workspace(planned, pictures):
    plan = planned("flux_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}")
    flags = dict(t.split("=", 1) for t in plan.command.argv if "=" in t)
    assert flags["--ae"].endswith("/ws/models/black-forest-labs/FLUX.1-dev/ae.safetensors")
    assert len(plan.fetches) == 4
    missing = planned("flux_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", "components.ae=null")
    assert any("components.ae is missing" in line for line in errors(missing))


def test_json_gives_each_value_with_its_source(planned, pictures):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", "args.network_dim=8")
    recipe = plan_json(plan)["recipe"]
    assert recipe["args"]["network_dim"] == {"value": 8, "source": "--set args.network_dim"}
    assert re.fullmatch(r".*recipes/base/sd15_lora\.yaml:\d+:\d+", recipe["args"]["unet_lr"]["source"])
    assert recipe["launch"]["num_processes"] == {"value": 1, "source": "default"}
    assert recipe["args"]["caption_extension"]["source"].startswith("runner")


def test_a_relative_path_option_is_found_beside_its_recipe(planned, pictures, odd_path):
    folder = pictures(3)
    (odd_path / "mine.yaml").write_text(
        f"extends: {ROOT}/recipes/base/sd15_lora.yaml\nname: mine\nmodel: a/b\n"
        f"datasets: [{{images: {json.dumps(folder.name)}, concept: c}}]\n"
        "args: {sample_prompts: p.txt, vae: some/repo}\n",
        encoding="utf-8",
    )
    (odd_path / "p.txt").write_text("a\n", encoding="utf-8")
    plan = planned(odd_path / "mine.yaml")
    assert f"--sample_prompts={odd_path / 'p.txt'}" in plan.command.argv
    assert "--vae=some/repo" in plan.command.argv


def test_a_secret_given_by_mistake_is_refused_and_never_shown(planned, pictures):
    secret = "hf_abcdefghijklmnopqrstuv"
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    plan = planned("sd15_lora.yaml", images, f"args.huggingface_token={secret}", f"args.training_comment=my {secret}")
    assert not plan.ok
    assert secret not in json.dumps(plan_json(plan))


@pytest.mark.parametrize("code", ["args.value", "recipe.value", "foo.bar", "caption", "steps.none"])
def test_what_cannot_be_allowed_is_usage(planned, pictures, code):
    with pytest.raises(UsageError):
        planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", allow=(code,))


@pytest.mark.parametrize("override", ["args.max_train_epochs=1000000000", "args.max_train_epochs=1" + "0" * 30])
def test_absurd_numbers_end_quickly(planned, pictures, override):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", override)
    assert "steps.endless" in {f.code for f in plan.findings}


def test_a_conv_dim_that_is_no_number_does_not_crash(planned, pictures):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    assert planned("sd15_lora.yaml", images, "args.network_args={conv_dim: abc}", elsewhere=False, practice=True).disk


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_workspace_that_cannot_be_made_is_named(planned, pictures, odd_path, name):
    (odd_path / "file").touch()
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    plan = planned("sd15_lora.yaml", images, elsewhere=False, practice=True, workspace=str(odd_path / name))
    assert "disk.unwritable" in {f.code for f in plan.findings if f.severity is Severity.ERROR}


def test_a_recipe_that_is_wrong_is_still_read_for_what_else_is_wrong(planned, pictures, odd_path):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    (odd_path / "pictures" / "lad_001.txt").unlink()
    plan = planned("sd15_lora.yaml", images, "launch.num_processes=0", "args.resolutin=64")
    codes = {f.code for f in plan.findings if f.severity is Severity.ERROR}
    assert codes == {"recipe.value", "args.unknown", "caption.missing"}


def test_a_recipe_that_is_wrong_elsewhere_keeps_its_family(planned):
    assert dict(rows(planned("sdxl_lora.yaml", "model=5")))["run"].startswith("sdxl_lora   Stable Diffusion XL lora")
    assert "unknown family" in dict(rows(planned("sdxl_lora.yaml", "family=sdxxl")))["run"]


def test_pictures_where_the_trees_are_laid_out_are_refused(planned, pictures, odd_path):
    folder = pictures(3)
    (odd_path / "ws" / "datasets").mkdir(parents=True)
    moved = folder.rename(odd_path / "ws" / "datasets" / "sd15_lora")
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(moved))}")
    assert "dataset.place" in {f.code for f in plan.findings if f.severity is Severity.ERROR}


def test_a_metadata_file_that_is_not_there_is_named(planned, odd_path):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(odd_path / 'metadata.jsonl'))}")
    (found,) = [f for f in plan.findings if f.severity is Severity.ERROR]
    assert (found.code, found.message.endswith("metadata.jsonl: no such file")) == ("dataset.missing", True)


@pytest.mark.parametrize(
    "override", ["args.seed=-1", "args.network_dim=0", "args.learning_rate=-1", "args.unet_lr=-0.1"]
)
def test_numbers_nothing_can_train_with_are_refused(planned, pictures, override):
    plan = planned("sd15_lora.yaml", f"datasets.0.images={json.dumps(str(pictures(3)))}", override)
    assert "args.range" in {f.code for f in plan.findings if f.severity is Severity.ERROR}


def test_a_plan_for_elsewhere_says_what_machine_it_takes(planned, pictures):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    plan = planned("flux_lora.yaml", images)
    assert plan.forecast is not None
    assert plan.forecast.memory is not None
    assert plan.forecast.memory.vram is not None
    assert plan.forecast.memory.vram.total > 10**10
    told = plan_json(plan)
    assert told["disk"]["needed_bytes"] > 3 * 10**10
    assert told["disk"]["free_bytes"] is None
    assert told["memory"]["estimate"] is True
    assert not any(f.stage == "disk" for f in plan.findings)


@pytest.mark.parametrize("code", ["dataset.missing", "dataset.empty"])
def test_a_folder_without_pictures_beside_a_good_one_can_be_allowed(planned, pictures, odd_path, code):
    other = odd_path / "other"
    if code == "dataset.empty":
        other.mkdir()
    two = json.dumps([{"images": str(pictures(3)), "concept": "lad"}, {"images": str(other), "concept": "cat"}])
    refused = planned("sd15_lora.yaml", f"datasets={two}")
    assert not refused.ok
    allowed = planned("sd15_lora.yaml", f"datasets={two}", allow=(code,))
    assert allowed.ok
    assert [f.name for f in allowed.layout.folders] == ["1_lad"]
