"""Makes tiny models of the same form as the taggers' (run in the trainer's Python): wd14 and git."""

from __future__ import annotations

import sys
from pathlib import Path


def wd14(folder: Path) -> None:
    """448x448 BGR in, one probability a tag out: red decides about ``red_thing``, blue about ``sky``."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((3, 7), dtype=np.float32)
    weights[2, 4], weights[0, 5] = 1 / 255, 1 / 255
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["tags"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 448, 448, 3])],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["N", 7])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2]), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    rows = [
        ("general", 9),
        ("sensitive", 9),
        ("questionable", 9),
        ("explicit", 9),
        ("red_thing", 0),
        ("sky", 0),
        ("x", 4),
    ]
    lines = [f"{number},{name},{kind},1" for number, (name, kind) in enumerate(rows)]
    (folder / "selected_tags.csv").write_text(
        "\n".join(["tag_id,name,category,count", *lines]) + "\n", encoding="utf-8"
    )


def _bert_words(folder: Path) -> Path:
    words = (
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *["a", "picture", "of", "cat", "dog", "red", "sky", "on", "the"],
    )
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder / "vocab.txt"


def git(folder: Path) -> None:
    import torch
    from transformers import BertTokenizerFast, CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    torch.manual_seed(1)
    tokenizer = BertTokenizerFast(str(_bert_words(folder)))
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 16}  # fmt: skip
    config = GitConfig(vision_config=vision, vocab_size=14, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=16, bos_token_id=2, eos_token_id=3)  # fmt: skip
    model = GitForCausalLM(config)
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(images, tokenizer).save_pretrained(folder)


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    {"wd14": wd14, "git": git}[sys.argv[1]](target)
