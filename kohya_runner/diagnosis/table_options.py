"""Options that are not there, do not go together, or say nothing the trainer understands."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row

OPTIONS = (
    row(
        "option-unknown",
        r"error: unrecognized arguments: (?P<option>.{1,200})",
        "this script has no such option: {found:option}",
        "kohya-runner options SCRIPT WORD   looks one up; a recipe is refused with the nearest name before it starts",
        source="argparse; sd-scripts docs",
        anywhere=True,
    ),
    row(
        "option-value",
        r"error: (?:argument (?P<option>--[\w/-]+).{0,10}: (?P<what>.{1,200})|ambiguous option: (?P<also>.{1,200}))",
        "an option's value is refused: {found:option} {found:what}",
        "kohya-runner options SCRIPT WORD   says what it takes",
        source="argparse",
        anywhere=True,
    ),
    row(
        "text-cache",
        r"when caching Text Encoder output|network for Text Encoder cannot be trained|cache_text_encoder_outputs.{0,80}"
        r"(?:cannot|not supported|required)",
        "cached text encoder outputs cannot be shuffled, dropped out, or trained through",
        "args: {network_train_unet_only: true, shuffle_caption: false, caption_dropout_rate: 0, "
        "caption_tag_dropout_rate: 0, token_warmup_step: 0}",
        "or args: {cache_text_encoder_outputs: false}",
        source="sdxl_train_network.py:35, :39, library/train_util.py:1102; bmaltais/kohya_ss#1210; sd-scripts#1543, #886, "
        "#1460",
    ),
    row(
        "latent-cache",
        r"when caching latents, either color_aug or random_crop cannot be used",
        "cached latents cannot be recoloured or cropped anew",
        "args: {color_aug: false, random_crop: false}   or   args: {cache_latents: false}",
        source="train_network.py:582",
    ),
    row(
        "optimizer-args",
        r"ValueError: malformed node or string|ValueError: not enough values to unpack \(expected 2"
        r"|ValueError: too many values to unpack \(expected 2",
        "an entry of optimizer_args, lr_scheduler_args or network_args is not key=value with a Python literal",
        "args: {optimizer_args: {weight_decay: 0.01}}{now:optimizer_args}   text values need quotes of their own",
        source="library/train_util.py:4860",
    ),
    row(
        "optimizer-keyword",
        r"TypeError: .{0,80}__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'",
        "the optimizer (or scheduler) knows no argument {found:name}",
        "remove it from args.optimizer_args{now:optimizer_args}, or take the optimizer that has it{now:optimizer_type}",
        source="library/train_util.py:5120-5135",
    ),
    row(
        "optimizer-name",
        r"module 'torch\.optim' has no attribute '(?P<name>\w+)'",
        "torch has no optimizer {found:name}",
        "args: {optimizer_type: AdamW8bit}{now:optimizer_type}",
        source="library/train_util.py:5120",
    ),
    row(
        "warmup",
        r"does not require .{0,20}warmup",
        "this scheduler takes no warmup",
        "args: {lr_warmup_steps: 0}{now:lr_warmup_steps}   or   args: {lr_scheduler: constant_with_warmup}"
        "{now:lr_scheduler}",
        source="library/train_util.py:5296",
    ),
    row(
        "scheduler-name",
        r"ValueError: '?(?P<name>[^'\s]{1,60})'? is not a valid SchedulerType",
        "there is no scheduler '{found:name}'",
        "args: {lr_scheduler: cosine}   the others: linear, cosine_with_restarts, polynomial, constant, "
        "constant_with_warmup",
        source="library/train_util.py:5326",
    ),
    row(
        "nothing-trained",
        r"optimizer got an empty parameter list|element 0 of tensors does not require grad|not require(?:s)? grad and does not"
        r" have a grad_fn",
        "nothing is left to train: every learning rate is 0, or the switches leave no part of the network",
        "args: {learning_rate: 1e-4}{now:learning_rate}; of network_train_unet_only and network_train_text_encoder_only at "
        "most one",
        source="networks/lora.py:1188, train_network.py:707-754",
    ),
    row(
        "full-precision",
        r"full_(?:fp16|bf16) requires mixed precision",
        "full_fp16 and full_bf16 want mixed_precision of the same name",
        "args: {mixed_precision: bf16, full_bf16: true}{now:mixed_precision}",
        source="train_network.py:815, :821",
    ),
    row(
        "fp8-precision",
        r"fp8_base requires mixed precision",
        "fp8_base works with mixed precision only",
        "args: {mixed_precision: bf16}{now:mixed_precision}",
        source="train_network.py:831",
    ),
    row(
        "fp16-cpu",
        r"fp16 mixed precision requires a GPU",
        "fp16 needs a GPU, and torch finds none",
        "args: {mixed_precision: 'no'}{now:mixed_precision}; if there is a GPU: kohya-runner doctor",
        source="accelerate accelerator.py",
    ),
    row(
        "bf16-gpu",
        r"bf16 mixed precision requires|[Cc]urrent GPU architecture does(?:n't| not) support bf16|bfloat16 is (?:not|only) "
        r"supported",
        "this GPU cannot compute in bf16 (it takes Ampere or later: RTX 30xx, A100)",
        "args: {mixed_precision: fp16}{now:mixed_precision}",
        source="accelerate accelerator.py",
    ),
    row(
        "fp16-gradients",
        r"Attempting to unscale FP16 gradients",
        "the trained weights themselves are fp16, which the gradient scaler refuses",
        "args: {mixed_precision: bf16}{now:mixed_precision}, and of full_fp16 and full_bf16 none or the same one",
        source="torch amp/grad_scaler.py",
    ),
    row(
        "dtype",
        r"mat1 and mat2 must have the same dtype|Input type \(.{1,60}\) and (?:weight|bias) type .{1,80}should be the same"
        r"|expected (?:scalar type|m1 and m2 to have the same dtype)|Query/Key/Value should either all have the same dtype",
        "parts of the model were loaded in different number formats",
        "args: {mixed_precision: bf16}{now:mixed_precision}, and leave full_fp16, full_bf16, no_half_vae and fp8_base as "
        "the family's recipe has them",
        source="torch nn/modules; recipes/",
    ),
    row(
        "device",
        r"Expected all tensors to be on the same device",
        "parts of the model are on different devices",
        Do("args: {lowram: false}", only="network|^$"),
        "leave blocks_to_swap{now:blocks_to_swap} and cpu_offload_checkpointing to one of the two",
        source="torch _C; library/custom_offloading_utils.py",
    ),
    row(
        "huber-schedule",
        r"Huber schedule 'snr' is not supported|Unknown Huber loss schedule",
        "the huber schedule snr does not exist for this family",
        "args: {huber_schedule: constant}{now:huber_schedule}",
        source="library/train_util.py:6120",
    ),
    row(
        "resolution-value",
        r"resolution must be 'size'|resolution is required|invalid literal for int\(\) with base 10: '(?P<value>\d+[xX]\d+)'",
        "the resolution is no number and no pair with a comma",
        "args: {resolution: '1024,1024'}{now:resolution}",
        source="library/train_util.py:5411-5415, :1921",
    ),
    row(
        "zero-interval",
        r"ZeroDivisionError: integer (?:division or )?modulo by zero",
        "save_every_n_epochs or save_every_n_steps is 0",
        "args: {save_every_n_epochs: 1}{now:save_every_n_epochs}",
        source="train_network.py:1497, :1694",
    ),
    row(
        "zero-division",
        r"ZeroDivisionError",
        "a picture has no readable size, or is smaller than a bucket's step",
        "kohya-runner dataset check FOLDER   names it; or args: {bucket_no_upscale: false}{now:bucket_no_upscale}",
        source="library/train_util.py:337-345, :747-771",
    ),
    row(
        "sample-prompts",
        r"No prompt file|UnboundLocalError.{0,60}'prompts'"
        r"|stat: path should be string, bytes, os\.PathLike or integer, not NoneType",
        "sample images are asked for and the prompts are not there",
        "args: {sample_prompts: prompts.txt}{now:sample_prompts}   or leave sample_every_n_epochs, sample_every_n_steps and "
        "sample_at_first out",
        source="library/train_util.py:6395, :6329",
    ),
    row(
        "path-missing",
        r"TypeError: (?:l?stat: path should be|expected str, bytes or os\.PathLike object|readlink: path should).{0,60}NoneType",
        "a path that the script needs was not given (output_dir, or the model)",
        "give the run a recipe: name, model and the output are always there",
        source="train_network.py:1296, library/train_util.py:5527",
    ),
    row(
        "persistent-workers",
        r"persistent_workers option needs num_workers > 0",
        "persistent workers were asked for, and no workers",
        "args: {persistent_data_loader_workers: false}   or   args: {max_data_loader_n_workers: 2}"
        "{now:max_data_loader_n_workers}",
        source="torch utils/data/dataloader.py",
    ),
    row(
        "resume-state",
        r"Tried to find .{0,300} but folder does not exist|FileNotFoundError: .{0,300}-state\b|initial_step must be less"
        r"|max_train_steps should be greater than initial step",
        "the state to go on from is not there, is not whole, or lies behind the last step",
        "args.resume{now:resume} names a folder ...-state, not a file; take the one before it",
        source="train_network.py:1253; Akegarasu/lora-scripts#464, #518, #627",
    ),
    row(
        "logger-key",
        r"api_key not configured|wandb: ERROR|wandb\.errors",
        "Weights & Biases was asked for and knows no key",
        "export WANDB_API_KEY=...   or leave args.log_with out{now:log_with}",
        source="library/train_util.py:5459",
    ),
    row(
        "logging-dir",
        r"logging_dir is required when log_with is",
        "TensorBoard needs a folder",
        "args: {log_with: tensorboard}   in a recipe is enough: the run's own folder is given to it",
        source="library/train_util.py:5452",
    ),
    row(
        "interrupted",
        r"^KeyboardInterrupt|died with <Signals\.SIG(?:INT|TERM|HUP)|ended with signal (?:1|2|15)\b",
        "somebody stopped the trainer: Ctrl-C, kohya-runner stop, a closed terminal, or the machine's end",
        "kohya-runner launch RECIPE   starts it again",
        source="signal(7)",
    ),
    row(
        "default-steps",
        r"total optimization steps[^:]{0,40}: 1600$",
        "1600 steps are the trainer's default: neither epochs nor steps were asked for, or under a name it does not know",
        "args: {max_train_epochs: 10}",
        source="library/train_util.py:3952; bmaltais/kohya_ss#2303, #2371, #2379, #2976",
        warning=True,
        anywhere=True,
    ),
    row(
        "refused",
        r"^(?:AssertionError|ValueError|ImportError|RuntimeError): (?P<what>[^/]{8,300}?) / .{0,300}[\u3040-\u30ff\u4e00-\u9fff]",
        "the trainer refuses it: {found:what}",
        "kohya-runner plan RECIPE   knows most of these rules before the run",
        source="the trainer's own check",
    ),
)
