"""LECO by the unmodified scripts on shrunk models: prompts alone, files after steps, and pictures that they change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import made_models
import pytest
from generators import Generator, Left
from matrix import note
from test_networks_engine import Trainer, last_checkpoint, trainer
from test_tiny_families_engine import ROOT
from test_tiny_methods_engine import changes_the_picture

from kohya_runner.artefact.content import examine

__all__ = ["trainer"]
pytestmark = pytest.mark.full

FORMS = {
    "sd15": '[[prompts]]\ntarget = "a cat"\nresolution = 64\n',
    "sdxl": '[[targets]]\ntarget_class = "a cat"\npositive = "big"\nnegative = "small"\nresolution = [64, 128]\n',
}
CPU = (
    "args.optimizer_type=AdamW", "args.mixed_precision=no", "args.max_train_steps=5", "args.save_every_n_steps=2",
    "args.max_denoising_steps=3", "args.learning_rate=1e-2",
)  # fmt: skip


def launched(trainer: Trainer, family: str) -> Path:
    models, prompts = trainer.root / "models", trainer.root / "my prompts.toml"
    made_models.put(trainer.python, trainer.checkout, family, models)
    prompts.write_text(FORMS[family], encoding="utf-8")
    places = (
        f"model={models / 'model.safetensors'}", f"args.tokenizer_cache_dir={models / 'tokenizers'}",
        f"args.prompts_file={prompts}",
    )  # fmt: skip
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / f"{family}_leco.yaml")),
        *(f"--workspace={trainer.root / 'ws'}", "--allow=hub.offline"),
        *(f"--set={text}" for text in (*places, *CPU)),
    )
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=trainer.environ, cwd=trainer.root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return trainer.root / "ws" / "runs" / f"{family}_leco" / "001"


@pytest.mark.parametrize("family", FORMS)
def test_prompts_alone_train_a_lora_that_changes_the_picture(family: str, trainer: Trainer, tmp_path: Path) -> None:
    folder = launched(trainer, family)
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    log = (folder / "trainer.log").read_text(encoding="utf-8")
    last = last_checkpoint(folder)
    assert [found["file"] for found in record["checkpoints"]] == plan["checkpoints"]
    assert sorted(path.name for path in (folder / "output").glob("*.safetensors")) == sorted(plan["checkpoints"])
    assert len(plan["checkpoints"]) == 3
    assert (record["steps_planned"], record["steps_seen"]) == (5, 5)
    assert record["modules"] == sum(map(int, re.findall(r"enable LoRA for U-Net: (\d+) modules", log))) > 0
    assert len({found["sha256"] for found in record["checkpoints"]}) == 3
    assert examine(last).problem == ""
    generator = Generator(family, trainer.checkout, trainer.python, trainer.environ)
    left = Left(trainer.root / "models", last.with_name(plan["checkpoints"][0]), last)
    changes_the_picture(generator.paint("lora", left, tmp_path / "painted"))
    script = {"sd15": "train_leco.py", "sdxl": "sdxl_train_leco.py"}[family]
    note({"family": family, "method": "leco", "script": script, "commit": record["trainer"]["commit"],
          "steps": record["steps_seen"], "loads_in": generator.of.script})  # fmt: skip
