"""A trainer that paints at once: the same hooks, arguments and files as the real scripts, in plain colours.

A picture's colour comes from the weights in the slot, the multiplier, the seed and the prompt. In a prompt CRASH ends
the process, HANG waits for a signal, and LEAVE leaves no picture.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from kohya_runner.record import record as records

COMMON = '''
import hashlib, os, sys, time
from pathlib import Path
from PIL import Image

Path(__file__).with_name("loads.txt").open("a").write(" ".join(sys.argv[1:]) + "\\n")


class Found:
    missing_keys = unexpected_keys = ()


class Parameter:
    def __init__(self):
        self.data = self
        self.emptied = False

    def zero_(self):
        self.emptied = True


class Network:
    """One slot."""

    is_sdxl = False

    def __init__(self):
        self.parameter, self.state, self.multiplier = Parameter(), b"", 1.0

    def parameters(self):
        return [self.parameter]

    def load_state_dict(self, state, strict):
        self.parameter.emptied, self.state = False, b"".join(t.data for t in state.values())
        return Found()

    def set_multiplier(self, value):
        self.multiplier = value

    def signature(self):
        return b"base" if self.multiplier == 0 or self.parameter.emptied else self.state + str(self.multiplier).encode()


def paint(network, prompt, seed, size, path):
    if "CRASH" in prompt:
        print("RuntimeError: CUDA out of memory", file=sys.stderr)
        sys.exit(3)
    if "HANG" in prompt and network.signature() != b"base":
        time.sleep(60)
    if "LEAVE" not in prompt:
        colour = hashlib.sha256(network.signature() + prompt.encode() + str(seed).encode()).digest()[:3]
        picture = Image.new("RGB", size, tuple(colour))
        picture.putpixel((0, 0), tuple(255 - value for value in colour))
        picture.save(path if "BLACK" not in prompt else os.devnull, "PNG")
        if "BLACK" in prompt:
            Image.new("RGB", size).save(path)
'''

GEN_IMG = (
    COMMON
    + """
import argparse, importlib.util, re

parser = argparse.ArgumentParser()
for name in ("ckpt", "from_module", "prompter_module_args", "outdir", "sampler", "tokenizer_cache_dir", "vae"):
    parser.add_argument("--" + name)
for name in ("network_module", "network_weights", "network_mul"):
    parser.add_argument("--" + name, nargs="*")
for name in ("batch_size", "images_per_prompt"):
    parser.add_argument("--" + name, type=int)
for name in ("v1", "v2", "sdxl", "sdpa", "xformers", "no_half_vae", "fp16", "bf16"):
    parser.add_argument("--" + name, action="store_true")
args = parser.parse_args()
spec = importlib.util.spec_from_file_location("prompt_module", args.from_module)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = Network()
prompter = module.get_prompter(args, None, [network])
while (line := prompter(args, None, None, None, 0, 0)) is not None:
    prompt, *options = line.split(" --")
    told = dict(option.split(" ", 1) for option in options)
    network.set_multiplier(float(told["am"]))
    paint(network, prompt, told["d"], (int(told["w"]), int(told["h"])), os.path.join(args.outdir, told["f"]))
"""
)

FLUX = (
    COMMON
    + """
import argparse

parser = argparse.ArgumentParser()
for name in ("ckpt_path", "clip_l", "t5xxl", "ae", "dtype", "flux_dtype", "output_dir"):
    parser.add_argument("--" + name)
parser.add_argument("--lora_weights", nargs="*")
parser.add_argument("--interactive", action="store_true")
if __name__ == "__main__":
    args = parser.parse_args()
    lora_models = [Network()]
    while True:
        prompt = input()
        if prompt == "":
            break
        prompt, *options = prompt.split("--")
        told = dict(option.strip().split(" ", 1) for option in options)
        lora_models[0].set_multiplier(float(told["m"]))
        os.makedirs(args.output_dir, exist_ok=True)
        size = (int(told["w"]), int(told["h"]))
        file = os.path.join(args.output_dir, time.strftime("%Y%m%d_%H%M%S.png"))
        paint(lora_models[0], prompt.strip(), told["d"], size, file)
"""
)

MERGED = (
    COMMON
    + """
import argparse

parser = argparse.ArgumentParser()
for name in ("dit", "text_encoder", "vae", "byt5", "save_path", "flow_shift"):
    parser.add_argument("--" + name)
parser.add_argument("--lora_weight", nargs="*")
parser.add_argument("--lora_multiplier", nargs="*", type=float, default=1.0)
parser.add_argument("--interactive", action="store_true")


def load_shared_models(args):
    Path(__file__).with_name("parts.txt").open("a").write("text encoder\\n")
    return {"text_encoder": args.lora_weight}


