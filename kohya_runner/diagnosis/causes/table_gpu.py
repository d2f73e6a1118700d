"""Graphics cards, their drivers, and kernels that were not built for them."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_NEW = r"sm_1[0-9]\d|RTX (?:PRO )?50\d\d|RTX PRO \d000|\bB[123]00\b|Blackwell|GB20\d"
_OLD = r"sm_[3-6]\d\b|GTX (?:9|10)\d\d|Tesla (?:K|M|P)\d|\bP40\b|\bP100\b|Quadro [KMP]\d"
_SDPA = Do("args: {sdpa: true, xformers: false}   torch's own attention, as fast and always there")

GPU = (
    row(
        "attention-kernel",
        (
            sign(r"(?:xformers|flash.?attn|flash-attention|sageattention).{0,200}no kernel image"),
            sign(r"no kernel image is available", frame=r"^(?:xformers|flash_attn|sageattention)/", unless="torch\\.randn"),
            sign(r"no kernel image is available", before=r"CUDA error \(.{0,200}(?:xformers|flash-attention|flash_attn)"),
            sign(r"No operator found for", also=r"requires device with capability|only supported on (?:A100|Ampere)|max\(query\.shape\[-1\]"),
            sign(r"requires device with capability > \(\d+, \d+\) but your GPU has capability"),
            sign(r"FlashAttention only supports (?:Ampere|Turing|Hopper|NVIDIA)|FlashAttention(?:-\d)? (?:forward|backward)? ?only supports? head dim"),
            sign(r"FlashAttention only support fp16 and bf16|Expected is_sm\d+|flash attention .{0,60}head dimension"),
            sign(r"flash_fwd_launch_template|fmha_cutlass\S{0,40} .{0,60}(?:error|failed)"),
        ),
        "this build of the attention package (xformers, flash-attn) has no kernel for this GPU, head size or number format; "
        "torch itself is not at fault",
        _SDPA,
        "or an xformers that was built for this torch and this GPU",
        source="facebookresearch/xformers#1224; bmaltais/kohya_ss#3096, #3368; facebookresearch/xformers ops/fmha",
    ),
    row(
        "bitsandbytes-kernel",
        (
            sign(r"Error no kernel image is available for execution on the device at line \d+ in file .{0,120}(?:ops\.cu|csrc)"),
            sign(r"no kernel image is available", frame=r"^bitsandbytes/"),
        ),
        "this bitsandbytes has no kernel for this GPU: it is older than the card",
        "pip install -U bitsandbytes   in the trainer's environment",
        "or args: {optimizer_type: AdamW}{now:optimizer_type}",
        source="bitsandbytes csrc/ops.cu; bmaltais/kohya_ss#3096",
    ),
    row(
        "gpu-too-old",
        (
            sign(r"no kernel image is available", before=_OLD),
            sign(r"(?:Found GPU\d .{0,60}|cuda capability )\S{0,8} .{0,80}(?:no longer supports this GPU|is too old)"),
            sign(r"Triton only supports devices of CUDA Capability >= 7"),
        ),
        "this build of torch has no code for a GPU this old",
        "an older torch for it (CUDA 12.6 builds, cu126, still have Pascal and Volta), or a newer card",
        "args: {optimizer_type: AdamW, sdpa: true, xformers: false}   without the packages that need a newer card",
        source="pytorch/pytorch#157517; torch/cuda/__init__.py",
    ),
    row(
        "gpu-too-new",
        (
            sign(r"no kernel image is available", before=_NEW),
            sign(r"no kernel image is available", frame=r"torch\.randn"),
            sign(r"sm_1\d\d is not compatible with the current PyTorch|nvrtc: error: invalid value for --gpu-architecture|Unsupported gpu architecture 'compute_1\d\d'|device kernel image is invalid"),
            sign(r"(?:CUDA error|cudaErrorNoKernelImageForDevice).{0,40}no kernel image is available|ptxas .{0,80}sm_1\d\d.{0,40}not defined"),
        ),
        "this build of torch has no code for this GPU: torch and its CUDA are older than the card (or, for a card from before 2018, newer)",
        "build the trainer's environment anew with torch 2.7 or later for CUDA 12.8 (cu128): kohya-runner setup",
        source="pytorch/pytorch#167244, #149845; bmaltais/kohya_ss#3096, #3238; derrian-distro/LoRA_Easy_Training_Scripts#307",
    ),
    row(
        "gpu-lost",
        r"fallen off the bus|GPU is lost|Unable to determine the device handle|uncorrectable ECC error|ECC error encountered|\bXid\b.{0,60}: ?\d+"
        r"|cudaErrorDeviceUninitialized|NVLink error|device is (?:lost|in an? error state)|cudaErrorECCUncorrectable|HW exception by GPU|amdgpu: .{0,60}GPU reset",
        "the card dropped out or reported a memory fault (Xid, ECC): hardware, power or its slot, no setting of the recipe",
        "stop using this machine: nvidia-smi -q, dmesg | grep -i xid; reboot it or take another one",
        "then resume from the last saved state: kohya-runner launch RECIPE --resume",
        source="docs.nvidia.com/deploy/xid-errors; pytorch.org notes/cuda",
    ),
    row(
        "gpu-watchdog",
        r"the launch timed out and was terminated|cudaErrorLaunchTimeout|Display driver .{0,60}stopped responding",
        "Windows (or X) took the GPU away because one computation took longer than its display watchdog allows",
        "raise TdrDelay in the registry (60 seconds), or drive the display with another card",
        "args: {train_batch_size: 1}{now:train_batch_size}   shorter computations",
        source="learn.microsoft.com/windows-hardware/drivers/display/tdr-registry-keys",
    ),
    row(
        "index-range",
        (
            sign(r"device-side assert triggered", before=r"(?:srcIndex < srcSelectDimSize|index out of bounds|ind >= 0 && ind <|vectorized_gather)"),
            sign(r"(?:srcIndex < srcSelectDimSize|vectorized_gather_kernel|IndexKernel\.cu).{0,200}(?:failed|Assertion)"),
            sign(r"IndexError: index out of range in self", frame="embedding"),
        ),
        "an index lies outside a table, no fault of the card: mostly token ids that the text encoder does not have (tokenizer and "
        "text encoder of different models, or an embedding that was added), or a timestep above the schedule",
        "correct the tokenizer or text encoder of the run; CUDA_LAUNCH_BLOCKING=1 shows the true line",
        source="torch aten/src/ATen/native/cuda/Indexing.cu",
    ),
    row(
        "amd-kernel",
        r"HIP error: invalid device function|hipErrorNoBinaryForGpu|hipErrorInvalidDeviceFunction|Cannot read .{0,120}TensileLibrary"
        r"|HIP error: (?:no kernel image|shared object initialization failed)|rocBLAS error: .{0,200}Tensile|Triton Error \[HIP\]: {1,2}Code: (?:209|98)",
        "this ROCm build of torch has no code for this AMD GPU",
        "export HSA_OVERRIDE_GFX_VERSION=10.3.0   (RX 6000) or 11.0.0 (RX 7000), before the start; or a torch for your gfx: "
        "https://download.pytorch.org/whl/rocm6.4",
        source="ROCm/legacy-rocm-build#2536, #5264; pytorch/pytorch#164346",
    ),
    row(
        "amd-fault",
        r"Memory access fault by GPU node|HIP error: (?:unspecified launch failure|an illegal memory access|unknown error)|HSA_STATUS_ERROR|MIOpen Error"
        r"|miopenStatus\w+|hipErrorLaunchFailure",
        "the AMD GPU, its driver or ROCm failed in a computation",
        "args: {sdpa: true, xformers: false, optimizer_type: AdamW}   without packages that were built for CUDA",
        "then another ROCm and driver version; resume from the last saved state: kohya-runner launch RECIPE --resume",
        source="ROCm/legacy-rocm-build#4386",
    ),
    row(
        "amd-none",
        r"no ROCm-capable device is detected|hipErrorNoDevice|No HIP GPUs are available|Unable to open /dev/kfd|torch_directml|PrivateUse(?:1|One)' backend",
        "torch finds no AMD GPU that it can use; DirectML has no operators for training",
        "add the user to the groups render and video; in a container: --device /dev/kfd --device /dev/dri; torch must be a ROCm build, on Linux or WSL",
        source="rocm.docs.amd.com; pytorch.org get-started",
    ),
    row(
        "mps",
        r"not (?:currently )?(?:implemented|supported) (?:for|on) (?:the )?MPS|MPS (?:framework|backend) (?:does not|but it does not|doesn't)|to the MPS backend but it does not"
        r"|Placeholder storage has not been allocated on MPS|convert a MPS Tensor to float64|BFloat16 is not supported on MPS|is not currently implemented for the MPS device|autocast device_type .{0,30}'?mps|fp16 mixed precision requires a GPU \(not 'mps'\)",
        "Apple's GPU lacks an operation or a number format (float64, fp8, bf16 on older macOS) that this run uses",
        "export PYTORCH_ENABLE_MPS_FALLBACK=1; args: {mixed_precision: 'no', optimizer_type: AdamW, fp8_base: false}",
        "or train on a machine with an NVIDIA GPU: kohya-runner plan RECIPE --elsewhere says which",
        source="pytorch.org notes/mps; Comfy-Org/ComfyUI#5533",
    ),
    row(
        "driver-mismatch",
        r"Driver/library version mismatch|Error 80[234]\b|forward compatibility was attempted on non supported HW|unsupported display driver / cuda driver combination"
        r"|system not yet initialized|nvidia-container-cli: .{0,80}(?:driver|nvml) error|could not select device driver",
        "the NVIDIA driver of the kernel and its libraries do not fit (updated without a reboot, or a container with another version); "
        "Error 802: the fabric manager of an NVSwitch machine is not running",
        "reboot the machine (or restart nvidia-fabricmanager); in a container do not install a driver of its own",
        source="docs.nvidia.com/deploy/cuda-compatibility; torch/cuda/__init__.py",
    ),
    row(
        "driver-old",
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|PTX was compiled with an unsupported toolchain|unsupported PTX version"
        r"|cudaErrorInsufficientDriver|requirement error: unsatisfied condition: cuda",
        "the NVIDIA driver is older than the CUDA that torch was built for",
        "install a newer driver, or rent a machine with one (nvidia-smi shows the newest CUDA it can run); or a torch for an older CUDA",
        source="torch/cuda/__init__.py",
    ),
    row(
        "cuda-on-mac",
        sign(r"Torch not compiled with CUDA enabled|Found no NVIDIA driver|No CUDA GPUs are available|must be on the same GPU|bitsandbytes", before=r"\[system: macOS\]"),
        "this run asks for CUDA, which a Mac does not have",
        "args: {mixed_precision: 'no', optimizer_type: AdamW, sdpa: true, xformers: false}; accelerate config with MPS",
        "or train on a machine with an NVIDIA GPU: kohya-runner plan RECIPE --elsewhere says which",
        source="bmaltais/kohya_ss#522; pytorch.org notes/mps",
    ),
    row(
        "torch-cpu",
        r"Torch not compiled with CUDA enabled|PyTorch was compiled without CUDA support|torch\._C' has no attribute '_cuda|not linked with support for cuda devices",
        "the torch in the trainer's environment is the one for processors only",
        "kohya-runner setup   (or: pip install torch torchvision --index-url https://download.pytorch.org/whl/cu128 there)",
        source="torch/cuda/__init__.py; bmaltais/kohya_ss#3308",
    ),
    row(
        "gpu-number",
        r"CUDA error: invalid device ordinal|cudaErrorInvalidDevice\b|Invalid device id|device >= 0 && device < num_gpus",
        "a process asks for a GPU number that is not there: more processes than GPUs, or a wrong CUDA_VISIBLE_DEVICES",
        "launch: {num_processes: 1}; nvidia-smi -L lists the GPUs",
        source="torch c10/cuda; accelerate state.py",
    ),
    row(
        "no-gpu",
        r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device is detected|CUDA unknown error - this may be due to|cuInit.{0,20}error"
        r"|NVIDIA-SMI has failed|cudaErrorNoDevice|Unexpected error from cudaGetDeviceCount|nvmlInit|CUDA driver initialization failed|Failed to initialize NVML",
        "torch finds no GPU that it can use: none is there, it is not passed to the container, or its driver is not loaded",
        "kohya-runner doctor   says what torch and the driver are; in a container: docker run --gpus all; after sleep or a driver update: reboot",
        source="torch/cuda/__init__.py; bmaltais/kohya_ss#3308",
    ),
    row(
        "gpu-fault",
        (
            sign(r"CUDA error: (?:unknown error|unspecified launch failure|an illegal (?:memory access|instruction)|misaligned address|hardware stack error|invalid program counter)",
                 before=r"\[steps done: [1-9]"),
            sign(r"CUDA error: (?:unknown error|unspecified launch failure|an illegal (?:memory access|instruction)|misaligned address|hardware stack error|invalid program counter)"
                 r"|cudaError(?:Unknown|LaunchFailure|IllegalAddress)|(?:CUDNN|CUBLAS)_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)|Triton Error \[CUDA\]: (?:an illegal|unspecified|unknown)"),
        ),
        "the GPU or its driver failed during a computation: look at the driver, overclocking, power and heat; the recipe is rarely the reason",
        "resume from the last saved state: kohya-runner launch RECIPE --resume",
        "if it comes again: another driver version, no overclocking or undervolting, nvidia-smi -q -d TEMPERATURE,POWER,PERFORMANCE; then another machine",
        source="bmaltais/kohya_ss#733, #1437; pytorch.org notes/cuda; sd-scripts#1354",
    ),
    row(
        "device-assert",
        r"device-side assert triggered",
        "a check inside a GPU kernel failed: an index out of range or NaN; the card is rarely the reason",
        "CUDA_LAUNCH_BLOCKING=1 before the start shows the true line; look there for tokens, timesteps or labels out of range",
        source="pytorch.org notes/cuda",
    ),
    row(
        "cuda-libraries",
        r"(?:libcudnn|libcublas|libcudart|libnvrtc|libnvJitLink|libcusparse|libcufft|libcurand|libnccl)[\w.-]*\.so[\d.]*: cannot open shared"
        r"|Could not load library (?:libcudnn|cudnn)|undefined symbol: _{0,2}(?:nvJitLink|cublas|cudnn|cusparse|nccl)|failed to open nvrtc-builtins"
        r"|Unable to load any of \{libcudnn|Could not locate (?:cudnn|zlibwapi)",
        "torch's CUDA libraries are missing or mixed with those of another CUDA",
        "unset LD_LIBRARY_PATH before the start, then: kohya-runner setup (or: pip install --force-reinstall torch torchvision in the trainer's environment)",
        source="torch/__init__.py _preload_cuda_deps; pytorch/pytorch#111469",
    ),
    row(
        "cudnn-engine",
        r"unable to find an engine to execute this computation|Unable to find a valid cuDNN algorithm|CUDNN_STATUS_NOT_SUPPORTED",
        "cuDNN has no way to compute a convolution: most often no memory of the GPU is left for it, else cuDNN and torch do not fit",
        "lower args.train_batch_size{now:train_batch_size} or args.vae_batch_size{now:vae_batch_size}; unset LD_LIBRARY_PATH; kohya-runner setup",
        source="pytorch/pytorch#32564, #143119",
    ),
    row(
        "cuda-handle",
        r"(?:CUBLAS|CUDNN)_STATUS_NOT_INITIALIZED",
        "a CUDA library could not start on this GPU: most often its memory is already full, else driver and torch do not fit",
        "nvidia-smi shows what else holds the GPU's memory; then lower args.train_batch_size{now:train_batch_size}",
        source="torch aten/src/ATen/cuda/CublasHandlePool.cpp",
    ),
    row(
        "bf16-gpu",
        r"bf16 mixed precision requires|[Cc]urrent GPU architecture does(?:n't| not) support bf16|bfloat16 is (?:not|only) "
        r"supported|CUBLAS_STATUS_NOT_SUPPORTED.{0,200}(?:CUDA_R_16BF|Bgemm|bfloat)|not implemented for 'BFloat16'",
        "this GPU (or this torch on it) cannot compute in bf16: it takes Ampere or later (RTX 30xx, A100)",
        "args: {mixed_precision: fp16, save_precision: fp16}{now:mixed_precision}",
        source="accelerate accelerator.py; torch aten/src/ATen/cuda/CUDABlas.cpp",
    ),
    row(
        "fp16-cpu",
        r"fp16 mixed precision requires a GPU \(not '(?!mps)",
        "fp16 needs a GPU, and torch finds none",
        "args: {mixed_precision: 'no'}{now:mixed_precision}; if there is a GPU: kohya-runner doctor",
        source="accelerate accelerator.py",
    ),
    row(
        "attention-none",
        r"No available kernel\. Aborting execution|Invalid backend|SageAttention doesn't support training|either --sdpa, --flash-attn",
        "the chosen attention cannot train, or none was chosen",
        "args: {sdpa: true}   and none of xformers, flash_attn, sage_attn",
        source="musubi-tuner training/trainer_base.py:1401, :1512; kohya-ss/musubi-tuner#2; torch attention backends",
    ),
    row(
        "attention-package",
        sign(r"'NoneType' object is not callable", raises="TypeError", frame=r"(?P<package>flash_attn|sageattn|xops|xformers|memory_efficient_attention)"),
        "the attention that was chosen ({found:package}) is not installed in the trainer's environment",
        _SDPA,
        "or install it there for this torch",
        source="musubi_tuner/hunyuan_model/attention.py; musubi_tuner/wan/modules/attention.py",
    ),
    row(
        "no-xformers",
        r"No operator found for `?memory_efficient_attention|xFormers can't load C\+\+/CUDA extensions|No xformers\b|No module named 'xformers'"
        r"|xformers' memory efficient attention is only available for GPU|xFormers wasn't build with CUDA support|xformers[/\\]_C.{0,80}(?:DLL|undefined symbol|entry point)",
        "xformers is missing, was built for another torch, or cannot serve this GPU and number format",
        _SDPA,
        source="library/train_util.py:3371; bmaltais/kohya_ss#3096, #3139, #3015",
    ),
)  # fmt: skip
