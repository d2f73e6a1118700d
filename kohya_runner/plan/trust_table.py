"""Every option of the trainers that takes free text, and every such key of a recipe, by the harm it can do.

One table for all engines: a name means the same everywhere. ``tests/plan/test_trust_table.py`` fails for an option of a
snapshot that takes text, or whose name speaks of a path, a module or the network, and that stands in no row here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum


class Effect(str, Enum):
    """What the value of a key makes happen."""

    IMPORT = "import"  # names Python code by module
    EXECUTE = "execute"  # names a program
    SEND = "send"  # something leaves this machine, or is fetched from where the value says
    WRITE = "write"  # names a place that is written to
    SPEND = "spend"  # ends a machine, or costs money
    READ = "read"  # names a file; a pickle among them can run code
    NONE = "none"


def _rows(effect: Effect, names: str) -> dict[str, Effect]:
    return dict.fromkeys(names.split(), effect)


OPTIONS: Mapping[str, Effect] = {
    **_rows(Effect.IMPORT, "network_module optimizer_type lr_scheduler_type dataset_class"),
    **_rows(Effect.SEND, """
        huggingface_repo_id huggingface_repo_type huggingface_repo_visibility huggingface_path_in_repo
        huggingface_token async_upload save_state_to_huggingface resume_from_huggingface push_to_hub hub_model_id
        hub_token log_with report_to wandb_run_name wandb_api_key log_tracker_config val_image_url
        val_image_url_or_path
    """),
    **_rows(Effect.WRITE, """
        console_log_file log_prefix log_tracker_name tokenizer_cache_dir offload_optimizer_nvme_path
        offload_param_nvme_path cache_dir output_dir output_name logging_dir output_config
    """),
    **_rows(Effect.READ, """
        ae base_weights byt5 clip_g clip_l conditioning_data_dir config_file controlnet_model_name_or_path
        dataset_config dataset_config_name dataset_name dit gemma2 in_json llm_adapter_path network_weights
        pretrained_model_name_or_path pretrained_vae_model_name_or_path prompts_file qwen3 reg_data_dir resume
        resume_from_checkpoint sample_prompts t5_tokenizer_path t5xxl text_encoder text_encoder1 text_encoder2
        train_data_dir vae weights
    """),
    # Text that is only text: a name, a number, a word of the trainer's own list, a line of metadata.
    **_rows(Effect.NONE, """
        block_lr caption_extension caption_extention caption_prefix caption_separator caption_suffix compile_backend
        console_back device edit_prompt_column edited_image_column face_crop_aug_range init_word
        keep_tokens_separator log_config lr_scheduler lr_scheduler_args metadata_arch metadata_author
        metadata_description metadata_is_negative_embedding metadata_license metadata_merged_from
        metadata_preprocessor metadata_reso metadata_tags metadata_thumbnail metadata_title metadata_trigger_phrase
        metadata_usage_hint network_args non_ema_revision optimizer_args original_image_column resolution revision
        secondary_separator system_prompt t5xxl_device t5xxl_dtype token_string training_comment vae_dtype
        validation_prompt variant cache_latents_to_disk cache_text_encoder_outputs_to_disk conditioning_dropout_prob
        dim_from_weights network_alpha network_dim network_dropout network_train_text_encoder_only
        network_train_unet_only offload_optimizer_device offload_param_device sample_every_n_epochs
        sample_every_n_steps skip_image_resolution show_timesteps_resolution lllite_target_layers
        vae_batch_size vae_chunk_size vae_disable_cache vae_tiling
    """),
}  # fmt: skip
"""Option -> its effect. Options that are owned by the runner are here, too: who may set them is another question."""

KEYS: Mapping[str, Effect] = {
    "launch.python": Effect.EXECUTE,
    "finish.notify": Effect.SEND,
    "finish.publish": Effect.SEND,
    "datasets.caption": Effect.SEND,
    "finish.stop_pod": Effect.SPEND,
    "workspace": Effect.WRITE,
    **_rows(Effect.READ, """
        model components datasets.images datasets.conditioning compare.clip compare.controls extends
    """),
    **_rows(Effect.NONE, """
        name family method datasets.concept datasets.class_prompt datasets.captions datasets.options datasets.prepare
        launch.accelerate
        compare.prompts compare.negative compare.size compare.sampler compare.samplers compare.trigger args
    """),
}  # fmt: skip
"""Key of a recipe -> its effect, as far as it takes text; ``args`` and ``datasets.options`` have ``OPTIONS``."""

GO_WITH: Mapping[str, str] = {
    "huggingface_repo_type": "huggingface_repo_id",
    "huggingface_repo_visibility": "huggingface_repo_id",
    "huggingface_path_in_repo": "huggingface_repo_id",
    "async_upload": "huggingface_repo_id",
    "save_state_to_huggingface": "huggingface_repo_id",
    "wandb_run_name": "log_with",
    "log_tracker_config": "log_with",
}
"""Options that do nothing without another one, whose consent is theirs."""

WEIGHTS = frozenset({
    "ae", "base_weights", "byt5", "clip_g", "clip_l", "controlnet_model_name_or_path", "dit", "gemma2",
    "llm_adapter_path", "network_weights", "pretrained_vae_model_name_or_path", "qwen3", "t5xxl", "text_encoder",
    "text_encoder1", "text_encoder2", "vae", "weights",
})  # fmt: skip
"""Options whose files are loaded as weights."""

PLAIN_NAMES = ("log_prefix", "log_tracker_name")
"""Options whose text becomes the name of a folder below --logging_dir (library/model_io.py:434)."""

_CLASS = r"[A-Z]\w*"
_OPTIMIZERS = (
    rf"torch\.optim(\.[a-z_]+)?\.{_CLASS}",
    r"transformers(\.optimization)?\.(Adafactor|AdafactorSchedule)",
    rf"bitsandbytes\.optim(\.[a-z_0-9]+)?\.{_CLASS}",
    rf"(lion_pytorch|prodigyopt|dadaptation|schedulefree|pytorch_optimizer|came_pytorch)(\.[a-z_0-9]+)*\.{_CLASS}",
    rf"(prodigyplus|prodigy_plus_schedule_free|prodigyplus\.prodigy_plus_schedulefree)\.{_CLASS}",
)
_BARE = r"\w+"  # the trainer's own names, and what torch.optim calls so (library/optimizer.py:336)
SHIPPED: Mapping[str, re.Pattern[str]] = {
    "network_module": re.compile(r"(musubi_tuner\.)?networks(\.[a-z_0-9]+)+|lycoris(\.[a-z_0-9]+)*", re.ASCII),
    "optimizer_type": re.compile("|".join((_BARE, *_OPTIMIZERS)), re.ASCII),
    "lr_scheduler_type": re.compile("|".join((_CLASS, *_OPTIMIZERS)), re.ASCII),
}
"""What needs no consent: the trainer's own, and classes of the field's packages. Never "all below torch":
torch.hub.load and torch.utils.cpp_extension.load run what their arguments say."""


def is_shipped(option: str, value: str) -> bool:
    """Whether a module or class belongs to the trainer, or to a package that recipes of the field use."""
    pattern = SHIPPED.get(option)
    return value == "" or (pattern is not None and pattern.fullmatch(value) is not None)
