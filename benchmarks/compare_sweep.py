"""What one process for all checkpoints saves: N checkpoints in one sweep against N processes of gen_img.py.

    PYTHONPATH=. python benchmarks/compare_sweep.py --run RUN [--checkpoints 10]

RUN is the folder of an SD 1.5 run (the quickstart's will do). The last process of each kind is compared pixel by pixel
with the others: fails where a picture differs, or where the sweep takes more than a fifth of the processor's seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import PIL.Image

from kohya_runner.compare.subject import of_run
from kohya_runner.engines.painting import MODEL
from kohya_runner.engines.table import INFOS, user_settings
from kohya_runner.install.checkout import find_trainer

LIMIT = 5.0
PROMPT, SEED, STEPS, SIDE = "pixel art, 24x24, a red cat", 42, 2, 64


def main(run: Path, number: int) -> int:
    base = of_run(run).base
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = checkpoints(sorted((run / "output").glob("*.safetensors")), folder / "loras", number)
        begun = time.monotonic(), used()
        swept = sweep(files, base.options, folder / "sweep")
        together, work = time.monotonic() - begun[0], used() - begun[1]
        seconds, works, same = [], [], 0
        for count, file in enumerate(files):
            begun = time.monotonic(), used()
            picture = alone(file, base.options, folder / f"alone {count}")
            seconds.append(time.monotonic() - begun[0])
            works.append(used() - begun[1])
            same += pixels(picture) == pixels(swept[count])
    ratio = sum(seconds) / together
    print(
        f"one process    {together:7.1f} s, {work:.1f} of the processor, for {number} checkpoints (with sheet and page)"
    )
    print(f"{number} processes   {sum(seconds):7.1f} s, {sum(works):.1f} of the processor "
          f"({min(works):.1f} to {max(works):.1f} each)")  # fmt: skip
    print(f"ratio          {ratio:7.2f}   by the clock (limit {LIMIT}, on an idle machine)")
    print(f"ratio          {sum(works) / work:7.2f}   by the processor")
    print(f"same pixels    {same} of {number}")
    return 0 if ratio >= LIMIT and same == number else 1


def used() -> float:
    """The processor's seconds of all processes that have ended, the system's for them included."""
    told = resource.getrusage(resource.RUSAGE_CHILDREN)
    return told.ru_utime + told.ru_stime


def checkpoints(found: list[Path], folder: Path, number: int) -> list[Path]:
    """N files of different content: those of the run, then the same with a mark in their metadata."""
    folder.mkdir()
    files = []
    for count in range(number):
        data = found[count % len(found)].read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"] = {**header.get("__metadata__", {}), "copy": str(count)}
        text = json.dumps(header).encode()
        files.append(folder / f"my lora {count:02d}.safetensors")
        files[-1].write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return files


def sweep(files: list[Path], options: Mapping[str, str | bool], output: Path) -> list[Path]:
    """The pictures of one sweep, in the order of the files."""
    command = (
        sys.executable, "-m", "kohya_runner", "compare", *map(str, files), "--family=sd15", f"--model={options[MODEL]}",
        f"--component=tokenizer_cache_dir={options['tokenizer_cache_dir']}", f"--prompt={PROMPT}", f"--seeds={SEED}",
        f"--steps={STEPS}", f"--size={SIDE}x{SIDE}", "--no-base", f"--output={output}", "--json",
    )  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    places = {column["file"]: number for number, column in enumerate(told["columns"])}
    return [output / next(c["file"] for c in told["cells"] if c["column"] == places[str(file)]) for file in files]


def alone(file: Path, options: Mapping[str, str | bool], output: Path) -> Path:
    """One picture by one process of gen_img.py, with nothing of ours in it."""
    checkout, python = find_trainer(os.environ, user_settings(os.environ), engine=INFOS["sd-scripts"])
    if checkout is None or python is None:
        sys.exit("there is no trainer: run kohya-runner setup")
    command = (
        str(python.path), str(checkout.root / "gen_img.py"), "--v1", "--sdpa", f"--ckpt={options[MODEL]}",
        f"--tokenizer_cache_dir={options['tokenizer_cache_dir']}", "--network_module", "networks.lora",
        "--network_weights", str(file), f"--outdir={output}", f"--W={SIDE}", f"--H={SIDE}", f"--steps={STEPS}",
        f"--prompt={PROMPT} --d {SEED}",
    )  # fmt: skip
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, capture_output=True, cwd=checkout.root, env=environ)
    return next(output.glob("*.png"))


def pixels(path: Path) -> bytes:
    with PIL.Image.open(path) as picture:
        return bytes(picture.convert("RGB").tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--checkpoints", type=int, default=10)
    chosen = parser.parse_args()
    sys.exit(main(chosen.run.absolute(), chosen.checkpoints))
