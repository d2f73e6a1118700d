"""Options that are not there, do not go together, or say nothing the trainer understands."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

OPTIONS = (
    row(
        "option-unknown",
        r"^\S{1,200}?(?: \S{1,30})?: error: unrecognized arguments: (?P<option>.{1,200})|^(?:usage: )?.{0,200}: error: unrecognized arguments: (?P<other>.{1,200})",
        "this script has no such option: {found:option|other}",
        "kohya-runner options SCRIPT WORD   looks one up; a recipe is refused with the nearest name before it starts",
        source="argparse; sd-scripts docs",
        anywhere=True,
    ),
    row(
        "option-value",
        r": error: (?:argument (?P<option>--[\w-]+)[^:]{0,80}: (?P<what>.{1,200})|ambiguous option: (?P<also>.{1,200})"
        r"|the following arguments are required: (?P<needed>.{1,200}))",
        "an option's value is missing, refused, or the option itself is needed (the line below names it)",
        "kohya-runner options SCRIPT WORD   says what it takes; a value with spaces needs quotes, one that begins with - is written --option=-1",
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
        (
            sign(
                r".",
                raises="SyntaxError|ValueError|IndentationError|TypeError|RecursionError",
                frame=r"ast\.py:\d+ in literal_eval|ast\.literal_eval\(",
            ),
            sign(
                r"not enough values to unpack \(expected 2|too many values to unpack \(expected 2",
                raises="ValueError",
                frame=r"\.split\(\"=\"\)|\.split\('='\)|in (?:get_optimizer|get_\w*scheduler\w*)",
            ),
            sign(
                r"cannot unpack non-iterable|'(?:float|int)' object is not (?:subscriptable|iterable)",
                raises="TypeError",
                frame=r"in get_optimizer|optim\w*/",
            ),
            sign(
                r"'(?:list|dict|float|int|bool)' object has no attribute 'split'",
                raises="AttributeError",
                frame=r"in get_optimizer|net_arg|optimizer_args|_scheduler",
            ),
            sign(
                r"ValueError: malformed node or string|ValueError: not enough values to unpack \(expected 2|ValueError: too many values to unpack \(expected 2"
            ),
        ),
        "an entry of optimizer_args, lr_scheduler_args or network_args is not one key=value with a Python literal: it was split at a space, has no =, "
        "or a text without quotes of its own",
        "args: {optimizer_args: {weight_decay: 0.01, betas: '(0.9, 0.99)'}}{now:optimizer_args}   on a command line each entry is one word: \"betas=0.9,0.99\" without spaces",
        source="library/train_util.py:4860; bmaltais/kohya_ss#2343; sd-scripts#962; Linaqruf/kohya-trainer#130",
    ),
    row(
        "network-args",
        (
            sign(
                r"invalid literal for int\(\) with base 10: '(?P<value>[^']{0,60})'|could not convert string to float: '(?P<text>[^']{0,60})'|unsupported operand type\(s\) for .{1,4}: 'str'|not supported between instances of 'str'",
                frame=r"(?:^|/)networks/\w+\.py",
            ),
            sign(
                r"(?:block_dims|block_alphas|conv_block_dims|conv_block_alphas) must have|invalid (?:in_dims|train_blocks|embedder_dims|range|start index|end index|index)",
                raises="AssertionError",
            ),
            sign(r"rank must be a multiple of unit|conv_dim must be same as network_dim|split_dim must be divisible"),
        ),
        "a value of network_args is not what the network module takes",
        "args: {network_args: {conv_dim: 8, conv_alpha: 1}}{now:network_args}   numbers as whole numbers, lists with the length that the message names",
        source="networks/lora.py:533-563; networks/lora_flux.py:501; networks/dylora.py:39",
    ),
    row(
        "optimizer-keyword",
        (
            sign(
                r"TypeError: .{0,80}__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'",
                frame=r"in get_optimizer|in get_\w*scheduler|optim|prodigy|lion|adafactor|came",
            ),
            sign(
                r"ValueError: (?:Invalid|Unexpected) (?P<name>[\w ]+)(?: value| parameter)?: ",
                frame=r"in get_optimizer",
            ),
        ),
        "the optimizer (or scheduler) takes no argument {found:name|other}, or not this value of it",
        "remove it from args.optimizer_args{now:optimizer_args} or args.lr_scheduler_args{now:lr_scheduler_args}, or take the optimizer that has it{now:optimizer_type}",
        source="library/train_util.py:5120-5135",
    ),
    row(
        "optimizer-name",
        r"module '(?:torch\.optim|pytorch_optimizer|transformers\.optimization|bitsandbytes\.optim)' has no attribute '(?P<name>\w+)'|Unknown optimizer type: (?P<other>\S+)",
        "there is no optimizer of that name: {found:name|other}",
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
        "scheduler-steps",
        r"requires `num_(?P<what>warmup|training|decay)_steps`, please provide",
        "this scheduler needs a number of {found:what} steps",
        "args: {lr_warmup_steps: 100, lr_decay_steps: 100}{now:lr_scheduler}   or   args: {lr_scheduler: cosine}",
        source="library/train_util.py:5334-5381",
    ),
    row(
        "scheduler-name",
        r"ValueError: '?(?P<name>[^'\s]{1,60})'? is not a valid SchedulerType|module 'torch\.optim\.lr_scheduler' has no attribute '(?P<other>\w+)'",
        "there is no scheduler of that name: {found:name|other}",
        "args: {lr_scheduler: cosine}   the others: linear, cosine_with_restarts, polynomial, constant, "
        "constant_with_warmup",
        source="library/train_util.py:5326",
    ),
    row(
        "full-precision",
        r"full_(?:fp16|bf16) requires mixed[ _]precision",
        "full_fp16 and full_bf16 want mixed_precision of the same name",
        "args: {mixed_precision: bf16, full_bf16: true}{now:mixed_precision}",
        source="train_network.py:815, :821",
    ),
    row(
        "dit-precision",
        r"DiT weights are in (?P<format>fp16|bf16), mixed precision must be",
        "the model file is in {found:format}, and mixed_precision is another format",
        "args: {mixed_precision: {found:format}}{now:mixed_precision}",
        source="musubi_tuner/wan_train_network.py:63-65",
    ),
    row(
        "mixed-precision",
        r"Unknown mixed_precision mode: (?P<value>\S{1,40})",
        "mixed_precision has a value that accelerate does not know: {found:value}",
        "args: {mixed_precision: bf16}   the others: fp16, 'no'",
        source="accelerate utils/dataclasses.py",
    ),
    row(
        "fp8-precision",
        r"fp8_base requires mixed precision|fp8_scaled requires fp8_base|supports? only scaled fp8|supports --fp8_base only together with --fp8_scaled|does not support --fp8_base",
        "fp8_base works with mixed precision only, and musubi-tuner's fp8_scaled only with fp8_base",
        "args: {mixed_precision: bf16, fp8_base: true}{now:mixed_precision}; musubi-tuner: fp8_scaled: true with it",
        source="train_network.py:831",
    ),
    row(
        "fp16-gradients",
        r"Attempting to unscale FP16 gradients",
        "the trained weights themselves are fp16, which the gradient scaler refuses",
        "args: {mixed_precision: bf16}{now:mixed_precision}, and of full_fp16 and full_bf16 none or the same one",
        source="torch amp/grad_scaler.py",
    ),
    row(
        "vae-dtype",
        (
            sign(
                r"Input type .{1,60} and (?:weight|bias) type .{1,80}should be the same|expected scalar type|must have the same dtype",
                frame=r"vae\.(?:encode|decode)|(?:^|/)vae\.py|autoencoder_kl",
            ),
        ),
        "the VAE and the pictures have different number formats: one is in half precision, the other is not",
        Do("args: {no_half_vae: true}", unless="no_half_vae"),
        "args: {cache_latents: true}   and remove the .npz files beside the pictures",
        source="train_network.py vae_dtype; torch nn/modules/conv.py",
    ),
    row(
        "dtype",
        (
            sign(
                r"Query/Key/Value should either all have the same dtype|Expected query, key, and value to have the same dtype"
            ),
            sign(
                r"mat1 and mat2 must have the same dtype(?!.{0,40}Float8)|Input type \(.{1,60}\) and (?:weight|bias) type .{1,80}should be the same"
                r"|expected (?:scalar type|m1 and m2 to have the same dtype)"
            ),
        ),
        "two parts of the model compute in different number formats (half and single precision)",
        "args: {mixed_precision: bf16}{now:mixed_precision}, on the trainer's command line too and not only accelerate's; of full_fp16 and full_bf16 none or the same one",
        Do("args: {no_half_vae: false}", having="no_half_vae"),
        Do("args: {fp8_base: false}", having="fp8_base"),
        source="torch nn/modules; recipes/",
        vague=True,
    ),
    row(
        "device",
        r"Expected all tensors to be on the same device",
        "parts of the model are on different devices: something moved one to the processor and did not bring it back",
        Do("args: {lowram: false}", having="lowram"),
        Do("args: {blocks_to_swap: 0}", having="blocks_to_swap"),
        Do("args: {cpu_offload_checkpointing: false}", having="cpu_offload_checkpointing"),
        "leave out what moves parts of a model (lowram, blocks_to_swap, cpu_offload_checkpointing, block-wise sampling), one after the other; a newer version "
        "of the trainer where none of them is on",
        source="torch _C; library/custom_offloading_utils.py; kohya-ss/musubi-tuner#654",
        vague=True,
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
        vague=True,
    ),
    row(
        "settings-toml",
        (
            sign(r"TomlDecodeError|TOMLDecodeError", raises="TomlDecodeError|TOMLDecodeError"),
            sign(
                r"TomlDecodeError: (?P<what>.{1,200})|TOMLDecodeError|Reserved escape sequence used|Found invalid character in key name"
            ),
            sign(
                r"FileNotFoundError",
                raises="FileNotFoundError",
                frame=r"in load_user_config|in read_config_from_file|toml\.load\(",
            ),
            sign(
                r"not supported config file format|file not found / |Config file (?P<path>\S{1,300}) not found|IndexError|TypeError|KeyError",
                frame=r"^toml/|config_util\w*\.py:\d+ in load_user_config",
            ),
        ),
        "a settings file (config_file, dataset_config) cannot be read: it is not there, no TOML, or a path in it has single backslashes",
        "paths in TOML with / or in single quotes: 'C:\\data\\img'; texts need quotes, switches true or false; a recipe needs no TOML",
        source="kohya-ss/musubi-tuner#72; library/config_util.py:678-698",
    ),
    row(
        "adafactor",
        r"Cannot combine manual `lr` and `relative_step|warmup_init=True` requires `relative_step",
        "Adafactor was given a learning rate and also told to find its own",
        "args: {optimizer_args: {relative_step: false, scale_parameter: false, warmup_init: false}}{now:optimizer_args}",
        source="transformers optimization.py Adafactor; recipes/",
    ),
    row(
        "text-encoder-lr",
        (
            sign(
                r"object of type '(?:float|int)' has no len\(\)|'(?:float|int)' object is not (?:subscriptable|iterable)",
                raises="TypeError",
                frame=r"text_encoder_lr",
            ),
            sign(r"list index out of range", raises="IndexError", frame=r"text_encoder_lr"),
        ),
        "text_encoder_lr is one number, or too short a list, where the trainer wants a list with one number for each text encoder",
        "args: {text_encoder_lr: [1e-5, 1e-5]}{now:text_encoder_lr}   in TOML: text_encoder_lr = [1e-5, 1e-5]",
        source="Akegarasu/lora-scripts#513; train_network.py:474",
    ),
    row(
        "output-folder",
        (
            sign(r"Permission denied: '/config_\w+-[\d-]+\.(?:toml|json)'", raises="PermissionError"),
            sign(r"No such file or directory: ''|Errno 2\] .{0,40}: ''", frame=r"makedirs|open\("),
        ),
        "no output folder is set, so the files of the run go to the root of the disk or nowhere",
        "set the output folder (a recipe's workspace; kohya_ss: Folders, Output directory)",
        source="bmaltais/kohya_ss#2483",
    ),
    row(
        "fused-backward",
        r"fused_backward_pass (?:currently only works|does not work)|Schedule-free optimizer is not supported with blockwise",
        "fused_backward_pass works with Adafactor alone and without gradient accumulation",
        "args: {optimizer_type: Adafactor, gradient_accumulation_steps: 1}, or args: {fused_backward_pass: false}{now:optimizer_type}",
        source="library/train_util.py:4849-4852",
    ),
    row(
        "swap-checkpointing",
        r"blocks_to_swap is not supported with cpu_offload_checkpointing|Cannot use both --unsloth_offload|Cannot swap more than|Block swap is not supported with offloading|blocks_to_swap .{0,60}must be",
        "blocks_to_swap is too large for this model, or does not go with another kind of offloading",
        "args: {blocks_to_swap: 18}{now:blocks_to_swap}   and without cpu_offload_checkpointing",
        source="library/flux_models.py:977; flux_train_network.py:77",
    ),
    row(
        "chroma-mask",
        r"apply_t5_attn_mask must be True for Chroma",
        "Chroma needs T5's attention mask",
        "args: {apply_t5_attn_mask: true}",
        source="flux_train_network.py:54",
    ),
    row(
        "component-missing",
        sign(
            r"NoneType",
            raises="TypeError|AttributeError",
            frame=r"in load_(?P<part>clip_l|clip_g|t5xxl|ae|vae|clip|t5|gemma2|flow_model|llm|text_encoder\w*)\b",
        ),
        "the file of a component ({found:part}) was not given to the trainer",
        "args: {clip_l: FILE, t5xxl: FILE, ae: FILE}{now:clip_l}{now:t5xxl}{now:ae}   FLUX takes these three beside the model, SD3 clip_g too; a recipe says them under components:",
        source="cocktailpeanut/fluxgym#321; library/flux_utils.py:275",
    ),
    row(
        "path-missing",
        (
            sign(
                r"path should be string|expected str, bytes or os\.PathLike|path should",
                raises="TypeError",
                frame=r"args\.(?P<option>(?!dataset_config)\w+)",
            ),
            sign(
                r"TypeError: (?:l?stat: path should be|expected str, bytes or os\.PathLike object|readlink: path should).{0,60}NoneType|'NoneType' object has no attribute '(?:endswith|rstrip)'"
            ),
        ),
        "a path that the script needs was not given: {found:option}",
        "args: the option that the innermost line names{now:output_dir}; a recipe always has name, model, components and output",
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
        vague=True,
    ),
)
