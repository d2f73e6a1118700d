"""The network of a LoRA in the kohya_ss GUI: rates, noise and the arguments that its type really gets."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from kohya_runner.importing.setup import Setup
from kohya_runner.safe_files import read_json

Form: TypeAlias = dict[str, Any]


@cache
def tables() -> dict[str, Any]:
    """What the GUI's own code says of its keys."""
    return read_json(Path(__file__).with_name("gui.json"))


def number(form: Form, key: str) -> float:
    """A number of the form; 0 for anything else."""
    value = form.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


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
