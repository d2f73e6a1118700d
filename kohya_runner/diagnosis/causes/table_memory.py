"""Out of memory of each kind, out of disk, and disks that fail."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_SWAPS = r"flux|sd3|lumina|hunyuan|anima|wan_|hv_|fpack|qwen|zimage"
_CACHES_TEXT = r"sdxl|flux|sd3|lumina|hunyuan|anima"

VRAM = (
    Do("args: {gradient_checkpointing: true}", unless="gradient_checkpointing"),
    Do("args: {cache_latents: true}", unless="cache_latents", only=r"^(?!.*(wan_|hv_|fpack|qwen|zimage))"),
    Do("args: {cache_text_encoder_outputs: true, network_train_unet_only: true}", "cache_text_encoder_outputs",
       _CACHES_TEXT),
    Do("args: {mixed_precision: bf16}", unless="mixed_precision"),
    Do("args: {sdpa: true}", unless="sdpa", only=r"^(?!.*(flux|sd3|lumina|hunyuan|anima))"),
    Do("args: {optimizer_type: AdamW8bit}", unless="optimizer_type"),
    Do("args: {blocks_to_swap: 18}", unless="blocks_to_swap", only=_SWAPS),
    Do("args: {fp8_base: true}", unless="fp8_base", only=r"flux|sd3|lumina|sdxl|wan_|hv_|qwen|zimage"),
    Do(
        "lower args.train_batch_size{now:train_batch_size}, then args.resolution{now:resolution}, then "
        "args.network_dim{now:network_dim}"
    ),
)  # fmt: skip

MEMORY = (
    row(
        "windows-memory",
        (
            sign(
                r"\[WinError 1455\]|os error 1455|paging file is too small|STATUS_COMMITMENT_LIMIT|0xC000012D|exit status 3221225773"
            ),
            sign(r"WinError (?:8|1450)\b|os error 1450"),
        ),
        "Windows ran out of memory (RAM and page file together) while a model was loaded, or while each data loader worker "
        "loaded torch again",
        "args: {max_data_loader_n_workers: 0}{now:max_data_loader_n_workers}   each worker loads torch again",
        "make the page file larger (System, Advanced, Performance, Virtual memory): 32 GB or more, on a fast disk with that much free",
        source="sd-scripts#64, #86; bmaltais/kohya_ss#235",
    ),
    row(
        "too-many-files",
        r"Too many open files|Errno 24\b|received 0 items of ancdata",
        "the process may not open so many files at once: each loader worker and each cached file takes some",
        "ulimit -n 65536   before the start; or args: {max_data_loader_n_workers: 1}{now:max_data_loader_n_workers}",
        source="errno(3); torch multiprocessing notes",
    ),
    row(
        "shared-memory",
        (
            sign(
                r"DataLoader worker .{0,60}Bus error|insufficient shared memory|unable to (?:open|allocate|mmap|write|resize).{0,80}(?:shm|/torch_|</torch_)"
            ),
            sign(r"Bus error|died with <Signals\.SIGBUS|exit status (?:-7|135)\b|exitcode\s{0,3}: -7\b"),
            sign(r"DataLoader worker .{0,60}exited unexpectedly", unless=r"\[system: Windows\]"),
        ),
        "the loader's worker processes ran out of shared memory (/dev/shm)",
        "args: {max_data_loader_n_workers: 0}{now:max_data_loader_n_workers}   (the trainer's default is 8)",
        "or give the container more: docker run --shm-size 8g",
        source="pytorch/pytorch#5040, #108861",
    ),
    row(
        "worker-killed",
        (
            sign(r"DataLoader worker .{0,60}is killed by signal: Killed"),
            sign(r"DataLoader worker .{0,60}exited unexpectedly", before=r"\[system: Windows\]"),
        ),
        "a data loader worker was killed or fell over, most often because memory (RAM) ran out: each worker holds its own copy",
        "args: {max_data_loader_n_workers: 0}{now:max_data_loader_n_workers}, and persistent_data_loader_workers: false",
        "if it goes on: the worker's own error then stands in the log",
        source="torch/utils/data/_utils/signal_handling.py; sd-scripts#86",
    ),
    row(
        "disk-quota",
        r"Disk quota exceeded|Errno 122|os error 122|EDQUOT|code: 122\b",
        "the quota of this volume or user is used up, though the disk may have room; the file that was written last is truncated",
        "free space below the quota, or raise it; then: kohya-runner plan RECIPE (it says how much the run needs)",
        Do("args: {save_last_n_epochs: 3}   keep fewer checkpoints", unless="save_last_n_epochs"),
        source="errno(3); hiyouga/LLaMA-Factory#5155",
    ),
    row(
        "disk-full",
        r"No space left on device|Errno 28\b|os error 28\b|code: 28\b|StorageFull|ENOSPC|WinError 112|os error 112\b|code: 112\b"
        r"|not enough space on the disk|PytorchStreamWriter failed|\d+ requested and \d+ written|unexpected pos \d+ vs \d+",
        "the disk is full; the file that was written last is truncated",
        "free space or take a larger volume, then: kohya-runner plan RECIPE (it says how much the run needs). df -h shows "
        "the space, df -i the number of files that are left",
        Do("args: {save_last_n_epochs: 3}   keep fewer checkpoints", unless="save_last_n_epochs"),
        Do("args: {save_precision: fp16}   half the size of each", unless="save_precision"),
        source="hiyouga/LLaMA-Factory#5155, h2oai/h2o-llmstudio#214, pytorch/pytorch#10577, sd-scripts#1160",
    ),
    row(
        "disk-read-only",
        r"Read-only file system|Errno 30\b|os error 30\b|ReadOnlyFilesystem",
        "the folder is on a volume that cannot be written: mounted read-only, or set read-only by the kernel after a disk fault",
        "kohya-runner launch RECIPE --workspace DIR, with DIR on a volume that can be written; dmesg says whether the disk failed",
        source="errno(3)",
    ),
    row(
        "disk-fault",
        r"Errno 5\b|os error 5\).{0,40}Input/output|Input/output error|Stale file handle|Errno 116\b|Transport endpoint is not connected|Errno 107\b"
        r"|Remote I/O error|Errno 121\b|WinError (?:21|59|64|1117)\b",
        "the disk or the network volume failed while a file was read or written",
        "look at dmesg and the mount; copy data and model to a local disk, then: kohya-runner launch RECIPE --resume",
        source="errno(3)",
    ),
    row(
        "no-mapping",
        r"No such device \(os error 19\)|Errno 19\] No such device|Invalid argument \(os error 22\)",
        "a model file is given as a folder, or lies on a mount that cannot map files into memory (Ceph, some network drives)",
        "give the file itself; copy it to a local disk",
        source="safetensors/safetensors#485",
    ),
    row(
        "path-long",
        r"File name too long|Errno 36\b|WinError 206|The filename or extension is too long",
        "a path is longer than the file system allows",
        "shorter names for the files or folders that the message shows; on Windows a workspace near the drive's root",
        source="errno(3)",
    ),
    row(
        "permission",
        (
            sign(r"PermissionError: .{0,30}Errno 13\] Permission denied: '(?P<path>[^']{1,300})'"),
            sign(
                r"\(os error 13\)|PermissionDenied|Errno 13\] Permission denied|Failed to create a directory: .{1,200}; Permission denied"
            ),
        ),
        "a file or folder may not be read or written by this user",
        "ls -l PATH, then chown or chmod it; a folder where a file is meant gives the same error on Windows",
        source="errno(3)",
    ),
    row(
        "ram-array",
        r"Unable to allocate [\d.]+ [KMGT]iB for an array|DefaultCPUAllocator: (?:can't|not enough)|^MemoryError|std::bad_alloc"
        r"|Cannot allocate memory|\(os error 12\)|Errno 12\b",
        "the machine's own memory (RAM) is full",
        "take a machine with more RAM, or stop what else runs on it",
        "args: {max_data_loader_n_workers: 1}{now:max_data_loader_n_workers}",
        Do(
            "args: {lowram: true}   loads the model to the GPU at once",
            unless="lowram",
            only=r"(?:^|sdxl_|/)train_network|^$",
        ),
        source="Linaqruf/kohya-trainer#118",
    ),
    row(
        "out-of-ram",
        r"died with <Signals\.SIGKILL|(?:[Ee]xit|[Ee]xited with|exitcode\s{0,3}:)\s{0,3}(?:code |status )?(?:-9|137)\b|exit status -9\b"
        r"|^(?:\S{0,80}: line \d+:\s+\d+ )?Killed\b|\d+ Killed  |ended with signal 9|Signal 9 \(SIGKILL\)|OOMKilled|Out of memory: Killed process"
        r"|oom-kill:|exitcode: -9\b|terminated with signal SIGKILL",
        "the process was killed from outside (signal 9): most often the machine's own memory (RAM) was full, while a model was "
        "loaded or saved",
        "take a machine or container with more RAM, or stop what else runs on it; dmesg and the container's memory limit tell",
        Do("args: {lowram: true}", unless="lowram", only=r"(?:^|sdxl_|/)train_network|^$"),
        Do("args: {mem_eff_save: true}", unless="mem_eff_save", only=r"flux_train\.py|sd3_train\.py"),
        "args: {max_data_loader_n_workers: 1}{now:max_data_loader_n_workers}",
        source="Linaqruf/kohya-trainer#118",
    ),
    row(
        "out-of-vram-caching",
        sign(
            r"out of memory|OutOfMemoryError",
            raises="OutOfMemoryError|RuntimeError|AcceleratorError",
            frame=r"in (?:cache_batch_latents|_default_cache_batch_latents|cache_latents|new_cache_latents|encode_and_save_batch)",
        ),
        "the GPU's memory is full while pictures are turned into latents, before any training",
        "args: {vae_batch_size: 1}{now:vae_batch_size}; musubi-tuner: the cache scripts' --vae_spatial_tile_sample_min_size 128, --vae_chunk_size 16",
        "lower args.resolution{now:resolution} or args.max_bucket_reso{now:max_bucket_reso}; nvidia-smi shows what else holds the memory",
        source="library/strategy_base.py; library/train_util.py cache_batch_latents",
    ),
    row(
        "out-of-vram-sampling",
        sign(
            r"out of memory|OutOfMemoryError",
            raises="OutOfMemoryError|RuntimeError|AcceleratorError",
            frame=r"in (?:sample_images\w*|sample_image_inference|do_inference|decode_latents)",
        ),
        "the GPU's memory is full while a sample picture is made: the training itself fits",
        "smaller sample pictures (--w 512 --h 512 in the prompts), or leave sample_every_n_epochs, sample_every_n_steps and sample_at_first out",
        "resume from the last saved state: kohya-runner launch RECIPE --resume",
        source="library/train_util.py sample_images",
    ),
    row(
        "out-of-vram",
        (
            sign(r"NCCL error", also=r"Cuda failure .{0,10}out of memory"),
            sign(
                r"CUDA out of memory|OutOfMemoryError|(?:HIP|XPU) out of memory|CUDA (?:driver )?error: out of memory|HIP error: out of memory"
                r"|MPS backend out of memory|Triton Error \[CUDA\]: out of memory|cudaErrorMemoryAllocation|Allocation on device .{0,30}would exceed"
                r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|Error out of memory at line \d+ in file .{0,80}(?:pythonInterface|ops)"
            ),
        ),
        "the GPU's memory is full",
        *VRAM,
        source="sd-scripts PR#1374, #1466, #1560; bmaltais/kohya_ss#2724, #2991",
    ),
)
