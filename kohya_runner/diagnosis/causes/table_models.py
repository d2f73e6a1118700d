"""Model files: of another family, in another layout, quantized, or broken; network modules that do not fit; NaN."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_PLAN = "kohya-runner plan RECIPE   says what the file is; correct family: or model:{now:pretrained_model_name_or_path}"
_SD1 = r"^(?:train_network|train_db|fine_tune|train_textual_inversion|train_control_net|train_controlnet)\.py"
_FLUX_FILES = (
    "flux_train_network.py (recipe: family: flux) with single files: args.pretrained_model_name_or_path flux1-dev.safetensors, "
    "args.clip_l, args.t5xxl, args.ae"
)
_FETCH = (
    "fetch it again and compare its size and sha256 with the Hub's; kohya-runner plan RECIPE checks it before the run"
)
_HEADER = r"HeaderTooLarge|HeaderTooSmall|InvalidHeaderDeserialization|header too large|InvalidHeader(?:Length|Start)?\b|invalid header (?:length|deserialization)|invalid UTF-8 in header"
_MODULE_OF = (
    (r"^flux_train_network|^flux_kontext", "lora_flux"), (r"^sd3_train", "lora_sd3"), (r"^lumina", "lora_lumina"), (r"^hunyuan_image", "lora_hunyuan_image"),
    (r"^anima", "lora_anima"), (r"^(?:sdxl_)?train_network", "lora"), (r"^wan_", "lora_wan"), (r"^hv_train", "lora"), (r"^hv_1_5", "lora_hv_1_5"),
    (r"^fpack", "lora_framepack"), (r"^flux_2", "lora_flux_2"), (r"^qwen_image", "lora_qwen_image"), (r"^zimage", "lora_zimage"), (r"^kandinsky5", "lora_kandinsky"),
    (r"^hidream", "lora_hidream_o1"), (r"^ideogram4", "lora_ideogram4"), (r"^krea2", "lora_krea2"),
)  # fmt: skip
_MODULES = (
    *(Do(f"args: {{network_module: networks.{name}}}{{now:network_module}}   the one for this script", only=script, sure=True) for script, name in _MODULE_OF),
    Do("args: {network_module: networks.lora_FAMILY}   the module of the model's family: lora (SD, SDXL, HunyuanVideo), lora_flux, lora_sd3, lora_wan, "
       "lora_qwen_image, lora_zimage, ...", only="^$"),
)  # fmt: skip

FILES = (
    row(
        "gguf",
        (
            sign(r"invalid load key, 'G'"),
            sign(_HEADER, also=r"\.gguf\b"),
            sign(_HEADER, before=r"\.gguf\b"),
        ),
        "the model file is a GGUF (quantized for llama.cpp and ComfyUI), which no trainer reads",
        "the bf16 or fp16 .safetensors of the same model; the trainer quantizes by itself: args: {fp8_base: true}",
        source="github.com/ggml-org/ggml gguf.md; safetensors README",
    ),
    row(
        "file-pointer",
        r"invalid load key, '(?:v|<|\{|\\n)'",
        "a model file is no model: a Git LFS pointer (begins with 'version'), or a web page or an error message that was saved under its name",
        "git lfs pull, or: hf download REPOSITORY FILE --local-dir DIR",
        source="git-lfs spec; torch/serialization.py",
    ),
    row(
        "safetensors-broken",
        (
            sign(rf"{_HEADER}|MetadataIncompleteBuffer|incomplete metadata, file not fully covered|InvalidOffset|metadata incomplete buffer"),
            sign(r"Error while deserializing|File does not contain tensor|TensorInvalidInfo", raises="SafetensorError|RuntimeError|Exception", unless=r"os error|Os \{ code"),
            sign(r".", raises="JSONDecodeError|UnicodeDecodeError|error|OverflowError|MemoryError", frame=r"safetensors|get_safetensors_metadata|safetensors_utils"),
        ),
        "a .safetensors file is truncated, or is a web page, a Git LFS pointer or another format with that name",
        _FETCH,
        source="sd-scripts#990; AMontgomerie/Lora-for-Diffusers#3; openpsi-project/ReaLHF#44",
    ),
    row(
        "weights-only",
        r"Weights only load failed|weights_only=True.{0,200}(?:unsafe|Unsupported|not an allowed global)|Unsupported global: GLOBAL",
        "torch 2.6 and later opens old pickled files (.ckpt, .pt, states of older versions) only if they hold nothing but tensors",
        "convert the file to .safetensors where you trust it; for a state to resume: use the version that wrote it",
        source="torch/serialization.py; pytorch 2.6 release notes",
    ),
    row(
        "torch-load-refused",
        r"serious vulnerability issue in `torch\.load`",
        "transformers loads .bin files only with torch 2.6 or later",
        "torch 2.6 or later: kohya-runner setup; or the model's .safetensors files",
        source="transformers import_utils.py check_torch_load_is_safe",
    ),
    row(
        "checkpoint-broken",
        (
            sign(r"invalid load key, '(?P<key>.{1,4})'|UnpicklingError|PytorchStreamReader failed|unsupported pickle protocol|unexpected EOF, expected \d+ more bytes|Invalid magic number; corrupt"),
            sign(r"EOFError: Ran out of input|EOFError", raises="EOFError", frame=r"torch/serialization"),
        ),
        "a model file is read as a torch checkpoint and is none: cut, or without its .safetensors ending (a link into the "
        "Hub's cache ends in no name at all)",
        "give the real file: hf download REPOSITORY FILE --local-dir DIR",
        source="library/train_util.py:5527; library/sdxl_train_util.py:69",
    ),
    row(
        "model-missing",
        r"FileNotFoundError: No such file or directory: \"?(?P<path>[^\"]{1,300})|Error no file named .{0,80} found in|File (?P<also>\S{1,300}\.(?:safetensors|pth|pt|bin)) not found"
        r"|FileNotFoundError: .{0,60}'(?P<file>[^']{1,300}\.(?:safetensors|ckpt|pt|pth|bin|sft))'|path to DiT model is required|(?:vae|ae|VAE) checkpoint is required|CLIP path is required"
        r"|clip_l, clip_g, t5xxl must be specified",
        "a model file that the run names (or must name) is not there",
        "correct the path: model, components, args.network_weights{now:network_weights}, args.vae{now:vae}",
        source="library/train_util.py:5527; musubi-tuner training/trainer_base.py:1397",
    ),
)  # fmt: skip

NETWORKS = (
    row(
        "network-module-family",
        (
            sign(r"optimizer got an empty parameter list", raises="ValueError", before=r"create (?:LoRA|LyCORIS|LoHa|LoKr|OFT) for (?!Text Encoder)[^:]{1,40}: 0 modules"),
            sign(r"'LoRANetwork' object has no attribute 'train_t5xxl'", raises="AttributeError", script=r"flux|sd3"),
            sign(r"'list' object has no attribute 'named_modules'", raises="AttributeError", frame=r"networks/(?:dylora|lora_fa|oft)\.py"),
            sign(r"optimizer got an empty parameter list|No LoRA modules found|found zero target modules|Cannot auto-detect architecture", before=r"create LoRA for (?!Text Encoder)[^:]{1,40}: 0 modules"),
            sign(r"found zero target modules|Cannot auto-detect architecture|No LoRA modules found"),
            sign(r".", raises="AttributeError|TypeError|KeyError|ValueError|AssertionError|IndexError|RuntimeError", frame=r"networks/(?:lora|oft)_flux\.py", script=r"^(?!.*flux).*train"),
            sign(r".", raises="AttributeError|TypeError|KeyError|ValueError|AssertionError|IndexError|RuntimeError", frame=r"networks/lora_sd3\.py", script=r"^(?!.*sd3).*train"),
            sign(r".", raises="AttributeError|TypeError|KeyError|ValueError|AssertionError|IndexError", frame=r"networks/lora_(?:lumina|anima|hunyuan_image|wan|qwen_image|framepack|zimage)\.py",
                 script=r"^(?:train_network|sdxl_train_network|flux_train_network|sd3_train_network)\.py"),
            sign(r".", raises="AttributeError|TypeError", frame=r"networks/(?:lora|dylora|lora_fa|oft)\.py:\d+ in (?:create_network|__init__|create_modules)", script=r"flux_train|sd3_train|lumina_train|anima_train|hunyuan_image"),
            sign(r"module '[\w.]{1,60}' has no attribute 'create_(?:arch_)?network'"),
        ),
        "the network module is of another model family: it finds nothing in this model that it could train, or expects other parts of it",
        *_MODULES,
        source="kohya-ss/musubi-tuner#255, #817; networks/lora_flux.py:935; musubi-tuner networks/lora.py:740",
    ),
    row(
        "network-weights-shape",
        sign(r"Error\(s\) in loading state_dict for (?:LoRA|LyCORIS|Lycoris|LoHa|LoKr|OFT|DyLoRA|TextualInversion)?\w*Network\w*", unless=r"resume training from|accelerator\.load_state\("),
        "the weights to start from (network_weights) have another rank or other modules than this run's network",
        "args: {dim_from_weights: true}, or network_dim, network_alpha and network_args as they were trained with{now:network_weights}",
        source="train_network.py:643-700",
    ),
    row(
        "nothing-trained",
        r"optimizer got an empty parameter list|No inf checks were recorded for this optimizer|element 0 of tensors does not require grad|not require(?:s)? grad and does not"
        r" have a grad_fn",
        "nothing is left to train: every learning rate is 0, or the switches leave no part of the network",
        "args: {learning_rate: 1e-4}{now:learning_rate}; of network_train_unet_only and network_train_text_encoder_only at "
        "most one",
        source="networks/lora.py:1188, train_network.py:707-754",
    ),
)  # fmt: skip

FAMILIES = (
    row(
        "flux-in-sd-script",
        (
            sign(r"Cannot load <class 'diffusers\..{1,80}AutoencoderKL'> from .{1,300}because the following keys are missing", also=r"quant_conv", script=_SD1),
            sign(r"Cannot load <class 'diffusers\..{1,80}AutoencoderKL'> from", before=r"'use_(?:post_)?quant_conv': False|shift_factor"),
            sign(r"Pipeline <class 'diffusers\..{1,80}> expected|KeyError: '(?:time_embed|input_blocks|model\.diffusion_model)", before=r"flux1?[-_.]|FluxPipeline|FLUX\.1", script=_SD1),
            sign(r".", raises="KeyError|RuntimeError|AttributeError", frame=r"in convert_ldm_unet_checkpoint|in convert_ldm_vae_checkpoint", before=r"(?i)load StableDiffusion checkpoint: .{0,300}flux"),
        ),
        "a FLUX (or SD3) model was given to the script for SD 1.x and 2.x",
        _FLUX_FILES,
        source="sd-scripts#1701; library/train_util.py load_target_model",
    ),
    row(
        "sd3-in-sd-script",
        sign(r".", raises="KeyError|RuntimeError|AttributeError|ValueError", frame=r"in (?:convert_ldm_\w+|load_models_from_stable_diffusion_checkpoint|_?load_target_model)",
             before=r"(?i)load StableDiffusion checkpoint: .{0,300}sd_?3(?:[._-]|\b)"),
        "an SD3 model was given to the script for SD 1.x, 2.x",
        "sd3_train_network.py (recipe: family: sd3) with a bf16 or fp16 file; args.clip_l, args.clip_g, args.t5xxl where the file has none",
        source="bmaltais/kohya_ss#3017",
    ),
    row(
        "inpainting-model",
        sign(r"expected input\[.{1,40}\] to have 9 channels, but got 4 channels|size mismatch for (?:conv_in|input_blocks\.0\.0)\.weight: .{0,60}torch\.Size\(\[320, (?:9|8|5), 3, 3\]\)|\[320, 9, 3, 3\]\) from checkpoint"),
        "the model is an inpainting (or edit) model: its first layer takes 9 channels, and this trainer feeds 4",
        "model: the plain model it was made from, not its inpainting version{now:pretrained_model_name_or_path}",
        source="library/model_util.py; sd-scripts PR#2309",
    ),
    row(
        "t5-not-cached",
        sign(r"'T5EncoderModel' object has no attribute 'text_model'"),
        "this version of the trainer handles T5 as if it were CLIP where its outputs are not cached",
        "args: {cache_text_encoder_outputs: true}{now:cache_text_encoder_outputs}, or a newer sd-scripts",
        source="sd-scripts#1451, #1453",
    ),
    row(
        "sdxl-refiner",
        sign(r"'NoneType' object has no attribute 'dtype'", raises="AttributeError", frame=r"sdxl_train_util\.py:\d+ in _load_target_model"),
        "a part of an SDXL model (its first or second text encoder) is not in the folder or repository: it is the refiner, or no SDXL model",
        "model: stabilityai/stable-diffusion-xl-base-1.0, or a single .safetensors file of an SDXL model; SD 1.5 trains with train_network.py (family: sd15)",
        source="bmaltais/kohya_ss#2526, #3008; sd-scripts#1041; library/sdxl_train_util.py",
    ),
    row(
        "v2-flag",
        (
            sign(r"size mismatch for .{1,160}torch\.Size\(\[\d+, 1024\]\) from checkpoint, the shape in current model is torch\.Size\(\[\d+, 768\]\)", script=_SD1),
            sign(r"size mismatch for .{1,160}torch\.Size\(\[\d+, 1024\]\) from checkpoint, the shape in current model is torch\.Size\(\[\d+, 768\]\)"),
            sign(r"Error\(s\) in loading state_dict for (?:UNet2DConditionModel|CLIPTextModel)",
                 also=r"\[\d+, (?:768|1024)\]\) from checkpoint, the shape in current model is torch\.Size\(\[\d+, (?:1024|768)\]\)|\[\d+, \d+\]\) from checkpoint.{1,60}, 1, 1\]\)"),
            sign(r"size mismatch for .{1,160}torch\.Size\(\[\d+, 768\]\) from checkpoint, the shape in current model is torch\.Size\(\[\d+, 1024\]\)"),
            sign(r"size mismatch for .{1,80}proj_in\.weight: copying a param with shape torch\.Size\(\[\d+, \d+\]\) from checkpoint, the shape in current model is torch\.Size\(\[\d+, \d+, 1, 1\]\)"),
            sign(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(?:768|1024) and (?:1024|768)x\d+\)"),
        ),
        "the switch v2 does not fit the model: it is needed for SD 2.x and wrong for SD 1.x",
        "args: {v2: true} for an SD 2.x model (v_parameterization: true for the 768 ones), without both for SD 1.x{now:v2}",
        source="library/model_util.py; bmaltais/kohya_ss#234",
    ),
    row(
        "sdxl-in-sd-script",
        (
            sign(r"Error\(s\) in loading state_dict for UNet2DConditionModel", also=r"torch\.Size\(\[\d+, 2048\]\) from checkpoint"),
            sign(r"size mismatch for .{1,160}torch\.Size\(\[\d+, 2048\]\) from checkpoint", unless="sdxl_"),
            sign(r".", raises="KeyError|RuntimeError", frame=r"in convert_ldm_clip_checkpoint_v[12]|in load_models_from_stable_diffusion_checkpoint", before=r"(?i)load StableDiffusion checkpoint: .{0,300}(?:xl|pony|illustrious|noob)"),
            sign(r"mat1 and mat2 shapes cannot be multiplied \(\d+x768 and 2048x\d+\)"),
            sign(r"down_blocks\.\d\.attentions\.\d\.transformer_blocks\.[1-9]", also=r"Error\(s\) in loading state_dict for UNet2DConditionModel"),
        ),
        "an SDXL model was given to the script for SD 1.x and 2.x",
        "sdxl_train_network.py (recipe: family: sdxl)",
        source="sd-scripts#809; library/model_util.py",
    ),
    row(
        "sd-in-sdxl-script",
        (
            sign(r"Error\(s\) in loading state_dict for (?:Sdxl\w+|CLIPTextModelWithProjection)", frame=r"sdxl_model_util|sdxl_train_util"),
            sign(r"KeyError: '(?:conditioner|logit_scale|text_projection)|KeyError", raises="KeyError", frame=r"sdxl_model_util\.py:\d+ in (?:convert_sdxl_text_encoder_2_checkpoint|load_models_from_sdxl_checkpoint)"),
            sign(r"Error\(s\) in loading state_dict for SdxlUNet2DConditionModel"),
            sign(r"mat1 and mat2 shapes cannot be multiplied \(\d+x2048 and 768x\d+\)"),
        ),
        "the model given to the SDXL script is no SDXL model",
        "train_network.py (recipe: family: sd15 or sd2) for SD 1.x and 2.x; " + _PLAN,
        source="library/sdxl_model_util.py:166",
    ),
    row(
        "not-flux",
        (
            sign(r"max\(\) (?:arg is an empty sequence|iterable argument is empty)", raises="ValueError", frame=r"flux_utils\.py:\d+ in analyze_checkpoint_state"),
            sign(r"Key not found in diffusers_to_bfl_map"),
        ),
        "the model given to the FLUX script is no FLUX transformer: a whole checkpoint of another family, a text encoder, or a prefixed all-in-one file",
        "args: {pretrained_model_name_or_path: flux1-dev.safetensors}   the transformer alone (23.8 GB in bf16), not an SD or SDXL file{now:pretrained_model_name_or_path}",
        source="library/flux_utils.py:67-81",
    ),
    row(
        "keys-missing",
        (
            sign(r"Cannot copy out of meta tensor", before=r"Loaded (?P<part>\w+): _IncompatibleKeys"),
            sign(r"meta device|device meta|device=meta", before=r"Loaded (?P<part>\w+): _IncompatibleKeys\(missing_keys=\['"),
            sign(r"Cannot copy out of meta tensor"),
        ),
        "the file of a part of the model ({found:part}) lacks weights that the trainer expects: it is quantized in another layout, in diffusers' layout, or of another model",
        "the single .safetensors file of the original release (flux1-dev, clip_l, t5xxl_fp16, ae) in bf16 or fp16; args: {fp8_base: true} quantizes it then",
        source="sd-scripts#1552, #1965; library/flux_utils.py:145",
    ),
    row(
        "wan-task",
        (
            sign(r"Error\(s\) in loading state_dict for WanModel", also=r"k_img|img_emb|v_img"),
            sign(r"size mismatch for patch_embedding\.weight: copying a param with shape torch\.Size\(\[\d+, (?:16|36|48|32)"),
        ),
        "the Wan model is of another task than --task says: text or image to video, 2.1 or 2.2 (whose image to video has no k_img weights)",
        "args: {task: i2v-A14B} for Wan 2.2 image to video, t2v-A14B for 2.2 text to video, i2v-14B and t2v-14B for 2.1{now:task}",
        source="kohya-ss/musubi-tuner#602; musubi_tuner/wan/configs",
    ),
    row(
        "vae-layout",
        (
            sign(r"Error\(s\) in loading state_dict for AutoEncoder:", also=r"encoder\.down\.0|down_blocks|quant_conv|decoder\.up\."),
            sign(r"Error\(s\) in loading state_dict for AutoencoderKL\w*:", also=r"encoder\.down\.\d|decoder\.up\.\d|mid_block"),
            sign(r"KeyError: '(?:encoder|decoder)\.(?:conv_in|mid|down|up|norm_out)\.", raises="KeyError", frame=r"vae|load_ae|convert_ldm_vae"),
            sign(r"Error\(s\) in loading state_dict for (?:WanVAE_?|AutoencoderKLCausal3D|AutoencoderKLQwenImage|AutoencoderKLWan|\w*VAE\w*|AutoEncoder\w*|Autoencoder\w*)\b"),
            sign(r"Cannot load <class '.{1,100}Autoencoder\w+'> from .{1,300}because the following keys are missing"),
        ),
        "the VAE is in another layout (diffusers' instead of the original single file), or of another model than the script expects",
        "the original file: ae.safetensors of black-forest-labs (FLUX, FLUX.2), wan_2.1_vae.safetensors for Wan, not vae/diffusion_pytorch_model.safetensors "
        "and not ComfyUI's; each family has its own cache script (cache_latents.py is HunyuanVideo's){now:ae}{now:vae}",
        source="kohya-ss/musubi-tuner#159, #873, #883; bmaltais/kohya_ss#346",
    ),
    row(
        "text-encoder-layout",
        (
            sign(r"Error\(s\) in loading state_dict for (?P<part>T5EncoderModel|CLIPText\w+|CLIPModel|UMT5\w*|T5Encoder|Gemma\w+|Qwen\w+|LlamaModel|Mistral\w+|LlavaFor\w+)"),
            sign(r"(?:Missing|Unexpected) keys?: \['.{0,200}(?:text_model|encoder\.block|shared\.weight|model\.layers)"),
        ),
        "a text encoder's file is of another model or layout than this argument takes (CLIP-L, CLIP-G, T5 and LLMs each have their own; scaled fp8 and GGUF are not read)",
        "args.clip_l: clip_l.safetensors, args.clip_g: clip_g.safetensors, args.t5xxl: t5xxl_fp16.safetensors, in single files of bf16 or fp16{now:clip_l}{now:t5xxl}",
        source="sd-scripts#1451; library/flux_utils.py:258-306",
    ),
    row(
        "quantized-file",
        (
            sign(r"\"\w{1,60}_(?:cuda|cpu)\" not implemented for 'Float8_\w+'", raises="NotImplementedError|RuntimeError", frame=r"fp8_optimization_utils|quantize_weight"),
            sign(r"already in fp8 format, cannot scale|DiT weights is already in fp8|Unsupported fp8 model dtype|already (?:been )?quantized"),
            sign(r"(?:Unexpected|Missing) key.{0,400}(?:scaled_fp8|scale_weight|weight_scale|input_scale|bitsandbytes__nf4|quant_state|\.absmax|qweight)"),
            sign(r"Error\(s\) in loading|[Uu]nexpected key|KeyError|size mismatch|not implemented for|meta tensor|dtype", before=r"(?:fp8_scaled|nf4|[-_]int8|svdq|fp8mixed|nvfp4)[^\s'\"]{0,60}\.(?:safetensors|sft)", frame=r"load_state_dict|load_\w*(?:model|transformer|dit|unet)|requires_grad_|quantize"),
            sign(r"Only Tensors of floating point and complex dtype can require gradients"),
            sign(r"unexpected key.{0,200}scaled_fp8"),
        ),
        "the model file is quantized already (fp8, scaled fp8, NF4, int8), and the trainer quantizes by itself: it needs the bf16 or fp16 file",
        "give the bf16 or fp16 file and keep args: {fp8_base: true, fp8_scaled: true}",
        source="kohya-ss/musubi-tuner#870; musubi_tuner/wan_train_network.py:68; sd-scripts#1552",
    ),
    row(
        "fp8-text-encoder",
        (
            sign(r"\"index_select_cuda\" not implemented for 'Float8_\w+'", raises="RuntimeError|NotImplementedError"),
            sign(r"not implemented for 'Float8_\w+'", frame=r"transformers/models/(?:t5|clip|gemma|qwen)\w*/|torch/nn/modules/sparse"),
        ),
        "a text encoder in fp8 (T5) cannot look up its tokens: it runs with every step because its outputs are not cached",
        "args: {cache_text_encoder_outputs: true}, or the fp16 file: args.t5xxl: t5xxl_fp16.safetensors{now:t5xxl}",
        source="sd-scripts#1512; flux_train_network.py:153",
    ),
    row(
        "fp8-compute",
        (
            sign(r"must have the same dtype, but got \w+ and Float8_|got Float8_\w+ and|expected .{0,40}but found Float8_|\"\w+\" not implemented for 'Float8_"),
            sign(r"Promotion for Float8 Types is not supported"),
        ),
        "weights in fp8 met an operation that computes only in 16 or 32 bit: an fp8 file without fp8_scaled, mixed precision switched off, or a part "
        "of the model that may not be fp8",
        "args: {mixed_precision: bf16}{now:mixed_precision}, the bf16 file of the model, fp8_base (musubi-tuner: with fp8_scaled) only where the family has it",
        source="kohya-ss/musubi-tuner#738; torch _C",
    ),
    row(
        "comfy-keys",
        sign(r"Error\(s\) in loading state_dict", also=r"__index_timestep_zero__"),
        "ComfyUI's file of this model has an extra key that this version of the trainer does not take",
        "the file of the model's own repository, or a newer musubi-tuner",
        source="kohya-ss/musubi-tuner#805",
    ),
    row(
        "broken-checkpoint-parts",
        sign(r"KeyError: '(?P<key>(?:encoder|decoder|time_embed|input_blocks|model\.diffusion_model|cond_stage_model|first_stage_model|transformer)[\w.]*)'", raises="KeyError", frame=r"in convert_ldm_\w+"),
        "the checkpoint lacks a part that the script reads ({found:key}): it is a broken or pruned file, a LoRA or a VAE, or of another family",
        _PLAN,
        source="bmaltais/kohya_ss#346; library/model_util.py",
    ),
    row(
        "pipeline-other",
        r"Pipeline <class '(?P<name>[\w.]+)'> expected|Cannot load <class '.{1,100}'> from .{1,300}because the following keys are missing",
        "the folder or repository holds another kind of model than this script loads",
        _PLAN,
        source="diffusers pipelines/pipeline_utils.py; library/train_util.py load_target_model",
    ),
    row(
        "wrong-family",
        r"Error\(s\) in loading state_dict for (?P<part>UNet2DConditionModel|Flux|MMDiT|SD3\w*|NextDiT|HYVideoDiffusionTransformer|WanModel|QwenImage\w*|Anima|\w*Transformer\w*|\w*DiT\w*)"
        r"|KeyError: '(?:model\.diffusion_model|conditioner|cond_stage_model|first_stage_model|double_blocks|joint_blocks)[\w.]*'",
        "the model file belongs to another family or version than the script expects ({found:part})",
        _PLAN,
        source="bmaltais/kohya_ss#2982; bmaltais/musubi-tuner-gui#5",
    ),
)  # fmt: skip

NUMBERS = (
    row(
        "nan-latents",
        r"NaN detected in (?:latents|text encoder outputs)|NaN found in latents|T5 vector contains NaN",
        "the VAE (or a text encoder) made NaN of a picture or caption, as SDXL's own VAE does in fp16; a cached NaN stays in its .npz file",
        Do("args: {no_half_vae: true}   and remove the .npz files beside the pictures", unless="no_half_vae"),
        Do("remove the .npz files beside the pictures: no_half_vae does not mend what is cached already"),
        source="train_network.py:411, library/train_util.py:3098; sd-scripts#653, #892; bmaltais/kohya_ss#2674",
        anywhere=True,
    ),
    row(
        "nan-loss",
        r"(?:avr_|step_)?loss=nan|loss is nan|returned nan values in its|cannot convert float NaN to integer",
        "the loss became NaN: everything that was trained after that is worthless, and the trainer does not stop by itself",
        "lower the learning rate: args.learning_rate{now:learning_rate}, args.unet_lr{now:unet_lr}; keep the checkpoints "
        "from before",
        Do("args: {mixed_precision: bf16}{now:mixed_precision}   fp16 overflows sooner"),
        Do("args: {no_half_vae: true}   and remove the .npz files", unless="no_half_vae", only="sdxl"),
        Do("args: {max_grad_norm: 1.0}{now:max_grad_norm}"),
        source="library/train_util.py:6668; sd-scripts#2137, #2313, #1571, #293, #201, #820; bmaltais/kohya_ss#1758",
        anywhere=True,
    ),
)  # fmt: skip
