"""Runs that resume from a state, sample images, and loggers."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import row, sign

_SAMPLING = r"in (?:sample_images?\w*|sample_image_inference|do_inference|process_sample_prompts|generate_\w+)"
_LOADING = r"in (?:load_state|load_accelerator_state|resume_from_local_or_hf_if_specified|load_state_dict)"
_SAME = "resume with the settings of the first run: network_dim, network_module, network_args, optimizer_type and which parts are trained{now:network_dim}{now:optimizer_type}"
_WEIGHTS = "or start anew from the weights: args: {network_weights: LAST.safetensors, dim_from_weights: true}"

RESUME = (
    row(
        "resume-settings",
        (
            sign(
                r"parameter group that doesn't match the size of optimizer's group|different number of parameter groups",
                raises="ValueError",
                frame=_LOADING,
            ),
            sign(
                r"parameter group that doesn't match the size of optimizer's group|different number of parameter groups"
            ),
            sign(
                r"Error\(s\) in loading state_dict for \w+|size mismatch for",
                frame=r"accelerate/(?:checkpointing|accelerator)\.py",
            ),
            sign(r"Error\(s\) in loading state_dict for \w*Network\w*", before=r"resume training from"),
            sign(
                r"The size of tensor a \(\d+\) must match the size of tensor b",
                frame=r"(?:optim|adam|prodigy|lion|adafactor|schedulefree)\w*",
                before=r"resume training from",
            ),
            sign(
                r"KeyError: '(?:state\d|exp_avg\w*|step|d|z|absmax\d)'",
                raises="KeyError",
                frame=r"optim",
                before=r"resume training from",
            ),
        ),
        "the run resumes from a state that was saved with other settings: its network or optimizer has other parameter groups (text encoder trained or not, dim, conv, optimizer)",
        _SAME,
        _WEIGHTS,
        source="sd-scripts#378, #789; torch/optim/optimizer.py:928",
    ),
    row(
        "resume-state",
        (
            sign(
                r"Tried to find .{0,300} but folder does not exist|initial_step must be less|max_train_steps should be greater than initial step"
            ),
            sign(
                r"FileNotFoundError: .{0,300}(?:-state\b|optimizer\.bin|scheduler\.bin|random_states_\d|model\.safetensors|pytorch_model\.bin)",
                frame=_LOADING,
            ),
            sign(r"FileNotFoundError: .{0,300}(?:-state\b|random_states_\d)"),
            sign(r"NotADirectoryError", raises="NotADirectoryError", frame=_LOADING),
        ),
        "the state to resume from is missing, incomplete, or lies behind the last step",
        "args.resume{now:resume} names a folder ...-state, not a file; take the one before it",
        source="train_network.py:1253; Akegarasu/lora-scripts#464, #518, #627",
    ),
    row(
        "resume-weights-only",
        sign(
            r"Weights only load failed|Unsupported global",
            frame=r"accelerate/checkpointing\.py|in load_accelerator_state",
        ),
        "torch 2.6 and later refuses the pickled random states of a state, which this version of accelerate still reads the old way",
        "pip install -U accelerate   in the trainer's environment, or resume with the torch that wrote the state; the weights and optimizer in it are whole",
        source="accelerate/checkpointing.py; pytorch 2.6 release notes",
    ),
    row(
        "resume-broken",
        sign(
            r"PytorchStreamReader failed|UnpicklingError|EOFError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader\w*",
            frame=r"accelerate/checkpointing\.py|in load_accelerator_state",
        ),
        "a file of the state to resume from is truncated or empty: the run ended while it was written, or the disk was full",
        "take the state before it: args.resume{now:resume}; kohya-runner launch RECIPE --resume does so by itself",
        source="accelerate/checkpointing.py; docs/resume.md",
    ),
)

SAMPLING = (
    row(
        "sample-prompts-changed",
        (
            sign(r"'NoneType' object has no attribute '(?:to|device|dtype|encode|tokenize)'", raises="AttributeError", frame=r"strategy_\w+\.py:\d+ in encode_tokens\w*", before="generating sample images"),
            sign(r"'NoneType' object (?:has no attribute|is not callable|is not subscriptable)", raises="AttributeError|TypeError", frame=r"strategy_\w+\.py:\d+ in (?:encode_tokens|tokenize)\w*"),
            sign(r"KeyError", raises="KeyError", frame=r"in sample_image_inference: .{0,80}sample_prompts_te_outputs"),
        ),
        "a sample prompt was not among the cached text encoder outputs (the prompt file was edited while the run went on), and the text encoders are "
        "no longer loaded",
        "do not edit the prompt file during a run; resume from the last saved state: kohya-runner launch RECIPE --resume",
        "or args: {cache_text_encoder_outputs: false}{now:cache_text_encoder_outputs}",
        source="sd-scripts#1759; bmaltais/kohya_ss#2709; library/strategy_flux.py:57",
    ),
    row(
        "sample-size",
        (
            sign(r"Sizes of tensors must match except in dimension \d|The size of tensor a|EinopsError|Shape mismatch, can't divide axis|shape '\[.{1,60}\]' is invalid for input of size|can't divide axis of length", frame=_SAMPLING),
            sign(r"Sizes of tensors must match except in dimension \d|Shape mismatch, can't divide axis", before=r"generating sample images|^height: \d+$|sample_steps: "),
            sign(r"`height` and `width` have to be divisible by"),
        ),
        "a sample picture has a width or height that this model cannot make",
        "in the prompts (samples: prompts, --w and --h) multiples of 64 for SD 1.x, 2.x and SDXL, of 16 for FLUX, SD3, Wan and Qwen-Image",
        source="bmaltais/kohya_ss#2888; library/train_util.py:6447; library/flux_train_utils.py",
    ),
    row(
        "sample-prompts",
        (
            sign(r"No prompt file|UnboundLocalError.{0,60}'prompts'|stat: path should be string, bytes, os\.PathLike or integer, not NoneType \[.{0,60}(?:isfile|sample_prompts)"),
            sign(r"No such file|NoneType|stat: path", raises="FileNotFoundError|TypeError|AttributeError", frame=r"in (?:load_prompts|sample_images\w*): .{0,80}(?:open|isfile|sample_prompts|endswith)"),
            sign(r".", raises="JSONDecodeError|TomlDecodeError|TOMLDecodeError|KeyError", frame=r"in load_prompts"),
            sign(r"sample_prompts.{0,80}requires|--text_encoder is required for sample generation|image_path should be set for I2V|requires one control \(source\) image per sample"),
        ),
        "sample images are asked for, and the prompts (or what they need) are not there or cannot be read",
        "args: {sample_prompts: prompts.txt}{now:sample_prompts}   or leave sample_every_n_epochs, sample_every_n_steps and "
        "sample_at_first out",
        source="library/train_util.py:6395, :6329",
    ),
    row(
        "sample-sampler",
        (
            sign(r"IndexError: (?:index \d+ is out of bounds|list index out of range)", raises="IndexError", frame=r"schedulers?/scheduling_\w+\.py|in step\b"),
            sign(r"Can(?:not|'t) (?:use|pass) .{0,80}scheduler|does not support custom (?:timestep|sigmas) schedules|'karras_sigmas'|final_sigmas_type", frame=_SAMPLING),
        ),
        "the sampler cannot make this number of steps, or does not go with this model's noise schedule",
        "args: {sample_sampler: euler_a}{now:sample_sampler}, another number of steps in the prompts (--s 28)",
        source="library/train_util.py sample_images; diffusers schedulers",
    ),
    row(
        "sample-failed",
        sign(r".", raises=r"RuntimeError|ValueError|TypeError|AttributeError|AssertionError|KeyError", frame=_SAMPLING, unless=r"out of memory|CUDA error"),
        "the training itself went well: making a sample picture failed",
        "go on without: leave sample_every_n_epochs, sample_every_n_steps and sample_at_first out, and kohya-runner launch RECIPE --resume",
        source="library/train_util.py sample_images",
        vague=True,
    ),
)  # fmt: skip

LOGGERS = (
    row(
        "logger-key",
        r"api_key not configured|wandb: ERROR|wandb\.errors",
        "Weights & Biases was asked for and knows no key, or its server cannot be reached",
        "export WANDB_API_KEY=...   or WANDB_MODE=offline, or leave args.log_with out{now:log_with}",
        source="library/train_util.py:5459",
    ),
    row(
        "logging-dir",
        r"logging_dir is required when log_with is",
        "TensorBoard needs a folder",
        "args: {log_with: tensorboard}   in a recipe is enough: the run's own folder is given to it",
        source="library/train_util.py:5452",
    ),
)
