"""Out of memory, out of disk, and machines that fail."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row

_SWAPS = r"flux|sd3|lumina|hunyuan|anima"
_CACHES_TEXT = r"sdxl|flux|sd3|lumina|hunyuan|anima"

VRAM = (
    Do("args: {gradient_checkpointing: true}", unless="gradient_checkpointing"),
    Do("args: {cache_latents: true}", unless="cache_latents"),
    Do("args: {cache_text_encoder_outputs: true, network_train_unet_only: true}", "cache_text_encoder_outputs",
       _CACHES_TEXT),
    Do("args: {mixed_precision: bf16}", unless="mixed_precision"),
    Do("args: {sdpa: true}", unless="sdpa", only=r"^(?!.*(flux|sd3|lumina|hunyuan|anima))"),
    Do("args: {optimizer_type: AdamW8bit}", unless="optimizer_type"),
    Do("args: {blocks_to_swap: 18}", unless="blocks_to_swap", only=_SWAPS),
    Do("args: {fp8_base: true}", unless="fp8_base", only=r"flux|sd3|lumina|sdxl"),
    Do(
        "lower args.train_batch_size{now:train_batch_size}, then args.resolution{now:resolution}, then "
        "args.network_dim{now:network_dim}"
    ),
)  # fmt: skip

MEMORY = (
    row(
        "shared-memory",
        r"Bus error|insufficient shared memory|unable to (?:open|allocate|mmap|write).{0,60}(?:shm|</?torch_)"
        r"|DataLoader worker .{0,60}(?:killed|exited)",
        "the loader's worker processes ran out of shared memory (/dev/shm), or were killed for want of memory",
        "args: {max_data_loader_n_workers: 0}   (now{now:max_data_loader_n_workers}; the trainer's default is 8)",
        "or give the container more: docker run --shm-size 8g",
        source="pytorch/pytorch#5040, #108861",
    ),
    row(
        "disk-full",
        r"No space left on device|StorageFull|PytorchStreamWriter failed|unexpected pos \d+ vs \d+|Disk quota exceeded"
        r"|ResourceExhausted|ENOSPC|EDQUOT",
        "the disk (or the quota of the volume) is full; what was written last is cut",
        "free space or take a larger volume, then: kohya-runner plan RECIPE (it says how much the run needs)",
        Do("args: {save_last_n_epochs: 3}   keep fewer checkpoints", unless="save_last_n_epochs"),
        Do("args: {save_precision: fp16}   half the size of each", unless="save_precision"),
        source="hiyouga/LLaMA-Factory#5155, h2oai/h2o-llmstudio#214, pytorch/pytorch#10577, sd-scripts#1160",
    ),
    row(
        "out-of-vram",
        r"CUDA out of memory|OutOfMemoryError|HIP out of memory|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        "the GPU's memory is full",
        *VRAM,
        source="sd-scripts PR#1374, #1466, #1560; bmaltais/kohya_ss#2724, #2991",
    ),
    row(
        "out-of-ram",
        r"died with <Signals\.SIGKILL|(?:[Ee]xit|[Ee]xited with|exitcode\s{0,3}:)\s{0,3}(?:code )?-9\b"
        r"|DefaultCPUAllocator: (?:can't|not enough)|^MemoryError|Cannot allocate memory|std::bad_alloc|^Killed$"
        r"|ended with signal 9",
        "the machine's own memory is full and the kernel killed the trainer, often while a model is loaded or saved",
        "take a machine with more RAM, or stop what else runs on it",
        Do("args: {lowram: true}", unless="lowram", only=r"network|^$"),
        Do("args: {mem_eff_save: true}", unless="mem_eff_save", only=r"flux_train\.py|sd3_train\.py"),
        "args: {max_data_loader_n_workers: 1}{now:max_data_loader_n_workers}",
        source="Linaqruf/kohya-trainer#118",
    ),
    row(
        "gpu-too-new",
        r"no kernel image is available|sm_1\d\d is not compatible|sm_120\b",
        "this build of torch has no code for this GPU: torch is older than the card",
        "build the trainer's environment anew with torch 2.7 or later for CUDA 12.8 (cu128): kohya-runner setup",
        source="pytorch/pytorch#167244, #149845; bmaltais/kohya_ss#3096; derrian-distro/LoRA_Easy_Training_Scripts#307",
    ),
    row(
        "no-gpu",
        r"No CUDA GPUs are available|Found no NVIDIA driver|Torch not compiled with CUDA enabled"
        r"|NVIDIA driver on your system is too old|CUDA driver version is insufficient|CUDA unknown error",
        "torch finds no GPU that it can use: none is there, or the driver is older than torch's CUDA",
        "kohya-runner doctor   says what torch and the driver are; rent a machine whose driver has that CUDA version",
        source="torch/cuda/__init__.py; bmaltais/kohya_ss#3308",
    ),
    row(
        "gpu-fault",
        r"uncorrectable ECC error|GPU has fallen off the bus|CUDA error: (?:an illegal memory access|unspecified launch"
        r"|device-side assert|misaligned address)|CUDNN_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR)",
        "the GPU failed in the middle of a computation: a fault of the card or its driver, or an index out of range",
        "run it once more; if it comes again on this machine, take another one",
        source="pytorch.org notes/cuda; sd-scripts#1354",
    ),
    row(
        "rank-timeout",
        r"Watchdog caught collective operation timeout|Timed out initializing process group"
        r"|Some NCCL operations have failed or timed out",
        "one GPU's process waited for another longer than it may, often while the first one caches latents",
        Do("args: {ddp_timeout: 120}   minutes", unless="ddp_timeout"),
        "or fill the caches first with one process: launch: {num_processes: 1}",
        source="sd-scripts#971",
    ),
    row(
        "port-taken",
        r"EADDRINUSE|[Aa]ddress already in use",
        "another training on this machine holds the port through which the processes find each other",
        "launch: {accelerate: {main_process_port: 0}}",
        source="accelerate commands/launch.py",
    ),
    row(
        "unused-parameters",
        r"Expected to have finished reduction in the prior iteration",
        "with several GPUs a part of the network got no gradient in a step",
        "launch: {num_processes: 1}, or train every part of the network: args: {network_train_unet_only: false}",
        source="torch nn/parallel/distributed.py",
    ),
)
