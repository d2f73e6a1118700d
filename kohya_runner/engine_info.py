"""The trainers a recipe can run on: one row says where each comes from, how it is found and how its scripts are run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Engine:
    """One trainer at one commit.

    ``scripts`` are the files that this version starts, in ``folder``; none listed: every train script of the root.
    ``entry`` is the function that builds a script's parser. ``requirements`` are installed where no requirement file
    of the checkout is named. ``imports`` is the folder that its modules are imported from, if not the script's own.
    """

    name: str
    title: str
    repository: str
    commit: str
    marks: tuple[str, ...]  # what makes a folder a checkout of it
    setting: str  # key of the settings file for its sources; $KOHYA_RUNNER_<that> as well
    python_setting: str
    size: str  # what fetching it costs, in words
    folder: str = ""
    imports: str = ""
    scripts: tuple[str, ...] = ()
    entry: str = "setup_parser"
    requirement_file: str = ""
    requirements: tuple[str, ...] = ()
    needed_modules: tuple[str, ...] = ()  # what an environment for it must be able to import
    snapshot: str = "snapshot.json"
    record: str = "trainer.json"
    default: bool = False  # ``kohya-runner setup`` makes it without being asked
    xformers: bool = False  # setup installs it, too
    says_epochs: bool = True  # its scripts say when an epoch begins

    @property
    def submodule(self) -> Path:
        """Where the project's clone has it."""
        return Path("vendor") / self.name

    @property
    def variable(self) -> str:
        """The environment variable that names its sources."""
        return f"KOHYA_RUNNER_{self.setting.upper()}"

    @property
    def python_variable(self) -> str:
        """The environment variable that names its Python."""
        return f"KOHYA_RUNNER_{self.python_setting.upper()}"

    @property
    def option(self) -> str:
        """The option of the command line that names its sources; "" where there is none."""
        return "--sd-scripts" if self.default else ""

    @property
    def environment(self) -> str:
        """How the folder of an environment for it begins."""
        return "trainer" if self.default else f"trainer-{self.name}"

    def script_path(self, script: str) -> str:
        """A script's path inside the checkout."""
        return f"{self.folder}/{script}" if self.folder else script

    def env(self, root: Path) -> Mapping[str, str]:
        """What its scripts need in their environment to be imported from ``root``."""
        return {"PYTHONPATH": str(root / self.imports)} if self.imports else {}


SD_SCRIPTS = Engine(
    name="sd-scripts",
    title="sd-scripts",
    repository="https://github.com/kohya-ss/sd-scripts.git",
    commit="48d368fa557731ad0488c07304dfeba8c07910eb",
    marks=("train_network.py", "library/train_util.py"),
    setting="sd_scripts",
    python_setting="python",
    size="30 MB, well under a minute",
    requirement_file="requirements.txt",
    needed_modules=("torch", "torchvision", "library.train_util", "networks.lora"),
    default=True,
    xformers=True,
)
"""Its commit is pinned with every rule, line number and option of this package."""

PINS = ("accelerate==1.6.0", "diffusers==0.32.1", "huggingface-hub==0.34.3")
"""What sd-scripts, musubi-tuner and the diffusers examples agree on."""

MUSUBI_TUNER = Engine(
    name="musubi-tuner",
    title="musubi-tuner",
    repository="https://github.com/kohya-ss/musubi-tuner.git",
    commit="30c658c4f4b0bf05038b3346eff9670259b10fc7",
    marks=("src/musubi_tuner/flux_kontext_train_network.py", "src/musubi_tuner/training/parser_common.py"),
    setting="musubi_tuner",
    python_setting="musubi_python",
    size="10 MB, well under a minute",
    folder="src/musubi_tuner",
    imports="src",
    scripts=(
        "flux_2_cache_latents.py",
        "flux_2_cache_text_encoder_outputs.py",
        "flux_2_train_network.py",
        "flux_kontext_cache_latents.py",
        "flux_kontext_cache_text_encoder_outputs.py",
        "flux_kontext_train_network.py",
    ),
    entry="main",
    requirements=(
        *PINS, "av==14.0.1", "bitsandbytes", "einops==0.7.0", "opencv-python==4.10.0.84", "pillow>=11.3.0",
        "safetensors==0.4.5", "toml==0.10.2", "tqdm==4.67.1", "transformers==4.57.6", "voluptuous==0.15.2",
        "ftfy==6.3.1", "easydict==1.13", "sentencepiece==0.2.1", "tensorboard",
    ),
    needed_modules=("torch", "torchvision", "musubi_tuner.training.trainer_base", "musubi_tuner.networks.lora"),
    snapshot="snapshot-musubi-tuner.json",
    record="trainer-musubi-tuner.json",
)  # fmt: skip
"""The requirements are those of its pyproject.toml, and tensorboard for --log_with."""

DIFFUSERS = Engine(
    name="diffusers",
    title="diffusers examples",
    repository="https://github.com/huggingface/diffusers.git",
    commit="e8aacda762e311505ba05ae340af23b149e37af3",
    marks=("examples/instruct_pix2pix/train_instruct_pix2pix.py",),
    setting="diffusers",
    python_setting="diffusers_python",
    size="35 MB without its history, about a minute",
    folder="examples/instruct_pix2pix",
    scripts=("train_instruct_pix2pix.py", "train_instruct_pix2pix_sdxl.py"),
    entry="parse_args",
    requirements=(
        *PINS, "transformers==4.54.1", "safetensors==0.4.5", "datasets==4.0.0", "ftfy==6.3.1", "tensorboard",
        "bitsandbytes",
    ),
    needed_modules=("torch", "torchvision", "diffusers", "datasets", "transformers"),
    snapshot="snapshot-diffusers.json",
    record="trainer-diffusers.json",
    says_epochs=False,
)  # fmt: skip
"""The examples of v0.32.1, which ask for the very diffusers that sd-scripts pins; a later datasets breaks them."""

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (SD_SCRIPTS, MUSUBI_TUNER, DIFFUSERS)}
"""By name, as ``Support.engine`` and ``setup --engine`` say it."""

SETTINGS = tuple(key for engine in ENGINES.values() for key in (engine.setting, engine.python_setting))
"""The keys of the settings file that name trainers and their Pythons."""

_OWNERS = {script: engine for engine in ENGINES.values() for script in engine.scripts}


def engine_of(script: str) -> Engine:
    """The engine a train script belongs to: no two engines have one of the same name."""
    return _OWNERS.get(script, SD_SCRIPTS)