def lines(args):
    shared_models = load_shared_models(args)
    try:
        import prompt_toolkit
        raise SystemExit("prompt_toolkit would ask the terminal")
    except ImportError:
        pass

    def input_line(prompt):
        return input(prompt)

    while True:
        prompt, *options = input_line("> ").split(" --")
        told = dict(option.split(" ", 1) for option in options)
        os.makedirs(args.save_path, exist_ok=True)
        network = shared_models.get("model")
        if network is None:
            Path(__file__).with_name("parts.txt").open("a").write("model\\n")
            network = shared_models["model"] = Network()
            network.multiplier = args.lora_multiplier[0] if args.lora_weight else 0
            network.state = Path(args.lora_weight[0]).read_bytes() if args.lora_weight else b""
        assert shared_models["text_encoder"] == args.lora_weight
        try:
            paint(network, prompt, told["d"], (int(told["w"]), int(told["h"])), os.path.join(args.save_path, "x.png"))
        except KeyboardInterrupt:
            continue  # as the real scripts do


if __name__ == "__main__":
    lines(parser.parse_args())
"""
)

TORCH = """
class Answer:
    def __init__(self, value):
        self.value = value

    def all(self):
        return self.value


def isfinite(tensor):
    return Answer(tensor.finite)
"""

LOAD = """
import json
from pathlib import Path


class Tensor:
    def __init__(self, data):
        self.data, self.finite = data, b"\\xff" not in data

    def float(self):
        return self


def load_file(path):
    data = Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    rows = {name: row["data_offsets"] for name, row in header.items() if name != "__metadata__"}
    return {name: Tensor(data[end + begin : end + stop]) for name, (begin, stop) in rows.items()}
"""

FILES = {
    "train_network.py": "",
    "library/__init__.py": "",
    "library/train_util.py": "",
    "library/strategy_base.py": "class TokenizeStrategy:\n    def _load_tokenizer(self, *args): ...\n",
    "gen_img.py": GEN_IMG,
    "flux_minimal_inference.py": FLUX,
    "hunyuan_image_minimal_inference.py": MERGED,
    "torch/__init__.py": TORCH,
    "safetensors/__init__.py": "",
    "safetensors/torch.py": LOAD,
}


MODULES = dict.fromkeys(("flux", "hunyuan_image"), ("lora_unet_double_blocks_0_a", "lora_unet_double_blocks_1_a"))


def painting_checkout(root: Path) -> Path:
    """A folder that looks like sd-scripts and paints."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def lora_file(path: Path, fill: int = 1, *, rank: int = 2, modules: tuple[str, ...] = (), **metadata: str) -> Path:
    """A whole LoRA whose every byte is ``fill``; 255 stands for NaN."""
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for module in modules or ("lora_unet_down_blocks_0_a", "lora_te_b"):
        for part, shape in ((".alpha", []), (".lora_down.weight", [rank, 4]), (".lora_up.weight", [4, rank])):
            size = 2 * (rank * 4 if shape else 1)
            header[module + part] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes([fill]) * end)
    return path


def trained_run(root: Path, epochs: int = 3, family: str = "sd15", **options: str) -> Path:
    """A run that succeeded: its record, its files, its pictures."""
    run = root / "runs" / "my cat" / "001"
    base = root / "models" / "base model.safetensors"
    base.parent.mkdir(parents=True, exist_ok=True)
    base.write_bytes(b"weights" * 1000)
    names = [f"my cat-{n:06d}.safetensors" for n in range(1, epochs)] + ["my cat.safetensors"]
    for number, name in enumerate(names, start=1):
        lora_file(run / "output" / name, number, modules=MODULES.get(family, ()), ss_epoch=str(number))
    given = {"pretrained_model_name_or_path": str(base), "mixed_precision": "no", "resolution": "64", **options}
    stated = {
        "family": {"value": family, "source": "x.yaml:1:1"},
        "compare": {
            "prompts": {
                "0": {"value": "a cat", "source": "x.yaml:9:5"},
                "1": {"value": "a dog", "source": "x.yaml:9:9"},
            },
            "steps": {"value": 30, "source": "default"},
            "seeds": {"0": {"value": 7, "source": "x.yaml:10:5"}},
            "size": {"value": "64x48", "source": "x.yaml:11:5"},
        },
    }
    records.write(run, records.Record(
        state="succeeded", run_id="001", name="my cat", recipe=stated, cwd=str(root), output_dir="output",
        log="trainer.log",
        argv=("python", "train_network.py", *(f"--{name}={value}" for name, value in given.items())),
        final=names[-1], epochs_planned=epochs, timings=records.Timings(queued=time.time(), started=time.time()),
    ))  # fmt: skip
    return run


def loads(checkout: Path, name: str = "loads.txt") -> list[str]:
    """The arguments of every process that painted; what a script that merges loaded, in ``parts.txt``."""
    file = checkout / name
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
