"""Pictures, captions and caches."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_CHECK = "kohya-runner dataset check FOLDER   names every such file"

DATA = (
    row(
        "no-data",
        r"^No data found|No training items found in the dataset|num train images \* repeats[^:]{0,60}: 0$|^No images found|num_samples should be a positive integer value, but got num_samples=0|no image(?:s)? found in .{1,200}director",
        "the trainer found no picture (or, musubi-tuner, no cache of one): sd-scripts reads only the folders N_name inside train_data_dir",
        "train_data_dir is the folder above 10_cat, not 10_cat itself; a recipe lays it out: datasets: [{images: DIR, "
        "concept: cat, repeats: 10}]; musubi-tuner: run its cache_latents and cache_text_encoder_outputs scripts first",
        source="train_network.py:575; musubi-tuner training/trainer_base.py:1449; sd-scripts#1294, #78; bmaltais/kohya_ss#216, #1725, #2148, #2698, #3374",
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
        (
            sign(
                r"UnidentifiedImageError|cannot identify image file|image file is truncated|Could not load image path"
                r"|Error loading file: (?P<path>.{1,300}\.(?i:png|jpe?g|webp|bmp|avif|jxl))"
                r"|broken (?:PNG|data stream)|Truncated File Read|unrecognized data stream contents|SyntaxError: .{0,60}PNG|Corrupt EXIF|Decompressed data too large"
            ),
            sign(r".", raises="AttributeError|TypeError|error", frame=r"cv2\.(?:imread|cvtColor|resize)"),
            sign(r"OpenCV.{0,200}!_src\.empty\(\)|\(-215:Assertion failed\)"),
        ),
        "an image file cannot be read: it is truncated, or not an image",
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
        (
            sign(
                r"UnicodeDecodeError: 'utf-8'",
                frame=r"in (?:read_caption|load_dreambooth_dir|load_prompts|sample_images|__init__)|(?:readlines|read)\(\)",
            ),
            sign(r"UnicodeDecodeError: 'utf-8'|illegal char in file"),
        ),
        "a caption (or prompt, or settings) file is not UTF-8",
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
        "npz-as-picture",
        (
            sign(r"cannot identify image file '(?P<path>[^']{1,300}\.npz)'", raises="UnidentifiedImageError"),
            sign(r"cannot identify image file '(?P<path>[^']{1,300}\.npz)'"),
        ),
        "the trainer reads a cached .npz file as if it were a picture: the pictures were renamed or converted, or this version looks for "
        "caches under another name (metadata files with cache_latents_to_disk)",
        "remove the .npz files beside the pictures and run again; a newer sd-scripts (0.11.1) has the mend",
        source="sd-scripts#931, #2326, #2362, PR#2380",
    ),
    row(
        "picture-bomb",
        r"DecompressionBombError",
        "a picture has more pixels than the library takes for safe",
        "make it smaller (4096 a side is plenty); " + _CHECK,
        source="Pillow Image.MAX_IMAGE_PIXELS",
    ),
    row(
        "cache-broken",
        (
            sign(r"Error loading file: .{0,400}\.npz|Overlapped entries: .{0,60}\.npy"),
            sign(
                r"BadZipFile|Bad CRC-32 for file '.{1,60}\.npy'|Bad magic number for (?:file header|central directory)|File is not a zip file",
                unless=r"PytorchStreamReader",
            ),
            sign(
                r"EOFError|OSError|ValueError|UnpicklingError|zlib|KeyError|Truncated",
                raises=r"EOFError|OSError|ValueError|UnpicklingError|error|KeyError",
                frame=r"numpy/\S{1,60} in (?:load|read_array|read_magic|_read_bytes|__getitem__)\b|(?:strategy_\w+|train_util)\.py:\d+ in (?:load_latents\w*|load_outputs_npz|load_text_encoder\w*|is_disk_cached\w*)",
            ),
            sign(
                r"Cannot load file containing pickled data|This file contains pickled \(object\) data|cannot reshape array of size"
            ),
            sign(r"(?:latents|hidden_state|t5_out|l_pooled|attn_mask)\w* not found in .{1,300}\.npz"),
            sign(r"SafetensorError", raises="SafetensorError", frame=r"(?:image_video_dataset|cache_io)\.py"),
        ),
        "a cached file (.npz: latents or text encoder outputs) is truncated, empty or of another kind, most likely after an interrupted run",
        "remove the cached files (.npz beside the pictures, musubi-tuner's cache_directory) and run again",
        source="library/strategy_base.py:427, :589; bmaltais/kohya_ss#3155; kijai/ComfyUI-FluxTrainer#123",
    ),
    row(
        "cache-stale",
        (
            sign(
                r"Trying to resize storage that is not resizable|each element in list of batch should be of equal size",
                frame=r"collate",
            ),
            sign(
                r"stack expects each tensor to be equal size|latents? (?:size|shape) (?:mismatch|.{0,40}does not match)"
            ),
            sign(
                r"The size of tensor a \(\d+\) must match the size of tensor b \(\d+\) at non-singleton dimension [23]",
                frame=r"(?:train_util|strategy_\w+|train_network|\w+_train\w*)\.py:\d+ in (?:__getitem__|train|process_batch|get_noise\w*|call_unet|get_noise_pred_and_target|apply_masked_loss)",
                unless="sample_image",
            ),
        ),
        "pictures of one batch have latents or masks of different sizes: cached .npz files are of an older resolution or picture",
        "remove the .npz files beside the pictures and run again",
        source="library/strategy_base.py:427; sd-scripts#1771, PR#2276; bmaltais/kohya_ss#1629",
    ),
    row(
        "cache-other-model",
        sign(
            r"Given groups=1, weight of size \[\d+, (?P<wants>\d+), 3, 3\], expected input\[.{1,40}\] to have (?:4|16) channels, but got (?P<got>4|16|32) channels"
        ),
        "the latents have another number of channels than the model takes: the cached .npz files were made with the VAE of another model family",
        "remove the .npz files beside the pictures and run again",
        source="library/strategy_base.py:427; torch nn/modules/conv.py",
    ),
    row(
        "cache-keys",
        sign(
            r"KeyError: '(?P<key>[^']{1,80})'",
            raises="KeyError",
            frame=r"(?:image_video_dataset|cache_io|strategy_\w+)\.py|in call_dit: .{0,80}batch\[",
        ),
        "a cached file lacks what this model needs ({found:key}): it was made for another model or by another version",
        "remove the caches and make them again with this model's own cache scripts (image to video of Wan: wan_cache_latents.py --i2v, for 2.1 with --clip)",
        source="kohya-ss/musubi-tuner#159; musubi-tuner dataset/cache_io.py",
    ),
    row(
        "dataset-config",
        r"voluptuous\.error\.|MultipleInvalid|extra keys not allowed @ data|^Invalid user config|DreamBooth subset and fine tuning subset cannot be mixed"
        r"|cache directory should be unique for each dataset|image_directory or image_jsonl_file must be specified|(?:image_dir|metadata_file) must be specified|dataset_config is required",
        "the dataset_config names a key that is not there, or a value of the wrong kind",
        "a recipe needs none: datasets: [{images: DIR, concept: cat, repeats: 10}]",
        source="library/config_util.py:370",
    ),
    row(
        "conditioning-pair",
        r"(?:missing|extra) conditioning data for|size of conditioning image is not match|Could not find matching control (?:images|videos)|do not have control paths in JSONL"
        r"|requires exactly one control content|multiple-target image not found",
        "a picture has no conditioning (control) picture of its name and size, or a conditioning picture has none",
        "give both folders the same file names and the same sizes",
        source="library/train_util.py:2487, :2490, :2537",
    ),
    row(
        "metadata",
        (
            sign(r"no metadata / |image_dir is required when image paths are relative"),
            sign(r"JSONDecodeError: .{0,80}(?:Expecting|Extra data)", frame=r"json\.loads?\("),
        ),
        "a file of metadata or prompts (.json, .jsonl) is missing, or is not JSON",
        "python -m json.tool FILE   shows where it breaks; a .jsonl file has one object a line",
        source="library/train_util.py:2263, :2277",
    ),
    row(
        "video-size",
        r"Image or video size too small: (?P<path>.{1,300}?)(?: and |, size)|frame_extraction .{1,40} is not supported|Video length is less than",
        "a picture or video is too small or too short for this model",
        "larger resolution or fewer target_frames in the dataset's settings; " + _CHECK,
        source="musubi-tuner cache_latents.py:244; dataset/image_video_dataset.py:771",
    ),
)
