"""Measures pictures with a CLIP model inside the trainer's own Python (transformers is there); nothing is downloaded.

    PYTHON clip_worker.py JOBS

JOBS is a JSON file: ``clip`` (a folder), ``pictures`` (a list of ``key``, ``path`` and ``text``), ``training`` (paths)
and ``result``, where the answer goes: for each key the cosine of picture and text, and the mean of its cosines with the
training pictures (null without any).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

BATCH = 16


class Clip:
    """One model; its features are unit vectors."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True).to(self.device).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        self.side = int(self.model.config.vision_config.image_size)

    def texts(self, texts: list[str]) -> Any:
        """One row a text; what is longer than the model reads is cut."""
        most = int(self.model.config.text_config.max_position_embeddings)
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
        with self.torch.no_grad():
            return self._unit(self.model.get_text_features(**tokens.to(self.device)))

    def pictures(self, paths: list[str]) -> Any:
        """One row a picture."""
        rows = []
        for start in range(0, len(paths), BATCH):
            opened = [self._opened(path) for path in paths[start : start + BATCH]]
            pixels = self.processor(images=opened, return_tensors="pt").to(self.device)
            with self.torch.no_grad():
                rows.append(self._unit(self.model.get_image_features(**pixels)))
        return self.torch.cat(rows)

    def _opened(self, path: str) -> Any:
        """Small pixel art is enlarged with hard edges: the processor would blur it."""
        from PIL import Image

        with Image.open(path) as file:
            picture = file.convert("RGB")
        factor = -(-self.side // min(picture.size))
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)

    def _unit(self, rows: Any) -> Any:
        return rows / rows.norm(dim=-1, keepdim=True)


def figures(told: dict[str, Any]) -> dict[str, list[float | None]]:
    """The two figures of each picture, by its key."""
    clip, wanted = Clip(told["clip"]), told["pictures"]
    texts = list(dict.fromkeys(one["text"] for one in wanted))
    said = dict(zip(texts, clip.texts(texts), strict=True))
    seen = clip.pictures([one["path"] for one in wanted])
    known = clip.pictures(told["training"]) if told["training"] else None
    return {
        one["key"]: [float(row @ said[one["text"]]), None if known is None else float((known @ row).mean())]
        for one, row in zip(wanted, seen, strict=True)
    }


def main(jobs: str) -> None:
    """Answer a file of questions; the answer is there whole or not at all."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    told = json.loads(Path(jobs).read_bytes())
    result = Path(told["result"])
    partial = result.with_name(f"{result.name}.partial")
    partial.write_text(json.dumps(figures(told)), encoding="utf-8")
    partial.replace(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
