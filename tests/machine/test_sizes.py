from __future__ import annotations

import pytest

from kohya_runner.engines.table import families
from kohya_runner.machine.downloads import (
    PIPELINES,
    cached_files,
    has_pipeline,
    has_tokenizer,
    pipeline_bytes,
    pipeline_files,
)
from kohya_runner.machine.memory_use import moments
from kohya_runner.machine.sizes import (
    LATENTS,
    NETWORKS,
    LoraShape,
    latent_bytes,
    lora_bytes,
    state_bytes,
    text_bytes,
)


@pytest.mark.parametrize(
    ("shape", "real"),
    [
        pytest.param(LoraShape("sd15", 1, precision="fp16"), 1_292_216, id="SD1.5 r1 fp16"),
        pytest.param(LoraShape("sd15", 1), 2_472_896, id="SD1.5 r1 fp32"),
        pytest.param(LoraShape("sd15", 1, text_encoder=False), 1_781_328, id="SD1.5 r1 fp32, U-Net only"),
        pytest.param(LoraShape("sd15", 8), 18_989_424, id="SD1.5 r8 fp32"),
        pytest.param(LoraShape("sdxl", 4), 57_422_016, id="SDXL r4 fp32"),
    ],
)
def test_the_model_gives_the_size_of_real_files_within_two_thousandths(shape, real):
    assert lora_bytes(shape) == pytest.approx(real, rel=0.002)


@pytest.mark.parametrize(
    ("shape", "megabytes"),
    [
        (LoraShape("sdxl", 32, precision="fp16"), 228),
        (LoraShape("flux", 16, precision="bf16"), 158),
        (LoraShape("sd15", 32, precision="fp16"), 38),
    ],
)
def test_common_settings_have_the_known_sizes(shape, megabytes):
    assert lora_bytes(shape) == pytest.approx(megabytes * 10**6, rel=0.02)


def test_conv_dim_adds_its_own_modules():
    conv = lora_bytes(LoraShape("sd15", 1, conv_dim=1)) or 0
    assert conv - (lora_bytes(LoraShape("sd15", 1)) or 0) == 626_880 * 4 + 86 * (4 + 3 * 142)


def test_unet_only_and_text_encoder_only_add_up():
    parts = [lora_bytes(LoraShape("sdxl", 8, unet=unet, text_encoder=not unet)) for unet in (True, False)]
    assert sum(filter(None, parts)) == lora_bytes(LoraShape("sdxl", 8))


def test_a_state_is_three_fp32_networks_whatever_the_checkpoints_are():
    assert state_bytes(LoraShape("sd15", 8, precision="fp16")) == 3 * (lora_bytes(LoraShape("sd15", 8)) or 0)


def test_an_unknown_family_has_no_size():
    assert lora_bytes(LoraShape("unheard_of")) is None
    assert state_bytes(LoraShape("unheard_of")) is None
    assert latent_bytes("unheard_of", 512, 512) is None


def test_a_latent_cache_file_is_exact():
    assert latent_bytes("sd15", 640, 384) == 62_264


def test_flip_and_alpha_mask_are_counted():
    assert latent_bytes("sd15", 640, 384, flip=True, alpha_mask=True) == 824 + 2 * 61_440 + 640 * 384 * 4


def test_sixteen_channels_take_four_times_the_room():
    assert latent_bytes("flux", 1024, 1024) == pytest.approx(1.05e6, rel=0.01)


@pytest.mark.parametrize(
    ("family", "options", "real"),
    [
        ("sdxl", {}, 636_000),
        ("sdxl", {"fp16": True}, 318_000),
        ("sdxl", {"max_tokens": 225}, 1_860_000),
        ("flux", {"max_tokens": 512}, 8_400_000),
        ("flux", {"max_tokens": 256}, 4_200_000),
    ],
)
def test_text_encoder_caches_have_the_known_sizes(family, options, real):
    assert text_bytes(family, **options) == pytest.approx(real, rel=0.03)


def test_sd15_has_no_text_encoder_cache():
    assert text_bytes("sd15") is None


@pytest.mark.parametrize("family", families())
def test_every_family_a_recipe_may_name_has_sizes(family):
    assert family in NETWORKS
    assert family in LATENTS


SDXL = {
    "model_index.json": 1,
    "sd_xl_base_1.0.safetensors": 6_940,
    "scheduler/scheduler_config.json": 1,
    "text_encoder/model.fp16.safetensors": 246,
    "text_encoder/model.safetensors": 492,
    "text_encoder/model.onnx": 492,
    "text_encoder/openvino_model.bin": 492,
    "text_encoder_2/model.fp16.safetensors": 1_389,
    "text_encoder_2/model.safetensors": 2_778,
    "text_encoder_2/model.onnx_data": 2_778,
    "tokenizer/vocab.json": 1,
    "tokenizer_2/vocab.json": 1,
    "unet/config.json": 1,
    "unet/diffusion_flax_model.msgpack": 10_270,
    "unet/diffusion_pytorch_model.fp16.safetensors": 5_135,
    "unet/diffusion_pytorch_model.safetensors": 10_270,
    "vae/diffusion_pytorch_model.fp16.safetensors": 167,
    "vae/diffusion_pytorch_model.safetensors": 335,
}


