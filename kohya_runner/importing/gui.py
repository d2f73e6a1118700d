"""The settings of the kohya_ss GUI: what its four tabs hand to the trainer (kohya_gui/*_gui.py, versions 21 to 26).

The GUI writes a configuration file with everything but values that equal ``""``, ``False`` or ``None``. In Python 0
equals ``False``: a zero was never passed, and the trainer's default ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from kohya_runner.importing.command_line import read_words
from kohya_runner.importing.setup import Setup, Subset
from kohya_runner.options.keyvalues import DECIMAL, INTEGER
from kohya_runner.safe_files import read_json
from kohya_runner.text import SECRET_OPTIONS

Form: TypeAlias = dict[str, Any]


@cache
def tables() -> dict[str, Any]:
    """What the GUI's own code says of its keys."""
    return read_json(Path(__file__).with_name("gui.json"))


def number(form: Form, key: str) -> float:
    """A number of the form; 0 for anything else."""
    value = form.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


_MARKS = ("LoRA_type", "max_resolution", "lr_warmup", "model_list", "train_on_input", "noise_offset_type",
          "save_as_bool")  # fmt: skip
CHROMA = "chroma"


def is_gui(data: Mapping[str, Any]) -> bool:
    return sum(mark in data for mark in _MARKS) > 1 or "LoRA_type" in data


def read(data: Mapping[str, Any], setup: Setup) -> None:
    """What was really passed, and a note for each key that was not."""
    form = _numbers({key: value for key, value in data.items() if value is not None})
    family, prefixes = next((row for key, row in tables()["models"].items() if form.get(key) is True), ("", []))
    setup.method = _tab(form)
    names = tables()["scripts"][setup.method]
    setup.script = names["*" if family else ""].format(family)
    setup.terse = True
    setup.open = {name for name in ("caption_extension", "save_every_n_epochs", "save_model_as") if name not in form}
    given = _specials(form, family, setup)
    passed = {name: value for name, value in _plain(form, family, prefixes, setup) if name not in given}
    _drop_zeros(passed, setup)
    setup.update({**passed, **{name: value for name, value in given.items() if value not in (None, "", [])}})
    if form.get("model_type") == CHROMA and "ae" in form:
        setup.update({"apply_t5_attn_mask": True, "guidance_scale": float(form.get("guidance_scale", 0))})
    workers = form.get("max_data_loader_n_workers", "")
    more = str(form.get("additional_parameters") or "").replace('"', "").split()
    setup.update(read_words([*more, *(["--max_data_loader_n_workers", str(workers)] if workers != "" else [])], setup))
    for name in tables()["launch"].split():
        if form.get(name) not in (None, "", False, 0):
            setup.launch[name] = form[name]
    extra = str(form.get("extra_accelerate_launch_args") or "").replace('"', "")
    if extra:
        setup.note("extra_accelerate_launch_args", f"{extra}: see launch.accelerate")
    _folders(form, setup)


_EMPTY = {"lr_scheduler_num_cycles": 1, "max_token_length": 75, "lr_scheduler_power": 1.0}


def _numbers(form: Form) -> Form:
    """Numbers that were saved as text; an empty one has the GUI's own meaning (kohya_gui/common_gui.py)."""
    found: Form = {}
    for key, value in form.items():
        if isinstance(value, str) and value == "" and key in _EMPTY:
            found[key] = _EMPTY[key]
        elif isinstance(value, str) and key != "output_name" and not key.startswith("block_"):
            found[key] = int(value) if INTEGER.match(value) else float(value) if DECIMAL.match(value) else value
        else:
            found[key] = value
    return found


def _tab(form: Form) -> str:
    """The tab is not saved: each has keys that only it has."""
    if "LoRA_type" in form or ("network_dim" in form and "learning_rate_te" not in form):
        return "lora"
    if "num_vectors_per_token" in form or "token_string" in form:
        return "textual_inversion"
    return "finetune" if {"image_folder", "train_dir", "dataset_repeats"} & form.keys() else "dreambooth"


def _plain(form: Form, family: str, prefixes: list[str], setup: Setup) -> list[tuple[str, Any]]:
    """The keys that are options, under the trainer's names; those of the model that was chosen go last."""
    table, found, own = tables(), list[tuple[str, Any]](), list[tuple[str, Any]]()
    skipped = {*table["form"].split(), *table["launch"].split(), *table["of_networks"], *table["models"]}
    others = [p for _, row in table["models"].values() for p in row if p not in prefixes]
    only = {name: families for families, names in table["only"].items() for name in names.split()}
    options = setup.options
    for key, value in form.items():
        name = table["renamed"].get(key, key)
        prefix = next((one for one in prefixes if key.startswith(one)), "")
        if key in skipped or (key.startswith(tuple(others)) and not prefix):
            continue
        if prefix:
            own.append((key.removeprefix(prefix), value))
        elif name in only and family not in only[name].split():
            if value not in ("", False, None) and setup.options.get(name) is not None:
                setup.note(key, f"counts for {only[name]} only: not passed")
        elif name in options or name in SECRET_OPTIONS:
            found.append((name, value))
        elif value not in ("", False, None) and not key.startswith("="):
            setup.note(key, f"{setup.script} has no such option")
    return [*found, *(pair for pair in own if pair[0] in options)]


