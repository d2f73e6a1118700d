"""48 mistakes of a first recipe: the code, the line, the thing to write; and that writing it helps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from kohya_runner.findings import Severity
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request

MODEL = "model: stabilityai/stable-diffusion-xl-base-1.0"
GOOD = f"""\
name: mine
family: sdxl
{MODEL}
datasets:
  - images: pictures
    concept: ohwx
    repeats: 10
args:
  resolution: 1024
  network_dim: 16
  network_alpha: 8
  learning_rate: 1e-4
  train_batch_size: 2
  max_train_epochs: 10
  save_every_n_epochs: 1
  mixed_precision: bf16
  gradient_checkpointing: true
  cache_latents: true
  optimizer_type: AdamW8bit
  lr_scheduler: constant
  no_half_vae: true
"""
FLUX = {
    "model": "hf://black-forest-labs/FLUX.1-dev/flux1-dev.safetensors",
    "components.ae": "hf://black-forest-labs/FLUX.1-dev/ae.safetensors",
    "components.clip_l": "hf://comfyanonymous/flux_text_encoders/clip_l.safetensors",
    "components.t5xxl": "hf://comfyanonymous/flux_text_encoders/t5xxl_fp16.safetensors",
}


class Slip(NamedTuple):
    """``right`` of the good recipe is replaced by ``wrong``; the only error then says ``says``, at ``line``."""

    name: str
    right: str
    wrong: str
    code: str
    line: int
    says: str
    fix: tuple[str, str] = ("", "")  # what to replace in the wrong recipe by what the message says


SLIPS = (
    # misspelt keys, and keys in another place
    Slip("key misspelt", "datasets:", "dataset:", "recipe.unknown_key", 4, "did you mean 'datasets'?",
         ("dataset:", "datasets:")),
    Slip("option misspelt", "network_dim", "netwrok_dim", "args.unknown", 10, "write args.network_dim: 16",
         ("netwrok_dim: 16", "network_dim: 16")),
    Slip("option with dashes", "network_dim", "--network-dim", "args.unknown", 10, "write args.network_dim: 16",
         ("--network-dim: 16", "network_dim: 16")),
    Slip("option by its usual name", "network_dim", "rank", "args.unknown", 10, "write args.network_dim: 16",
         ("rank: 16", "network_dim: 16")),
    Slip("option of the GUI", "max_train_epochs: 10", "epoch: 10", "args.unknown", 14,
         "write args.max_train_epochs: 10", ("epoch: 10", "max_train_epochs: 10")),
    Slip("option at the top", "args:\n", "network_dim: 16\nargs:\n", "recipe.unknown_key", 8,
         "write args.network_dim: 16", ("network_dim: 16\nargs", "args")),
    Slip("token length at the top", "args:\n", "max_token_length: 225\nargs:\n", "recipe.unknown_key", 8,
         "write args.max_token_length: 225", ("max_token_length: 225\nargs:\n", "args:\n  max_token_length: 225\n")),
    Slip("option in a dataset", "repeats: 10\n", "repeats: 10\n    network_dim: 16\n", "recipe.unknown_key", 8,
         "write args.network_dim: 16", ("\n    network_dim: 16", "")),
    Slip("option of one dataset", "repeats: 10\n", "repeats: 10\n    color_aug: false\n", "recipe.unknown_key", 8,
         "write datasets.0.options: {color_aug: false}", ("color_aug: false", "options: {color_aug: false}")),
    Slip("key of a dataset among the options", "    repeats: 10\nargs:\n", "args:\n  repeats: 10\n", "args.unknown", 8,
         "write datasets.0.repeats: 10", ("args:\n  repeats: 10\n", "    repeats: 10\nargs:\n")),
    Slip("no name", "name: mine\n", "", "recipe.missing", 1, "write name: my_lora",
         ("family:", "name: my_lora\nfamily:")),
    Slip("key of compare at the top", "args:\n", "prompts: [a cat]\nargs:\n", "recipe.unknown_key", 8,
         'write compare.prompts: ["a cat"]', ("prompts: [a cat]", 'compare: {prompts: ["a cat"]}')),
    # YAML
    Slip("tab", "  network_dim", "\tnetwork_dim", "recipe.syntax", 10, "indent with spaces, not tabs",
         ("\tnetwork_dim", "  network_dim")),
    Slip("no colon", "network_dim: 16", "network_dim 16", "recipe.syntax", 10, "write the line as network_dim: 16",
         ("network_dim 16", "network_dim: 16")),
    Slip("equals sign", "network_dim: 16", "network_dim=16", "recipe.syntax", 10, "write the line as network_dim: 16",
         ("network_dim=16", "network_dim: 16")),
    Slip("no space", "network_dim: 16", "network_dim:16", "recipe.syntax", 10, "write the line as network_dim: 16",
         ("network_dim:16", "network_dim: 16")),
    Slip("no colon after args", "args:", "args", "recipe.syntax", 8, "write the line as args:", ("args", "args:")),
    Slip("no colon in a dataset", "concept: ohwx", "concept ohwx", "recipe.syntax", 6,
         "write the line as concept: ohwx", ("concept ohwx", "concept: ohwx")),
    Slip("no dash", "  - images", "  images", "recipe.syntax", 5, "write the line as - images: pictures",
         ("  images: pictures", "  - images: pictures")),
    Slip("datasets without a list", "datasets:\n  - images: pictures\n    concept: ohwx\n    repeats: 10\n",
         "datasets: pictures\n", "recipe.value", 4, "begin each entry with a dash: - images: FOLDER",
         ("datasets: pictures\n", "datasets:\n  - images: pictures\n    concept: ohwx\n")),
    Slip("dash among the options", "  resolution", "  - resolution", "recipe.syntax", 9,
         "write the line as resolution: 1024", ("- resolution: 1024", "resolution: 1024")),
    Slip("indented too deep", "  network_dim", "    network_dim", "recipe.syntax", 10, "begin it in column 3",
         ("    network_dim", "  network_dim")),
    Slip("key twice", "  network_dim: 16\n", "  network_dim: 16\n  network_dim: 32\n", "recipe.syntax", 11,
         "(first in line 10); keep one of the two", ("  network_dim: 32\n", "")),
    Slip("quote left open", "concept: ohwx", 'concept: "ohwx', "recipe.syntax", 6, 'write the line as concept: "ohwx"',
         ('"ohwx', '"ohwx"')),
    Slip("colour without quotes", "repeats: 10\n", "repeats: 10\n    captions: {starts_with: ohwx}\n".replace(
        "{starts_with: ohwx}", "\n      starts_with: #ffffff"), "recipe.syntax", 9,
        'put the whole value in quotes: "#ffffff"', ("starts_with: #ffffff", 'contains_any: ["#ffffff", "ohwx"]')),
    Slip("colours in a list", "repeats: 10\n", "repeats: 10\n    captions:\n      contains_any: [#ffffff, ohwx]\n",
         "recipe.syntax", 9, 'write the line as contains_any: ["#ffffff", ohwx]', ("[#ffffff", '["#ffffff"')),
    Slip("concept with a hash", "concept: ohwx", "concept: #ohwx", "recipe.missing", 6,
         'a value that begins with # needs quotes: datasets.0.concept: "#WORD"', ("#ohwx", '"#ohwx"')),
    Slip("colon in a caption", "repeats: 10\n", "repeats: 10\n    captions:\n      contains_any: ohwx: a lad\n",
         "recipe.syntax", 9, 'write the line as contains_any: "ohwx: a lad"', (
             "contains_any: ohwx: a lad", 'contains_any: ["ohwx: a lad", "ohwx"]')),
    Slip("at sign", "concept: ohwx", "concept: @ohwx", "recipe.syntax", 6, 'write the line as concept: "@ohwx"',
         ("@ohwx", '"@ohwx"')),
    # paths and addresses
    Slip("Windows path", "images: pictures", "images: C:\\pics", "dataset.missing", 5,
         "C:\\pics is a path of Windows; under WSL write datasets.0.images: /mnt/c/pics",
         ("C:\\pics", "pictures")),
    Slip("Windows path in quotes", "images: pictures", 'images: "C:\\Users\\me\\pics"', "recipe.syntax", 5,
         "under WSL write images: /mnt/c/Users/me/pics", ('"C:\\Users\\me\\pics"', "pictures")),
    Slip("Windows path of a model", MODEL, "model: D:\\sd\\xl.safetensors", "model.reference", 3,
         "under WSL write model: /mnt/d/sd/xl.safetensors", ("D:\\sd\\xl.safetensors", "/mnt/d/sd/xl.safetensors")),
    Slip("folder misspelt", "images: pictures", "images: pictuers", "dataset.missing", 5, "did you mean images: ",
         ("pictuers", "pictures")),
    Slip("address of pictures", "images: pictures", "images: https://example.org/p.zip", "dataset.missing", 5,
         "https://example.org/p.zip is an address on the web; fetch and unpack it first, then write datasets.0.images:",
         ("https://example.org/p.zip", "pictures")),
    Slip("page of Civitai", MODEL, "model: https://civitai.com/models/101055/sd-xl", "model.reference", 3,
         "https://civitai.com/models/101055/sd-xl is an address on the web", (
             "https://civitai.com/models/101055/sd-xl", "/workspace/model.safetensors")),
    Slip("page of the Hub", MODEL, "model: https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0",
         "model.reference", 3, f"write {MODEL}", ("https://huggingface.co/", "")),
    Slip("file's page of the Hub", MODEL, "model: https://huggingface.co/a/b/blob/main/c.safetensors",
         "model.reference", 3, "write model: hf://a/b/c.safetensors", (
             "https://huggingface.co/a/b/blob/main/c", "hf://a/b/c")),
    # families and models
    Slip("family in capitals", "family: sdxl", "family: SDXL", "recipe.family", 2, "write family: sdxl",
         ("SDXL", "sdxl")),
    Slip("family by a model's name", "family: sdxl", "family: pony", "recipe.family", 2, "write family: sdxl",
         ("pony", "sdxl")),
    Slip("another family's id", "family: sdxl", "family: flux", "model.family", 3, "write family: sdxl",
         ("family: flux", "family: sdxl")),
    Slip("another family's file", MODEL, f"model: {FLUX['model']}", "model.family", 3, MODEL,
         (f"model: {FLUX['model']}", MODEL)),
    # values
    Slip("switch in quotes", "cache_latents: true", 'cache_latents: "true"', "args.value", 18,
         "remove the quotes; write args.cache_latents: true", ('"true"', "true")),
    Slip("yes for a switch", "cache_latents: true", "cache_latents: yes", "args.value", 18,
         "write args.cache_latents: true", ("yes", "true")),
    Slip("resolution with an x", "resolution: 1024", "resolution: 1024x1024", "args.value", 9,
         "write args.resolution: 1024,1024", ("1024x1024", "1024,1024")),
    Slip("decimal comma", "1e-4", "0,0001", "args.value", 12, "write args.learning_rate: 0.0001", ("0,0001", "0.0001")),
    Slip("number with a word", "repeats: 10", "repeats: 10x", "recipe.value", 7, "write datasets.0.repeats: 10",
         ("10x", "10")),
    Slip("optimizer misspelt", "AdamW8bit", "AdamW8bits", "args.optimizer_unknown", 19,
         "write args.optimizer_type: AdamW8bit", ("AdamW8bits", "AdamW8bit")),
    Slip("captions without their word", "repeats: 10\n", "repeats: 10\n    captions: {starts_with: ohwy}\n",
         "caption.starts_with", 5, "correct the captions, or the recipe's rule", ("ohwy", "ohwx")),
)  # fmt: skip


TEN = "repeats: 10\n"


def entry(line: str) -> tuple[str, str]:
    """A line more in the entry of the pictures."""
    return TEN, f"{TEN}    {line}\n"


def top(line: str) -> tuple[str, str]:
    """A line more at the top of the recipe; the options begin in line 9 then."""
    return "args:\n", f"{line}\nargs:\n"


NEWER = (
    # prepare and caption
    Slip("style with a dash", *entry("prepare: {style: pixel-art}"), "recipe.value", 8,
         "write datasets.0.prepare.style: pixel_art (or photos)", ("pixel-art", "pixel_art")),
    Slip("style alone", *entry("prepare: pixel art"), "recipe.value", 8,
         "write datasets.0.prepare: {style: pixel_art}", ("pixel art", "{style: pixel_art}")),
    Slip("prepare as a switch", *entry("prepare: true"), "recipe.value", 8, "write datasets.0.prepare: {style: photos}",
         ("true", "{style: photos}")),
    Slip("jpg", *entry("prepare: {format: jpg}"), "recipe.value", 8, "write datasets.0.prepare.format: jpeg (or png)",
         ("jpg", "jpeg")),
    Slip("no colour", *entry("prepare: {background: whit}"), "recipe.value", 8,
         "write datasets.0.prepare.background: white, or", ("whit", "white")),
    Slip("size of two", *entry("prepare: {size: 1024x1024}"), "recipe.value", 8, "write datasets.0.prepare.size: 1024",
         ("1024x1024", "1024")),
    Slip("prepare at the top", *top("prepare: {style: photos}"), "recipe.unknown_key", 8,
         "write datasets.0.prepare: {style: photos}",
         ("prepare: {style: photos}\n", "")),
    Slip("style in the entry", *entry("style: pixel_art"), "recipe.unknown_key", 8,
         "write datasets.0.prepare.style: pixel_art", ("style: pixel_art", "prepare: {style: pixel_art}")),
    Slip("tagger misspelt", *entry("caption: {taggr: wd14}"), "recipe.unknown_key", 8,
         "write datasets.0.caption.tagger: wd14", ("caption: {taggr: wd14}", "")),
    Slip("tagger of another name", *entry("caption: {tagger: wd-14}"), "recipe.value", 8,
         "write datasets.0.caption.tagger: wd14 (or git)", ("caption: {tagger: wd-14}", "")),
    Slip("nobody captions", *entry("caption: {trigger: ohwx}"), "recipe.value", 8,
         "write datasets.0.caption: {tagger: wd14}, and", ("{trigger: ohwx}", '{template: "ohwx {{ stem }}"}')),
    Slip("tagger among the rules", *entry("captions: {tagger: wd14}"), "recipe.unknown_key", 8,
         "write datasets.0.caption.tagger: wd14", ("captions: {tagger: wd14}", "")),
    Slip("rule among the taggers", *entry("caption: {starts_with: ohwx}"), "recipe.unknown_key", 8,
         "write datasets.0.captions.starts_with: ohwx", ("caption:", "captions:")),
    Slip("name in a template", *entry('caption: {template: "a {{ folde }}"}'), "recipe.value", 8,
         "did you mean 'folder'?", ("folde ", "folder ")),
    Slip("no captions", *entry("captions: false"), "recipe.value", 8, "write datasets.0.captions: none",
         ("captions: false", "captions: none")),
    Slip("ending alone", *entry("captions: .txt"), "recipe.value", 8, "write datasets.0.captions: {extension: .txt}",
         ("captions: .txt", "captions: {extension: .txt}")),
    # keys of other programs
    Slip("path of pictures", "images: pictures", "path: pictures", "recipe.unknown_key", 5,
         "write datasets.0.images: pictures", ("path", "images")),
    Slip("class tokens", "concept: ohwx", "class_tokens: ohwx", "recipe.unknown_key", 6,
         "write datasets.0.concept: ohwx", ("class_tokens", "concept")),
    Slip("trigger word", "concept: ohwx", "trigger: ohwx", "recipe.unknown_key", 6, "write datasets.0.concept: ohwx",
         ("trigger", "concept")),
    # after the run, and limits
    Slip("repository's page", *top("finish: {publish: https://huggingface.co/me/cat}"), "recipe.value", 8,
         "write finish.publish: me/cat", ("finish: {publish: https://huggingface.co/me/cat}\n", "")),
    Slip("publish as a switch", *top("finish: {publish: true}"), "recipe.value", 8, "write finish.publish: USER/NAME",
         ("true}\n", "null}\n")),
    Slip("publish at the top", *top("publish: me/cat"), "recipe.unknown_key", 8, "write finish.publish: me/cat",
         ("publish: me/cat\n", "")),
    Slip("pod ended otherwise", *top("finish: {stop_pod: shutdown}"), "recipe.value", 8,
         "write finish.stop_pod: stop (or false, true, terminate)", ("shutdown", "false")),
    Slip("dollars", *top("budget: {max_cost: $5, price_per_hour: 0.5}"), "recipe.value", 8, "write budget.max_cost: 5",
         ("$5", "5")),
    Slip("budget alone", *top("budget: 5"), "recipe.value", 8, "write budget: {max_cost: 5}",
         ("budget: 5", "budget: {max_hours: 5}")),
    Slip("price", *top("budget: {price: 0.5}"), "recipe.unknown_key", 8, "write budget.price_per_hour: 0.5",
         ("price:", "price_per_hour:")),
    Slip("minutes", *top("budget: {max_hours: 90min}"), "recipe.value", 8, "write budget.max_hours: 1.5",
         ("90min", "1.5")),
    Slip("cost at the top", *top("max_cost: 5"), "recipe.unknown_key", 8, "write budget.max_cost: 5",
         ("max_cost: 5\n", "budget: {max_cost: 5, price_per_hour: 1}\n")),
    # places, launch and sweep
    Slip("places", *top("places: {studio: {kind: ssh}}"), "recipe.unknown_key", 8, "~/.config/kohya-runner/config.yaml",
         ("places: {studio: {kind: ssh}}\n", "")),
    Slip("place", *top("launch: {on: runpod}"), "recipe.unknown_key", 8, "kohya-runner launch RECIPE --on PLACE",
         ("launch: {on: runpod}\n", "")),
    Slip("GPUs", *top("launch: {gpus: 2}"), "recipe.unknown_key", 8, "write launch.num_processes: 2",
         ("gpus", "num_processes")),
    Slip("values of a sweep", "network_dim: 16", "network_dim: [16, 32]", "args.value", 10,
         "'kohya-runner sweep' trains with each", ("[16, 32]", "16")),
    Slip("token", *top("hf_token: hf_abc"), "recipe.unknown_key", 8, "leave it out: export HF_TOKEN=...",
         ("hf_token: hf_abc\n", "")),
    Slip("folder of the output", *top("output_dir: /x"), "recipe.unknown_key", 8, "write workspace: /x",
         ("output_dir: /x", "workspace: null")),
    # compare, samples, guard
    Slip("one seed", *top("compare: {prompts: [a cat], seeds: 42}"), "recipe.value", 8, "write compare.seeds: [42]",
         ("seeds: 42", "seeds: [42]")),
    Slip("prompt", *top("compare: {prompt: a cat}"), "recipe.unknown_key", 8, 'write compare.prompts: ["a cat"]',
         ("prompt: a cat", 'prompts: ["a cat"]')),
    Slip("guidance", *top("compare: {cfg: 7}"), "recipe.unknown_key", 8, "write compare.guidance: 7",
         ("cfg", "guidance")),
    Slip("guard off", *top("guard: {nan: false}"), "recipe.value", 8, "write guard.nan: ignore (or stop)",
         ("false", "ignore")),
    Slip("no divergence", *top("guard: {diverged: false}"), "recipe.value", 8, "write guard.diverged: null",
         ("false", "null")),
    Slip("states kept", *top("resume: true"), "recipe.value", 8, "write resume: {states: 2}",
         ("resume: true", "resume: {states: 2}")),
    # families, methods, models, quotes
    Slip("Krea for SDXL", "family: sdxl", "family: krea2", "model.family", 3, "write family: sdxl; or, for Krea 2,",
         ("krea2", "sdxl")),
    Slip("LoKr", *top("method: lokr"), "recipe.method", 8, "write method: lora with args.network_module: networks.lokr",
         ("method: lokr\nargs:\n", "method: lora\nargs:\n  network_module: networks.lokr\n")),
    Slip("LoCon", *top("method: locon"), "recipe.method", 8, "args.network_args: {conv_dim: 8, conv_alpha: 4}",
         ("method: locon\nargs:\n", "method: lora\nargs:\n  network_args: {conv_dim: 8, conv_alpha: 4}\n")),
    Slip("one slash", MODEL, "model: hf:/org/repo/a.safetensors", "model.reference", 3,
         "write model: hf://org/repo/a.safetensors", ("hf:/", "hf://")),
    Slip("file of the Hub", MODEL, f"{MODEL}/sd_xl_base_1.0.safetensors", "model.reference", 3,
         "write model: hf://stabilityai/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors",
         ("model: s", "model: hf://s")),
    Slip("curly quotes", "concept: ohwx", "concept: \u201cohwx\u201d", "recipe.value", 6,
         "write datasets.0.concept: ohwx",
         ("\u201cohwx\u201d", "ohwx")),
)  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    room = tmp_path_factory.mktemp("newcomer")
    (room / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (1024, 1024), (number * 80, 3, 7)).save(room / "pictures" / f"{number}.png")
        (room / "pictures" / f"{number}.txt").write_text(f"ohwx: a lad, number {number}, #ffffff\n", encoding="utf-8")
    return room


@pytest.fixture
def errors(room: Path, monkeypatch):
    """The errors of a recipe that lies beside the pictures."""
    monkeypatch.chdir(room)

    def found(text: str, *overrides: str) -> list:
        (room / "r.yaml").write_text(text, encoding="utf-8")
        return [one for one in planned(room, *overrides).findings if one.severity is Severity.ERROR]

    return found


def planned(room: Path, *overrides: str) -> Plan:
    request = Request(Path("r.yaml"), overrides, workspace=str(room / "ws"), elsewhere=True)
    return make_plan(request, environ={"HOME": str(room), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"})


def test_there_are_48_and_the_recipe_they_are_made_in_is_right(errors):
    assert len({slip.name for slip in (*SLIPS, *NEWER)}) == len(SLIPS) + len(NEWER)
    assert (len(SLIPS), len(NEWER)) == (48, 46)
    assert errors(GOOD) == []


@pytest.mark.parametrize("slip", [*SLIPS, *NEWER], ids=lambda slip: slip.name)
def test_a_mistake_is_one_error_that_says_what_to_write(slip: Slip, errors):
    assert slip.right in GOOD
    (finding,) = errors(GOOD.replace(slip.right, slip.wrong, 1))
    assert (finding.code, finding.where.split(":")[:2]) == (slip.code, ["r.yaml", str(slip.line)])
    assert slip.says in str(finding)


@pytest.mark.parametrize("slip", [*SLIPS, *NEWER], ids=lambda slip: slip.name)
def test_what_it_says_to_write_helps(slip: Slip, errors):
    wrong, (old, new) = GOOD.replace(slip.right, slip.wrong, 1), slip.fix
    assert old in wrong
    assert errors(wrong.replace(old, new, 1)) == []


def test_the_files_that_a_family_needs_are_named_and_do(errors):
    wrong = GOOD.replace("family: sdxl", "family: flux")
    (finding,) = errors(wrong)
    assert all(f"{key}: {file}" in finding.hint for key, file in FLUX.items())
    right = [f"{key}={file}" for key, file in FLUX.items()]
    assert "args.cached" not in str(errors(wrong, *right))
    assert {one.code.partition(".")[0] for one in errors(wrong, *right)} <= {"args"}  # the options are SDXL's


def test_each_file_that_is_missing_is_named(errors):
    text = GOOD.replace("family: sdxl", "family: flux").replace(MODEL, f"model: {FLUX['model']}")
    told = {finding.message.partition(" ")[0]: finding.hint for finding in errors(text) if "component" in finding.code}
    assert told == {key: f"write {key}: {file}, or a path" for key, file in FLUX.items() if key != "model"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("network_dim=16", "write --set args.network_dim=16"),
        ("args.netwrok_dim=16", "write --set args.network_dim=16"),
        ("args.resolution=1024x1024", "write --set args.resolution=1024,1024"),
        ("dataset.0.images=pictures", "write --set datasets.0.images=pictures"),
        ("datasets.images=pictures", "write --set datasets.0.images=VALUE"),
        ("datasets.0.repeats=10x", "write --set datasets.0.repeats=10"),
        ("guard.nan=false", "write --set guard.nan=ignore (or stop)"),
    ],
)
def test_an_override_is_answered_with_an_override(override, says, errors):
    (finding,) = errors(GOOD, override)
    assert finding.where == f"--set {override.partition('=')[0]}"
    assert says in finding.hint
    right = re.search(r"--set (\S+)", finding.hint)[1].replace("VALUE", "pictures")
    assert errors(GOOD, right) == []


def test_an_index_may_stand_in_brackets(errors):
    assert errors(GOOD, "datasets[0].images=pictures") == []


def test_a_secret_under_a_wrong_name_is_not_repeated(errors):
    (finding,) = errors(GOOD.replace("args:\n", "args:\n  hugginface_token: abc123\n"))
    assert finding.code == "args.unknown"
    assert "abc123" not in str(finding)


GUI = {
    "LoRA_type": "Standard", "epoch": 10, "max_resolution": "1024,1024", "network_dim": 32, "network_alpha": 16,
    "pretrained_model_name_or_path": "x", "train_data_dir": "img", "output_dir": "o", "output_name": "n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps(GUI, indent=2), "is the settings of the kohya_ss GUI (JSON)"),
        ('pretrained_model_name_or_path = "x"\nnetwork_dim = 32\n', "is a TOML file"),
        ("[general]\nenable_bucket = true\n[[datasets]]\nresolution = 512\n", "is a TOML file"),
        ("#!/bin/bash\naccelerate launch train_network.py \\\n  --network_dim=32\n", "is a shell script"),
        ("cd sd-scripts\naccelerate launch train_network.py --network_dim=32\n", "is a shell script"),
        ("job: extension\nconfig:\n  name: x\n  process: []\n", "is a configuration of ai-toolkit"),
    ],
    ids=["gui", "toml", "dataset-toml", "script", "commands", "ai-toolkit"],
)
def test_another_programs_file_is_one_error_that_says_what_it_is(text, what, errors):
    (finding,) = errors(text)
    assert (finding.code, finding.where) == ("recipe.kind", "r.yaml:1:1")
    assert what in finding.message
    assert "kohya-runner new " in finding.hint


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"name": "x", "family": "sdxl", "model": "a/b", "datasets": [{"images": "p", "concept": "c"}]}),
        GOOD.replace("16", "16  # as in network_dim = 16"),
        GOOD.replace("name: mine", "name: mine  #1"),
        GOOD.replace("true", "true #abc"),
        GOOD + "budget: {max_cost: null}  #fff\n",
    ],
    ids=["json", "comment", "number", "hex after a value", "hex after a mapping"],
)
def test_what_only_looks_like_a_mistake_is_none(text, errors):
    assert [one for one in errors(text) if one.code in ("recipe.kind", "recipe.syntax")] == []


def test_a_process_tells_it_without_a_traceback(room):
    (room / "r.yaml").write_text(GOOD.replace("network_dim: 16", "network_dim 16"), encoding="utf-8")
    environ = {**os.environ, "HOME": str(room), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "kohya_runner", "plan", "r.yaml", "--elsewhere", "--workspace", str(room / "ws")],
        cwd=room, env=environ, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 3
    assert "r.yaml:10:3" in said
    assert "write the line as network_dim: 16" in said
    assert "Traceback" not in said


def test_a_rule_names_the_whole_key_that_is_to_go(errors, room):
    errors(GOOD.replace("args:\n", "args:\n  keep_tokens: 1\n"))
    (finding,) = [one for one in planned(room).findings if "keep_tokens" in one.message]
    assert finding.hint == "leave args.keep_tokens out, or write args.shuffle_caption: true"
