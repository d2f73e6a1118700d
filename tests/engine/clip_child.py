"""A tiny CLIP with random weights, and its figures computed by transformers directly; in the trainer's own Python.

clip_child.py model FOLDER
clip_child.py figures FOLDER QUESTIONS     cosines as JSON; QUESTIONS holds ``pictures`` ([path, text]) and ``training``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SIDE = 32
LETTERS = "abcdefghijklmnopqrstuvwxyz,.'"


def write_model(folder: Path) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    torch.manual_seed(3)
    ends = ["<|startoftext|>", "<|endoftext|>"]
    signs = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *ends]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({sign: number for number, sign in enumerate(signs)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=24).save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = shape | {"vocab_size": len(signs), "max_position_embeddings": 24, "eos_token_id": len(signs) - 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=shape | {"image_size": SIDE, "patch_size": 8},
                         projection_dim=16)).save_pretrained(folder)  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)


def figures(folder: Path, questions: Path) -> None:
    """One picture and one text at a time, by the model's own forward pass: its logits are scaled cosines."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    asked = json.loads(questions.read_bytes())
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    scale = float(model.logit_scale.exp())

    def seen(path: str, text: str) -> tuple[float, torch.Tensor]:
        picture = Image.open(path).convert("RGB")
        inputs = processor(text=[text], images=[picture], return_tensors="pt", truncation=True, max_length=24)
        with torch.no_grad():
            told = model(**inputs)
        return float(told.logits_per_image[0, 0]) / scale, told.image_embeds[0]

    training = [seen(path, "x")[1] for path in asked["training"]]
    rows = []
    for path, text in asked["pictures"]:
        cosine, features = seen(path, text)
        near = [float(torch.nn.functional.cosine_similarity(features, other, dim=0)) for other in training]
        rows.append([cosine, sum(near) / len(near)])
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    if sys.argv[1] == "model":
        write_model(Path(sys.argv[2]))
    else:
        figures(Path(sys.argv[2]), Path(sys.argv[3]))
