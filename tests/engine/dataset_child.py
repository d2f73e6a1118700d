"""Runs inside the trainer's own Python: what sd-scripts' dataset code makes of pictures, captions and texts.

Arguments: the checkout, and a JSON file with ``cases`` (argvs), ``pictures`` (paths), ``merges`` and ``texts``. Prints
one JSON object. Everything that is asked is the trainer's own code; only the name of the interpolation is overheard.
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
from library import config_util, train_util, utils  # noqa: E402
from library.strategy_base import TokenizeStrategy  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

heard = []


def overhear(name):
    real = getattr(utils, name)

    def called(interpolation):
        heard.append(interpolation)
        return real(interpolation)

    setattr(utils, name, called)


def dataset(argv):
    """The dataset as train_network.py:440-478 makes it."""
    args = train_network.setup_parser().parse_args(argv)
    train_util.prepare_dataset_args(args, support_metadata=True)
    generator = config_util.BlueprintGenerator(config_util.ConfigSanitizer(True, True, args.masked_loss, True))
    subsets = config_util.generate_dreambooth_subsets_config_by_subdirs(args.train_data_dir, args.reg_data_dir)
    blueprint = generator.generate({"datasets": [{"subsets": subsets}]}, args)
    group, _ = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    return group.datasets[0]


def seen(made):
    """By file name: prompt, size, bucket, size after resizing, interpolation, and the shape that the VAE gets."""
    found = {}
    for key, info in made.image_data.items():
        subset = made.image_to_subset[key]
        image = train_util.load_image(info.absolute_path, subset.alpha_mask)
        heard.clear()
        trimmed, original, _ = train_util.trim_and_resize_if_required(
            False, image, info.bucket_reso, info.resized_size, resize_interpolation=info.resize_interpolation
        )
        found[Path(key).name] = {
            "prompt": made.process_caption(subset, info.caption),
            "size": list(original),
            "bucket": list(info.bucket_reso),
            "resized": list(info.resized_size),
            "interpolation": heard[-1] if heard else "",
            "shape": list(trimmed.shape),
        }
    return found


def picture(path):
    """One file: what load_image and get_image_size say of it."""
    try:
        image = train_util.load_image(path)
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}
    size = train_util.BaseDataset.get_image_size(None, path)
    corner = [int(value) for value in image[0, 0]]
    return {
        "error": None,
        "size": [image.shape[1], image.shape[0]],
        "told": list(size),
        "channels": image.shape[2],
        "corner": corner,
        "white": bool((image == 255).all()),
    }


def tokens(folder, texts):
    """Tokens of each text without both marks, and the text that is left after truncation to 77."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    counts = [len(tokenizer(text).input_ids) - 2 for text in texts]
    strategy = TokenizeStrategy()
    ids = [strategy._get_input_ids(tokenizer, text, 77)[0] for text in texts]
    left = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
    return {"counts": counts, "left": left}


def main():
    overhear("get_pil_interpolation")
    overhear("get_cv2_interpolation")
    jobs = json.loads(Path(JOBS).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        answer = {
            "cases": [seen(dataset(argv)) for argv in jobs["cases"]],
            "pictures": [picture(path) for path in jobs["pictures"]],
            "tokens": tokens(jobs["tokenizer"], jobs["texts"]),
        }
    sys.__stdout__.write(json.dumps(answer))


logging.disable(logging.WARNING)
main()
