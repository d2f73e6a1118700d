"""Runs inside the trainer's own Python: what its dataset code makes of dataset files, and what its schemas ask for.

Arguments: the checkout, and a JSON file with argvs of train_network.py. Prints one JSON object: ``schemas``, and for
each argv the ``datasets`` with their pictures, or the ``error`` that a run would end with.
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

import train_network  # noqa: E402
from library import config_util, strategy_base, strategy_sd, train_util  # noqa: E402

SANITIZER = config_util.ConfigSanitizer
SUBSET = ("SUBSET_ASCENDABLE_SCHEMA", "DO_SUBSET_ASCENDABLE_SCHEMA", "DB_SUBSET_ASCENDABLE_SCHEMA",
          "DB_SUBSET_DISTINCT_SCHEMA")  # fmt: skip
DATASET = ("DATASET_ASCENDABLE_SCHEMA",)


def kind(value):
    """The schema's word for a value, in one of ours."""
    if isinstance(value, type):
        return value.__name__
    function = getattr(value, "func", None)
    if function is not None:
        return "size" if "scalar" in function.__name__ else "pair"
    return "number"


def schema(names):
    return {str(key): kind(value) for name in names for key, value in getattr(SANITIZER, name).items()}


def group_of(argv):
    """As train_network.py:440-488 makes it."""
    args = train_network.setup_parser().parse_args(argv)
    train_util.prepare_dataset_args(args, support_metadata=True)
    strategy_base.LatentsCachingStrategy._strategy = None
    strategy = strategy_sd.SdSdxlLatentsCachingStrategy(True, args.cache_latents_to_disk, args.vae_batch_size, False)
    strategy_base.LatentsCachingStrategy.set_strategy(strategy)
    generator = config_util.BlueprintGenerator(SANITIZER(True, True, args.masked_loss, True))
    if args.dataset_config:
        user = config_util.load_user_config(args.dataset_config)
    else:
        subsets = config_util.generate_dreambooth_subsets_config_by_subdirs(args.train_data_dir, args.reg_data_dir)
        user = {"datasets": [{"subsets": subsets}]}
    blueprint = generator.generate(user, args)
    return config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)[0]


def told(dataset):
    held = zip(dataset.bucket_manager.resos, dataset.bucket_manager.buckets, strict=True)
    return {
        "resolution": [dataset.width, dataset.height],
        "batch_size": dataset.batch_size,
        "batches": len(dataset),
        "buckets": sorted([*reso, len(set(inside))] for reso, inside in held if inside),
        "images": sorted(
            [
                Path(key).parent.name,
                dataset.process_caption(dataset.image_to_subset[key], info.caption),
                info.num_repeats,
                info.is_reg,
                dataset.image_to_subset[key].flip_aug,
                dataset.image_to_subset[key].keep_tokens,
                str(dataset.image_to_subset[key].resize_interpolation),
            ]
            for key, info in dataset.image_data.items()
        ),
    }


def fate(argv):
    try:
        group = group_of(argv)
    except BaseException as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": None, "batches": len(group), "datasets": [told(dataset) for dataset in group.datasets]}


def main():
    argvs = json.loads(Path(JOBS).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        answer = {"schemas": [schema(SUBSET), schema(DATASET)], "fates": [fate(argv) for argv in argvs]}
    sys.__stdout__.write(json.dumps(answer))


logging.disable(logging.CRITICAL)
main()
