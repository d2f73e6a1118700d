r"""Failures as they stand in public threads of sd-scripts, musubi-tuner and the tools around them, written anew.

Of a thread only the error lines that programs print are kept; paths, frames and what stands around them are made up.
``NAME: (code, log)``; a name ends in the thread it is after, where there is one.
"""

from __future__ import annotations

from excerpts import BAR, EXIT_1, WALL

V = "/venv/lib/python3.11/site-packages/"
S = "/app/sd-scripts/"
M = "/app/musubi-tuner/src/musubi_tuner/"
W = "C:\\kohya_ss\\venv\\lib\\site-packages\\"
WIN_BAR = "steps:  18%|█▊        | 507/2800 [15:41<1:10:59,  1.86s/it, avr_loss=0.134]"


def tb(error, *frames, script=f"{S}train_network.py", before="", after=EXIT_1):
    """A traceback that ends in ``error``; a frame is ``path|function|code``."""
    lines = "".join(
        f'  File "{path}", line {77 + number}, in {function}\n    {code}\n'
        for number, (path, function, code) in enumerate(frame.split("|", 2) for frame in frames)
    )
    return (
        f'{before}Traceback (most recent call last):\n  File "{script}", line 420, in <module>\n    trainer.train(args)\n'
        f"{lines}{error}\n{after}"
    )


def exit_status(status, before=""):
    return before + "\n" + WALL.format(end=f"returned non-zero exit status {status}")


def flat(text):
    """As fluxgym's window writes it: a time and a level before every line, and no indentation."""
    return "".join(f"[2024-12-31 10:02:11] [INFO] {line.strip()}\n" for line in text.splitlines())


GET_OPT = f"{S}library/train_util.py|get_optimizer|"
LOAD_STATE = f"{S}library/train_util.py|resume_from_local_or_hf_if_specified|accelerator.load_state(args.resume)"
LOAD_SD = f"{V}torch/nn/modules/module.py|load_state_dict|raise RuntimeError("
SAMPLE = f"{S}library/train_util.py|sample_images|sample_image_inference("
SDXL = f"{S}sdxl_train_network.py"
FLUX = f"{S}flux_train_network.py"

