"""The shorter start of ``shrink/shrunk_start.py`` for a trainer's Python whose models are of full size."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shrink"))

import shrunk_start

sys.path.pop()
sys.meta_path.insert(0, shrunk_start.Finder())
