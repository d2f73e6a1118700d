from __future__ import annotations

from types import SimpleNamespace

from kohya_runner.engines.paint_worker import Merged


class Encoder:
    training = True

    def eval(self) -> None:
        self.training = False


def test_encoders_are_taken_out_of_training_before_a_prompt_is_read():
    encoder = Encoder()
    shared = {"tokenizer1": object(), "text_encoder1": encoder, "conds_cache": {}}
    Merged(SimpleNamespace(lora_weight=None, lora_multiplier=1.0), shared, None)
    assert not encoder.training


def test_the_base_column_gives_up_the_model_that_a_lora_was_merged_into():
    args = SimpleNamespace(lora_weight=["a.safetensors"], lora_multiplier=[0.8])
    shared = {"model": object(), "text_encoder1": Encoder(), "conds_cache": {"a": 1}}
    slot = Merged(args, shared, None)
    slot.hold(None, 0.0)
    assert "model" not in shared
    assert (args.lora_weight, shared["conds_cache"]) == (None, {"a": 1})  # encoders stay, and what they said
