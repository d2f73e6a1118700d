"""Packages that are missing, mixed, too old or too new, and compilers for those that build something while they run."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_OPTIMIZERS = r"prodigyopt|lion_pytorch|dadaptation|schedulefree|Prodigy|prodigyplus|pytorch_optimizer|came_pytorch|adabelief_pytorch"
_SETUP = "kohya-runner setup   builds the environment with the versions that the trainer pins (requirements.txt)"
_ADAMW = Do("or args: {optimizer_type: AdamW}{now:optimizer_type}   needs no package with kernels of its own")
_HEADERS = "install Python's headers and a compiler: apt-get install -y python3-dev build-essential (python3.11-dev for a Python 3.11 of its own)"

COMPILERS = (
    row(
        "python-headers",
        (
            sign(r"CalledProcessError: the command \S*(?:gcc|cc|clang)\S* ", frame=r"triton/", before=r"Python\.h: No such file"),
            sign(r"CalledProcessError: the command \S*(?:gcc|cc|clang)\S* ", before=r"Python\.h: No such file"),
            sign(r"fatal error: Python\.h: No such file"),
        ),
        "triton compiles a helper while it runs, and Python's headers (Python.h) are missing",
        _HEADERS,
        _ADAMW,
        source="sd-scripts#2239; bmaltais/kohya_ss#3458; triton/runtime/build.py:53",
    ),
    row(
        "no-compiler",
        (
            sign(r"Failed to find C compiler|Compiler: (?:cl|g\+\+|gcc) is not found|InvalidCxxCompiler|No working C\+\+ compiler|error trying to exec 'cc1plus'|Microsoft Visual C\+\+ 14"),
            sign(r"FileNotFoundError: .{0,80}'(?:gcc|g\+\+|cc|cl|clang)'|WinError 2\b", frame=r"^(?:triton|torch/_inductor)/"),
            sign(r"cl\.exe.{0,60}not (?:found|recognized)|Error checking compiler version for cl"),
        ),
        "something is compiled while the training runs (triton, torch.compile), and there is no C compiler",
        "Linux: apt-get install -y build-essential python3-dev; Windows: the Build Tools for Visual Studio with C++",
        "or without it: args: {torch_compile: false}{now:torch_compile}, args: {optimizer_type: AdamW}{now:optimizer_type}",
        source="triton/runtime/build.py:32; torch/_inductor/cpp_builder.py",
    ),
    row(
        "compile-failed",
        (
            sign(r"CalledProcessError: the command \S*(?:gcc|cc|clang|g\+\+)\S* ", before=r"cannot find -lcuda|cuda\.h: No such file|(?:stdlib|limits|stdio)\.h: No such file|ld: cannot find"),
            sign(r"cannot find -lcuda|fatal error: (?:cuda(?:_runtime)?|stdlib|limits)\.h: No such file|libcuda\.so cannot found"),
        ),
        "a compiler was called while the training ran, and headers or libraries for it are missing (libcuda, cuda.h, the C library's)",
        "apt-get install -y build-essential python3-dev; for -lcuda: ldconfig, or a link libcuda.so beside libcuda.so.1",
        _ADAMW,
        source="triton/runtime/build.py; triton/backends/nvidia/driver.py",
    ),
    row(
        "compile-called",
        sign(r"CalledProcessError: the command \S*(?:gcc|cc|clang|g\+\+|cl\.exe|nvcc|ninja|ptxas)\S* ", frame=r"^(?:triton|torch|bitsandbytes|xformers)/"),
        "a package called a compiler while the training ran, and the compiler failed; its own words stand just above the traceback",
        _HEADERS,
        _ADAMW,
        source="triton/runtime/build.py",
    ),
    row(
        "cuda-toolkit",
        r"CUDA_HOME environment variable is not set|nvcc(?:\.exe)?['\"]?:? .{0,40}(?:not found|No such file)|Ninja is required to load C\+\+ extensions|detected CUDA version .{0,60}mismatches the version",
        "a package wants to build its own CUDA code, and the CUDA toolkit (nvcc), ninja, or the right version of it is missing",
        "install a ready-made wheel of the package for this torch; nothing in sd-scripts itself needs nvcc",
        source="torch/utils/cpp_extension.py",
    ),
    row(
        "torch-compile",
        (
            sign(r"No module named 'torch\._dynamo'|No module named 'torch\._inductor'"),
            sign(r"module 'torch' has no attribute '(?:compile|_dynamo)'"),
        ),
        "accelerate's settings ask for torch.compile (a dynamo backend), and this torch (1.x) has none",
        "accelerate config with dynamo: no (launch: {accelerate: {dynamo_backend: 'no'}}), or torch 2: kohya-runner setup",
        source="bmaltais/kohya_ss#232, #567",
    ),
    row(
        "torch-compile-failed",
        r"torch\._dynamo\.exc\.\w+|BackendCompilerFailed|torch\._inductor\.exc\.\w+|InductorError|TritonMissing|Cannot find a working triton installation|Windows not yet supported for torch\.compile"
        r"|torch\.compile is not supported|LoweringException",
        "torch.compile could not compile the model: triton or a compiler is missing, or the model's code does not go through it",
        "args: {torch_compile: false, dynamo_backend: 'no'}{now:dynamo_backend}; accelerate config with dynamo: no",
        source="sd-scripts#1125; torch/_dynamo/exc.py",
    ),
)  # fmt: skip

PACKAGES = (
    row(
        "triton-ops",
        r"No module named 'triton\.ops'|No module named 'triton\.language'",
        "bitsandbytes is older than triton: it uses a part (triton.ops) that newer ones do not have",
        "pip install -U bitsandbytes   (0.45.5 or later) in the trainer's environment, or: kohya-runner setup",
        source="bitsandbytes-foundation/bitsandbytes#1492; ostris/ai-toolkit#279; kohya-ss/musubi-tuner#149",
    ),
    row(
        "triton-missing",
        sign(r"No module named 'triton'", raises="ModuleNotFoundError|ImportError"),
        "a package of this run (an attention, an optimizer, an old bitsandbytes) needs triton, which is not installed",
        "Linux: kohya-runner setup; Windows: pip install triton-windows; or leave the package out: args: {sdpa: true, optimizer_type: AdamW}",
        source="bmaltais/kohya_ss#1274; woct0rdho/triton-windows",
    ),
    row(
        "bitsandbytes-old",
        (
            sign(r"No (?:Paged\w+|Lion8bit)\. The version of bitsandbytes"),
            sign(r"module 'bitsandbytes(?:\.\w+){0,3}' has no attribute"),
            sign(r"No module named 'bitsandbytes\.(?P<part>[\w.]+)'"),
            sign(r"No module named 'scipy'", frame=r"^bitsandbytes/"),
        ),
        "bitsandbytes is too old for this optimizer, or only half installed",
        "pip install -U --force-reinstall bitsandbytes   in the trainer's environment, or: kohya-runner setup",
        _ADAMW,
        source="library/train_util.py:4917-4963; bmaltais/kohya_ss#1683, #1692, #1800",
    ),
    row(
        "bitsandbytes",
        (
            sign(r"libbitsandbytes_\w+\.(?:so|dll)|CUDA Setup failed|bitsandbytes was compiled without GPU|No module named 'bitsandbytes'|[Nn]o bitsandbytes\b"
                 r"|Could not find the bitsandbytes|Attempted to use bitsandbytes native library|not available in CPU-only version of bitsandbytes|No compatible \w+ binary found"),
            sign(r"has no attribute '(?:cadam32bit|cadam_8bit|cquantize|cdequantize|cget_managed_ptr|cadam_static|clion|cpagedadam)\w*'|name 'str2optimizer\w+' is not defined"
                 r"|undefined symbol: (?:cadam|cget_|cquant|cdequant)\w*"),
            sign(r"'NoneType' object has no attribute 'split'|argument of type 'WindowsPath'", frame=r"^bitsandbytes/"),
        ),
        "bitsandbytes, which the 8-bit optimizers need, is missing or found no library for this CUDA",
        "kohya-runner setup   (or: pip install -U bitsandbytes in the trainer's environment; python -m bitsandbytes says what it misses)",
        _ADAMW,
        source="library/train_util.py:4885; bmaltais/kohya_ss#979, #1523; bitsandbytes-foundation/bitsandbytes#1200, #308, #900",
    ),
    row(
        "paged-optimizer",
        (
            sign(r"CUDA error: operation not supported at line \d+ in file .{0,80}pythonInterface"),
            sign(r"operation not supported", frame=r"^bitsandbytes/.{0,60}(?:get_paged|prefetch|get_managed)"),
        ),
        "the paged optimizers need managed memory, which this GPU under this driver does not offer (WSL, virtual GPUs)",
        "args: {optimizer_type: AdamW8bit}{now:optimizer_type}   the same without paging",
        source="bitsandbytes csrc/pythonInterface.cpp",
    ),
    row(
        "8-bit-needs-gpu",
        r"All input tensors need to be on the same GPU|bitsandbytes.{0,80}(?:CPU|cpu).{0,40}not supported"
        r"|optimizer_update_8bit.{0,40}(?:CPU|cpu)|There is no operator .{0,60}bitsandbytes::optimizer_update_8bit",
        "an 8-bit optimizer works on a GPU only",
        "args: {optimizer_type: AdamW}{now:optimizer_type}",
        source="bitsandbytes functional.py",
    ),
    row(
        "lycoris-bug",
        (
            sign(r"apply_max_norm_regularization", raises="AttributeError", frame=r"lycoris/"),
            sign(r"'(?:DyLoraModule|NormModule|FullModule|LycorisBaseModule)' object has no attribute", raises="AttributeError"),
        ),
        "a bug of older versions of LyCORIS (lycoris-lora before 3.0) with this algorithm",
        "pip install -U 'lycoris-lora>=3.0'   in the trainer's environment",
        "or another algorithm: args: {network_args: {algo: lokr}} (also: lora, locon, loha)",
        source="sd-scripts#1662, #1242; KohakuBlueleaf/LyCORIS#173; Akegarasu/lora-scripts#714",
    ),
    row(
        "lycoris-version",
        (
            sign(r"LycorisNetwork\w*\.\w+\(\) takes \d+ positional|LycorisNetwork\w*\.\w+\(\) (?:got an unexpected|missing \d+ required)", raises="TypeError"),
            sign(r"'Lycoris\w*' object has no attribute '\w+'", raises="AttributeError"),
            sign(r"(?:takes \d+ positional arguments? but|got an unexpected keyword argument|missing \d+ required positional)", raises="TypeError", frame=r"^lycoris/"),
        ),
        "LyCORIS and the trainer are of different times: they call each other with other arguments",
        "pip install -U lycoris-lora   in the trainer's environment where it is old; lycoris-lora==3.1.1.post1 where a newer one does not go with this trainer",
        source="KohakuBlueleaf/LyCORIS#213, #249; sd-scripts#1810",
    ),
    row(
        "lycoris-args",
        (
            sign(r"unsupported operand type\(s\) for [*/]+: 'str'|invalid literal for int|could not convert string to float", frame=r"(?:^|/)(?:lycoris|locon)/"),
            sign(r"KeyError|AssertionError|ValueError", raises="KeyError|AssertionError|ValueError", frame=r"^lycoris/(?:kohya|config)[^:]{0,40}:\d+ in \w+: .{0,120}(?:algo|preset|PRESET|conv_dim|factor|kwargs)"),
        ),
        "a value of network_args is not what LyCORIS takes",
        "args: {network_args: {algo: locon, conv_dim: 8, conv_alpha: 1}}{now:network_args}   numbers as numbers, algo one of lora, locon, loha, lokr, dylora, full, ia3",
        source="KohakuBlueleaf/LyCORIS#3; lycoris/kohya/__init__.py",
    ),
    row(
        "torchvision",
        r"PyTorch and torchvision were compiled with different CUDA|operator torchvision::nms does not exist|Couldn't load custom C\+\+ ops|torchvision.{0,80}undefined symbol|partially initialized module 'torchvision'|No module named 'torchvision\.transforms\.functional_tensor'",
        "torch and torchvision are of different versions: one of them was installed anew by another package",
        "kohya-runner setup   (or: pip install --force-reinstall torch torchvision, both from one index, in the trainer's environment)",
        source="pytorch/vision#8558; torchvision README",
    ),
    row(
        "extension-torch",
        (
            sign(r"(?P<library>flash_attn|xformers|sageattention|natten|torchaudio|apex|bitsandbytes)\S{0,120}(?:undefined symbol|DLL load failed|procedure could not be found)"),
            sign(r"WinError 12[67]|DLL load failed|undefined symbol", frame=r"^(?P<library>xformers|flash_attn|sageattention|bitsandbytes)/"),
            sign(r"Failed to import", also=r"flash_attn|undefined symbol|DLL load failed|procedure could not be found"),
            sign(r"undefined symbol: _ZN|DLL load failed while importing (?:flash_attn|sage|xformers|natten)\w*"),
        ),
        "a package with its own native code (flash-attn, xformers, ...) was built for another version of torch",
        "reinstall it for this torch, or do without: args: {sdpa: true, xformers: false, flash_attn: false}",
        source="kohya-ss/musubi-tuner#273; Dao-AILab/flash-attention#1783",
    ),
    row(
        "torch-old",
        (
            sign(r"module 'torch(?:\.\w+)*' has no attribute '(?P<name>float8_\w+|uint16|uint32|xpu|custom_op|register_fake|_running_with_deploy|register_pytree_node|compiler|inference_mode|accelerator|set_default_device|RMSNorm|nn|get_default_device)'"),
            sign(r"we now require users to upgrade torch to at least v|requires (?:PyTorch|torch) ?>=|fp8_base requires torch>=|Disabling PyTorch because PyTorch >="),
            sign(r"cannot import name '\w+' from 'torch(?:\.\w+)*'|module 'torch\.(?:utils|library|nn|amp|distributed)(?:\.\w+)*' has no attribute"),
            sign(r"scaled_dot_product_attention\(\) got an unexpected|'torch\.nn\.functional' has no attribute 'scaled_dot"),
        ),
        "torch is older than the trainer or one of its packages needs",
        _SETUP,
        source="transformers import_utils.py; train_network.py:830",
    ),
    row(
        "version-pin",
        r"(?P<package>tokenizers|huggingface[-_]hub|safetensors|numpy|tqdm|regex|requests|packaging|filelock|pyyaml|accelerate|torch|transformers|diffusers|peft|Pillow)(?P<wanted>[<>=!~][\d.,<>=!~]{1,60}) is required for a normal functioning of this module, but found (?P<found>\S{1,60})",
        "{found:package} has a version that transformers or diffusers refuses: wanted {found:wanted}",
        "pip install '{found:package}{found:wanted}'   in the trainer's environment, or: kohya-runner setup",
        source="transformers dependency_versions_check.py",
    ),
    row(
        "hub-package",
        r"cannot import name '(?P<name>cached_download|HfFolder|is_offline_mode|\w+)' from 'huggingface_hub|cannot import name 'split_torch_state_dict_into_shards'",
        "huggingface_hub does not fit diffusers or transformers: it is newer or older than they are",
        _SETUP,
        source="bmaltais/kohya_ss#3140; hollowstrawberry/kohya-colab#237",
    ),
    row(
        "accelerate-version",
        (
            sign(r"Accelerator\.?(?:__init__)?\(?\)? got an unexpected keyword argument '(?P<name>\w+)'|__init__\(\) got an unexpected keyword argument '(?:logging_dir|project_dir|dispatch_batches|kwargs_handlers)'"),
            sign(r"unwrap_model\(\) got an unexpected keyword|'Accelerator(?:State)?' object has no attribute|cannot import name '\w+' from 'accelerate"),
            sign(r"unexpected keyword argument 'keep_torch_compile'|requires Accelerate: `pip install|requires `?accelerate ?>="),
        ),
        "accelerate is newer or older than the trainer, or than transformers",
        _SETUP,
        source="bmaltais/kohya_ss#1146, #1151, #1198",
    ),
    row(
        "transformers-version",
        (
            sign(r"cannot import name '(?P<name>\w+)' from 'transformers|No module named 'transformers\.(?P<part>[\w.]+)'"),
            sign(r"'CLIPText(?:Model|Transformer)' object has no attribute '(?P<attribute>text_model|_build_causal_attention_mask|eos_token_id)'"),
            sign(r"(?:Missing|Unexpected) key\(s\) in state_dict: .{0,40}text_model\.embeddings\.position_ids"),
            sign(r"Error\(s\) in loading state_dict for CLIPText", also=r"(?:Missing|Unexpected) key\(s\) in state_dict: \"text_model\.embeddings\.position_ids\"\. ?$", raises="RuntimeError"),
            sign(r"Unexpected key\(s\).{0,60}position_ids", also=r"Error\(s\) in loading state_dict for CLIPTextModel"),
            sign(r"'(?:CLIP|T5|UMT5|Gemma|Qwen|Llama|Llava|Mistral)\w*' object has no attribute '\w+'"),
        ),
        "transformers is newer or older than the trainer: it moved what the trainer uses",
        _SETUP,
        source="huggingface/diffusers#13833; Nerogar/OneTrainer#1526; sd-scripts#1451",
    ),
    row(
        "diffusers-version",
        (
            sign(r"cannot import name '(?P<name>\w+)' from 'diffusers|No module named 'diffusers\.(?P<part>[\w.]+)'|module 'diffusers' has no attribute"),
            sign(r"Unexpected key\(s\) in state_dict: .{0,80}to_to_[kqv]"),
            sign(r"Error\(s\) in loading state_dict for AutoencoderKL", also=r"to_to_[kqv]", raises="RuntimeError"),
        ),
        "diffusers (or what it imports) is newer or older than the trainer",
        _SETUP,
        source="bmaltais/kohya_ss#1743, #3477",
    ),
    row(
        "transformers-old",
        r"model type `(?P<name>[\w-]+)` but Transformers does not recognize|Tokenizer class (?P<other>\w+) does not exist or is not currently imported|Unrecognized (?:configuration class|model in)",
        "transformers is older than this model: it does not know {found:name|other}",
        "pip install -U transformers   in the trainer's environment, as far as the trainer's requirements.txt allows; or: kohya-runner setup",
        source="transformers models/auto/configuration_auto.py",
    ),
    row(
        "tokenizer-package",
        r"requires? the SentencePiece library|requires the protobuf library|Couldn't instantiate the backend tokenizer|No module named '(?:sentencepiece|tiktoken)'|Unable to convert .{0,60}slow tokenizer",
        "a package that the tokenizer needs (sentencepiece, protobuf) is missing",
        "pip install sentencepiece protobuf   in the trainer's environment, or: kohya-runner setup",
        source="transformers convert_slow_tokenizer.py",
    ),
    row(
        "protobuf",
        r"Descriptors cannot (?:not )?be created directly|cannot import name 'builder' from 'google\.protobuf'|'MessageFactory' object has no attribute 'GetPrototype'",
        "protobuf is newer than tensorboard or wandb can use",
        "pip install 'protobuf<=3.20.3'   in the trainer's environment, or: kohya-runner setup",
        source="protobuf.dev/news/2022-05-06",
    ),
    row(
        "opencv-gui",
        r"(?:libGL\.so\.1|libgthread-2\.0\.so\.0|libSM\.so\.6|libXext\.so\.6): cannot open",
        "opencv was built for a desktop, and this image has no libGL",
        "apt-get install -y libgl1 libglib2.0-0   or   pip install opencv-python-headless in the trainer's environment",
        source="runpod/containers#8; ltdrdata/ComfyUI-Impact-Pack#266",
    ),
    row(
        "no-triton",
        r"A matching Triton is not available",
        "triton is not installed; nothing of sd-scripts needs it",
        "nothing: this line is no reason for a failure",
        source="bmaltais/kohya_ss#2203",
        warning=True,
        anywhere=True,
    ),
    row(
        "numpy-2",
        (
            sign(r"A module that was compiled using NumPy 1\.x cannot be run in|numpy\.dtype size changed|_ARRAY_API not found|`np\.\w+` was removed in the NumPy 2"),
            sign(r"numpy\.core\.multiarray failed to import|RuntimeError: Numpy is not available|No module named 'numpy\._core'|No module named 'numpy\.core"),
            sign(r"module 'numpy' has no attribute '(?P<name>\w+)'"),
        ),
        "numpy is newer (or older) than packages that were built for it",
        "kohya-runner setup   (or: pip install 'numpy<2' in the trainer's environment)",
        source="numpy 2.0 migration guide",
    ),
    row(
        "hf-transfer",
        r"HF_HUB_ENABLE_HF_TRANSFER=1.{0,40}but 'hf_transfer' package is not available",
        "the image asks for fast downloads with a package that is not in the trainer's environment",
        "export HF_HUB_ENABLE_HF_TRANSFER=0",
        source="huggingface_hub 0.34.3 file_download.py; runpod images set it",
    ),
    row(
        "optimizer-package",
        rf"No module named '(?P<module>{_OPTIMIZERS})|No (?P<name>{_OPTIMIZERS})\b",
        "the package of this optimizer is not in the trainer's environment",
        "pip install it there, or take another one: args: {optimizer_type: AdamW8bit}{now:optimizer_type}",
        source="library/train_util.py:4885-5142",
    ),
    row(
        "lycoris-missing",
        r"No module named '(?P<module>lycoris[\w.]*|locon[\w.]*)'",
        "the network module is of the package LyCORIS, which is not in the trainer's environment",
        "pip install lycoris-lora   there; or what the trainer has itself: args: {network_module: networks.lora}{now:network_module}",
        source="train_network.py:643",
    ),
    row(
        "network-module",
        (
            sign(r"No module named '(?P<module>(?:musubi_tuner\.)?networks[\w.]*)'"),
            sign(r"'NoneType' object has no attribute 'startswith'", frame=r"importlib"),
            sign(r"No module named '(?P<module>[\w.]+)'", frame=r"import_module\(args\.network_module\)"),
        ),
        "the network module is not there: it is misspelt, left out, or of another trainer",
        "args: {network_module: networks.lora}{now:network_module}   networks.lora_flux, lora_sd3, lora_wan, ... for the other families; lycoris.kohya needs: pip install lycoris-lora",
        source="train_network.py:643; bmaltais/kohya_ss#1097, #1897",
    ),
    row(
        "logger-package",
        r"No module named '(?P<module>wandb|tensorboard\w*)'|No wandb\b",
        "the logger that the run asks for is not in the trainer's environment",
        "leave args.log_with out{now:log_with}, or pip install it there",
        source="library/train_util.py:5459",
    ),
    row(
        "trainer-mixed",
        (
            sign(r"cannot import name '(?P<name>\w+)' from '(?:library|networks|musubi_tuner)"),
            sign(r"'\w+(?:Trainer|Strategy)' object has no attribute|module '(?:library|networks)\.\w+' has no attribute|'Namespace' object has no attribute '(?P<option>\w+)'"),
            sign(r"(?:takes \d+ positional arguments? but|got an unexpected keyword argument|missing \d+ required positional)", raises="TypeError", frame=r"^(?!.*(?:optim|get_scheduler)).{0,40}(?:train_network|_train)\w*\.py:\d+ in (?:train|main|<module>): .{0,60}(?:library|train_util|self|strategy)"),
        ),
        "files of the trainer are of different versions, or a wrapper calls a version of it that it was not made for",
        "in the trainer's folder: git status, git pull (or git checkout of one release), git submodule update; then kohya-runner setup",
        source="sd-scripts#115; bmaltais/kohya_ss#2789",
    ),
    row(
        "trainer-folder",
        r"No module named '(?P<module>library|library\.\w+|musubi_tuner[\w.]*)'",
        "Python does not find the trainer's own modules: it was started from another folder, is not installed, or another package is called library",
        "start it in the trainer's folder after pip install -e . there; kohya-runner launch RECIPE does so by itself",
        source="sd-scripts requirements.txt (-e .)",
    ),
    row(
        "module-missing",
        r"(?:ModuleNotFoundError|ImportError): .{0,80}No module named '(?P<module>[A-Za-z_][\w.]*)'|packages that were not found in your environment: (?P<packages>[\w, -]{1,80})",
        "the trainer's environment lacks the package {found:module|packages}, or has a version without it",
        "kohya-runner setup; if a recipe names the module (network_module, optimizer_type, lr_scheduler_type), install nothing that you do not know",
        source="requirements.txt of sd-scripts",
    ),
    row(
        "accelerate-config",
        r"The following values were not passed to .accelerate launch.",
        "accelerate was started without a configuration and took its own defaults",
        "accelerate launch --num_processes=1 --num_machines=1 --mixed_precision=no --dynamo_backend=no ...   "
        "(kohya-runner always does)",
        source="sd-scripts#440; bmaltais/kohya_ss#1735, #3097",
        warning=True,
        anywhere=True,
    ),
)  # fmt: skip
