"""A trainer's defaults that change results and that nobody expects: shown whenever a recipe leaves them open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Surprise:
    """An option, what its default means for the run, and when it does not matter."""

    option: str
    effect: str
    moot: Callable[[Mapping[str, Any]], bool] = lambda _: False


def _steps_are_set(args: Mapping[str, Any]) -> bool:
    return "max_train_epochs" in args


def _rates_are_set(args: Mapping[str, Any]) -> bool:
    only_unet = args.get("network_train_unet_only") is True
    return "unet_lr" in args and ("text_encoder_lr" in args or only_unet)


KOHYA: tuple[Surprise, ...] = (
    Surprise("learning_rate", "a fiftieth of what LoRAs are trained with", _rates_are_set),
    Surprise("max_train_steps", "the run ends there, whatever the number of pictures", _steps_are_set),
    Surprise("network_dim", "the trainer then takes 4"),
    Surprise("network_alpha", "the LoRA's scale is alpha / dim"),
    Surprise("train_batch_size", "one picture a step"),
    Surprise("optimizer_type", "the trainer then takes AdamW",
             lambda a: "use_8bit_adam" in a or "use_lion_optimizer" in a),
    Surprise("lr_scheduler", "the learning rate never falls"),
    Surprise("mixed_precision", "trains in fp32: about twice the memory and time on a GPU"),
    Surprise("save_precision", "checkpoints are fp32, twice the size of fp16"),
    Surprise("seed", "random, so the run cannot be repeated"),
    Surprise("max_data_loader_n_workers", "worker processes; a small /dev/shm cannot hold them"),
    Surprise("timestep_sampling", "not what the trainer's own guide recommends"),
    Surprise("model_prediction_type", "not what the trainer's own guide recommends"),
    Surprise("guidance_scale", "not what the trainer's own guide recommends (1.0 for FLUX.1-dev)"),
    Surprise("discrete_flow_shift", "the trainer's guide recommends 3.1582 with timestep_sampling: shift",
             lambda a: a.get("timestep_sampling") not in (None, "shift")),
)  # fmt: skip
"""Of sd-scripts and musubi-tuner, in the order in which they are worth reading."""
