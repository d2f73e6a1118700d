"""Rules of diffusers' InstructPix2Pix examples, each on a line of the pinned v0.32.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import Context
from kohya_runner.engines.rule_table import Condition, read_rules

SD15, SDXL = ("sd15",), ("sdxl",)

NO_WARMUP = ("constant",)


def _warms_up_forever(c: Context) -> bool:
    warm = c.number("lr_warmup_steps")
    return c.get("lr_scheduler") not in NO_WARMUP and c.total_steps is not None and warm >= c.total_steps


def _half_told(c: Context) -> bool:
    return bool(c.given("validation_prompt")) != bool(c.given("val_image_url", "val_image_url_or_path"))


CONDITIONS: Mapping[str, Condition] = {
    "ip2p_dropout_range": lambda c: not 0 <= c.number("conditioning_dropout_prob") <= 1 / 3,
    "ip2p_warmup": _warms_up_forever,
    "ip2p_validation": _half_told,
    "ip2p_vae_form": lambda c: str(c.get("pretrained_vae_model_name_or_path")).endswith(
        (".safetensors", ".ckpt", ".pt", ".bin")
    ),
}
RULES = read_rules(Path(__file__).with_name("rules.toml"), CONDITIONS, "diffusers", ("instruct_pix2pix",))
