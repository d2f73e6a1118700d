"""What is to be known of a trainer: where it comes from, how it is found, how its scripts are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.tables import tupled


@dataclass(frozen=True, slots=True)
class EngineInfo:
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
        return Path("vendor") / self.name

    @property
    def variable(self) -> str:
        return f"KOHYA_RUNNER_{self.setting.upper()}"

    @property
    def python_variable(self) -> str:
        return f"KOHYA_RUNNER_{self.python_setting.upper()}"

    @property
    def settings(self) -> tuple[str, str]:
        """The keys of the settings file that name its sources and its Python."""
        return (self.setting, self.python_setting)

    @property
    def option(self) -> str:
        """The option of the command line that names its sources; "" where there is none."""
        return "--sd-scripts" if self.default else ""

    @property
    def environment(self) -> str:
        """How the folder of an environment for it begins."""
        return "trainer" if self.default else f"trainer-{self.name}"

    def script_path(self, script: str) -> str:
        return f"{self.folder}/{script}" if self.folder else script

    def env(self, root: Path) -> Mapping[str, str]:
        """What its scripts need in their environment to be imported from ``root``."""
        return {"PYTHONPATH": str(root / self.imports)} if self.imports else {}


PINS = ("accelerate==1.6.0", "diffusers==0.32.1", "huggingface-hub==0.34.3")
"""What sd-scripts, musubi-tuner and the diffusers examples agree on."""


def engine_info(row: Mapping[str, Any]) -> EngineInfo:
    """What a table ``[trainer]`` says; what it requires goes with the pins of all."""
    required = {"requirements": (*PINS, *row["requirements"])} if "requirements" in row else {}
    return EngineInfo(**tupled(row) | required)


def project_root() -> Path | None:
    """The git clone this package runs from, or None where it was installed without one."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / ".gitmodules").is_file() else None
