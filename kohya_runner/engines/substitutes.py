"""What people ask for that no trainer here does: why, and what comes nearest to it, honestly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.engines.support import Support

FILL = ("fill", "inpaint", "inpainting")
"""What a recipe may call the training of an inpainting model."""

FOUR = "sd-scripts fixes the U-Net's input at 4 channels ({}), an inpainting model has 9"
FILL_REASONS: Mapping[str, str] = {
    "sd15": FOUR.format("library/original_unet.py:126"),
    "sd2": FOUR.format("library/original_unet.py:126"),
    "sdxl": FOUR.format("library/sdxl_original_unet.py:40"),
    "flux": "sd-scripts fixes FLUX.1's input at 64 channels (library/flux_models.py:383), a Fill model has 384",
    "flux2": "no FLUX.2 Fill weights are known, and musubi-tuner fixes the input at 128 channels (flux2_models.py:29)",
    "flux_kontext": "musubi-tuner has no mask for FLUX models",
}
NO_FILL = "its trainer fixes the input of the model, and an inpainting model has more channels"
FILL_HINT = (
    "nearest to it: an edit dataset (docs/edit.md) whose inputs have the region painted over in one flat colour and "
    "whose instructions say so, for FLUX.1 Kontext or FLUX.2 (nothing keeps the rest of the picture as it was); or a "
    "LoRA with masked_loss or alpha_mask: true, which weighs the loss and knows no mask when it paints; FLUX.1 Fill "
    "itself is trained by OneTrainer"
)

EDIT = "instruct_pix2pix"
EDITORS = ("edit", "controls")
"""Data of the methods that edit by instruction themselves."""
STAND_IN = "paired-condition training, not instruction editing: the input steers as a condition image does"
ONLY_SD = "the InstructPix2Pix examples of diffusers are for SD 1.5 and SDXL"
NO_EDIT = "no trainer here edits with this family; Kontext and FLUX.2 do, and InstructPix2Pix for sd15 and sdxl"


@dataclass(frozen=True, slots=True)
class Substitute:
    """A family and a method that cannot be had, or only as a stand-in."""

    family: str
    method: str
    state: str  # stand-in | not available upstream
    reason: str


def refusal(family: str, method: str, table: Iterable[Support]) -> tuple[str, str]:
    """Why a method cannot be had with a family, and what to write instead; ("", "") where nothing is known of it."""
    if method in FILL:
        return FILL_REASONS.get(family, NO_FILL), FILL_HINT
    if method == EDIT:
        return _editing(family, tuple(table))
    return "", ""


def _editing(family: str, table: tuple[Support, ...]) -> tuple[str, str]:
    own = next((row.method for row in table if row.family == family and row.data in EDITORS), "")
    if own:
        return f"this family edits by method: {own}", f"write method: {own}"
    stand_ins = [row.method for row in table if row.family == family and row.data == "pairs"]
    if not stand_ins:
        return NO_EDIT, "see: kohya-runner models"
    nearest = f"method: {' or '.join(stand_ins)} with the same dataset: {STAND_IN}"
    return f"{ONLY_SD}; the stand-in is {nearest}", f"write {nearest}"


def substitutes(table: Iterable[Support]) -> tuple[Substitute, ...]:
    """A row for every family: editing where it is no method of its own, filling everywhere."""
    rows = tuple(table)
    families = tuple(dict.fromkeys(row.family for row in rows))
    editors = {row.family for row in rows if row.data in EDITORS}
    found = [
        Substitute(row.family, f"{row.method} on edit pairs", "stand-in", f"{row.script}; {STAND_IN}")
        for row in rows
        if row.data == "pairs"
    ]
    paired = {row.family for row in rows if row.data == "pairs"}
    found += [
        Substitute(
            family, EDIT, "stand-in" if family in paired else "not available upstream", _editing(family, rows)[0]
        )
        for family in families
        if family not in editors
    ]
    found += [
        Substitute(family, FILL[0], "not available upstream", FILL_REASONS.get(family, NO_FILL)) for family in families
    ]
    return tuple(found)
