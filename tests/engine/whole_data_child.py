"""Runs inside the trainer's own Python: what becomes of whole dataset trees in sd-scripts' dataset code.

Arguments: the checkout, and a JSON file with a list of argvs of train_network.py. For each the dataset is made as
train_network.py:440-488 makes it, then every picture is loaded as the latent caching, or a batch of the loop, would
load it. Prints a JSON list: the error a run would end with, or what of each picture is trained.
"""

# mypy: ignore-errors

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

CHECKOUT, JOBS = sys.argv[1], sys.argv[2]
os.chdir(CHECKOUT)
sys.path.insert(0, CHECKOUT)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import train_network  # noqa: E402
from library import config_util, strategy_base, strategy_sd, train_util  # noqa: E402


class Tokens(strategy_base.TokenizeStrategy):
    """Every caption is two tokens."""

    def tokenize(self, _text):
        return [torch.zeros(1, 2, dtype=torch.long)]


def made(args):
    """The dataset group, as train_network.py does it."""
    train_util.prepare_dataset_args(args, support_metadata=True)
    strategy_base.LatentsCachingStrategy._strategy = None
    strategy = strategy_sd.SdSdxlLatentsCachingStrategy(True, args.cache_latents_to_disk, args.vae_batch_size, False)
    strategy_base.LatentsCachingStrategy.set_strategy(strategy)
    generator = config_util.BlueprintGenerator(config_util.ConfigSanitizer(True, True, args.masked_loss, True))
    subsets = config_util.generate_dreambooth_subsets_config_by_subdirs(args.train_data_dir, args.reg_data_dir)
    blueprint = generator.generate({"datasets": [{"subsets": subsets}]}, args)
    group, _ = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    return group


def fate(argv):
    """What a run comes to with this data."""
    try:
        args = train_network.setup_parser().parse_args(argv)
        group = made(args)
        if len(group) == 0:
            return {"error": "No data found"}  # train_network.py:982
        group.verify_bucket_reso_steps(64)  # train_network.py:168
        group.set_current_strategies()  # train_network.py:980
        dataset = group.datasets[0]
        shown = [trained(dataset, key, info, args) for key, info in dataset.image_data.items()]
        if not args.cache_latents:
            for index in range(len(dataset)):
                dataset[index]
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}
    buckets = [
        [*reso, len(dict.fromkeys(held)), len(held)]
        for reso, held in zip(dataset.bucket_manager.resos, dataset.bucket_manager.buckets, strict=True)
        if held
    ]
    return {"error": None, "images": shown, "batches": len(group), "buckets": sorted(buckets),
            "samples": group.num_train_images, "regularization": group.num_reg_images}  # fmt: skip


def trained(dataset, key, info, args):
    """One picture as it is trained: its file, prompt, repeats, the size and the first pixel that were loaded."""
    subset = dataset.image_to_subset[key]
    image = train_util.load_image(info.absolute_path, subset.alpha_mask)
    cut = image
    if args.cache_latents or args.enable_bucket:
        train_util.load_images_and_masks_for_caching([info], subset.alpha_mask, subset.random_crop)
        cut, _, _ = train_util.trim_and_resize_if_required(
            False, image, info.bucket_reso, info.resized_size, resize_interpolation=info.resize_interpolation
        )
    kept = min(info.bucket_reso[0], info.resized_size[0]) * min(info.bucket_reso[1], info.resized_size[1])
    return {
        "file": os.fsdecode(Path(key).name),
        "folder": Path(key).parent.name,
        "prompt": dataset.process_caption(subset, info.caption),
        "repeats": info.num_repeats,
        "reg": info.is_reg,
        "size": [image.shape[1], image.shape[0]],
        "pixel": [int(value) for value in image[0, 0, :3]],
        "stretched": info.resized_size[0] / info.resized_size[1] / (image.shape[1] / image.shape[0]),
        "lost": 1 - kept / (info.resized_size[0] * info.resized_size[1]),
        "colours": [len(np.unique(part.reshape(-1, part.shape[2]), axis=0)) for part in (image, cut)],
    }


def main():
    strategy_base.TokenizeStrategy.set_strategy(Tokens())
    argvs = json.loads(Path(JOBS).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        answers = [fate(argv) for argv in argvs]
    sys.__stdout__.write(json.dumps(answers))


logging.disable(logging.CRITICAL)
main()
