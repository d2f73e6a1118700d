"""What differs between the families in a recipe that ``kohya-runner new`` writes: the files and the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HALF: Mapping[str, str] = {"sd15": "fp16", "sd2": "fp16"}
"""``save_precision``, where it is not bf16."""

MODELS: Mapping[str, str] = {
    "sd15": "model: stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd2": """model: v2-1_768-ema-pruned.safetensors  # a file of yours: Stability AI took its own off the Hub""",
    "sdxl": "model: stabilityai/stable-diffusion-xl-base-1.0",
    "sd3": """# gated: accept the licence, set HF_TOKEN
model: hf://stabilityai/stable-diffusion-3.5-large/sd3.5_large.safetensors
components:
  clip_l: hf://stabilityai/stable-diffusion-3.5-large/text_encoders/clip_l.safetensors
  clip_g: hf://stabilityai/stable-diffusion-3.5-large/text_encoders/clip_g.safetensors
  t5xxl: hf://stabilityai/stable-diffusion-3.5-large/text_encoders/t5xxl_fp16.safetensors""",
    "flux": """model: hf://black-forest-labs/FLUX.1-dev/flux1-dev.safetensors  # gated: accept the licence, set HF_TOKEN
components:
  ae: hf://black-forest-labs/FLUX.1-dev/ae.safetensors
  clip_l: hf://comfyanonymous/flux_text_encoders/clip_l.safetensors
  t5xxl: hf://comfyanonymous/flux_text_encoders/t5xxl_fp16.safetensors""",
    "lumina": """# The tokenizer comes from google/gemma-2-2b, which is gated: accept the licence, set HF_TOKEN
model: hf://Comfy-Org/Lumina_Image_2.0_Repackaged/split_files/diffusion_models/lumina_2_model_bf16.safetensors
components:
  gemma2: hf://Comfy-Org/Lumina_Image_2.0_Repackaged/split_files/text_encoders/gemma_2_2b_fp16.safetensors
  ae: hf://Comfy-Org/Lumina_Image_2.0_Repackaged/split_files/vae/ae.safetensors""",
    "hunyuan_image": """model: hf://tencent/HunyuanImage-2.1/dit/hunyuanimage2.1.safetensors
components:
  text_encoder: hf://Comfy-Org/HunyuanImage_2.1_ComfyUI/split_files/text_encoders/qwen_2.5_vl_7b.safetensors
  byt5: hf://Comfy-Org/HunyuanImage_2.1_ComfyUI/split_files/text_encoders/byt5_small_glyphxl_fp16.safetensors
  vae: hf://Comfy-Org/HunyuanImage_2.1_ComfyUI/split_files/vae/hunyuan_image_2.1_vae_fp16.safetensors""",
    "anima": """model: hf://circlestone-labs/Anima/split_files/diffusion_models/anima-preview.safetensors
components:
  qwen3: hf://circlestone-labs/Anima/split_files/text_encoders/qwen_3_06b_base.safetensors
  vae: hf://circlestone-labs/Anima/split_files/vae/qwen_image_vae.safetensors""",
}

MODELS_MUSUBI: Mapping[str, str] = {
    "flux_kontext": """# gated: accept the licence, set HF_TOKEN
model: hf://black-forest-labs/FLUX.1-Kontext-dev/flux1-kontext-dev.safetensors
components:
  vae: hf://black-forest-labs/FLUX.1-Kontext-dev/ae.safetensors
  text_encoder1: hf://comfyanonymous/flux_text_encoders/t5xxl_fp16.safetensors
  text_encoder2: hf://comfyanonymous/flux_text_encoders/clip_l.safetensors""",
    "flux2": """model: hf://black-forest-labs/FLUX.2-klein-base-4B/flux-2-klein-base-4b.safetensors
components:
  vae: hf://black-forest-labs/FLUX.2-dev/ae.safetensors  # gated: accept the licence, set HF_TOKEN
  text_encoder: PATH             # Qwen3 4B, the first of its files; all of them beside it""",
}
ARGS_MUSUBI: Mapping[str, str] = {
    "flux_kontext": "  timestep_sampling: flux_shift  # not the trainer's default, but what it recommends",
    "flux2": """  model_version: klein-base-4b   # dev by itself
  timestep_sampling: flux2_shift # not the trainer's default, but what it recommends""",
}

_CACHED = """\
  cache_text_encoder_outputs: true
  cache_text_encoder_outputs_to_disk: true"""

ARGS: Mapping[str, str] = {
    "sd15": """  resolution: 512
  network_dim: 16
  network_alpha: 8
  unet_lr: 1e-4
  text_encoder_lr: 2e-5          # a fifth of the U-Net's
  mixed_precision: fp16
  min_snr_gamma: 5""",
    "sd2": """  resolution: 768
  network_dim: 16
  network_alpha: 8
  unet_lr: 1e-4
  text_encoder_lr: 2e-5          # a fifth of the U-Net's
  mixed_precision: fp16
  v_parameterization: true       # the 768 models predict v; leave it out for a 512 "base" model
  min_snr_gamma: 5""",
    "sdxl": """  resolution: 1024
  network_dim: 32
  network_alpha: 16
  network_train_unet_only: true  # the text encoders stay as they are: less memory, less overfitting
  unet_lr: 1e-4
  mixed_precision: bf16          # Ampere or newer
  no_half_vae: true              # the SDXL VAE overflows in half precision
  min_snr_gamma: 5""",
    "sd3": f"""  resolution: 1024
  network_dim: 16
  network_alpha: 16
  network_train_unet_only: true  # the text encoders stay as they are
  mixed_precision: bf16
{_CACHED}""",
    "flux": f"""  resolution: 1024
  network_dim: 16
  network_alpha: 16
  network_train_unet_only: true
  mixed_precision: bf16
  fp8_base: true                 # fits 24 GB
{_CACHED}
  timestep_sampling: shift       # this and the next three: not the trainer's defaults, but what it recommends
  discrete_flow_shift: 3.1582
  model_prediction_type: raw
  guidance_scale: 1.0""",
    "lumina": f"""  resolution: 1024
  network_dim: 8
  network_alpha: 8
  network_train_unet_only: true
  mixed_precision: bf16
{_CACHED}
  timestep_sampling: nextdit_shift  # not the trainer's default, but what it recommends
  system_prompt: You are an assistant designed to generate high-quality images based on user prompts.""",
    "hunyuan_image": f"""  resolution: 1024
  network_dim: 16
  network_alpha: 16
  network_train_unet_only: true  # the only way: no text encoder of this family can be trained
  mixed_precision: bf16          # the trainer stops without
  fp8_scaled: true               # the 17.4 B parameter model in 8 bit
  blocks_to_swap: 9              # with fp8_scaled fits 24 GB
{_CACHED}""",
    "anima": f"""  resolution: 1024
  network_dim: 16
  network_alpha: 16
  network_train_unet_only: true
  mixed_precision: bf16
{_CACHED}
  timestep_sampling: sigmoid""",
}
