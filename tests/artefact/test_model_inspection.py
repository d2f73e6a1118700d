from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from model_headers import NAMES, header_bytes, without

from kohya_runner.artefact.model_inspection import SLOTS, Inspected, channel_findings, identity_findings, inspect_file

COMPONENTS = {
    ("flux", "clip_l"): "clip_l",
    ("flux", "t5xxl"): "t5xxl",
    ("flux", "ae"): "ae",
    ("sd3", "clip_g"): "clip_g",
}
FAMILIES = ("sd15", "sd2", "sdxl", "sd3", "flux", "lumina", "hunyuan_image", "anima")
Names = dict[str, list[int]]


@pytest.fixture
def look(odd_path: Path):
    """What is found in a file of these names."""

    def inspect(names: Names, slot: str = "model", name: str = "m.safetensors", **kind: object) -> Inspected:
        (odd_path / name).write_bytes(header_bytes(names, **kind))
        seen = inspect_file(slot, odd_path / name, "r.yaml:3:8")
        assert seen is not None
        return seen

    return inspect


def _codes(seen: Inspected, family: str, **choices: object) -> list[str]:
    return [finding.code for finding in identity_findings([seen], family=family, **choices)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_the_family_is_fine(look, family):
    assert _codes(look(NAMES[family]), family) == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_other_model_is_of_the_wrong_family(look, family, kind):
    assert _codes(look(NAMES[kind]), family) == ([] if family == kind else ["model.family"])


def test_an_sd35_file_in_the_sdxl_script_says_what_it_is_and_what_is_wanted(look):
    (finding,) = identity_findings([look(NAMES["sd3"])], family="sdxl")
    assert "is a Stable Diffusion 3.5 large model; family sdxl needs an SDXL checkpoint" in finding.message
    assert (finding.where, finding.hint) == ("r.yaml:3:8", "write family: sd3, or name another file")


@pytest.mark.parametrize("slot", COMPONENTS, ids=" ".join)
def test_a_component_in_its_slot_is_fine(look, slot):
    assert _codes(look(NAMES[COMPONENTS[slot]], slot[1]), slot[0]) == []


def test_a_component_in_the_wrong_slot_says_where_it_belongs(look):
    (finding,) = identity_findings([look(NAMES["t5xxl"], "clip_l")], family="flux")
    assert (finding.code, finding.hint) == ("model.component", "write it under components.t5xxl")


def test_a_model_under_a_component_says_so_too(look):
    (finding,) = identity_findings([look(NAMES["flux"], "ae")], family="flux")
    assert (finding.code, finding.hint) == ("model.component", "write it under model")


def test_a_lora_as_base_model_says_where_it_goes(look):
    (finding,) = identity_findings([look(NAMES["lora"])], family="sd15")
    assert finding.code == "model.family"
    assert "args.network_weights" in finding.hint


@pytest.mark.parametrize(
    ("names", "family", "says"),
    [
        pytest.param(
            {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": [640, 2048]}, "sdxl",
            "diffusers' layout", id="a diffusers U-Net as a single file"),
        pytest.param(without("sdxl", "conditioner", "first_stage"), "sdxl", "lacks the auto", id="a U-Net alone"),
        pytest.param(without("sd15", "first_stage"), "sd15", "lacks the autoencoder", id="no autoencoder"),
        pytest.param(
            NAMES["sd15"] | {"model.diffusion_model.input_blocks.0.0.weight": [320, 8, 3, 3]}, "sd15",
            "has 8 input channels", id="an editing model"),
        pytest.param(NAMES["flux"] | {"img_in.weight": [3072, 384]}, "flux", "has 384 input channels", id="FLUX Fill"),
        pytest.param(NAMES["flux"] | {"scaled_fp8": [2]}, "flux", "scaled fp8", id="scaled fp8"),
        pytest.param(
            NAMES["flux"] | {"double_blocks.0.img_attn.proj.weight.absmax": [9]}, "flux", "quantised", id="nf4"),
    ],
)  # fmt: skip
def test_a_file_of_the_right_family_that_the_trainer_cannot_load_says_why(look, names, family, says):
    (finding,) = identity_findings([look(names)], family=family)
    assert finding.code == "model.family"
    assert says in finding.message
    assert finding.hint


NINE = {"model.diffusion_model.input_blocks.0.0.weight": [320, 9, 3, 3]}
CHANNELS = (  # of the file, with train_inpainting, where the U-Net stays as it is: what is said
    (9, True, True, ""), (9, True, False, ""), (4, True, False, ""), (4, False, True, ""),
    (9, False, True, "this training feeds 4"), (9, False, False, "this training feeds 4"),
    (4, True, True, "never see a mask"),
)  # fmt: skip


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("row", CHANNELS)
def test_an_inpainting_model_is_right_where_it_is_fed_a_mask(look, family, row):
    channels, inpainting, frozen, said = row
    seen = look(NAMES[family] | (NINE if channels == 9 else {}))
    assert identity_findings([seen], family=family) == ()
    found = list(channel_findings([seen], inpainting=inpainting, frozen=frozen))
    assert [finding.code for finding in found] == ["model.channels"] * bool(said)
    assert all(said in finding.message and "method: " in finding.hint for finding in found)


def test_a_long_clip_does_not_fit_the_trainer(look):
    names = NAMES["clip_l"] | {"text_model.embeddings.position_embedding.weight": [248, 768]}
    (finding,) = identity_findings([look(names, "clip_l")], family="flux")
    assert (finding.code, "has 248 positions" in finding.message) == ("model.component", True)


def test_an_autoencoder_in_diffusers_layout_does_not_fit_the_flux_script(look):
    names = {"encoder.down_blocks.0.resnets.0.norm1.weight": [128], "decoder.conv_in.weight": [512, 16, 3, 3]}
    assert _codes(look(names, "ae"), "flux") == ["model.component"]


DIFFUSERS_VAE = {"encoder.down_blocks.0.resnets.0.norm1.weight": [128]}


@pytest.mark.parametrize(("family", "slot", "channels"), [
    ("sd15", "vae", 4), ("sdxl", "vae", 4), ("sd3", "vae", 16), ("flux", "ae", 16), ("lumina", "ae", 16),
    ("flux_kontext", "vae", 16), ("flux2", "vae", 32), ("hunyuan_image", "vae", 64),
])  # fmt: skip
def test_an_autoencoder_in_the_wrong_layout_names_the_loader_of_its_own_slot(look, family, slot, channels):
    weight = {"decoder.conv_in.weight": [512, channels, 3, 3]}
    (finding,) = identity_findings([look(weight | DIFFUSERS_VAE, slot)], family=family)
    assert (finding.code, "diffusers' layout" in finding.message) == ("model.component", True)
    assert finding.message.endswith(f"({SLOTS[family, slot].loader})")
    assert finding.hint.startswith("take ")
    assert _codes(look(weight | {"encoder.down.0.block.0.norm1.weight": [128]}, slot), family) == []


def test_the_qwen_autoencoder_is_converted_from_either_layout(look):
    weight = {"encoder.down_blocks.0.norm1.gamma": [96], "decoder.conv_in.weight": [384, 16, 3, 3, 3]}
    assert _codes(look(weight, "vae"), "anima") == []


@pytest.mark.parametrize(("kind", "slot", "belongs"), [
    ("clip_l", "clip_g", "clip_l"), ("clip_g", "clip_l", "clip_g"), ("t5xxl", "clip_g", "t5xxl"),
    ("clip_g", "t5xxl", "clip_g"),
])  # fmt: skip
def test_text_encoders_that_were_swapped_say_where_they_belong(look, kind, slot, belongs):
    (finding,) = identity_findings([look(NAMES[kind], slot)], family="sd3")
    assert (finding.code, finding.hint) == ("model.component", f"write it under components.{belongs}")


@pytest.mark.parametrize(("shape", "what"), [
    ([250_112, 4096], "mT5"), ([256_384, 4096], "UMT5"), ([32_128, 2048], "width 2048"),
])  # fmt: skip
def test_a_t5_of_another_class_is_not_the_one_that_is_wanted(look, shape, what):
    (finding,) = identity_findings([look(NAMES["t5xxl"] | {"shared.weight": shape}, "t5xxl")], family="flux")
    assert (finding.code, what in finding.message) == ("model.component", True)


@pytest.mark.parametrize(("width", "family", "slot"), [(768, "flux", "clip_l"), (1280, "sd3", "clip_g")])
def test_a_clip_in_openais_layout_says_so(look, width, family, slot):
    names = {"token_embedding.weight": [49408, width], "transformer.resblocks.0.ln_1.weight": [width]}
    (finding,) = identity_findings([look(names, slot)], family=family)
    assert (finding.code, "OpenAI's layout" in finding.message) == ("model.component", True)


@pytest.mark.parametrize(("kind", "more", "slots"), [
    ("clip_l", "vision_model.encoder.layers.0.layer_norm1.weight", ("clip_l", "text_encoder2")),
    ("t5xxl", "decoder.block.0.layer.0.SelfAttention.q.weight", ("t5xxl", "text_encoder1")),
])  # fmt: skip
def test_a_whole_model_as_text_encoder_is_refused_where_the_loader_is_strict(look, kind, more, slots):
    names = NAMES[kind] | {more: [64]}
    assert _codes(look(names, slots[0]), "flux") == []
    (finding,) = identity_findings([look(names, slots[1])], family="flux_kontext")
    assert "strict loader refuses (flux/flux_utils.py:" in finding.message


@pytest.mark.parametrize(("family", "slot", "kind", "place"), [
    ("flux", "t5xxl", "t5xxl", "docs/flux_train_network.md:305"),
    ("flux_kontext", "text_encoder1", "t5xxl", "flux/flux_utils.py:366"),
    ("flux_kontext", "model", "flux", "flux/flux_utils.py:174"),
])  # fmt: skip
def test_scaled_fp8_names_a_place_of_its_own_engine(look, family, slot, kind, place):
    (finding,) = identity_findings([look(NAMES[kind] | {"scaled_fp8": [2]}, slot)], family=family)
    assert finding.message.endswith(f"whose scales the trainer does not read ({place})")


def test_flux_in_diffusers_layout_is_converted_by_the_trainer(look):
    names = {
        "transformer_blocks.0.attn.add_k_proj.weight": [3072, 3072],
        "single_transformer_blocks.0.attn.to_k.weight": [3072, 3072],
        "time_text_embed.text_embedder.linear_1.weight": [3072, 768],
    }
    assert _codes(look(names), "flux") == []


def test_a_flux_file_with_text_encoders_in_it_is_a_flux_model(look):
    bundled = {f"model.diffusion_model.{name}": shape for name, shape in NAMES["flux"].items()}
    assert _codes(look(bundled | {"text_encoders.clip_l.logit_scale": [1], "vae.decoder.norm": [4]}), "flux") == []


def test_one_shard_of_several_is_not_judged(look):
    assert _codes(look(NAMES["flux"], name="m-00001-of-00003.safetensors"), "sdxl") == []


@pytest.mark.parametrize(
    "names", [{"a.weight": [4, 4]}, {"blocks.0.attn.weight": [1]}, {}], ids=["odd", "a DiT", "none"]
)
def test_what_is_not_known_is_no_finding(look, names):
    seen = look(names)
    assert (seen.identity, _codes(seen, "sdxl")) == (None, [])


@pytest.mark.parametrize(("kind", "model_type", "wrong"), [
    ("chroma", "chroma", False), ("chroma", "flux", True), ("flux", "chroma", True),
])  # fmt: skip
def test_chroma_is_the_flux_script_with_its_model_type(look, kind, model_type, wrong):
    assert bool(_codes(look(NAMES[kind]), "flux", model_type=model_type)) is wrong


def test_a_practice_file_is_no_base_model(look):
    seen = look(NAMES["sd15"], metadata={"practice": "yes"})
    assert _codes(seen, "sd15") == ["model.practice"]


def test_a_practice_run_takes_practice_files(look):
    assert _codes(look(NAMES["sd15"], metadata={"practice": "yes"}), "sd15", practice=True) == []


def test_no_safetensors_file_is_left_to_the_other_checks(odd_path):
    (odd_path / "m.safetensors").write_bytes(b"<html>")
    assert inspect_file("model", odd_path / "m.safetensors") is None
    assert inspect_file("model", odd_path / "absent.safetensors") is None


def test_size_type_and_the_hash_of_a_fetched_file_are_shown(look, odd_path):
    path = odd_path / "m.safetensors"
    look(NAMES["flux"])
    digest, status = hashlib.sha256(b"x").hexdigest(), path.stat()
    record = {"version": 1, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "etag": digest, "commit": "c"}
    (odd_path / ".m.safetensors.fetched.json").write_text(json.dumps(record))
    seen = inspect_file("model", path)
    assert seen is not None
    assert str(seen) == f"model m.safetensors: a FLUX.1 model, BF16, 211 B, sha256 {digest[:12]}"
    assert seen.as_json()["sha256"] == digest


def test_every_family_has_a_slot_for_its_model_and_for_each_component_of_the_table():
    from kohya_runner.engines import table

    for row in table.FAMILIES:
        assert {(row.family, "model"), *((row.family, c.name) for c in row.components)} <= set(SLOTS)
