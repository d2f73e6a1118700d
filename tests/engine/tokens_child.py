"""Runs inside the trainer's own Python: what the trainer's tokenizers make of texts.

Arguments: the checkout, and a JSON file with ``folder`` (where the trained SentencePiece model goes), ``corpus`` (what
it is trained on) and ``texts``. Prints one JSON object: for each tokenizer the tokens of every text, marks left out,
and where in the text the cut is at ``limit`` tokens by transformers' own truncation.
"""

# mypy: ignore-errors

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

CHECKOUT, JOBS = sys.argv[1], sys.argv[2]
os.chdir(CHECKOUT)
sys.path.insert(0, CHECKOUT)

import sentencepiece  # noqa: E402
from library import anima_utils, hunyuan_image_text_encoder  # noqa: E402
from transformers import AutoTokenizer, GemmaTokenizerFast, Qwen2Tokenizer, T5TokenizerFast  # noqa: E402


def train(folder, corpus, kind, **options):
    """A small SentencePiece model of real sentences."""
    folder.mkdir(parents=True)
    text = folder / "corpus.txt"
    text.write_text("\n".join(corpus), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "made"),
        model_type=kind,
        minloglevel=2,
        character_coverage=1.0,
        **options,
    )
    return folder / "made.model"


def t5(root, corpus):
    """As google/t5-v1_1-xxl is on the Hub (spiece.model), and as the trainer saves it (tokenizer.json)."""
    model = train(root / "train t5", corpus, "unigram", vocab_size=300, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    hub, saved = root / "t5 of the hub", root / "t5 saved"
    hub.mkdir()
    (hub / "spiece.model").write_bytes(model.read_bytes())
    tokenizer = T5TokenizerFast.from_pretrained(hub)
    tokenizer.save_pretrained(saved)
    return {"t5 of the hub": tokenizer, "t5 saved": T5TokenizerFast.from_pretrained(saved)}


def gemma(root, corpus):
    """A byte-falling-back pair encoding, as tokenizer.json."""
    special = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
    model = train(
        root / "train gemma",
        corpus,
        "bpe",
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        **special,
    )
    folder = root / "gemma saved"
    GemmaTokenizerFast(vocab_file=str(model)).save_pretrained(folder)
    return {"gemma saved": AutoTokenizer.from_pretrained(folder)}


def of_the_checkout(root):
    """What sd-scripts comes with; Hunyuan's tokenizer is the slow one over the same vocabulary."""
    alone = root / "pieces alone"
    alone.mkdir()
    (alone / "spiece.model").write_bytes((Path(CHECKOUT) / "configs" / "t5_old" / "spiece.model").read_bytes())
    qwen = Path(CHECKOUT) / "configs" / "qwen3_06b"
    return {
        "anima qwen3": anima_utils.load_qwen3_tokenizer("no folder"),
        "anima t5": anima_utils.load_t5_tokenizer(None),
        "hunyuan qwen": Qwen2Tokenizer.from_pretrained(qwen),
        "flux t5": T5TokenizerFast.from_pretrained(alone),
    }


def asked(tokenizer, texts, limit):
    """Counts without marks; and of the truncated text, decoded again, nothing but its number of tokens and its end."""
    marks = len(tokenizer("").input_ids)
    counts = [len(tokenizer(text).input_ids) - marks for text in texts]
    cut = [tokenizer(text, max_length=limit + marks, truncation=True).input_ids for text in texts]
    left = [tokenizer.decode(ids, skip_special_tokens=True) for ids in cut]
    return {"counts": counts, "left": left}


def glyphs(texts):
    """Bytes that ByT5 gets of each text, and whether any are cut."""

    class Bytes:
        def __call__(self, text, **_options):
            self.text = text
            raise LookupError

    counts = []
    for text in texts:
        heard = Bytes()
        hunyuan_image_text_encoder.get_byt5_text_tokens(heard, text)
        counts.append(len(heard.text.encode()) if hasattr(heard, "text") else 0)
    return counts


def template(tokenizer, texts):
    """Tokens of Hunyuan's whole prompt less those of the empty one."""
    whole = [hunyuan_image_text_encoder.get_qwen_tokens(tokenizer, text)[0].shape[1] for text in ["", *texts]]
    return [number - whole[0] for number in whole[1:]]


def main():
    jobs = json.loads(Path(JOBS).read_text(encoding="utf-8"))
    root = Path(jobs["folder"])
    with contextlib.redirect_stdout(sys.stderr):
        made = {**t5(root, jobs["corpus"]), **gemma(root, jobs["corpus"]), **of_the_checkout(root)}
        answer = {name: asked(one, jobs["texts"], jobs["limit"]) for name, one in made.items()}
        answer["byt5"] = {"counts": glyphs(jobs["texts"])}
        answer["hunyuan template"] = {"counts": template(made["hunyuan qwen"], jobs["texts"])}
    sys.__stdout__.write(json.dumps(answer))


logging.disable(logging.WARNING)
main()
