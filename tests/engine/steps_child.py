"""Runs inside the trainer's own Python: the unmodified train() of train_network.py, with modules of a few numbers.

Arguments: the checkout, and a JSON file ``{"cases": [{"argv": [...]}], "selections": [[settings, sizes], ...]}``. The
dataset, the arithmetic of steps and epochs, the loop, the saves and the removals are the real ones; model, network and
loss are stand-ins. Prints one JSON object with a result for each case and each selection.
"""

# mypy: ignore-errors
# ruff: noqa: ARG002, ARG005

import contextlib
import io
import json
import logging
import os
import re
import sys
import types
from pathlib import Path

CHECKOUT, CASES = sys.argv[1], sys.argv[2]
os.chdir(CHECKOUT)
sys.path.insert(0, CHECKOUT)

import torch  # noqa: E402
import train_network  # noqa: E402
from accelerate.state import AcceleratorState, GradientState  # noqa: E402
from library import strategy_base, train_util  # noqa: E402

NUMBERS = {
    "images": r"num train images \* repeats / [^:]*: (\d+)",
    "validation": r"num validation images \* repeats / [^:]*: (\d+)",
    "regularization": r"num reg images / [^:]*: (\d+)",
    "batches": r"num batches per epoch / [^:]*: (\d+)",
    "epochs": r"num epochs / [^:]*: (\d+)",
    "total": r"total optimization steps / [^:]*: (\d+)",
}


class Network(torch.nn.Module):
    """One number to train, and a file to save."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def prepare_optimizer_params(self, *_rates):
        return [{"params": [self.weight]}]

    def save_weights(self, file, _dtype, _metadata):
        Path(file).write_bytes(b"stand-in")

    def get_trainable_params(self):
        return [self.weight]

    def apply_to(self, *_args): ...

    def prepare_grad_etc(self, *_args): ...

    def on_epoch_start(self, *_args): ...


class Tokens:
    """Every caption is two tokens."""

    def tokenize(self, _text):
        return [torch.zeros(1, 2, dtype=torch.long)]


class Latents:
    """A VAE that remembers only how large the picture was."""

    def __init__(self, images):
        self.latent_dist = self
        self.images = images

    def sample(self):
        return self.images[:, :1, ::8, ::8]


class Vae(torch.nn.Module):
    device = torch.device("cpu")
    dtype = torch.float32

    def encode(self, images):
        return Latents(images)


class Unet(torch.nn.Module):
    device = torch.device("cpu")


class Encoder(torch.nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.three = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(1)) for _ in range(3)])


class Trainer(train_network.NetworkTrainer):
    """The real trainer around stand-in modules."""

    groups = None

    def assert_extra_args(self, args, train_dataset_group, val_dataset_group):
        super().assert_extra_args(args, train_dataset_group, val_dataset_group)
        self.groups = train_dataset_group

    def get_tokenize_strategy(self, args):
        return Tokens()

    def get_tokenizers(self, tokenize_strategy):
        return [None]

    def get_text_encoding_strategy(self, args):
        return Tokens()

    def load_target_model(self, args, weight_dtype, accelerator):
        return "stand-in", Encoder(), Vae(), Unet()

    def is_train_text_encoder(self, args):
        return False

    def process_batch(self, batch, text_encoders, unet, network, *_args, **_kwargs):
        return (network.weight * float(batch["loss_weights"].sum())).sum() ** 2


def forget():
    """Between two cases: what the trainer and accelerate keep for the life of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    for kind in (
        strategy_base.TokenizeStrategy,
        strategy_base.LatentsCachingStrategy,
        strategy_base.TextEncodingStrategy,
        strategy_base.TextEncoderOutputsCachingStrategy,
    ):
        kind._strategy = None


def described(group):
    """What the real dataset holds."""
    dataset = group.datasets[0]
    buckets = [
        [*reso, len(dict.fromkeys(held)), len(held)]
        for reso, held in zip(dataset.bucket_manager.resos, dataset.bucket_manager.buckets, strict=True)
        if held
    ]
    captions = {Path(key).name: info.caption for key, info in dataset.image_data.items()}
    sizes = {Path(key).name: list(info.image_size) for key, info in dataset.image_data.items()}
    resized = {Path(key).name: list(info.resized_size) for key, info in dataset.image_data.items()}
    return {"buckets": sorted(buckets), "captions": captions, "sizes": sizes, "resized": resized}


def run(case):
    """One case: what was printed, what the dataset held, what was saved; or the error it ended with."""
    forget()
    args = train_network.setup_parser().parse_args(case["argv"])
    printed, trainer = io.StringIO(), Trainer()
    result = {"error": None}
    try:
        with contextlib.redirect_stdout(printed):
            trainer.train(args)
    except (AssertionError, ZeroDivisionError, UnicodeDecodeError, ValueError, IndexError, RuntimeError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    text = printed.getvalue()
    for name, pattern in NUMBERS.items():
        found = re.search(pattern, text)
        result[name] = int(found[1]) if found else None
    result["saved"] = [Path(name).name for name in re.findall(r"saving checkpoint: (.*)", text)]
    out = Path(args.output_dir)
    left = sorted(out.iterdir()) if out.is_dir() else []
    result["files"] = [path.name for path in left if path.is_file()]
    result["states"] = [path.name for path in left if path.is_dir()]
    return {**result, **(described(trainer.groups) if trainer.groups is not None and len(trainer.groups) else {})}


def select(settings, size):
    """What the real BucketManager chooses; None where it ends in an error or in a bucket without pixels."""
    width, height, low, high, steps, no_upscale = settings
    adjust = train_util.BaseDataset.adjust_min_max_bucket_reso_by_steps
    low, high = adjust(None, (width, height), low, high, steps)
    manager = train_util.BucketManager(no_upscale, (width, height), low, high, steps)
    if not no_upscale:
        manager.make_buckets()
    try:
        bucket, resized, _ = manager.select_bucket(*size)
    except ZeroDivisionError:
        return None
    return [list(bucket), list(resized)] if min(bucket) > 0 else None


def main():
    module = types.ModuleType("stand_in_network")
    module.create_network = lambda *_args, **_kwargs: Network()
    sys.modules["stand_in_network"] = module
    Network.enable_gradient_checkpointing = lambda self: None
    jobs = json.loads(Path(CASES).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        cases = [run(case) for case in jobs["cases"]]
        selections = [[select(settings, size) for size in sizes] for settings, sizes in jobs["selections"]]
    sys.__stdout__.write(json.dumps({"cases": cases, "selections": selections}))


logging.disable(logging.WARNING)
main()
