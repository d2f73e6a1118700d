"""Counts batches with musubi-tuner's own dataset code, in its Python: caches of zeros in the sizes that it cuts to.

    PYTHONPATH=CHECKOUT/src PYTHON musubi_steps_child.py < REQUESTS

Requests are JSON, one a line: ``{"architecture": "kr2", "config": PATH}``; each is answered with the items, the batches
of an epoch, and how many items each bucket has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from musubi_tuner.dataset import cache_io, config_utils
from musubi_tuner.dataset.config_utils import BlueprintGenerator, ConfigSanitizer

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENTS = {"kr2": cache_io.save_latent_cache_krea2, "zi": cache_io.save_latent_cache_z_image}
TEXTS = {"kr2": cache_io.save_text_encoder_output_cache_krea2, "zi": cache_io.save_text_encoder_output_cache_z_image}


def latent(picture: Any, *frame: int) -> torch.Tensor:
    return torch.zeros(16, *frame, picture.shape[0] // 8, picture.shape[1] // 8)


def fill(dataset: Any, architecture: str) -> None:
    """As the two stages do, with the sizes of what they would encode."""
    frame = () if architecture == "zi" else (1,)
    for _, batch in dataset.retrieve_latent_cache_batches(1):
        for item in batch:
            content = item.content[0] if isinstance(item.content, list) else item.content
            if architecture in LATENTS:
                LATENTS[architecture](item, latent(content, *frame))
            else:
                controls = [latent(control, *frame) for control in item.control_content or ()]
                cache_io.save_latent_cache_qwen_image(item, latent(content, *frame), controls or None)
    shape: Sequence[int] = (4, 12, 8) if architecture == "kr2" else (4, 8)
    for batch in dataset.retrieve_text_encoder_output_cache_batches(1):
        for item in batch:
            TEXTS.get(architecture, cache_io.save_text_encoder_output_cache_qwen_image)(item, torch.zeros(*shape))


def counted(architecture: str, config: str) -> dict[str, Any]:
    def group(*, training: bool) -> Any:
        made = BlueprintGenerator(ConfigSanitizer()).generate(
            config_utils.load_user_config(config), argparse.Namespace(debug_dataset=False), architecture=architecture
        )
        return config_utils.generate_dataset_group_by_blueprint(made.dataset_group, training=training)

    for dataset in group(training=False).datasets:
        fill(dataset, architecture)
    trained = group(training=True)
    buckets: Counter[tuple[int, int]] = Counter()
    for dataset in trained.datasets:
        for key, items in dataset.batch_manager.buckets.items():
            buckets[key[:2]] += len(items)
    sizes = sorted([*key, number] for key, number in buckets.items())
    return {"items": trained.num_train_items, "batches": len(trained), "buckets": sizes}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(counted(request["architecture"], request["config"])) + "\n")
        answers.flush()