ZERO_IS_OFF = ("vae_batch_size", "multires_noise_discount", "max_data_loader_n_workers")
"""A zero of these means "not set" in the form itself; the last one is passed on the command line."""


def _drop_zeros(passed: Form, setup: Setup) -> None:
    for name, value in [pair for pair in passed.items() if pair[1] in ("", False, None, [])]:
        del passed[name]
        option = setup.options.get(name)
        default = "a random one" if name == "seed" else option.default if option else None
        if value == 0 and type(value) is not bool and default not in (None, False, 0) and name not in ZERO_IS_OFF:
            setup.note(name, f"the file says 0, the GUI never passes a zero: the trainer's own default ran, {default}")


def _specials(form: Form, family: str, setup: Setup) -> Form:
    """The keys that the GUI converts; None is "not passed"."""
    given: Form = {
        "optimizer_args": str(form.get("optimizer_args", "")).replace('"', "").split(),
        "lr_scheduler_args": str(form.get("lr_scheduler_args", "")).replace('"', "").split(),
        "xformers": form.get("xformers") in (True, "xformers") or None,
        "sdpa": form.get("xformers") == "sdpa" or None,
        "mem_eff_attn": form.get("mem_eff_attn") or None,
        "max_token_length": None if family in tables()["without_token_length"] else form.get("max_token_length"),
        "lr_warmup_steps": _warmup(form, setup),
        "wandb_run_name": form.get("wandb_run_name") or None,
        "v2": form.get("v2") or None,
        "stop_text_encoder_training": None,
    }
    if form.get("use_wandb") in (True, "True"):
        given["log_with"] = "wandb"
    if "optimizer" not in form and form.get("use_8bit_adam"):
        given["optimizer_type"] = "AdamW8bit"
    if family in tables()["without_clip_skip"]:
        given["clip_skip"] = None
    if setup.method in ("lora", "textual_inversion") and form.get("save_model_as") not in (None, "safetensors", "ckpt"):
        given["save_model_as"] = "safetensors"
    if form.get("stop_text_encoder_training"):
        why = "a share of all steps in the GUI, and ignored by it for a LoRA: left out"
        setup.note("stop_text_encoder_training", why)
    if form.get("anima_attn_mode") == "torch":
        given["attn_mode"] = None
    _length(form, given, setup)
    _samples(form, given, setup)
    if setup.method == "lora":
        network_options(form, family, given, setup)
    elif setup.method == "textual_inversion":
        template = str(form.get("template", ""))
        given |= {f"use_{kind}_template": kind in template or None for kind in ("object", "style")}
    elif family in tables()["two_encoders"]:
        given["train_text_encoder"] = any(number(form, f"learning_rate_te{n}") > 0 for n in (1, 2)) or None
        given["learning_rate_te"] = None
    return given


def _length(form: Form, given: Form, setup: Setup) -> None:
    """The GUI counts steps from its ``epoch``, unless a number of steps or of the trainer's own epochs is there."""
    epochs, steps, shown = form.get("max_train_epochs"), form.get("max_train_steps"), form.get("epoch")
    if epochs or "epoch" not in form:
        return
    if steps or form.get("dataset_config"):
        why = f"max_train_steps is {steps}" if steps else "a dataset_config is used: the trainer's own 1600 steps ran"
        setup.note("epoch", f"{shown} did not count: {why}")
        return
    given["max_train_epochs"] = int(shown) if shown else None
    setup.note("max_train_epochs", f"the GUI's epoch: {shown}, from which it counted the steps")


def _warmup(form: Form, setup: Setup) -> Any:
    """Percent of all steps; a number of steps goes first."""
    percent, steps = number(form, "lr_warmup"), number(form, "lr_warmup_steps")
    if steps > 0:
        return int(steps)
    if not percent:
        return None
    setup.note("lr_warmup_steps", f"lr_warmup: {percent:g} is percent of all steps")
    return percent / 100


def _samples(form: Form, given: Form, setup: Setup) -> None:
    given["sample_prompts"] = None
    prompts = [line.strip() for line in str(form.get("sample_prompts") or "").splitlines()]
    prompts = [line for line in prompts if line and not line.startswith("#")]
    if prompts and (form.get("sample_every_n_epochs") or form.get("sample_every_n_steps")):
        setup.prompts = tuple(prompts)
    elif prompts:
        setup.note("sample_prompts", "neither sample_every_n_epochs nor sample_every_n_steps: never painted")


