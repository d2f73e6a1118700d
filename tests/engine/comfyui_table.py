"""Makes the families of ``kohya_runner/artefact/comfyui.json`` of what ComfyUI says: names with numbers in braces.

COMFYUI_PYTHON tests/engine/comfyui_child.py CHECKOUT | python tests/engine/comfyui_table.py COMMIT > TABLE
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMS = (
    "lora_unet_{flat}", "diffusion_model.{name}", "{name}", "transformer.{name}", "base_model.model.{name}",
    "unet.{name}", "lycoris_{flat}", "lora_transformer_{flat}",
)  # fmt: skip
_NUMBER = re.compile(r"(?<!\d)(?:0|[1-9]\d*)(?!\d)")


def ranges(numbers: Iterable[int]) -> str:
    """``0-18`` of all from 0 to 18, ``0-2,5`` where some are missing."""
    runs = groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
    found = [[number for _, number in run] for _, run in runs]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)


def patterns(names: Iterable[str]) -> list[str]:
    """The names, each group of equal ones but for their numbers as few patterns; exact."""
    rows: dict[tuple[str, ...], set[tuple[int, ...]]] = defaultdict(set)
    for name in names:
        rows[tuple(_NUMBER.split(name))].add(tuple(map(int, _NUMBER.findall(name))))
    found = []
    for parts, numbers in rows.items():
        merged: set[tuple[frozenset[int], ...]] = {tuple(frozenset({n}) for n in row) for row in numbers}
        for place in range(len(parts) - 1):
            together: dict[tuple[frozenset[int], ...], set[int]] = defaultdict(set)
            for row in merged:
                together[row[:place] + row[place + 1 :]] |= row[place]
            merged = {(*rest[:place], frozenset(own), *rest[place:]) for rest, own in together.items()}
        for row in merged:
            holes = [next(iter(map(str, own))) if len(own) == 1 else f"{{{ranges(own)}}}" for own in row]
            found.append("".join(a + b for a, b in zip(parts, [*holes, ""], strict=True)))
    return sorted(found)


def group(names: set[str], known: set[str]) -> tuple[dict[str, list[str]], set[str]]:
    """These names under every form in which ComfyUI knows all of them, and the keys that this makes."""
    made = {form: {form.format(name=name, flat=name.replace(".", "_")) for name in names} for form in FORMS}
    forms = [form for form in FORMS if made[form] <= known]
    return {"forms": forms, "names": patterns(names)}, {key for form in forms for key in made[form]}


def family(said: dict[str, list[str]]) -> list[dict[str, list[str]]]:
    """One family in groups: the model's own names, other names for the same, and the text encoders'.

    Names of biases alone are left out: no file of a trainer here has them.
    """
    state = [name.removeprefix("diffusion_model.") for name in said["state"] if name.startswith("diffusion_model.")]
    left = set(said["unet"]) - {f"diffusion_model.{name}" for name in state if not name.endswith(".weight")}
    own, made = group({name.removesuffix(".weight") for name in state if name.endswith(".weight")}, left)
    left -= made
    prefix = next((one for one in ("transformer.", "unet.") if any(key.startswith(one) for key in left)), "")
    other, made = group({key.removeprefix(prefix) for key in left if key.startswith(prefix)}, left)
    rest = (left - made) | set(said["clip"])
    found = [own, other, {"forms": ["{name}"], "names": patterns(rest)}]
    return [row for row in found if row["names"]]


if __name__ == "__main__":
    told = json.load(sys.stdin)
    families = {name: family(said) for name, said in told.items()}
    alike = {name: next(other for other in families if families[other] == rows) for name, rows in families.items()}
    rows = {name: alike[name] if alike[name] != name else rows for name, rows in families.items()}
    print(json.dumps({"commit": sys.argv[1], "families": rows}, indent=1))  # noqa: T201
