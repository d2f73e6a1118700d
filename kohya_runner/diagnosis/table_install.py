"""Packages that are missing or do not fit each other, and the Hub."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row

_OPTIMIZERS = r"prodigyopt|lion_pytorch|dadaptation|schedulefree|Prodigy|prodigyplus|pytorch_optimizer"

INSTALL = (
    row(
        "no-xformers",
        r"No module named 'xformers'|xFormers can't load C\+\+/CUDA extensions|No xformers"
        r"|No operator found for `?memory_efficient_attention"
        r"|xformers' memory efficient attention is only available for GPU",
        "xformers is missing, was built for another torch, or there is no GPU for it",
        "args: {sdpa: true, xformers: false}   torch's own attention, as fast and always there",
        source="library/train_util.py:3371; bmaltais/kohya_ss#3096, #3139, #3015",
    ),
    row(
        "bitsandbytes",
        r"libbitsandbytes_\w+\.so|CUDA Setup failed|bitsandbytes was compiled without GPU|No module named 'bitsandbytes'"
        r"|[Nn]o bitsandbytes|Could not find the bitsandbytes CUDA binary",
        "bitsandbytes, which the 8-bit optimizers need, is missing or does not fit this CUDA",
        "args: {optimizer_type: AdamW}{now:optimizer_type}   or build the environment anew: kohya-runner setup",
        source="library/train_util.py:4885; bmaltais/kohya_ss#1523; bitsandbytes-foundation/bitsandbytes#1200, #308",
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
        "opencv-gui",
        r"libGL\.so\.1: cannot open|libgthread-2\.0\.so\.0: cannot open",
        "opencv was built for a desktop, and this image has no libGL",
        "apt-get install -y libgl1 libglib2.0-0   or   pip install opencv-python-headless in the trainer's environment",
        source="runpod/containers#8; ltdrdata/ComfyUI-Impact-Pack#266",
    ),
    row(
        "no-triton",
        r"A matching Triton is not available|No module named 'triton'",
        "triton is not installed; nothing of sd-scripts needs it",
        "nothing: this line is no reason for a failure",
        source="bmaltais/kohya_ss#2203",
        warning=True,
        anywhere=True,
    ),
    row(
        "numpy-2",
        r"A module that was compiled using NumPy 1\.x cannot be run in|numpy\.dtype size changed"
        r"|_ARRAY_API not found|`np\.\w+` was removed in the NumPy 2",
        "numpy 2 was installed over packages that were built for numpy 1",
        "kohya-runner setup   (or: pip install 'numpy<2' in the trainer's environment)",
        source="numpy 2.0 migration guide",
    ),
    row(
        "hub-package",
        r"cannot import name 'cached_download'|cannot import name 'split_torch_state_dict_into_shards'",
        "huggingface_hub and diffusers do not fit each other",
        "kohya-runner setup   installs the versions that sd-scripts pins (requirements.txt)",
        source="bmaltais/kohya_ss#3140",
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
        "network-module",
        r"No module named '(?P<module>networks\.\w+|lycoris[\w.]*)'"
        r"|'NoneType' object has no attribute 'startswith' \[if name\.startswith",
        "the network module is not there: it is misspelt, left out, or its package is not installed",
        "args: {network_module: networks.lora}{now:network_module}   or install the package (lycoris-lora)",
        source="train_network.py:643",
    ),
    row(
        "logger-package",
        r"No module named '(?P<module>wandb|tensorboard\w*)'"
        r"|No wandb\b",
        "the logger that the run asks for is not in the trainer's environment",
        "leave args.log_with out{now:log_with}, or pip install it there",
        source="library/train_util.py:5459",
    ),
    row(
        "module-missing",
        r"(?:ModuleNotFoundError|ImportError): .{0,80}No module named '(?P<module>[\w.]+)'",
        "the trainer's environment lacks the package {found:module}",
        "kohya-runner setup   (or: pip install {found:module} in the trainer's environment)",
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
)

HUB = (
    row(
        "gated",
        r"401 Client Error|403 Client Error|GatedRepoError|Access to model .{0,200} is restricted"
        r"|Cannot access gated repo|Invalid user token",
        "the Hub does not let this account have the files: the licence is not accepted, or no valid token was given",
        "accept the licence on the model's page, then: export HF_TOKEN=...   (a read token of that account)",
        source="ostris/ai-toolkit#36, #676; XLabs-AI/x-flux#103; vladmandic/sdnext#4043",
    ),
    row(
        "no-network",
        r"Can't load tokenizer for|We couldn't connect to|Failed to resolve '|Max retries exceeded with url"
        r"|OfflineModeIsEnabled|trying to fetch metadata from the Hub|\[with open\(vocab_file"
        r"|Cannot find an appropriate cached snapshot|LocalEntryNotFoundError|outgoing traffic has been disabled|Name or service not known"
        r"|not a string .{0,40}SentencePieceProcessor_LoadFromFile",
        "a file of the Hub is needed (every script loads its tokenizers from there) and the Hub cannot be reached",
        Do("args: {tokenizer_cache_dir: DIR}   with the tokenizers in it, fetched where there is a network",
           unless="tokenizer_cache_dir"),
        "or reach the Hub another way: export HF_ENDPOINT=https://a-mirror",
        source="library/strategy_sd.py:17; sd-scripts#1792; Akegarasu/lora-scripts#270, #609; bmaltais/kohya_ss#2517",
    ),
    row(
        "no-such-repository",
        r"RepositoryNotFoundError|404 Client Error|is not a local folder and is not a valid model identifier"
        r"|model is not found as a file or in Hugging Face|neither a valid local path nor a valid repo id|HFValidationError|Repo id must",
        "what is given as a model is neither a file that is there nor a repository of the Hub",
        "correct the recipe's model:{now:pretrained_model_name_or_path}",
        source="library/train_util.py:5527",
    ),
)  # fmt: skip
