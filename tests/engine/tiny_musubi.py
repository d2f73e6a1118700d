"""Writes random-weight models of a few MB for the shrunk musubi-tuner, in musubi-tuner's own Python.

    PYTHONPATH=tests/engine/shrink HF_HUB_CACHE=HUB PYTHON tests/engine/tiny_musubi.py CHECKOUT FOLDER [FAMILY...]

FOLDER gets a folder for each of FAMILY (the keys of ``WRITERS``; flux2_9b and flux2_dev are other variants of flux2)
with ``dit`` and its components under their own names (.safetensors). HUB gets the tokenizers, one token a character,
since the scripts have no --tokenizer_cache_dir: with ``HF_HUB_OFFLINE=1`` nothing is asked of the Hub.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny_models import read_worker
from tiny_transformers import LETTERS, in_hub, nothing_read, save, tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEED = 42
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MISTRAL_CHAT = (
    "<s>{% for message in messages %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}</s>{% endfor %}"
)


def write_kontext(folder: Path) -> None:
    """Every part through the trainer's own class or loader, in the layout of the published files (BFL's)."""
    from musubi_tuner.flux import flux_models, flux_utils

    spec = flux_models.configs_flux_dev_context
    clip, t5 = in_hub(flux_utils.CLIP_L_TOKENIZER_ID), in_hub(flux_utils.T5_XXL_TOKENIZER_ID)
    for place in (clip, t5):
        place.rmdir()
    read_worker().write_tokenizer(clip, pad="<|endoftext|>")
    write_pieces(t5)
    save(folder / "dit.safetensors", tensors(flux_models.Flux(spec.params)))
    save(folder / "vae.safetensors", tensors(flux_models.AutoEncoder(spec.ae_params)))
    with nothing_read(flux_utils):
        t5_model = flux_utils.load_t5xxl("", None, "meta", state_dict={})[1]
        clip_model = flux_utils.load_clip_l(None, None, "meta", state_dict={})[1]
    save(folder / "text_encoder1.safetensors", tensors(t5_model))
    save(folder / "text_encoder2.safetensors", tensors(clip_model))


def write_flux2(folder: Path) -> None:
    """klein-base-4b: with the few blocks of the shrunk models every klein is the same."""
    from musubi_tuner.flux_2 import flux2_utils

    info = flux2_utils.FLUX2_MODEL_INFO["klein-base-4b"]
    for repository in ("Qwen/Qwen3-4B", "Qwen/Qwen3-8B"):
        write_qwen(in_hub(repository))
    _flux2(folder, info)


def write_flux2_9b(folder: Path) -> None:
    """klein-base-9b alone, which has more blocks than 4b where all blocks are kept; its tokenizer is 4b's."""
    from musubi_tuner.flux_2 import flux2_utils

    _flux2(folder, flux2_utils.FLUX2_MODEL_INFO["klein-base-9b"])


def write_flux2_dev(folder: Path) -> None:
    """FLUX.2 dev reads its captions with Mistral's processor."""
    from musubi_tuner.flux_2 import flux2_utils

    write_mistral(in_hub(flux2_utils.M3_TOKENIZER_ID))
    _flux2(folder, flux2_utils.FLUX2_MODEL_INFO["dev"])


def _flux2(folder: Path, info: Any) -> None:
    from musubi_tuner.flux_2 import flux2_models, flux2_utils
    from musubi_tuner.zimage import zimage_utils

    save(folder / "dit.safetensors", tensors(flux2_models.Flux2(info.params)))
    save(folder / "vae.safetensors", tensors(flux2_models.AutoEncoder(flux2_models.AutoEncoderParams())))
    with nothing_read(zimage_utils, flux2_utils):
        embedder = flux2_utils.load_text_embedder(
            info, "", None, "meta", state_dict={"model.embed_tokens.weight": None}
        )
    model = embedder.model if info.qwen_variant else embedder.mistral3
    weights = {
        name: tensor for name, tensor in tensors(model).items() if name != "lm_head.weight" or not info.qwen_variant
    }
    save(folder / "text_encoder.safetensors", weights if info.qwen_variant else _as_published(weights))


def write_krea2(folder: Path) -> None:
    from musubi_tuner.krea2 import krea2_encoder, krea2_mmdit, krea2_utils
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    write_qwen(in_hub(krea2_utils.QWEN3_VL_4B_INSTRUCT_REPO_ID))
    save(folder / "dit.safetensors", _drawn(krea2_mmdit.SingleStreamDiT(krea2_utils.single_mmdit_large_wide)))
    _qwen_vae(folder)
    config = Qwen3VLConfig.from_dict(krea2_encoder.QWEN3_VL_4B_INSTRUCT_CONFIG)
    weights = tensors(Qwen3VLForConditionalGeneration._from_config(config))
    weights.pop("lm_head.weight")
    save(folder / "text_encoder.safetensors", weights)


def write_zimage(folder: Path) -> None:
    """Its own file of the text encoder has no layer of output, which is the embedding."""
    import torch
    from musubi_tuner.zimage import zimage_autoencoder, zimage_model, zimage_utils

    write_qwen(in_hub(zimage_utils.ZIMAGE_ID) / "tokenizer")
    save(folder / "dit.safetensors", tensors(zimage_model.create_model("torch", False, torch.bfloat16)))
    with nothing_read(zimage_autoencoder):
        save(folder / "vae.safetensors", tensors(zimage_autoencoder.load_autoencoder_kl("")))
    with nothing_read():
        text = zimage_utils.load_qwen3("", None, "meta", state_dict={"model.embed_tokens.weight": None})[1]
    weights = {name: tensor for name, tensor in tensors(text).items() if name != "lm_head.weight"}
    save(folder / "text_encoder.safetensors", weights)