def test_bf16_downloads_the_float32_files_of_sdxl():
    assert pipeline_bytes("sdxl", "bf16", SDXL) == 492 + 2_778 + 10_270 + 335 + 4
    assert pipeline_bytes("sdxl", "bf16") == PIPELINES["sdxl"][0]


def test_fp16_downloads_the_half_size_files_of_sdxl():
    assert pipeline_bytes("sdxl", "fp16", SDXL) == 246 + 1_389 + 5_135 + 167 + 4
    assert pipeline_bytes("sdxl", "fp16") == PIPELINES["sdxl"][1]


def test_sd15_leaves_out_the_safety_checker_pickles_and_other_variants():
    names = ("model_index.json", "safety_checker/model.safetensors", "tokenizer/vocab.json", "unet/config.json",
             "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
             "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.safetensors",
             "v1-5-pruned.ckpt")  # fmt: skip
    assert pipeline_files(names, family="sd15", fp16=False) == (
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors")  # fmt: skip


def test_pickles_are_taken_where_there_is_nothing_else():
    names = ("model_index.json", "unet/diffusion_pytorch_model.bin")
    assert pipeline_files(names, family="sd15", fp16=False) == names


def test_sharded_weights_are_all_counted():
    names = ("unet/diffusion_pytorch_model-00001-of-00002.safetensors",
             "unet/diffusion_pytorch_model-00002-of-00002.safetensors")  # fmt: skip
    assert pipeline_files(names, family="sd15", fp16=False) == names


@pytest.fixture
def cache(odd_path):
    """A Hub cache as huggingface_hub lays it out: snapshots are links into blobs."""
    folder = odd_path / "hub" / "models--org--name"
    snapshot = folder / "snapshots" / "c0ffee"
    for name in SDXL:
        blob = folder / "blobs" / name.replace("/", "_")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"12345")
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("c0ffee")
    return odd_path / "hub"


def test_a_cached_pipeline_needs_no_network(cache):
    files = cached_files(cache, "org/name")
    assert files["unet/config.json"] == 5
    assert has_pipeline(files, family="sdxl", fp16=True)


def test_a_cached_repository_with_a_lost_blob_is_not_complete(cache):
    (cache / "models--org--name" / "blobs" / "unet_diffusion_pytorch_model.safetensors").unlink()
    assert not has_pipeline(cached_files(cache, "org/name"), family="sdxl", fp16=False)


def test_an_uncached_repository_has_no_files(cache):
    assert cached_files(cache, "org/other") == {}


def test_a_tokenizer_is_cached_when_a_whole_set_of_its_files_is(cache):
    assert has_tokenizer({"vocab.json": 1, "merges.txt": 1})
    assert not has_tokenizer({"vocab.json": 1})
    assert has_tokenizer({"tokenizer/tokenizer.json": 1}, "tokenizer")


@pytest.mark.parametrize(
    ("optimizer", "measured"),
    [
        ("AdamW", 2.006), ("AdamW8bit", 0.5), ("PagedAdamW8bit", 0.5), ("Lion", 1.003), ("Lion8bit", 0.25),
        ("Prodigy", 3.509), ("prodigyplus.ProdigyPlusScheduleFree", 1.142), ("AdamWScheduleFree", 2.005),
        ("SGDNesterov", 1.003), ("bitsandbytes.optim.AdEMAMix8bit", 0.772), ("Adafactor", 0.069),
    ],
)  # fmt: skip
def test_a_state_holds_what_was_measured_of_each_optimizer(optimizer: str, measured: float):
    """Measured: the state dictionary after three steps, in units of the trained parameters in fp32."""
    network = lora_bytes(LoraShape("sd15", 8)) or 0
    state = (state_bytes(LoraShape("sd15", 8), moments(optimizer)) or 0) / network - 1
    assert measured * 0.97 <= state <= measured * 1.3 + 0.25


@pytest.mark.parametrize(
    ("shape", "numbers", "tensors"),
    [
        (LoraShape("sdxl", 32, kind="lokr", factor=4, text_encoder=False), 21_290_994, 2888),
        (LoraShape("sdxl", 16, 8, kind="lokr"), 2_801_132, 4085),
        (LoraShape("sdxl", 8, 4, kind="lokr", factor=8, tucker=True, text_encoder=False), 2_808_372, 3190),
        (LoraShape("sdxl", 8, 4, kind="loha", text_encoder=False), 46_341_908, 3940),
        (LoraShape("sdxl", 8, 4, kind="loha", tucker=True, text_encoder=False), 44_038_612, 4016),
        (LoraShape("anima", 32, kind="lokr", text_encoder=False), 1_491_224, 896),
        (LoraShape("anima", 16, kind="loha", text_encoder=False), 45_875_480, 1400),
    ],
)
def test_a_lokr_and_a_loha_have_the_numbers_of_the_trainers_own_modules(shape, numbers, tensors):
    assert lora_bytes(shape) == numbers * 4 + tensors * 142


@pytest.mark.parametrize("shape", [LoraShape("anima", kind="lokr"), LoraShape("sd15", kind="loha")])
def test_where_the_shapes_of_a_part_are_not_known_no_size_is_told(shape):
    assert lora_bytes(shape) is None
