"""A folder that looks like sd-scripts, with modules that import without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TORCH = """\
__version__ = "2.8.0+cu128"


class version:
    cuda = "12.8"


class cuda:
    @staticmethod
    def is_available():
        return False

    @staticmethod
    def init():
        raise RuntimeError("Found no NVIDIA driver on your system.")
"""
FILES = {
    "train_network.py": "",
    "library/__init__.py": "",
    "library/train_util.py": "print('noise on stdout')",
    "networks/__init__.py": "",
    "networks/lora.py": "",
    "torch/__init__.py": TORCH,
    "torchvision.py": "",
    "requirements.txt": "# nothing\n-e .",
}


def fake_checkout(root: Path, changed: dict[str, str] | None = None) -> Path:
    """The files above, some of them changed."""
    for name, text in {**FILES, **(changed or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root
