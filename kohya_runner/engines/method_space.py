"""The files of a run that trains no LoRA, as disk items with the recipe lines that would shrink them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.engines.parsed_options import optimizer_of
from kohya_runner.machine.disk import KEEP, DiskItem
from kohya_runner.machine.memory.sizes import WIDTH, MethodShape, checkpoint_bytes
from kohya_runner.machine.memory.sizes import method_state_bytes as state_bytes
from kohya_runner.machine.memory.vram import moments

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.engines.parsed_options import ParsedOptions
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Support

HALF = ("fp16", "bf16")
HALF_SCRIPTS = (
    "flux_train.py", "flux_train_control_net.py", "sdxl_train_control_net_lllite.py", "lumina_train.py", "sd3_train.py",
)  # fmt: skip
IGNORES_FULL_BF16 = ("train_db.py", "fine_tune.py", "train_control_net.py")
TRAINS_TEXT = {"train_db.py": True}  # unless stop_text_encoder_training says -1


def method_shape(settings: ParsedOptions, support: Support) -> MethodShape:
    """What decides the size of a checkpoint."""
    return MethodShape(
        family=support.family,
        output=support.output,
        width=_width(settings, support),
        text=_trains_text(settings, support),
        vectors=int(settings.get("num_vectors_per_token") or 1),
        embedding=int(settings.get("cond_emb_dim") or 0),
        rank=int(settings.get("network_dim") or 0),
    )


def _trains_text(settings: ParsedOptions, support: Support) -> bool:
    by_default = TRAINS_TEXT.get(support.script, False) and settings.get("stop_text_encoder_training") != -1
    return by_default or settings.on("train_text_encoder")


def trains_half(settings: ParsedOptions, support: Support) -> bool:
    """Whether the trained weights are in half precision.

    FLUX, Lumina and LLLite train in the mixed precision itself (flux_train.py:274, lumina_train.py:296,
    sdxl_train_control_net_lllite.py:310), SD3 in that of its file (sd3_train.py:345), which is a half one where it is
    published; the others in fp32.
    """
    always = support.script in HALF_SCRIPTS
    asked = settings.on("full_fp16") or (settings.on("full_bf16") and support.script not in IGNORES_FULL_BF16)
    return settings.get("mixed_precision") in HALF and (always or asked)


def _width(settings: ParsedOptions, support: Support) -> int:
    """Without save_precision weights are saved as they are trained."""
    chosen = settings.get("save_precision")
    if chosen is not None:
        return WIDTH.get(str(chosen), WIDTH["float"])
    return WIDTH["bf16"] if trains_half(settings, support) else WIDTH["float"]


def method_items(settings: ParsedOptions, support: Support, steps: StepsPlan, output: Path) -> list[DiskItem]:
    """Checkpoints and states as many as lie there at once; none where the family's size is not known."""
    shape, saves = method_shape(settings, support), steps.saves
    one, state = checkpoint_bytes(shape), state_bytes(shape, moments(optimizer_of(settings)))
    found = []
    if one is not None:
        found.append(
            DiskItem("checkpoints", one * saves.most_checkpoints, output, _lines(shape, saves.most_checkpoints))
        )
    if state is not None and saves.most_states:
        line = ((f"save_last_n_epochs_state: {KEEP}", state * (KEEP + 1)),) if saves.most_states > KEEP + 1 else ()
        found.append(DiskItem("training states", state * saves.most_states, output, line))
    return found


def _lines(shape: MethodShape, count: int) -> tuple[tuple[str, int], ...]:
    half = checkpoint_bytes(replace(shape, width=WIDTH["fp16"])) or 0
    one = checkpoint_bytes(shape) or 0
    lines = [("save_precision: fp16", half * count)] if shape.width > WIDTH["fp16"] else []
    if count > KEEP + 1:  # the last file comes on top
        lines.append((f"save_last_n_epochs: {KEEP}", one * (KEEP + 1)))
    return tuple(lines)
