"""A stranger's folder on a machine with secrets: no canary may be made, no secret seen, nothing sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from servers import serving

from kohya_runner.commands.cli import main

RECIPE = """\
name: gift
family: sd15
model: {model}
workspace: ./workspace
datasets:
  - {{images: ./pictures, concept: cat}}
args:
  resolution: 64
  max_train_epochs: 1
  network_dim: 2
{more}
"""
SECRETS = {
    "HF_TOKEN": "hf_canaryOfTheShell01", "RUNPOD_API_KEY": "rpa_canaryOfThePod02",
    "AWS_SECRET_ACCESS_KEY": "awsCanary03", "KOHYA_NOTIFY_URL": "https://hooks.example/canary04",
    "GIT_WORD": "plainCanary05",
}  # fmt: skip
FILE_SECRET = "hf_canaryOfTheHome06"


@dataclass
class Stranger:
    """What was downloaded, and the home folder that it may not touch."""

    folder: Path
    home: Path
    web: object
    said: list[str] = field(default_factory=list)

    @property
    def canary(self) -> Path:
        """What an attack would make."""
        return self.folder.parent / "canary"

    def script(self, name: str) -> Path:
        """A program that makes the canary."""
        path = self.folder / name
        path.write_text('#!/bin/sh\ntouch "$(dirname "$0")/../canary"\nenv > "$(dirname "$0")/../environment"\n')
        path.chmod(0o755)
        return path

    def recipe(self, more: str = "", model: str = "{random: sd15}") -> Path:
        path = self.folder / "recipe.yaml"
        path.write_text(RECIPE.format(more=more, model=model), encoding="utf-8")
        return path

    def run(self, *words: object) -> Result:
        """A command of ours; what it printed is looked at in the end."""
        done = CliRunner().invoke(main, [str(word) for word in words])
        self.said.append(done.output + (done.stderr if done.stderr_bytes else ""))
        return done

    def every(self, path: Path) -> list[Result]:
        """Everything that looks at a recipe, and the launch."""
        report = self.folder.parent / "report.html"
        return [
            self.run("plan", path, "--json"), self.run("plan", path), self.run("launch", path, "--dry-run"),
            self.run("launch", path, "--practice"), self.run("dataset", "report", path, "--output", report),
        ]  # fmt: skip


@pytest.fixture
def stranger(odd_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, home = odd_path / "downloaded", odd_path / "home"
    (folder / "pictures").mkdir(parents=True)
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text(FILE_SECRET, encoding="utf-8")
    (home / ".bashrc").write_text("# mine\n", encoding="utf-8")
    for number in range(2):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / "pictures" / f"{number}.png")
        (folder / "pictures" / f"{number}.txt").write_text("a cat", encoding="utf-8")
    names = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
    for name, value in {**names, **SECRETS, "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("KOHYA_WORKSPACE", "KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON", "RUNPOD_POD_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    with serving(200) as web:
        made = Stranger(folder, home, web)
        yield made
        assert not made.canary.exists()
        assert (home / ".bashrc").read_text(encoding="utf-8") == "# mine\n"
        assert web.requests == []
        seen = "".join(made.said) + "".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in (*folder.rglob("*"), *odd_path.glob("report.html")) if path.is_file() and not path.is_symlink()
        )  # fmt: skip
        assert [secret for secret in (*SECRETS.values(), FILE_SECRET) if secret in seen] == []
        assert "\x1b]" not in "".join(made.said)
