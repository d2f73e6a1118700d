"""How each row of the table of causes shows itself: the end of a real log, shortened, without anybody's paths."""

from __future__ import annotations

WALL = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1213, in launch_command
    simple_launcher(args)
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 795, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['/venv/bin/python', 'train_network.py', '--train_batch_size=4', \
'--huggingface_token=hf_abcdefghijklmnopqrstuvwx', '--learning_rate=1e-3']' {end}.
"""
KILLED = WALL.format(end="died with <Signals.SIGKILL: 9>")
EXIT_1 = WALL.format(end="returned non-zero exit status 1")
BAR = "steps:  10%|█         | 4/40 [00:08<01:12,  2.00s/it, avr_loss=0.12]\r"


def raised(error, code="x = y", file="/app/sd-scripts/train_network.py", line=500):
    """A traceback through the trainer with this error at its end, and accelerate's wall below it."""
    return f"""Traceback (most recent call last):
  File "/app/sd-scripts/train_network.py", line 1913, in <module>
    trainer.train(args)
  File "{file}", line {line}, in train
    {code}
{error}
{EXIT_1}"""


EXCERPTS = {
    "shared-memory": raised("RuntimeError: DataLoader worker (pid 812) is killed by signal: Bus error."),
    "disk-full": raised("OSError: [Errno 28] No space left on device"),
    "out-of-vram": BAR + raised(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB"
    ),
    "out-of-ram": BAR + KILLED,
    "gpu-too-new": raised("RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    "no-gpu": raised("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
    "gpu-fault": raised("torch.AcceleratorError: CUDA error: an illegal memory access was encountered"),
    "rank-timeout": "[rank1]:[E] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4) ran for 1800000 ms\n",
    "port-taken": raised("torch.distributed.DistNetworkError: The server socket has failed to listen: EADDRINUSE"),
    "unused-parameters": raised("RuntimeError: Expected to have finished reduction in the prior iteration before starting"),
    "no-xformers": raised("ImportError: No xformers / xformersがインストールされていないようです"),
    "bitsandbytes": raised("ImportError: No bitsandbytes / bitsandbytesがインストールされていないようです"),
    "8-bit-needs-gpu": raised("RuntimeError: All input tensors need to be on the same GPU, but found some tensors on CPU"),
    "opencv-gui": raised("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "import cv2"),
    "numpy-2": "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.1.0 as it may crash.\n"
    + raised("ImportError: numpy.core.multiarray failed to import"),
    "hub-package": raised("ImportError: cannot import name 'cached_download' from 'huggingface_hub'"),
    "hf-transfer": raised(
        "ValueError: Fast download using 'hf_transfer' is enabled (HF_HUB_ENABLE_HF_TRANSFER=1) but 'hf_transfer' package "
        "is not available in your environment. Try `pip install hf_transfer`."
    ),
    "optimizer-package": raised("ImportError: No dadaptation / dadaptation がインストールされていないようです"),
    "network-module": raised("ModuleNotFoundError: No module named 'networks.lora_fla'"),
    "logger-package": raised("ImportError: No wandb / wandb がインストールされていないようです"),
    "module-missing": raised("ModuleNotFoundError: No module named 'voluptuous'", "import voluptuous"),
    "gated": raised("huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-6)"),
    "no-network": raised("OSError: Can't load tokenizer for 'openai/clip-vit-large-patch14'. If you were trying to load it"),
    "no-such-repository": raised(
        'ValueError: The provided pretrained_model_name_or_path "a/b.safetensors" is neither a valid local path nor a valid'
        " repo id. Please check the parameter."
    ),
    "no-data": "INFO     0 train images with repeats.\nERROR    No data found. Please verify arguments\n".replace(
        "ERROR    ", ""
    ),
    "picture-broken": "ERROR    Error loading file: /data/10_cat/9.png\n" + raised("OSError: image file is truncated"),
    "caption-empty": raised("AssertionError: caption file is empty / キャプションファイルが空です: /data/1_cat/1.txt"),
    "caption-encoding": raised("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe7 in position 4: invalid byte"),
    "bucket-bounds": raised(
        "AssertionError: min_bucket_reso must be equal or less than resolution / min_bucket_resoは最小解像度より大きくできません"
    ),
    "bucket-steps": raised("AssertionError: bucket_reso_steps is 48. it must be divisible by 64."),
    "picture-size": raised("AssertionError: image too large, but cropping and bucketing are disabled / 画像サイズ: /a.png"),
    "cache-broken": raised("zipfile.BadZipFile: File is not a zip file"),
    "cache-stale": raised("RuntimeError: stack expects each tensor to be equal size, but got [4, 8, 8] at entry 0"),
    "dataset-config": raised("voluptuous.error.MultipleInvalid: extra keys not allowed @ data['datasets'][0]['epoch']"),
    "conditioning-pair": raised("AssertionError: missing conditioning data for 2 images / 制御用画像が見つかりませんでした: ['a']"),
    "safetensors-broken": raised("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"),
    "checkpoint-broken": raised("_pickle.UnpicklingError: invalid load key, '\\x06'."),
    "model-missing": raised('FileNotFoundError: No such file or directory: "/models/none.safetensors"'),
    "wrong-family": raised(
        "RuntimeError: Error(s) in loading state_dict for UNet2DConditionModel:\n"
        "\tsize mismatch for conv_in.weight: copying a param with shape torch.Size([320, 4, 3, 3])"
    ),
    "nan-latents": raised("RuntimeError: NaN detected in latents: /data/1_cat/1.png"),
    "nan-loss": BAR + BAR.replace("0.12", "nan") + "model saved.\n",
    "option-unknown": "usage: train_network.py [-h]\ntrain_network.py: error: unrecognized arguments: --network_rank=4\n"
    + EXIT_1,
    "option-value": "train_network.py: error: argument --network_dim: invalid int value: 'abc'\n" + EXIT_1,
    "text-cache": raised(
        "AssertionError: network for Text Encoder cannot be trained with caching Text Encoder outputs / 学習することは"
    ),
    "latent-cache": raised("AssertionError: when caching latents, either color_aug or random_crop cannot be used / latentを"),
    "optimizer-args": raised("ValueError: malformed node or string on line 1: <ast.Name object at 0x7f8a09b81b40>"),
    "optimizer-keyword": raised("TypeError: AdamW.__init__() got an unexpected keyword argument 'decouple'", "optimizer = optimizer_class(trainable_params, lr=lr, **optimizer_kwargs)", "/app/sd-scripts/library/train_util.py", 5132).replace("in train\n    opt", "in get_optimizer\n    opt"),
    "optimizer-name": raised("AttributeError: module 'torch.optim' has no attribute 'AdamWW'. Did you mean: 'AdamW'?"),
    "warmup": raised("ValueError: SchedulerType.CONSTANT does not require `num_warmup_steps`. Set None or 0."),
    "scheduler-name": raised("ValueError: 'cosinus' is not a valid SchedulerType"),
    "nothing-trained": raised("ValueError: optimizer got an empty parameter list"),
    "full-precision": raised("AssertionError: full_fp16 requires mixed precision='fp16' / full_fp16を使う場合は"),
    "fp8-precision": raised("AssertionError: fp8_base requires mixed precision='fp16' or 'bf16' / fp8を使う場合は"),
    "fp16-cpu": raised("ValueError: fp16 mixed precision requires a GPU (not 'cpu')."),
    "bf16-gpu": raised("ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device."),
    "fp16-gradients": raised("ValueError: Attempting to unscale FP16 gradients."),
    "dtype": raised("RuntimeError: mat1 and mat2 must have the same dtype, but got Half and Float"),
    "device": raised("RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0"),
    "huber-schedule": raised("NotImplementedError: Huber schedule 'snr' is not supported with the current model."),
    "resolution-value": raised("ValueError: invalid literal for int() with base 10: '512x512'"),
    "zero-interval": raised("ZeroDivisionError: integer modulo by zero", "if global_step % args.save_every_n_steps == 0:"),
    "zero-division": raised("ZeroDivisionError: division by zero", "aspect_ratio = width / height"),
    "sample-prompts": raised(
        "TypeError: stat: path should be string, bytes, os.PathLike or integer, not NoneType", "os.path.isfile(path)"
    ),
    "path-missing": raised("TypeError: expected str, bytes or os.PathLike object, not NoneType", "os.makedirs(args.output_dir)"),
    "persistent-workers": raised("ValueError: persistent_workers option needs num_workers > 0"),
    "resume-state": raised("ValueError: Tried to find /runs/cat-000002-state but folder does not exist"),
    "logger-key": raised("wandb.errors.errors.UsageError: api_key not configured (no-tty). call wandb.login(key=[..])"),
    "logging-dir": raised("ValueError: logging_dir is required when log_with is tensorboard / Tensorboardを使う場合"),
    "interrupted": BAR + 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x\nKeyboardInterrupt\n',
    "refused": raised("AssertionError: adafactor scheduler must be used with Adafactor optimizer / adafactor schedulerは"),
}  # fmt: skip
"""One per row that explains a failure; the first line of each diagnosis is that row."""

WARNINGS = {
    "no-triton": "A matching Triton is not available, some optimizations will not be enabled\nmodel saved.\n",
    "accelerate-config": "The following values were not passed to `accelerate launch` and had defaults used instead:\n"
    "model saved.\n",
    "folder-ignored": "ignore directory without repeats / 繰り返し回数のないディレクトリを無視します: cat\nmodel saved.\n",
    "default-steps": "  total optimization steps / 学習ステップ数: 1600\nmodel saved.\n",
    "captions-unused": "No caption file found for 203 images. Training will continue without captions\nmodel saved.\n",
}