def _folders(form: Form, setup: Setup) -> None:
    """Parents of ``N_name`` folders; the fine-tuning tab has a file of captions."""
    setup.given.pop("train_data_dir", None)
    setup.given.pop("reg_data_dir", None)
    if form.get("dataset_config"):
        return
    if setup.method == "finetune":
        which = "latent_metadata_filename" if form.get("use_latent_files") == "Yes" else "caption_metadata_filename"
        file = f"{form.get('train_dir', '')}/{form.get(which, 'meta_cap.json')}"
        setup.subsets.append(Subset(file, repeats=int(number(form, "dataset_repeats")) or 1))
        return
    for key in ("train_data_dir", "reg_data_dir"):
        if form.get(key):
            setup.subsets.append(Subset(str(form[key]), regularization=key[0] == "r", parent=True))


def network_options(form: Form, family: str, given: Form, setup: Setup) -> None:
    """What only the LoRA tab has; of the two pairs for noise one counts."""
    pairs = {"Original": ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"),
             "Multires": ("multires_noise_iterations", "multires_noise_discount")}  # fmt: skip
    chosen = str(form.get("noise_offset_type") or "Original")
    for kind, names in pairs.items():
        for name in names if kind != chosen else ():
            given[name] = None
            if form.get(name) and name != "multires_noise_discount":
                setup.note(name, f"{form[name]} was not passed: noise_offset_type is {chosen}")
        if kind == chosen == "Multires" and not form.get(names[0]):
            given[names[1]] = form.get(names[1])
    encoder, unet, t5 = (number(form, name) for name in ("text_encoder_lr", "unet_lr", "t5xxl_lr"))
    given["text_encoder_lr"] = [encoder, t5 if t5 > 0 else encoder] if encoder > 0 else None
    given["unet_lr"] = unet or None
    known = "text_encoder_lr" in form and "unet_lr" in form
    if family in tables()["unet_only"] or (known and encoder == 0 and unet != 0):
        given["network_train_unet_only"] = True
        setup.note("network_train_unet_only", "text_encoder_lr is 0")
    elif known and unet == 0 and encoder != 0:
        given["network_train_text_encoder_only"] = True
        setup.note("network_train_text_encoder_only", "unet_lr is 0")
    _network(form, family, given, setup)


def _network(form: Form, family: str, given: Form, setup: Setup) -> None:
    """The module and its arguments follow from the LoRA type; what belongs to another type was never passed."""
    table = tables()
    kind = str(form.get("LoRA_type") or "Standard")
    kind = "LyCORIS/LoCon" if kind == "LoCon" else kind
    values = {**table["of_networks"], **{key: value for key, value in form.items() if value != ""}}
    if kind in table["lycoris"]:
        used = table["lycoris"][kind].split()
        given["network_module"] = "lycoris.kohya"
        args = [item if "=" in item else _argument(item, values) for item in used]
        used = [item.partition("<")[2] or item for item in used]
    else:
        module, always, when = table["native"].get(kind, ["", "", ""])
        if not module:
            setup.note("LoRA_type", f"{kind} is not known: choose args.network_module yourself")
            return
        given["network_module"] = tables()["of_family"].get(family, module) if module == "networks.lora" else module
        used = [*always.split(), *when.split()]
        args = [_argument(name, values) for name in used if name in always.split() or _native(name, kind, form)]
        if kind == "Flux1" and form.get("split_mode"):
            args.append("train_blocks=single")
        if kind == "Flux1" and form.get("train_lora_ggpo"):
            args += [_argument(name, values) for name in ("ggpo_beta", "ggpo_sigma")]
    args += [_argument(name, values) for name in table["of_networks"] if name.startswith("loraplus") and form.get(name)]
    given["network_args"] = args
    other = [
        key
        for key, default in table["of_networks"].items()
        if key in form and key not in used and form[key] not in ("", default) and key != "LoRA_type"
        and not key.startswith(("loraplus", "ggpo", "train_lora_ggpo"))
    ]  # fmt: skip
    if other:
        setup.note(", ".join(other), f"belong to another LoRA type than {kind}: not passed")


def _native(name: str, kind: str, form: Form) -> bool:
    """Whether a native module gets an argument: what is not zero, and of LoHa and LoKr not the default."""
    value = form.get(name)
    if kind in ("Kohya LoHa", "Kohya LoKr"):
        if name == "factor":
            return value not in (None, "", -1)
        if name == "conv_alpha":
            return number(form, "conv_dim") > 0 and value is not None
    return bool(value)


def _argument(item: str, values: Form) -> str:
    name, _, source = item.partition("<")
    return f"{name}={values.get(source or name)}"
