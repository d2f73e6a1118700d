"""Options of the trainer that a recipe does not set under ``args``, and which key sets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engine_info import EngineInfo

OWNED: Mapping[str, str] = {
    "pretrained_model_name_or_path": "write it as 'model'",
    "output_dir": "the run's own folder is used; choose the disk with 'workspace'",
    "output_name": "write it as 'name'",
    "train_data_dir": "write the folders as 'datasets'; the N_concept layout is made from them",
    "reg_data_dir": "write the folder as an entry of 'datasets' with regularization: true",
    "in_json": "write the folders as 'datasets'",
    "dataset_config": "write the folders as 'datasets'",
    "dataset_class": "code from a recipe is never loaded",
    "conditioning_data_dir": "write the folder as datasets[].conditioning, with method: controlnet or lllite",
    "dataset_repeats": "write it as datasets[].repeats",
    "use_safetensors": "write save_model_as: safetensors",
    "config_file": "write its options as 'args': a configuration file is not checked by the trainer",
    "output_config": "the resolved recipe is in the run's record.json",
    "logging_dir": "set log_with: tensorboard; the run's own folder is used",
    "caption_extention": "the trainer's old spelling; write caption_extension",
    "huggingface_token": "a secret: set HF_TOKEN in the environment",
    "wandb_api_key": "a secret: set WANDB_API_KEY in the environment",
    "cache_info": "the trainer would then not notice added or removed images (train_util.py:1982)",
    "debug_dataset": "it opens windows and trains nothing; see kohya-runner plan",
}
"""Option -> what to do instead."""

BY_ENGINE: Mapping[str, Mapping[str, str]] = {
    "musubi-tuner": {
        "dit": "write it as 'model'",
        **{
            name: f"write it as datasets[].options.{name}"
            for name in (
                "resolution",
                "batch_size",
                "enable_bucket",
                "bucket_no_upscale",
                "no_resize_control",
                "control_resolution",
            )
        },
        "train_batch_size": "write it as datasets[].options.batch_size",
        "num_repeats": "write it as datasets[].repeats",
        "caption_extension": "write it as datasets[].captions.extension",
        "cache_latents": "latents are always cached: it is the first stage of the run",
        "cache_text_encoder_outputs": "they are always cached: it is the second stage of the run",
        "dataset_config": "write the folders as 'datasets', and their options as datasets[].options",
        "device": "the trainer takes the GPU where there is one",
        "save_model_as": "this trainer writes safetensors and nothing else",
        "show_timesteps": "it shows a picture and trains nothing",
    },
    "diffusers": {
        "dataset_name": "write the pairs as 'datasets'",
        "dataset_config_name": "write the pairs as 'datasets'",
        "cache_dir": "the workspace's own cache is used",
        "hub_token": "a secret: set HF_TOKEN in the environment",
        "push_to_hub": "see: kohya-runner publish",
        "hub_model_id": "see: kohya-runner publish",
        "resume_from_checkpoint": "launch --resume sets it",
        "logging_dir": "the run's own folder is used; report_to says who writes there",
        "local_rank": "write launch.num_processes",
        "original_image_column": "the columns are written by the runner",
        "edited_image_column": "the columns are written by the runner",
        "edit_prompt_column": "the columns are written by the runner",
    },
}
"""What is owned for one engine alone, by its name."""


def owned(name: str, engine: EngineInfo) -> str:
    """What to do instead of an option that the runner owns; "" for any other."""
    return BY_ENGINE.get(engine.name, {}).get(name) or OWNED.get(name, "")


PATHS = frozenset({
    "vae", "sample_prompts", "network_weights", "base_weights", "weights", "resume", "tokenizer_cache_dir",
    "controlnet_model_name_or_path", "wandb_config", "console_log_file", "log_tracker_config",
    "t5_tokenizer_path", "llm_adapter_path",
})  # fmt: skip
"""Options whose value may be a path: a relative one is relative to the recipe file that states it."""
