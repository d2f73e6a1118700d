"""Pictures, captions, caches and model files."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row

_CHECK = "kohya-runner dataset check FOLDER   names every such file"

DATA = (
    row(
        "no-data",
        r"^No data found",
        "the trainer found no picture: it reads only the folders N_name inside train_data_dir, and ends with exit code 0",
        "train_data_dir is the folder above 10_cat, not 10_cat itself; a recipe lays it out: datasets: [{images: DIR, "
        "concept: cat, repeats: 10}]",
        source="train_network.py:575; sd-scripts#1294, #78; bmaltais/kohya_ss#216, #1725, #2148, #2698, #3374",
        anywhere=True,
    ),
    row(
        "folder-ignored",
        r"ignore directory without repeats",
        "a folder whose name does not begin with a number and _ was passed over",
        "name it N_concept, N being the repeats",
        source="library/config_util.py:613",
        warning=True,
        anywhere=True,
    ),
    row(
        "picture-broken",
        r"UnidentifiedImageError|cannot identify image file|image file is truncated|Could not load image path"
        r"|Error loading file: (?P<path>.{1,300}\.(?i:png|jpe?g|webp|bmp|avif|jxl))"
        r"|broken (?:PNG|data stream)|Truncated File Read|unrecognized data stream contents|SyntaxError: .{0,60}PNG",
        "a picture cannot be read: it is cut, or no picture at all",
        _CHECK,
        source="library/train_util.py:2959; bmaltais/kohya_ss#1718, #2324",
    ),
    row(
        "caption-empty",
        r"caption file is empty",
        "a caption file has no bytes in it",
        _CHECK,
        source="library/train_util.py:1964",
    ),
    row(
        "caption-encoding",
        r"UnicodeDecodeError: 'utf-8'|illegal char in file",
        "a caption (or prompt) file is not UTF-8",
        f"{_CHECK}; convert it: iconv -f latin1 -t utf-8 OLD > NEW",
        source="library/train_util.py:1963",
    ),
    row(
        "captions-unused",
        r"No caption file found for (?P<number>\d+) images|neither caption file nor class tokens are found",
        "pictures train without their captions: the trainer looks for .caption files unless it is told otherwise",
        Do("args: {caption_extension: .txt}", unless="caption_extension"),
        _CHECK,
        source="library/train_util.py:2085, :4493; bmaltais/kohya_ss#927, #988, #1370, #1936",
        warning=True,
        anywhere=True,
    ),
    row(
        "bucket-bounds",
        r"(?P<which>m(?:in|ax)_bucket_reso) must be",
        "buckets are on, and {found:which} does not let the resolution through",
        "args: {min_bucket_reso: 256{now:min_bucket_reso}} not above the shorter side of resolution{now:resolution}, "
        "args: {max_bucket_reso: 1024{now:max_bucket_reso}} not below the longer one",
        source="library/train_util.py:766, :769",
    ),
    row(
        "bucket-steps",
        r"bucket_reso_steps is.{0,80}must be divisible by|must be divisible by (?P<number>\d+)",
        "bucket_reso_steps does not fit this family",
        "args: {bucket_reso_steps: 64}{now:bucket_reso_steps}",
        source="library/train_util.py:1094",
    ),
    row(
        "picture-size",
        r"AssertionError: image too (?:large|small)|image too (?:large|small), but cropping and bucketing are disabled"
        r"|image size is small",
        "a picture has another size than the resolution, and neither buckets nor cached latents would change it",
        Do("args: {enable_bucket: true}", unless="enable_bucket"),
        Do("args: {cache_latents: true}", unless="cache_latents"),
        source="library/train_util.py:1634-1647",
    ),
    row(
        "cache-broken",
        r"BadZipFile|File is not a zip file|Error loading file: .{0,400}\.npz|Cannot load file containing pickled data"
        r"|This file contains pickled \(object\) data"
        r"|Truncated .{0,20}npz|cannot reshape array of size",
        "a cached .npz file is cut, most likely by an interrupted run",
        "remove the .npz files beside the pictures and run again",
        source="library/strategy_base.py:427",
    ),
    row(
        "cache-stale",
        r"stack expects each tensor to be equal size|latents? (?:size|shape) (?:mismatch|.{0,40}does not match)"
        r"|The size of tensor a \(\d+\) must match the size of tensor b \(\d+\) at non-singleton dimension [23]",
        "pictures of one batch have latents of different sizes: cached .npz files are of an older resolution or picture",
        "remove the .npz files beside the pictures and run again",
        source="library/strategy_base.py:427; sd-scripts#1771, PR#2276; bmaltais/kohya_ss#1629",
    ),
    row(
        "dataset-config",
        r"voluptuous\.error\.|MultipleInvalid|extra keys not allowed @ data",
        "the dataset_config names a key that is not there, or a value of the wrong kind",
        "a recipe needs none: datasets: [{images: DIR, concept: cat, repeats: 10}]",
        source="library/config_util.py:370",
    ),
    row(
        "conditioning-pair",
        r"(?:missing|extra) conditioning data for|size of conditioning image is not match",
        "a picture has no conditioning picture of its name and size, or a conditioning picture has none",
        "give both folders the same file names and the same sizes",
        source="library/train_util.py:2487, :2490, :2537",
    ),
)

MODELS = (
    row(
        "safetensors-broken",
        r"HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization|header too large|InvalidHeader(?:Length|Start)?\b"
        r"|incomplete metadata, file not fully covered|invalid header (?:length|deserialization)",
        "a .safetensors file is cut, or is a web page or a Git LFS pointer with that name",
        "fetch it again and compare its size and sha256 with the Hub's; kohya-runner plan RECIPE checks it before the run",
        source="sd-scripts#990; AMontgomerie/Lora-for-Diffusers#3; openpsi-project/ReaLHF#44",
    ),
    row(
        "checkpoint-broken",
        r"invalid load key, '(?P<key>.{1,4})'|UnpicklingError|PytorchStreamReader failed|Weights only load failed"
        r"|unsupported pickle protocol",
        "a model file is read as a torch checkpoint and is none: cut, or without its .safetensors ending (a link into the "
        "Hub's cache ends in no name at all)",
        "give the real file: hf download REPOSITORY FILE --local-dir DIR",
        source="library/train_util.py:5527; library/sdxl_train_util.py:69",
    ),
    row(
        "model-missing",
        r"FileNotFoundError: No such file or directory: \"(?P<path>[^\"]{1,300})|Error no file named .{0,80} found in"
        r"|FileNotFoundError: .{0,60}'(?P<file>[^']{1,300}\.(?:safetensors|ckpt|pt|pth|bin))'",
        "a model file that the run names is not there",
        "correct the path: model, components, args.network_weights{now:network_weights}, args.vae{now:vae}",
        source="library/train_util.py:5527",
    ),
    row(
        "wrong-family",
        r"Error\(s\) in loading state_dict for|size mismatch for \w|KeyError: '(?:model\.diffusion_model|conditioner"
        r"|cond_stage_model|first_stage_model|double_blocks|joint_blocks)[\w.]*'",
        "the model file belongs to another family than the script expects",
        "kohya-runner plan RECIPE   says what the file is; correct family: or model:{now:pretrained_model_name_or_path}",
        source="bmaltais/kohya_ss#2982",
    ),
    row(
        "nan-latents",
        r"NaN detected in latents|NaN found in latents",
        "the VAE made NaN of a picture, as SDXL's own does in fp16; a cached NaN stays in its .npz file",
        Do("args: {no_half_vae: true}   and remove the .npz files beside the pictures", unless="no_half_vae"),
        Do("remove the .npz files beside the pictures: no_half_vae does not mend what is cached already"),
        source="train_network.py:411, library/train_util.py:3098; sd-scripts#653, #892; bmaltais/kohya_ss#2674",
        anywhere=True,
    ),
    row(
        "nan-loss",
        r"(?:avr_)?loss=nan|loss is nan",
        "the loss became NaN: everything that was trained after that is worthless, and the trainer does not stop by itself",
        "lower the learning rate: args.learning_rate{now:learning_rate}, args.unet_lr{now:unet_lr}; keep the checkpoints "
        "from before",
        Do("args: {mixed_precision: bf16}{now:mixed_precision}   fp16 overflows sooner"),
        Do("args: {no_half_vae: true}   and remove the .npz files", unless="no_half_vae", only="sdxl"),
        Do("args: {max_grad_norm: 1.0}{now:max_grad_norm}"),
        source="library/train_util.py:6668; sd-scripts#2137, #2313, #1571, #293, #201, #820; bmaltais/kohya_ss#1758",
        anywhere=True,
    ),
)