def write_qwen_image(folder: Path) -> None:
    import torch
    from musubi_tuner.qwen_image import qwen_image_model, qwen_image_utils

    tokenizer = in_hub(qwen_image_utils.QWEN_IMAGE_ID) / "tokenizer"
    write_qwen(tokenizer)
    model = qwen_image_model.create_model("torch", False, False, False, False, torch.bfloat16)
    save(folder / "dit.safetensors", tensors(model))
    _qwen_vae(folder)
    with nothing_read():
        text = qwen_image_utils.load_qwen2_5_vl("", None, "meta", state_dict={})[1]
    save(folder / "text_encoder.safetensors", _as_comfy(tensors(text)))


def write_qwen_image_edit(folder: Path) -> None:
    """The same parts; its text encoder reads pictures, too."""
    from musubi_tuner.qwen_image import qwen_image_utils

    if not (Path(os.environ["HF_HUB_CACHE"]) / "models--Qwen--Qwen-Image").is_dir():
        write_qwen_image(folder)
    else:
        for part in ("dit", "vae", "text_encoder"):
            name = f"{part}.safetensors"
            (folder / name).write_bytes((folder.parent / "qwen_image" / name).read_bytes())
    processor = in_hub(qwen_image_utils.QWEN_IMAGE_EDIT_ID) / "processor"
    write_qwen(processor)
    sizes = {"min_pixels": 784, "max_pixels": 3136, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    for name, kind in (("preprocessor", "image"), ("video_preprocessor", "video")):
        config = {f"{kind}_processor_type": f"Qwen2VL{kind.title()}Processor", "processor_class": "Qwen2VLProcessor"}
        (processor / f"{name}_config.json").write_text(json.dumps(config | sizes), encoding="utf-8")


def _qwen_vae(folder: Path) -> None:
    from musubi_tuner.qwen_image import qwen_image_utils

    with nothing_read(qwen_image_utils):
        save(folder / "vae.safetensors", tensors(qwen_image_utils.load_vae("")))


def _drawn(model: Any) -> dict[str, Any]:
    """Parameters that the class makes as zeros would leave every block without an effect."""
    import torch

    return {
        name: torch.randn_like(tensor) * 0.1 if not tensor.any() else tensor for name, tensor in tensors(model).items()
    }


def _as_comfy(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The names of the published file (qwen_image/qwen_image_utils.py:235)."""
    short = {"model.language_model.": "model.", "model.visual.": "visual."}
    return {
        next((new + name.removeprefix(old) for old, new in short.items() if name.startswith(old)), name): tensor
        for name, tensor in weights.items()
    }


def _as_published(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The names of Mistral's published file, which the loader converts (flux_2/flux2_utils.py:584)."""
    renamed = {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head.", "model.": ""}

    def name(text: str) -> str:
        return next((new + text.removeprefix(old) for old, new in renamed.items() if text.startswith(old)), text)

    return {name(text): tensor for text, tensor in weights.items()}


def write_pieces(folder: Path) -> None:
    """T5's own kind of tokenizer, which needs a SentencePiece model: pad 0, end 1, unknown 2, then the signs."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(LETTERS)] * 8), model_writer=model, model_type="char", vocab_size=len(LETTERS),
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512, "legacy": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_qwen(folder: Path) -> None:
    """The byte alphabet without merges and the signs of a chat."""
    alphabet = list(read_worker().vocabulary())[:256]
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
               "<|video_pad|>")  # fmt: skip
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    config = {
        "tokenizer_class": "Qwen2Tokenizer", "pad_token": special[0], "eos_token": special[2], "unk_token": special[0],
        "chat_template": CHAT, "model_max_length": 4096,
        "added_tokens_decoder": {str(256 + number): _special(text) for number, text in enumerate(special)},
    }  # fmt: skip
    files = {
        "vocab.json": json.dumps(vocabulary),
        "merges.txt": "#version: 0.2\n",
        "tokenizer_config.json": json.dumps(config),
    }
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_mistral(folder: Path) -> None:
    """A processor of pictures that are never given, and a tokenizer with the sign of one."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    signs = ["<unk>", "<s>", "</s>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<pad>", *LETTERS]
    tokenizer = Tokenizer(models.WordLevel({sign: number for number, sign in enumerate(signs)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(signs[:7])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    texts = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, **special},
        "preprocessor_config.json": {"image_processor_type": "PixtralImageProcessor", "patch_size": 14,
                                     "processor_class": "PixtralProcessor", "size": {"longest_edge": 64}},
        "processor_config.json": {"processor_class": "PixtralProcessor", "patch_size": 14, "image_token": "[IMG]",
                                  "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
        "chat_template.json": {"chat_template": MISTRAL_CHAT},
    }  # fmt: skip
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def _special(text: str) -> dict[str, object]:
    return {"content": text, "special": True, "lstrip": False, "rstrip": False, "normalized": False}


WRITERS: dict[str, Callable[[Path], None]] = {
    "flux_kontext": write_kontext,
    "flux2": write_flux2,
    "flux2_9b": write_flux2_9b,
    "flux2_dev": write_flux2_dev,
    "krea2": write_krea2,
    "z_image": write_zimage,
    "qwen_image": write_qwen_image,
    "qwen_image_edit": write_qwen_image_edit,
}


def main(checkout: str, folder: str, *families: str) -> None:
    sys.path[0] = str(Path(checkout) / "src")
    import torch

    for family in families or WRITERS:
        torch.manual_seed(SEED)
        place = Path(folder) / family
        place.mkdir(parents=True)
        WRITERS[family](place)


if __name__ == "__main__":
    main(*sys.argv[1:])