MEMORY = {
    "numpy cannot write": ("disk-full", tb("OSError: 1048576 requested and 524288 written", f"{S}library/strategy_base.py|save_latents_to_disk|np.savez(npz_path, **kwargs)")),
    "files of shared memory": ("too-many-files", tb("RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode: Too many open files (24)")),
    "vram while caching": ("out-of-vram-caching", tb("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB", f"{S}library/train_util.py|cache_batch_latents|latents = vae.encode(img_tensors).latent_dist.sample()", script=SDXL)),
    "vram while sampling": ("out-of-vram-sampling", tb("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", f"{S}library/train_util.py|sample_images|sample_image_inference(", script=SDXL)),
    "a folder as a file safetensors#485": ("no-mapping", tb("OSError: No such device (os error 19)", f'{V}safetensors/torch.py|load_file|with safe_open(filename, framework="pt", device=device) as f:')),
    "page file while loading": ("windows-memory", tb("OSError: The paging file is too small for this operation to complete. (os error 1455)",
        f"{S}library/flux_utils.py|load_flow_model|sd = load_safetensors(ckpt_path)", script="C:\\kohya_ss\\sd-scripts\\flux_train_network.py")),
    "page file, in Chinese": ("windows-memory", tb('OSError: [WinError 1455] 页面文件太小，无法完成操作。 Error loading "D:\\venv\\lib\\site-packages\\torch\\lib\\cufft64_10.dll"')),
    "loader workers killed": ("worker-killed", tb("RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. ", f"{V}torch/utils/data/_utils/signal_handling.py|handler|_error_if_any_worker_fails()")),
    "loader worker on windows": ("worker-killed", tb("RuntimeError: DataLoader worker (pid(s) 9056) exited unexpectedly", script="C:\\sd-scripts\\train_network.py", before="found directory C:\\train\\10_cat contains 4 image files\n")),
    "quota": ("disk-quota", tb("OSError: [Errno 122] Disk quota exceeded: '/workspace/out/cat-000003.safetensors'")),
    "quota in safetensors": ("disk-quota", tb('safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 122, kind: FilesystemQuotaExceeded, message: "Disk quota exceeded" })')),
    "full, windows": ("disk-full", tb("OSError: [WinError 112] There is not enough space on the disk")),
    "full, safetensors": ("disk-full", tb('safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })')),
    "read only": ("disk-read-only", tb("OSError: [Errno 30] Read-only file system: '/kaggle/input/out'")),
    "network volume": ("disk-fault", tb("OSError: [Errno 116] Stale file handle: '/workspace/img/1.png'")),
    "input output": ("disk-fault", tb("OSError: [Errno 5] Input/output error")),
    "open files": ("too-many-files", tb("OSError: [Errno 24] Too many open files: '/data/10_cat/812.npz'")),
    "long name": ("path-long", tb("OSError: [Errno 36] File name too long: '/data/aaaa'")),
    "no permission": ("permission", tb("PermissionError: [Errno 13] Permission denied: '/workspace/out'", "/app/sd-scripts/train_network.py|save_model|os.makedirs(args.output_dir, exist_ok=True)")),
    "numpy wants memory": ("ram-array", tb("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 12.0 MiB for an array with shape (1024, 1024, 3)")),
    "137": ("out-of-ram", BAR + "\nCommand exited with code 137\n"),
    "bash says killed": ("out-of-ram", "loading model\n./train.sh: line 12:  4242 Killed                  python train_network.py --sdpa\n"),
    "elastic says -9": ("out-of-ram", "E1128 10:00:01.123 139 torch/distributed/elastic/multiprocessing/api.py:826] failed (exitcode: -9) local_rank: 0 (pid: 515) of binary: /venv/bin/python\n"
        'Traceback (most recent call last):\n  File "/venv/bin/accelerate", line 8, in <module>\n    sys.exit(main())\n'
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n======\nsdxl_train.py FAILED\n------\nRoot Cause (first observed failure):\n[0]:\n  exitcode  : -9 (pid: 515)\n  traceback : Signal 9 (SIGKILL) received by PID 515\n"),
    "vram in triton": ("out-of-vram", tb("RuntimeError: Triton Error [CUDA]: out of memory")),
    "vram in bitsandbytes": ("out-of-vram", BAR + "\nError out of memory at line 380 in file D:\\a\\bitsandbytes\\csrc\\pythonInterface.cpp\n" + EXIT_1),
}  # fmt: skip

GPU = {
    "no flash_attn": ("attention-package", tb("TypeError: 'NoneType' object is not callable", f"{M}hunyuan_model/attention.py|attention|x = flash_attn_varlen_func(", script=f"{M}hv_train_network.py")),
    "no driver": ("no-gpu", tb("RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.")),
    "cuda on a mac kohya_ss#522": ("cuda-on-mac", tb("AssertionError: Torch not compiled with CUDA enabled", "/Users/u/kohya_ss/venv/lib/python3.10/site-packages/torch/cuda/__init__.py|_lazy_init|raise AssertionError(", before="/Users/u/kohya_ss/venv/lib/python3.10/site-packages/bitsandbytes/cuda_setup/paths.py:27: UserWarning: x\n")),
    "autocast on mps": ("mps", tb("RuntimeError: User specified an unsupported autocast device_type 'mps'")),
    "flash backward": ("attention-kernel", tb("RuntimeError: Expected is_sm80 || is_sm90 to be true, but got false.  (Could this error message be improved?)")),
    "cudnn engine": ("cudnn-engine", tb("RuntimeError: GET was unable to find an engine to execute this computation", before=BAR)),
    "cuda 11 library": ("cuda-libraries", tb("ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory")),
    "hopper kernel": ("attention-kernel", BAR + "\nCUDA error (/__w/xformers/xformers/third_party/flash-attention/hopper/flash_fwd_launch_template.h:175): no kernel image is available for execution on the device\n" + EXIT_1),
    "capability": ("attention-kernel", tb("NotImplementedError: No operator found for `memory_efficient_attention_backward` with inputs:\n     query       : shape=(1, 4096, 8, 40) (torch.bfloat16)\n"
        "`cutlassB` is not supported because:\n    bf16 is only supported on A100+ GPUs\n`flshattB` is not supported because:\n    requires device with capability > (8, 0) but your GPU has capability (7, 5) (too old)")),
    "flash on turing": ("attention-kernel", tb("RuntimeError: FlashAttention only supports Ampere GPUs or newer.", f"{V}flash_attn/flash_attn_interface.py|_flash_attn_forward|out, q, k, v = flash_attn_cuda.fwd(", script=f"{M}wan_train_network.py")),
    "bitsandbytes on blackwell": ("bitsandbytes-kernel", BAR + "\nError no kernel image is available for execution on the device at line 167 in file /src/csrc/ops.cu\n" + EXIT_1),
    "pascal": ("gpu-too-old", tb("RuntimeError: CUDA error: no kernel image is available for execution on the device", before="Torch detected GPU: Tesla P40 VRAM 24576 Arch (6, 1) Cores 30\n")),
    "blackwell": ("gpu-too-new", tb("RuntimeError: CUDA error: no kernel image is available for execution on the device", f"{S}library/train_util.py|replace_unet_modules|unet.to(device)",
        before="NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n")),
    "diffusers tries xformers kohya_ss#3238": ("gpu-too-new", tb("RuntimeError: CUDA error: no kernel image is available for execution on the device",
        f"{V}diffusers/models/modeling_utils.py|fn_recursive_set_mem_eff|module.set_use_memory_efficient_attention_xformers(valid)", f'{V}diffusers/models/attention_processor.py|set_use_memory_efficient_attention_xformers|torch.randn((1, 2, 40), device="cuda"),', script=SDXL)),
    "xid": ("gpu-lost", BAR + "\nNVRM: Xid (PCI:0000:01:00): 79, pid=4711, name=python, GPU has fallen off the bus.\n" + EXIT_1),
    "ecc": ("gpu-lost", tb("RuntimeError: CUDA error: uncorrectable ECC error encountered", before=BAR)),
    "watchdog": ("gpu-watchdog", tb("RuntimeError: CUDA error: the launch timed out and was terminated", before=BAR)),
    "illegal access midway": ("gpu-fault", tb("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", "/app/sd-scripts/train_network.py|train|accelerator.backward(loss)", before=BAR)),
    "unknown error kohya_ss#733": ("gpu-fault", WIN_BAR + tb("RuntimeError: CUDA error: unknown error", f"{W}torch\\cuda\\amp\\grad_scaler.py|step|retval = self._maybe_opt_step(optimizer)")),
    "cudnn fails": ("gpu-fault", tb("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", before=BAR)),
    "token out of range": ("index-range", tb("RuntimeError: CUDA error: device-side assert triggered", before="../aten/src/ATen/native/cuda/Indexing.cu:1289: indexSelectLargeIndex: block: [12,0,0], thread: [32,0,0] Assertion `srcIndex < srcSelectDimSize` failed.\n")),
    "assert": ("device-assert", tb("RuntimeError: CUDA error: device-side assert triggered")),
    "amd function": ("amd-kernel", tb("RuntimeError: HIP error: invalid device function\nHIP kernel errors might be asynchronously reported at some other API call.")),
    "amd tensile": ("amd-kernel", "rocBLAS error: Cannot read /opt/rocm/lib/rocblas/library/TensileLibrary.dat: No such file or directory for GPU arch : gfx1031\n" + WALL.format(end="died with <Signals.SIGABRT: 6>")),
    "amd memory access": ("amd-fault", BAR + "\nMemory access fault by GPU node-1 (Agent handle: 0x55) on address 0x7f. Reason: Page not present or supervisor privilege.\n" + WALL.format(end="died with <Signals.SIGABRT: 6>")),
    "amd none": ("amd-none", tb("RuntimeError: No HIP GPUs are available")),
    "directml": ("amd-none", tb("NotImplementedError: Could not run 'aten::_foreach_add' with arguments from the 'PrivateUseOne' backend.")),
    "mps": ("mps", tb("TypeError: Trying to convert Float8_e4m3fn to the MPS backend but it does not have support for that dtype.", script=FLUX)),
    "mps float64": ("mps", tb("TypeError: Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")),
    "library mismatch": ("driver-mismatch", tb("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination")),
    "nvml mismatch": ("driver-mismatch", "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.144\n" + EXIT_1),
    "fabric": ("driver-mismatch", tb("RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 802: system not yet initialized")),
    "old driver": ("driver-old", tb("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).")),
    "ptx": ("driver-old", tb("RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.")),
    "cpu torch": ("torch-cpu", tb("AssertionError: Torch not compiled with CUDA enabled")),
    "ordinal": ("gpu-number", tb("RuntimeError: CUDA error: invalid device ordinal", "/venv/lib/python3.11/site-packages/accelerate/state.py|__init__|torch.cuda.set_device(self.device)")),
    "no gpu in container": ("no-gpu", tb("RuntimeError: No CUDA GPUs are available")),
    "cudnn library": ("cuda-libraries", "Could not load library libcudnn_cnn_train.so.8. Error: /usr/local/cuda/lib64/libcudnn_cnn_train.so.8: undefined symbol: _ZN5cudnn3cnn34layerNorm\n" + EXIT_1),
    "nvjitlink": ("cuda-libraries", tb("ImportError: /venv/lib/python3.11/site-packages/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12")),
    "cublas handle": ("cuda-handle", tb("RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")),
    "no attention chosen": ("attention-none", tb("ValueError: either --sdpa, --flash-attn, --flash3, --sage-attn or --xformers must be specified / --sdpa, --xformersのいずれかを指定してください", script=f"{M}wan_train_network.py")),
}  # fmt: skip

DISTRIBUTED = {
    "the window's port": ("window-port", "OSError: Cannot find empty port in range: 7860-7860. You can specify a different port by setting the GRADIO_SERVER_PORT environment variable\n"),
    "nccl and shm": ("nccl-shm", tb("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error\nncclSystemError: System call failed.\nLast error:\nError while creating shared memory segment /dev/shm/nccl-a1b2c3 (size 9637888)")),
    "one of two came": ("rendezvous", tb("torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.")),
    "nccl and vram": ("out-of-vram", tb("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1691, unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 'out of memory'")),
    "p2p fluxgym#283": ("p2p-4000", flat(tb("NotImplementedError: Using RTX 4000 series doesn't support faster communication broadband via P2P or IB.", f"{V}accelerate/state.py|__init__|raise NotImplementedError("))),
    "libuv kohya_ss#2763": ("libuv", tb("RuntimeError: use_libuv was requested but PyTorch was build without libuv support", f"{W}torch\\distributed\\elastic\\rendezvous\\static_tcp_rendezvous.py|next_rendezvous|self._store = TCPStore(")),
    "nccl on windows": ("nccl-missing", tb("RuntimeError: Distributed package doesn't have NCCL built in")),
    "same gpu twice": ("gpu-twice", tb("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1275, invalid usage, NCCL version 2.14.3\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device f5000")),
    "one for two": ("processes-number", tb("ValueError: You need to use at least 2 processes to use `--multi_gpu`.", f"{V}accelerate/commands/launch.py|_validate_launch_command|raise ValueError(", after="")),
    "kubernetes name": ("rendezvous", tb("torch.distributed.DistNetworkError: The client socket has timed out after 60000ms while trying to connect to (kubernetes.docker.internal, 29500).")),
    "no master": ("rendezvous", tb("ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable MASTER_ADDR expected, but not set")),
    "nccl system": ("nccl-system", tb("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.")),
    "swapping with ddp sd-scripts#1374": ("ddp-swap", tb("ValueError: DistributedDataParallel's input module must be on the same type of devices, but input module parameters locate in {'cpu', 'cuda'}.", script=f"{S}flux_train.py")),
    "fp8 with ddp sd-scripts#1711": ("ddp-fp8", "".join(f"[rank1]: {line}\n" for line in tb('RuntimeError: "cat_cuda" not implemented for \'Float8_e4m3fn\'', f"{V}torch/nn/parallel/distributed.py|__init__|_sync_module_states(", f"{V}torch/distributed/utils.py|_sync_params_and_buffers|dist._broadcast_coalesced(", script=FLUX, after="").splitlines())),
    "wrapped sd-scripts#1083": ("ddp-attribute", tb("AttributeError: 'DistributedDataParallel' object has no attribute 'set_multiplier'", "/app/train_network.py|train|network.set_multiplier(multipliers)")),
    "twice ready": ("ddp-twice", tb("RuntimeError: Expected to mark a variable ready only once. This error is caused by one of the following reasons:")),
    "deepspeed": ("deepspeed", tb("ImportError: DeepSpeed is not installed => run `pip install deepspeed` or build it from source.")),
    "accelerate's file kohya_ss#965": ("accelerate-file", tb("TypeError: ClusterConfig.__init__() got an unexpected keyword argument 'tpu_env'", f"{V}accelerate/commands/config/config_args.py|from_yaml_file|return cls(**config_dict)", after="")),
    "port of accelerate": ("port-taken", tb("ConnectionError: Tried to launch distributed communication on port `29500`, but another process is utilizing it. Please specify a different port (such as using the `--main_process_port` flag or specifying a different `main_process_port` in your config file) and rerun your script.", f"{V}accelerate/utils/launch.py|prepare_multi_gpu_env|raise ConnectionError(")),
    "a picture that is none": ("picture-broken", "WARNING  failed to get image size: cannot identify image file '/w/data/1_cat/0.png'\n" + tb("ZeroDivisionError: division by zero", "/t/library/dataset.py|select_bucket|aspect_ratio = image_width / image_height")),
    "port on windows": ("port-taken", tb("OSError: [WinError 10048] Only one usage of each socket address (protocol/network address/port) is normally permitted")),
}  # fmt: skip

RUNS = {
    "random states and torch 2.6": ("resume-weights-only", tb("_pickle.UnpicklingError: Weights only load failed. WeightsUnpickler error: Unsupported global: GLOBAL numpy.core.multiarray._reconstruct was not an allowed global by default.", LOAD_STATE, f'{V}accelerate/checkpointing.py|load_accelerator_state|states = torch.load(input_dir.joinpath(f"{{RNG_STATE_NAME}}_{{process_index}}.pkl"))', before="resume training from local state: /out/x-state\n")),
    "other optimizer sd-scripts#378": ("resume-settings", tb("ValueError: loaded state dict contains a parameter group that doesn't match the size of optimizer's group", LOAD_STATE, f"{V}bitsandbytes/optim/optimizer.py|load_state_dict|raise ValueError(", before="resume training from local state: /out/cat-state\n")),
    "other rank": ("resume-settings", tb("RuntimeError: Error(s) in loading state_dict for LoRANetwork:\n\tsize mismatch for lora_unet_x.lora_down.weight: copying a param with shape torch.Size([16, 320]) from checkpoint, the shape in current model is torch.Size([32, 320]).",
        LOAD_STATE, f"{V}accelerate/checkpointing.py|load_accelerator_state|model.load_state_dict(state_dict)", LOAD_SD, before="resume training from local state: /out/cat-state\n")),
    "state without its optimizer": ("resume-state", tb("FileNotFoundError: [Errno 2] No such file or directory: '/out/cat-state/optimizer.bin'", LOAD_STATE, f"{V}accelerate/checkpointing.py|load_accelerator_state|optimizer_state = torch.load(input_optimizer_file)")),
    "cut state": ("resume-broken", tb("RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory", LOAD_STATE, f"{V}accelerate/checkpointing.py|load_accelerator_state|optimizer_state = torch.load(input_optimizer_file)", f"{V}torch/serialization.py|__init__|super().__init__(torch._C.PyTorchFileReader(name_or_buffer))")),
    "prompt file edited sd-scripts#1759": ("sample-prompts-changed", tb("AttributeError: 'NoneType' object has no attribute 'to'", f"{S}library/flux_train_utils.py|sample_image_inference|text_encoder_conds = text_encoding_strategy.encode_tokens(", f'{S}library/strategy_flux.py|encode_tokens|l_pooled = clip_l(l_tokens.to(clip_l.device))["pooler_output"]', script=FLUX,
        before="generating sample images at step / サンプル画像生成 ステップ: 600\n")),
    "odd size kohya_ss#2888": ("sample-size", tb("RuntimeError: Sizes of tensors must match except in dimension 1. Expected size 52 but got size 51 for tensor number 1 in the list.", SAMPLE, f"{S}library/sdxl_original_unet.py|forward|h = torch.cat([h, hs.pop()], dim=1)", script=SDXL, before="generating sample images at step / サンプル画像生成 ステップ: 492\n")),
    "odd size for flux": ("sample-size", tb("einops.EinopsError:  Error while processing rearrange-reduction pattern \"b c (h ph) (w pw) -> b (h w) (c ph pw)\".\n Input tensor shape: torch.Size([1, 16, 127, 95]). Shape mismatch, can't divide axis of length 127 in chunks of 2", f"{S}library/flux_train_utils.py|sample_image_inference|latents = flux_utils.pack_latents(latents)", script=FLUX)),
    "sampler's last step": ("sample-sampler", tb("IndexError: index 31 is out of bounds for dimension 0 with size 31", SAMPLE, f"{V}diffusers/schedulers/scheduling_dpmsolver_multistep.py|step|sigma_t = self.sigmas[self.step_index + 1]")),
    "something in a sample": ("sample-failed", tb("ValueError: guidance must be positive", SAMPLE)),
    "no prompts": ("sample-prompts", tb("FileNotFoundError: [Errno 2] No such file or directory: 'prompts.txt'", f'{S}library/train_util.py|load_prompts|with open(prompt_file, "r", encoding="utf-8") as f:')),
}  # fmt: skip

DATA = {
    "nothing to sample from": ("no-data", tb("ValueError: num_samples should be a positive integer value, but got num_samples=0", f"{V}torch/utils/data/sampler.py|__init__|raise ValueError(")),
    "other sizes in a batch": ("cache-stale", tb("RuntimeError: Trying to resize storage that is not resizable", f"{V}torch/utils/data/_utils/collate.py|collate_tensor_fn|out = elem.new(storage).resize_(len(batch))")),
    "latents of sd3": ("cache-other-model", tb("RuntimeError: Given groups=1, weight of size [320, 4, 3, 3], expected input[1, 16, 128, 128] to have 4 channels, but got 16 channels instead", script=SDXL)),
    "i2v without its latents musubi-tuner#159": ("cache-keys", tb("KeyError: 'latents_image'", 'S:\\musubi-tuner\\wan_train_network.py|call_dit|image_latents = batch["latents_image"]', script="S:\\musubi-tuner\\wan_train_network.py")),
    "npz opened as a picture sd-scripts#2362": ("npz-as-picture", "Error loading file: C:\\img\\a_0602x0429_anima.npz\n" + tb("PIL.UnidentifiedImageError: cannot identify image file 'C:\\\\img\\\\a_0602x0429_anima.npz'", f"{S}library/train_util.py|new_cache_latents|info.image = info.image.result()", script=f"{S}anima_train.py")),
    "bad crc kohya_ss#3155": ("cache-broken", tb("zipfile.BadZipFile: Bad CRC-32 for file 't5_out.npy'", f'{S}library/strategy_flux.py|load_outputs_npz|t5_out = data["t5_out"]', f"{V}numpy/lib/npyio.py|__getitem__|return format.read_array(bytes,", script=FLUX)),
    "empty npz": ("cache-broken", tb("EOFError: No data left in file", f"{S}library/strategy_base.py|_default_is_disk_cached_latents_expected|npz = np.load(npz_path)", f'{V}numpy/lib/_npyio_impl.py|load|raise EOFError("No data left in file")')),
    "overlap ComfyUI-FluxTrainer#123": ("cache-broken", tb("zipfile.BadZipFile: Overlapped entries: 'latents_128x96.npy' (possible zip bomb)", f"{V}numpy/lib/npyio.py|__getitem__|bytes = self.zip.open(key)", script=FLUX)),
    "key gone": ("cache-keys", tb("KeyError: 'latents_clean'", f"{M}dataset/image_video_dataset.py|__getitem__|return self.batch_manager[idx]", script=f"{M}fpack_train_network.py")),
    "bomb": ("picture-bomb", tb("PIL.Image.DecompressionBombError: Image size (225000000 pixels) exceeds limit of 178956970 pixels, could be decompression bomb DOS attack.")),
    "metadata": ("metadata", tb("json.decoder.JSONDecodeError: Expecting ',' delimiter: line 3 column 5 (char 44)", f"{S}library/train_util.py|__init__|metadata = json.loads(f.read())", script=f"{S}fine_tune.py")),
    "small video": ("video-size", tb("ValueError: Image or video size too small: /data/a.mp4 and 0 more, size: (48, 48)", script=f"{M}cache_latents.py")),
    "musubi without caches": ("no-data", tb("ValueError: No training items found in the dataset. Please ensure that the latent/Text Encoder cache has been created beforehand. / データセットに学習データがありません。", script=f"{M}wan_train_network.py")),
    "one cache for two": ("dataset-config", tb("ValueError: cache directory should be unique for each dataset (note that cache directory is image/video directory if not specified)", script=f"{M}wan_cache_latents.py")),
    "control missing": ("conditioning-pair", tb("ValueError: Could not find matching control images for 3 images", script=f"{M}qwen_image_cache_latents.py")),
}  # fmt: skip

MODELS = {
    "nan in a counter": ("nan-loss", tb("ValueError: cannot convert float NaN to integer")),
    "another rank, seen from the trainer": ("network-weights-shape", tb("RuntimeError: Error(s) in loading state_dict for LoRANetwork:\n\tsize mismatch for lora_unet_x.lora_down.weight", f"{S}networks/lora.py|load_weights|info = self.load_state_dict(weights_sd, False)")),
    "inpainting": ("inpainting-model", tb("RuntimeError: Given groups=1, weight of size [320, 9, 3, 3], expected input[1, 4, 64, 64] to have 9 channels, but got 4 channels instead")),
    "t5 as clip sd-scripts#1451": ("t5-not-cached", tb("AttributeError: 'T5EncoderModel' object has no attribute 'text_model'", script=FLUX)),
    "no gradient": ("nothing-trained", tb("AssertionError: No inf checks were recorded for this optimizer.")),
    "sd module for flux kohya_ss#2789": ("network-module-family", tb("AttributeError: 'LoRANetwork' object has no attribute 'train_t5xxl'", f"{S}flux_train_network.py|post_process_network|self.train_t5xxl = network.train_t5xxl", script=FLUX)),
    "dylora for sdxl LoRA_Easy_Training_Scripts#201": ("network-module-family", tb("AttributeError: 'list' object has no attribute 'named_modules'", f"{S}networks/dylora.py|create_modules|for name, module in root_module.named_modules():", script=SDXL)),
    "t5 in fp8 sd-scripts#1512": ("fp8-text-encoder", tb("RuntimeError: \"index_select_cuda\" not implemented for 'Float8_e4m3fn'", f"{V}torch/nn/modules/sparse.py|forward|return F.embedding(", script=FLUX)),
    "meta tensor kohya_ss#2820": ("keys-missing", tb("NotImplementedError: Cannot copy out of meta tensor; no data!", script=FLUX)),
    "gguf": ("gguf", tb("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge", f"{S}library/flux_utils.py|load_flow_model|sd = load_safetensors(", script=FLUX, before="Loading state dict from /models/flux1-dev-Q8_0.gguf\n")),
    "gguf in torch.load": ("gguf", tb("_pickle.UnpicklingError: invalid load key, 'G'.")),
    "lfs pointer": ("file-pointer", tb("_pickle.UnpicklingError: invalid load key, 'v'.")),
    "a web page": ("file-pointer", tb("_pickle.UnpicklingError: invalid load key, '<'.")),
    "weights only": ("weights-only", tb("_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have two options\n\t(1) In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` to `True`.", f'{S}library/model_util.py|load_checkpoint_with_text_encoder_conversion|checkpoint = torch.load(ckpt_path, map_location="cpu")')),
    "torch too old to load": ("torch-load-refused", tb("ValueError: Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we now require users to upgrade torch to at least v2.6 in order to use the function.")),
    "hunyuan's module for wan musubi-tuner#817": ("network-module-family", tb("ValueError: optimizer got an empty parameter list", "C:\\musubi\\hv_train_network.py|train|optimizer = self.get_optimizer(", script="C:\\musubi\\wan_train_network.py",
        before="INFO:musubi_tuner.networks.lora:create LoRA for U-Net/DiT: 0 modules.\n")),
    "flux module for sdxl": ("network-module-family", tb("AttributeError: 'SdxlUNet2DConditionModel' object has no attribute 'double_blocks'", f"{S}networks/lora_flux.py|create_network|network = LoRANetwork(", script=SDXL)),
    "weights of another rank": ("network-weights-shape", tb("RuntimeError: Error(s) in loading state_dict for LoRANetwork:\n\tsize mismatch for lora_unet_x.lora_down.weight", f"{S}networks/lora.py|load_weights|info = self.load_state_dict(weights_sd, False)", LOAD_SD)),
    "flux for the sd script sd-scripts#1701": ("flux-in-sd-script", tb("ValueError: Cannot load <class 'diffusers.models.autoencoder_kl.AutoencoderKL'> from /models/flux/vae because the following keys are missing: \n decoder.mid_block.attentions.0.to_q.weight, post_quant_conv.weight.",
        f"{S}library/train_util.py|load_target_model|text_encoder, vae, unet = _load_target_model(", f"{V}diffusers/models/modeling_utils.py|from_pretrained|raise ValueError(", before="The config attributes {'shift_factor': 0.1159, 'use_post_quant_conv': False, 'use_quant_conv': False} were passed to AutoencoderKL, but are not expected and will be ignored.\n")),
    "sd3.5 for the sd script kohya_ss#3017": ("sd3-in-sd-script", tb("KeyError: 'time_embed.0.weight'", f"{S}library/train_util.py|_load_target_model|model_util.load_models_from_stable_diffusion_checkpoint(", f'{S}library/model_util.py|convert_ldm_unet_checkpoint|new_checkpoint["time_embedding.linear_1.weight"] = unet_state_dict["time_embed.0.weight"]',
        before="load StableDiffusion checkpoint: ./sd3.5_large_fp8_scaled.safetensors\n")),
    "refiner kohya_ss#2526": ("sdxl-refiner", tb("AttributeError: 'NoneType' object has no attribute 'dtype'", f"{S}library/sdxl_train_util.py|load_target_model|) = _load_target_model(", f"{S}library/sdxl_train_util.py|_load_target_model|if text_encoder1.dtype != torch.float32:", script=SDXL)),
    "v2 left out": ("v2-flag", tb("RuntimeError: Error(s) in loading state_dict for UNet2DConditionModel:\n\tsize mismatch for down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight: copying a param with shape torch.Size([320, 1024]) from checkpoint, the shape in current model is torch.Size([320, 768]).", LOAD_SD)),
    "sdxl for the sd script": ("sdxl-in-sd-script", tb("RuntimeError: Error(s) in loading state_dict for UNet2DConditionModel:\n\tsize mismatch for down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight: copying a param with shape torch.Size([640, 2048]) from checkpoint, the shape in current model is torch.Size([640, 768]).", LOAD_SD)),
    "sd15 for the sdxl script": ("sd-in-sdxl-script", tb('RuntimeError: Error(s) in loading state_dict for SdxlUNet2DConditionModel:\n\tMissing key(s) in state_dict: "label_emb.0.0.weight".', f"{S}library/sdxl_model_util.py|load_models_from_sdxl_checkpoint|info = _load_state_dict_on_device(unet, unet_sd, device=map_location)", script=SDXL)),
    "sdxl for the flux script": ("not-flux", tb("ValueError: max() arg is an empty sequence", f"{S}library/flux_utils.py|analyze_checkpoint_state|max_double_block_index = max(", script=FLUX)),
    "fp8 of another layout sd-scripts#1965": ("keys-missing", tb("NotImplementedError: Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving module from meta to a different device.", script=FLUX,
        before="Loaded Flux: _IncompatibleKeys(missing_keys=['img_in.weight', 'time_in.in_layer.weight'], unexpected_keys=['model.diffusion_model.img_in.weight'])\n")),
    "wan 2.2 as 2.1 musubi-tuner#602": ("wan-task", tb('RuntimeError: Error(s) in loading state_dict for WanModel:\n\tMissing key(s) in state_dict: "blocks.0.cross_attn.k_img.weight", "blocks.0.cross_attn.k_img.bias"', LOAD_SD, script=f"{M}wan_train_network.py")),
    "flux2 vae musubi-tuner#883": ("vae-layout", tb('RuntimeError: Error(s) in loading state_dict for AutoEncoder:\n\tMissing key(s) in state_dict: "encoder.quant_conv.weight", "encoder.down.0.block.0.norm1.weight"', f"{M}flux_2/flux2_utils.py|load_ae|info = ae.load_state_dict(sd, strict=True, assign=True)", LOAD_SD, script=f"{M}flux_2_cache_latents.py")),
    "wan's vae for hunyuan musubi-tuner#159": ("vae-layout", tb('RuntimeError: Error(s) in loading state_dict for AutoencoderKLCausal3D:\n\tMissing key(s) in state_dict: "encoder.conv_in.conv.weight"', f"{M}hunyuan_model/vae.py|load_vae|vae.load_state_dict(ckpt)", LOAD_SD, script="C:\\musubi-tuner\\cache_latents.py")),
    "clip g as clip l": ("text-encoder-layout", tb("RuntimeError: Error(s) in loading state_dict for CLIPTextModel:\n\tsize mismatch for text_model.embeddings.token_embedding.weight: copying a param with shape torch.Size([49408, 1280]) from checkpoint", LOAD_SD, script=FLUX)),
    "fp8 again musubi-tuner#870": ("quantized-file", tb("NotImplementedError: \"abs_cuda\" not implemented for 'Float8_e4m3fn'", f"{M}modules/fp8_optimization_utils.py|load_safetensors_with_fp8_optimization|quantized_weight, scale_tensor = quantize_weight(key, value)", script=f"{M}flux_2_train_network.py")),
    "wan fp8": ("quantized-file", tb("ValueError: DiT weights is already in fp8 format, cannot scale to fp8. Please use fp16/bf16 weights / DiTの重みはすでにfp8形式です。", script=f"{M}wan_train_network.py")),
    "fp8 meets float musubi-tuner#738": ("fp8-compute", tb("RuntimeError: mat1 and mat2 must have the same dtype, but got Float and Float8_e4m3fn", script=f"{M}wan_train_network.py")),
    "comfy's file musubi-tuner#805": ("comfy-keys", tb('RuntimeError: Error(s) in loading state_dict for QwenImageTransformer2DModel:\n\tUnexpected key(s) in state_dict: "__index_timestep_zero__". ', LOAD_SD, script=f"{M}qwen_image_train_network.py")),
    "broken checkpoint": ("broken-checkpoint-parts", tb("KeyError: 'time_embed.0.weight'", f'{S}library/model_util.py|convert_ldm_unet_checkpoint|new_checkpoint["x"] = unet_state_dict["time_embed.0.weight"]', before="load StableDiffusion checkpoint: /models/pruned.ckpt\n")),
    "another pipeline": ("pipeline-other", tb("ValueError: Pipeline <class 'diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion.StableDiffusionPipeline'> expected {'unet', 'vae'}, but only {'vae', 'prior'} were passed.")),
    "hunyuan musubi-tuner-gui#5": ("wrong-family", tb('RuntimeError: Error(s) in loading state_dict for HYVideoDiffusionTransformer:\n\tMissing key(s) in state_dict: "img_in.proj.weight"', LOAD_SD, script="L:\\musubi-tuner\\hv_train_network.py")),
}  # fmt: skip

HUB = {
    "fine-grained": ("token-fine-grained", tb("huggingface_hub.errors.HfHubHTTPError: 403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings to view this repository..")),
    "misspelt": ("repository-name", tb("huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1)\n\nRepository Not Found for url: https://huggingface.co/api/models/a/b.")),
    "the hub is down": ("download-broken", tb("requests.exceptions.HTTPError: 504 Server Error: Gateway Time-out for url: https://huggingface.co/a/b/resolve/main/x.safetensors")),
    "connection reset": ("download-broken", tb("requests.exceptions.ConnectionError: ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))")),
    "runwayml": ("repository-gone", tb("OSError: runwayml/stable-diffusion-v1-5 is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models' (404 Client Error: runwayml/stable-diffusion-v1-5)")),
    "gated flux": ("gated", tb("huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)\n\nCannot access gated repo for url https://huggingface.co/black-forest-labs/FLUX.1-dev/resolve/main/ae.safetensors.")),
    "wrong token": ("token", tb("huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/whoami-v2\nInvalid credentials in Authorization header")),
    "429": ("rate-limit", tb("requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/openai/clip-vit-large-patch14/resolve/main/vocab.json")),
    "certificate": ("certificate", tb("requests.exceptions.SSLError: (MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: / (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))\"))")),
    "proxy": ("proxy", tb("requests.exceptions.ProxyError: (MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: / (Caused by ProxyError('Unable to connect to proxy'))\"))")),
    "cut download": ("download-broken", tb("OSError: Consistency check failed: file should be of size 23802932552 but has size 1048576 (flux1-dev.safetensors).")),
    "name resolution": ("no-network", tb("requests.exceptions.ConnectionError: (MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: / (Caused by NameResolutionError('Failed to resolve huggingface.co'))\"))")),
    "offline": ("no-network", tb("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and outgoing traffic has been disabled. To enable hf.co look-ups and downloads online, set 'local_files_only' to False.")),
    "a windows path as a name": ("no-such-repository", tb("huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': 'C:/models/none'. Use `repo_type` argument if needed.")),
}  # fmt: skip

OPTIONS = {
    "adafactor's own rate": ("adafactor", tb("ValueError: Cannot combine manual `lr` and `relative_step=True` options", f"{V}transformers/optimization.py|__init__|raise ValueError(")),
    "a short list": ("text-encoder-lr", tb("IndexError: list index out of range", f"{S}networks/lora_flux.py|prepare_optimizer_params_with_multiple_te_lrs|text_encoder_lr = [text_encoder_lr[0], default_lr]", script=FLUX)),
    "no settings file": ("settings-toml", tb("FileNotFoundError: [Errno 2] No such file or directory: 'C:/x/dataset.toml'", f"{S}library/config_util.py|load_user_config|config = toml.load(file)")),
    "no image encoder": ("path-missing", tb("TypeError: stat: path should be string, bytes, os.PathLike or integer, not NoneType", f"{M}frame_pack/framepack_utils.py|load_image_encoders|if os.path.isdir(args.image_encoder):", script=f"{M}fpack_cache_latents.py")),
    "one beta": ("optimizer-args", tb("TypeError: cannot unpack non-iterable float object", f"{GET_OPT}optimizer = optimizer_class(trainable_params, lr=lr, **optimizer_kwargs)", f"{V}torch/optim/adamw.py|__init__|beta1, beta2 = betas")),
    "a list in toml": ("optimizer-args", tb("AttributeError: 'list' object has no attribute 'split'", f'{GET_OPT}key, value = arg.split("=")')),
    "float16": ("mixed-precision", tb("ValueError: Unknown mixed_precision mode: float16. Choose between ['no', 'fp8', 'fp16', 'bf16']")),
    "bf16 file, fp16 training": ("dit-precision", tb("AssertionError: DiT weights are in bf16, mixed precision must be bf16 or no / DiTの重みがbf16の場合", script=f"{M}wan_train_network.py")),
    "a rank in quotes": ("network-args", tb("TypeError: '<=' not supported between instances of 'str' and 'int'", f"{S}networks/lora.py|create_network|if network_dim <= 0:")),
    "a float for a list lora-scripts#513": ("text-encoder-lr", tb("TypeError: object of type 'float' has no len()", "D:\\lora-scripts\\train_network.py|train|text_encoder_lr = None if args.text_encoder_lr is None or len(args.text_encoder_lr) == 0 else args.text_encoder_lr[0]")),
    "no output folder kohya_ss#2483": ("output-folder", tb("PermissionError: [Errno 13] Permission denied: '/config_lora-20240510-152313.toml'", 'C:\\kohya_ss\\kohya_gui\\lora_gui.py|train_model|with open(tmpfilename, "w") as toml_file:', after="")),
    "piecewise": ("scheduler-steps", tb("ValueError: SchedulerType.WARMUP_STABLE_DECAY requires `num_decay_steps`, please provide that argument.")),
    "no clip_l fluxgym#321": ("component-missing", tb("TypeError: expected str, bytes or os.PathLike object, not NoneType", f"{S}library/flux_utils.py|load_clip_l|sd = load_safetensors(ckpt_path, device=str(device))", f'{V}safetensors/torch.py|load_file|with safe_open(filename, framework="pt", device=device) as f:', script=FLUX)),
    "half a vae": ("vae-dtype", tb("RuntimeError: Input type (float) and bias type (c10::Half) should be the same", f'{S}train_network.py|train|latents = vae.encode(batch["images"]).latent_dist.sample()', f"{V}torch/nn/modules/conv.py|_conv_forward|return F.conv2d(input, weight, bias, self.stride,", script=SDXL)),
    "betas with a space kohya_ss#2343": ("optimizer-args", 'Traceback (most recent call last):\n  File "I:\\sd-scripts\\library\\train_util.py", line 3854, in get_optimizer\n    value = ast.literal_eval(value)\n'
        '  File "C:\\Python310\\lib\\ast.py", line 50, in parse\n    return compile(source, filename, mode, flags,\n  File "<unknown>", line 1\n    (0.9,\n    ^\nSyntaxError: \'(\' was never closed\n' + EXIT_1),
    "no = in network_args kohya-trainer#130": ("optimizer-args", tb("ValueError: not enough values to unpack (expected 2, got 1)", "/content/kohya-trainer/train_network.py|train|key, value = net_arg.split('=')")),
    "a text without quotes sd-scripts#962": ("optimizer-args", tb("ValueError: malformed node or string on line 1: <ast.Name object at 0x7f>", f"{GET_OPT}value = ast.literal_eval(value)", "/usr/lib/python3.10/ast.py|literal_eval|return _convert(node_or_string)")),
    "conv_dim is no number": ("network-args", tb("ValueError: invalid literal for int() with base 10: '8.5'", f"{S}networks/lora.py|create_network|conv_dim = int(conv_dim)")),
    "toml and backslashes musubi-tuner#72": ("settings-toml", tb("toml.decoder.TomlDecodeError: Reserved escape sequence used (line 8 column 1 char 120)", f"{V}toml/decoder.py|loads|raise TomlDecodeError(str(err), original, pos)", script=f"{M}wan_cache_latents.py")),
    "fused": ("fused-backward", tb("AssertionError: fused_backward_pass currently only works with optimizer_type Adafactor / fused_backward_passは現在", script=f"{S}flux_train.py")),
    "too many blocks": ("swap-checkpointing", tb("AssertionError: Cannot swap more than 17 double blocks and 36 single blocks. Requested 20 double blocks and 40 single blocks.", script=FLUX)),
    "chroma": ("chroma-mask", tb("AssertionError: apply_t5_attn_mask must be True for Chroma / Chromaではapply_t5_attn_maskを指定する必要があります", script=FLUX)),
    "a value is missing": ("option-value", "usage: flux_train_network.py [-h]\nflux_train_network.py: error: argument --network_args: expected one argument\n" + EXIT_1),
    "a wrong choice": ("option-value", "wan_train_network.py: error: argument --task: invalid choice: 'i2v' (choose from 't2v-14B', 'i2v-14B')\n" + EXIT_1),
    "needed": ("option-value", "usage: cache_latents.py [-h]\ncache_latents.py: error: the following arguments are required: --dataset_config\n"),
}  # fmt: skip

PACKAGES = {
    "position_ids of an older transformers": ("transformers-version", tb('RuntimeError: Error(s) in loading state_dict for CLIPTextModel:\n\tMissing key(s) in state_dict: "text_model.embeddings.position_ids".', LOAD_SD, script=SDXL)),
    "xformers of another torch": ("extension-torch", tb("OSError: [WinError 127] The specified procedure could not be found", f"{W}xformers\\_cpp_lib.py|_register_extensions|torch.ops.load_library(ext_specs.origin)")),
    "florence and flash_attn": ("module-missing", tb("ImportError: This modeling file requires the following packages that were not found in your environment: flash_attn. Run `pip install flash_attn`")),
    "paged on wsl": ("paged-optimizer", BAR + "\nCUDA error: operation not supported at line 37 in file /src/csrc/pythonInterface.cpp\n" + EXIT_1),
    "a preset that is not there": ("lycoris-args", tb("KeyError: 'attn-mlpp'", f"{V}lycoris/kohya/__init__.py|create_network|LycorisNetworkKohya.apply_preset(BUILT_IN_PRESETS[preset])")),
    "qwen3 and old transformers": ("transformers-old", tb("ValueError: The checkpoint you are trying to load has model type `qwen3` but Transformers does not recognize this architecture.", script=f"{M}zimage_cache_text_encoder_outputs.py")),
    "llava and new transformers": ("transformers-version", tb("AttributeError: 'LlavaForConditionalGeneration' object has no attribute 'language_model'", script=f"{M}cache_text_encoder_outputs.py")),
    "half an update sd-scripts#115": ("trainer-mixed", tb("AttributeError: 'Namespace' object has no attribute 'network_alpha'. Did you mean: 'network_args'?")),
    "half an update of the library": ("trainer-mixed", tb("ImportError: cannot import name 'setup_logging' from 'library.utils' (/app/sd-scripts/library/utils.py)")),
    "lycoris for flux sd-scripts#1810": ("lycoris-version", tb("AttributeError: 'LycorisNetworkKohya' object has no attribute 'train_t5xxl'", f"{S}flux_train_network.py|post_process_network|self.train_t5xxl = network.train_t5xxl", script=FLUX)),
    "two cudas kohya_ss#1028": ("torchvision", tb("RuntimeError: Detected that PyTorch and torchvision were compiled with different CUDA versions. PyTorch has CUDA Version=11.7 and torchvision has CUDA Version=11.8.")),
    "dll kohya_ss#593": ("windows-dll", tb("ImportError: DLL load failed while importing _C: The specified module could not be found.", f"{W}torch\\__init__.py|<module>|from torch._C import *  # noqa: F403")),
    "python.h sd-scripts#2239": ("python-headers", BAR + "\n/tmp/tmpq/main.c:6:10: fatal error: Python.h: No such file or directory\n    6 | #include <Python.h>\ncompilation terminated.\n" + tb(
        "subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpq/main.c', '-O3', '-shared', '-fPIC', '-o', '/tmp/tmpq/cuda_utils.so', '-lcuda']' returned non-zero exit status 1.",
        f"{V}triton/runtime/build.py|_build|subprocess.check_call(cc_cmd, stdout=subprocess.DEVNULL)", script=SDXL)),
    "no compiler": ("no-compiler", tb("RuntimeError: Failed to find C compiler. Please specify via CC environment variable.", f"{V}triton/runtime/build.py|_build|raise RuntimeError(")),
    "no cl": ("no-compiler", tb("torch._inductor.exc.InductorError: RuntimeError: Compiler: cl is not found.")),
    "lcuda": ("compile-failed", "/usr/bin/ld: cannot find -lcuda: No such file or directory\ncollect2: error: ld returned 1 exit status\n" + tb("subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/a/main.c', '-lcuda']' returned non-zero exit status 1.", f"{V}triton/common/build.py|_build|ret = subprocess.check_call(cc_cmd)")),
    "gcc says nothing": ("compile-called", tb("subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/a/main.c', '-lcuda']' returned non-zero exit status 1.", f"{V}triton/common/build.py|_build|ret = subprocess.check_call(cc_cmd)")),
    "nvcc": ("cuda-toolkit", tb("OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.", f"{V}torch/utils/cpp_extension.py|_join_cuda_home|raise OSError(")),
    "dynamo kohya_ss#567": ("torch-compile", tb("ModuleNotFoundError: No module named 'torch._dynamo'", f"{W}accelerate\\accelerator.py|prepare_model|import torch._dynamo as dynamo")),
    "dynamo fails sd-scripts#1125": ("torch-compile-failed", tb("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:\nAssertionError: expected size 4==8", script=SDXL)),
    "triton.ops musubi-tuner#149": ("triton-ops", tb("ModuleNotFoundError: No module named 'triton.ops'", f"{V}bitsandbytes/triton/int8_matmul_mixed_dequantize.py|<module>|from triton.ops.matmul_perf_model import early_config_prune")),
    "triton kohya_ss#1274": ("triton-missing", tb("ModuleNotFoundError: No module named 'triton'", f"{V}sageattention/core.py|<module>|import triton", script=f"{M}wan_train_network.py")),
    "half installed kohya_ss#1683": ("bitsandbytes-old", 'Traceback (most recent call last):\n  File "E:\\kohya_ss\\library\\train_util.py", line 3419, in get_optimizer\n    import bitsandbytes as bnb\n  File "E:\\venv\\lib\\site-packages\\bitsandbytes\\cuda_setup\\main.py", line 21, in <module>\n    from .paths import x\n'
        "ModuleNotFoundError: No module named 'bitsandbytes.cuda_setup.paths'\n\nDuring handling of the above exception, another exception occurred:\n\n" + tb("ImportError: No bitsandbytes / bitsandbytesがインストールされていないようです")),
    "no symbol bitsandbytes#900": ("bitsandbytes", tb("AttributeError: 'NoneType' object has no attribute 'cadam32bit_grad_fp32'", f"{V}bitsandbytes/functional.py|<module>|lib.cadam32bit_grad_fp32,")),
    "lycoris sd-scripts#1662": ("lycoris-bug", tb("AttributeError: apply_max_norm_regularization", f'{V}lycoris/kohya/__init__.py|create_network|delattr(type(network), "apply_max_norm_regularization")', script=SDXL)),
    "lycoris LyCORIS#249": ("lycoris-version", tb("TypeError: LycorisNetworkKohya.on_epoch_start() takes 2 positional arguments but 3 were given", f"{S}train_network.py|train|accelerator.unwrap_model(network).on_epoch_start(text_encoder, unet)", script=SDXL)),
    "lycoris LyCORIS#3": ("lycoris-args", tb("TypeError: unsupported operand type(s) for /: 'str' and 'int'", "/content/LoCon/locon/locon.py|__init__|self.scale = alpha / self.lora_dim")),
    "nms": ("torchvision", tb("RuntimeError: operator torchvision::nms does not exist")),
    "flash-attn musubi-tuner#273": ("extension-torch", tb("RuntimeError: Failed to import transformers.models.llama.modeling_llama because of the following error (look up to see its traceback):\nDLL load failed while importing flash_attn_2_cuda: The specified procedure could not be found.")),
    "old torch": ("torch-old", tb("AttributeError: module 'torch' has no attribute 'float8_e4m3fn'", script=FLUX)),
    "pin": ("version-pin", tb("ImportError: huggingface-hub>=0.34.0,<1.0 is required for a normal functioning of this module, but found huggingface-hub==1.1.2.")),
    "accelerate kohya_ss#1198": ("accelerate-version", tb("TypeError: Accelerator.__init__() got an unexpected keyword argument 'project_dir'", f"{S}library/train_util.py|prepare_accelerator|accelerator = Accelerator(")),
    "transformers 5 diffusers#13833": ("transformers-version", tb("AttributeError: 'CLIPTextModel' object has no attribute 'text_model'")),
    "diffusers kohya_ss#1743": ("diffusers-version", tb('RuntimeError: Error(s) in loading state_dict for AutoencoderKL:\n\tUnexpected key(s) in state_dict: "encoder.mid_block.attentions.0.to_to_k.bias"', LOAD_SD)),
    "sentencepiece": ("tokenizer-package", tb("ImportError: \nT5Tokenizer requires the SentencePiece library but it was not found in your environment.", script=FLUX)),
    "protobuf": ("protobuf", tb("TypeError: Descriptors cannot be created directly.\nIf this call came from a _pb2.py file, your generated code is out of date and must be regenerated with protoc >= 3.19.0.")),
    "no lycoris": ("lycoris-missing", tb("ModuleNotFoundError: No module named 'lycoris'", "/usr/lib/python3.11/importlib/__init__.py|import_module|return _bootstrap._gcd_import(name[level:], package, level)")),
    "module None kohya_ss#1897": ("network-module", tb("AttributeError: 'NoneType' object has no attribute 'startswith'", f"{S}train_network.py|train|network_module = importlib.import_module(args.network_module)", "C:\\Python310\\lib\\importlib\\__init__.py|import_module|if name.startswith('.'):")),
    "another folder": ("trainer-folder", tb("ModuleNotFoundError: No module named 'library.utils'")),
    "cached_download kohya-colab#237": ("hub-package", tb("ImportError: cannot import name 'cached_download' from 'huggingface_hub' (/usr/local/lib/python3.10/dist-packages/huggingface_hub/__init__.py)")),
}  # fmt: skip

SYSTEM = {
    "forked": ("windows-spawn", tb("RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method")),
    "links on windows": ("windows-symlink", tb("OSError: [WinError 1314] A required privilege is not held by the client: '../../blobs/a' -> 'C:/Users/u/.cache/x'")),
    "a file that is not there": ("file-missing", tb("FileNotFoundError: [Errno 2] No such file or directory: '/data/dataset.json'")),
    "a folder for a file": ("file-missing", tb("IsADirectoryError: [Errno 21] Is a directory: '/models/flux'")),
    "entry point": ("windows-dll", tb('OSError: [WinError 127] The specified procedure could not be found. Error loading "C:\\venv\\lib\\site-packages\\torch\\lib\\nvfuser_codegen.dll"')),
    "continuation fluxgym#349": ("shell-continuation", "[2025-02-23 20:54:22] [INFO] outputs/mar1/train.sh: line 10: --save_model_as: command not found\n[2025-02-23 20:54:22] [ERROR] Command exited with code 127\n"),
    "powershell continuation": ("shell-continuation", "At line:2 char:5\n+   --network_dim 8\n+     ~\nMissing expression after unary operator '--'.\n"),
    "crlf": ("shell-crlf", "train.sh: line 2: $'\\r': command not found\ntrain.sh: line 3: --x\n"),
    "accelerate fluxgym#318": ("accelerate-not-found", 'Running bash "/mnt/FluxGym/outputs/crooke/train.sh"\n[2025-01-30 10:13:44] [INFO] /mnt/FluxGym/outputs/crooke/train.sh: line 1: accelerate: command not found\n[2025-01-30 10:13:44] [ERROR] Command exited with code 127\n'),
    "accelerate in cmd": ("accelerate-not-found", "'accelerate' is not recognized as an internal or external command,\noperable program or batch file.\n"),
    "accelerate in powershell": ("accelerate-not-found", "accelerate : The term 'accelerate' is not recognized as the name of a cmdlet, function, script file, or operable program.\nAt C:\\train.ps1:3 char:1\n+ accelerate launch x\n    + CategoryInfo          : ObjectNotFound\n"),
    "accelerate kohya_ss#2559": ("accelerate-not-found", "16:47:33-399628 INFO     Kohya_ss GUI version: v24.1.4\n16:50:11-100000 ERROR    accelerate not found\n"),
    "no script": ("script-not-found", "/venv/bin/python: can't open file '/app/train_networks.py': [Errno 2] No such file or directory\n" + WALL.format(end="returned non-zero exit status 2")),
    "no program": ("program-not-found", "train.sh: line 3: nvidia-smi: command not found\n"),
    "access violation kohya_ss#2556": ("windows-crash-running", exit_status(3221225477, WIN_BAR)),
    "access violation sd-scripts#1737": ("windows-crash", exit_status(3221225477, "Loading state dict from F:\\flux1-dev.safetensors\n")),
    "dll": ("windows-fbgemm", tb('OSError: [WinError 126] The specified module could not be found. Error loading "C:\\venv\\lib\\site-packages\\torch\\lib\\fbgemm.dll" or one of its dependencies.')),
    "illegal instruction": ("cpu-instruction", WALL.format(end="died with <Signals.SIGILL: 4>")),
    "segfault": ("native-crash", BAR + "\n" + WALL.format(end="died with <Signals.SIGSEGV: 11>")),
    "window closed": ("windows-closed", exit_status(3221225786, WIN_BAR)),
    "mapped section kohya_ss#2466": ("file-locked", tb('safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 1224, kind: Uncategorized, message: "The requested operation cannot be performed on a file with a user-mapped section open." })', f"{W}safetensors\\torch.py|save_file|serialize_file(_flatten(tensors), filename, metadata=metadata)")),
    "in use": ("file-locked", tb("PermissionError: [WinError 32] The process cannot access the file because it is being used by another process: 'C:\\\\out\\\\cat.safetensors'")),
    "charmap sd-scripts#232": ("console-encoding", "accelerate : Traceback (most recent call last):\nAt C:\\sd-scripts\\Train.ps1:28 char:1\n+ accelerate launch --num_cpu_threads_per_process 8 train_network.py `\n+ ~~~~~~~~~~~~~~~~~\n    + CategoryInfo          : NotSpecified: (Traceback (most recent call last)::String) [], RemoteException\n    + FullyQualifiedErrorId : NativeCommandError\n \n"
        '  File "C:\\sd-scripts\\train_network.py", line 507, in <module>\n    train(args)\n  File "C:\\Python310\\lib\\encodings\\cp1252.py", line 19, in encode\n    return codecs.charmap_encode(input,self.errors,encoding_table)[0]\n'
        "UnicodeEncodeError: 'charmap' codec can't encode characters in position 27-42: character maps to <undefined>\n" + EXIT_1),
    "cp932 sd-scripts#513": ("file-encoding", tb("UnicodeDecodeError: 'cp932' codec can't decode byte 0x83 in position 6: illegal multibyte sequence", f"{S}library/train_util.py|sample_images|lines = f.readlines()", script=f"{S}fine_tune.py")),
    "spawn fluxgym#129": ("windows-spawn", flat('Traceback (most recent call last):\n  File "E:\\fluxgym\\sd-scripts\\train_network.py", line 9, in train\n    w.start()\n  File "multiprocessing\\popen_spawn_win32.py", line 75, in __init__\nFileNotFoundError: [WinError 3] 系统找不到指定的路径。\n')),
    "pickle": ("windows-spawn", tb("AttributeError: Can't pickle local object 'DreamBoothDataset.__init__.<locals>.f'", "C:\\Python310\\lib\\multiprocessing\\reduction.py|dump|ForkingPickler(file, protocol).dump(obj)")),
    "path": ("windows-path", tb("OSError: [WinError 123] The filename, directory name, or volume label syntax is incorrect: 'C:\\\\img\"'")),
    "python 3.12": ("python-version", tb("AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: 'zipimporter'?")),
    "python 3.8 LoRA_Easy_Training_Scripts#6": ("python-version", tb("TypeError: 'type' object is not subscriptable", f"{S}networks/lora.py|__init__|def create_modules(prefix, root_module: torch.nn.Module, target_replace_modules) -> list[LoRAModule]:", before="import network module: networks.lora\n")),
    "python 3.11, new f-strings sd-scripts#2220": ("python-version", 'Traceback (most recent call last):\n  File "/app/sd-scripts/train_network.py", line 500, in train\n    network_module = importlib.import_module(args.network_module)\n  File "/app/sd-scripts/networks/lora_flux.py", line 908\n    logger.info(f"train {"x"} only")\n                          ^\nSyntaxError: f-string: expecting \'}\'\n'),
    "glibc": ("glibc", tb("ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /venv/lib/x.so)")),
}  # fmt: skip

CHAINED = {
    "one whole number for text encoders sd-scripts#1608": ("text-encoder-lr", tb("TypeError: object of type 'int' has no len()", f"{S}networks/lora_flux.py|prepare_optimizer_params_with_multiple_te_lrs|elif len(text_encoder_lr) == 1:", after="\nDuring handling of the above exception, another exception occurred:\n\n").replace("in <module>", "in train")
        + tb("AttributeError: 'LoRANetwork' object has no attribute 'prepare_optimizer_params'", f"{S}train_network.py|train|trainable_params = network.prepare_optimizer_params(text_encoder_lr, args.unet_lr)", script=FLUX)),
    "xformers without its kernels kohya_ss#761": ("no-xformers", tb("AttributeError: module 'torch.ops.xformers' has no attribute 'efficient_attention_forward_cutlass'. did you forget to build xformers", f"{V}xformers/ops/common.py|no_such_operator|raise RuntimeError(")),
    "attention in bf16 on an older card": ("bf16-gpu", flat(tb("RuntimeError: cutlassF: no kernel found to launch!", f"{S}library/flux_models.py|attention|x = torch.nn.functional.scaled_dot_product_attention(q, k, v)", script=FLUX))),
    "wan i2v with caches of t2v musubi-tuner#159": ("cache-keys", tb("KeyError: 'latents_image'", f"{M}hv_train_network.py|train|model_pred, target = self.call_dit(", f'{M}wan_train_network.py|call_dit|image_latents = batch["latents_image"]', script=f"{M}wan_train_network.py")),
    "DoRA resumed as LoRA LoRA_Easy_Training_Scripts#213": ("resume-settings", tb('RuntimeError: Error(s) in loading state_dict for LoRANetwork:\n\tUnexpected key(s) in state_dict: "lora_unet_input_blocks_1_0.dora_scale".', LOAD_STATE, f"{V}accelerate/checkpointing.py|load_accelerator_state|models[i].load_state_dict(torch.load(input_model_file))", LOAD_SD)),
    "lengths of prompts, sd3": ("sample-tokens", tb("RuntimeError: Sizes of tensors must match except in dimension 0. Expected size 154 but got size 333 for tensor number 1 in the list.", f"{S}library/sd3_train_utils.py|sample_image_inference|latents = do_sample(height, width, seed, cond, neg_cond)", f"{S}library/sd3_train_utils.py|do_sample|c_crossattn = torch.cat([cond[0], neg_cond[0]])", script=f"{S}sd3_train_network.py")),
}  # fmt: skip

WAN = f"{M}wan_train_network.py"
LATE = {
    "fp8 spread over ranks sd-scripts#1711": ("ddp-fp8", "".join(f"[rank2]: {line}\n" for line in tb("RuntimeError: \"cat_cuda\" not implemented for 'Float8_e4m3fn'", f"{S}train_network.py|train|unet = self.prepare_unet_with_accelerator(args, accelerator, unet)", f"{V}accelerate/accelerator.py|prepare_model|model = torch.nn.parallel.DistributedDataParallel(", script=FLUX, after="").splitlines())),
    "bitsandbytes older than the card, told beside it": ("bitsandbytes-kernel", "torch 2.8.0+cu128  |  NVIDIA B200\nbitsandbytes 0.44.1\nrunning training\nError no kernel image is available for execution on the device at line 181 in file /src/csrc/ops.cu\n" + EXIT_1),
    "control pictures of unlike sizes musubi-tuner#385": ("cache-sizes", tb("RuntimeError: stack expects each tensor to be equal size, but got [16, 1, 106, 76] at entry 0 and [16, 1, 92, 66] at entry 2", f"{M}dataset/image_video_dataset.py|__getitem__|batch_tensor_data[key] = torch.stack(batch_tensor_data[key])", script=f"{M}fpack_train_network.py")),
    "gguf, seen in the command alone": ("gguf", tb("safetensors_rust.SafetensorError: Error while deserializing header: header too large", f'{M}wan/modules/model.py|detect_wan_sd_dtype|with safe_open(path, framework="pt") as f:', script=WAN, after="subprocess.CalledProcessError: Command '['/venv/bin/python', 'wan_train_network.py', '--dit', '/models/wan2.2-low-Q8_0.gguf', '--sdpa']' returned non-zero exit status 1.\n")),
    "a fine-grained token huggingface_hub#2844": ("token-fine-grained", tb("requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://huggingface.co/a/b/resolve/main/x.json", script=WAN, after="\nThe above exception was the direct cause of the following exception:\n\n")
        + tb("huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)\n\nCannot access gated repo for url https://huggingface.co/a/b/resolve/main/x.json.\nPlease enable access to public gated repositories in your fine-grained token settings to view this repository.", script=WAN)),
    "gated, after its answer": ("gated", tb("requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://huggingface.co/a/b/resolve/main/x.json", script=WAN, after="\nThe above exception was the direct cause of the following exception:\n\n")
        + tb("huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)\n\nCannot access gated repo for url https://huggingface.co/a/b/resolve/main/x.json.\nAccess to model a/b is restricted.", script=WAN)),
    "a blank behind a backslash fluxgym#439": ("stray-backslash", flat("usage: flux_train_network.py [-h]\nflux_train_network.py: error: unrecognized arguments: \\\n") + "[2025-07-16 14:16:06] [ERROR] Command exited with code 1\n"),
    "masks that are not cut sd-scripts PR#1632": ("mask-sizes", tb("RuntimeError: stack expects each tensor to be equal size, but got [992, 896] at entry 0 and [996, 896] at entry 1", f'{S}library/train_util.py|__getitem__|example["alpha_masks"] = torch.stack(alpha_mask_list)', script=SDXL)),
    "settings as a dataset config kohya_ss#3039": ("dataset-config-other", tb("voluptuous.error.MultipleInvalid: extra keys not allowed @ data['bucket_no_upscale']", f"{S}library/config_util.py|load_user_config|raise", f"{V}voluptuous/schema_builder.py|validate_mapping|raise er.MultipleInvalid(errors)", before="Invalid user config / ユーザ設定の形式が正しくないようです\n")),
    "a key of a dataset that is not there": ("dataset-config", tb("voluptuous.error.MultipleInvalid: extra keys not allowed @ data['datasets'][0]['caption_ext']", f"{V}voluptuous/schema_builder.py|validate_mapping|raise er.MultipleInvalid(errors)", before="Invalid user config / ユーザ設定の形式が正しくないようです\n")),
    "a merge of whole models kohya_ss#1449": ("merge-models", tb("KeyError: 'cond_stage_model.transformer.text_model.embeddings.position_embedding.weigh'", f"{S}networks/merge_lora.py|merge_lora_models|base_alpha = base_alphas[lora_module_name]", script=f"{S}networks/merge_lora.py", after="")),
    "a rank from no file kohya_ss#2334": ("weights-missing", tb("TypeError: expected str, bytes or os.PathLike object, not NoneType", f"{S}train_network.py|train|network, _ = network_module.create_network_from_weights(1, args.network_weights, vae, text_encoder, unet, **net_kwargs)", f'{S}networks/lora.py|create_network_from_weights|if os.path.splitext(file)[1] == ".safetensors":', "C:\\Python310\\lib\\ntpath.py|splitext|p = os.fspath(p)", script=SDXL)),
    "settings in gbk": ("settings-encoding", tb("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xd7 in position 36: invalid continuation byte", f"{S}library/train_util.py|read_config_from_file|config_dict = toml.load(f)", f"{V}toml/decoder.py|load|return loads(f.read(), _dict, decoder)", script=SDXL)),
    "another dll of torch": ("windows-dll", tb('OSError: [WinError 126] The specified module could not be found. Error loading "F:\\env\\lib\\site-packages\\torch\\lib\\c10_cuda.dll" or one of its dependencies.', f"{W}torch\\__init__.py|<module>|raise err", script="F:\\k\\train_network.py")),
}  # fmt: skip

LOGS = {
    **CHAINED,
    **LATE,
    **MEMORY,
    **GPU,
    **DISTRIBUTED,
    **RUNS,
    **DATA,
    **MODELS,
    **HUB,
    **OPTIONS,
    **PACKAGES,
    **SYSTEM,
}
