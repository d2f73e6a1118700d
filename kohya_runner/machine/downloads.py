"""Files of Hub repositories: how a recipe names them, what the trainer downloads of them, how big a base model is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.errors import RecipeError
from kohya_runner.findings import error
from kohya_runner.tables import read_table

_TABLE = read_table(Path(__file__).with_name("downloads.toml"))
BASE_MODELS: Mapping[str, str] = _TABLE["base_models"]
"""Patterns of Hub repositories in small letters, and the family whose base model they are."""
RANDOM_MODELS: Mapping[str, int] = _TABLE["random"]
"""A random-weight checkpoint of the whole architecture in fp16."""
PIPELINES: Mapping[str, list[int]] = _TABLE["pipelines"]
"""What from_pretrained fetches of the official repositories: without variant, with ``variant="fp16"``."""
SINGLE_FILES: Mapping[str, int] = _TABLE["files"]
COMPONENTS: Mapping[str, int] = _TABLE["components"]
"""By a part of the file's name, the usual bytes of it."""

TOKENIZERS = 5 * 10**6
"""Each tokenizer is a few MB (strategy_sd.py:19-34)."""

WEIGHTS = (".safetensors", ".bin")
WEIGHT_STEMS = frozenset({"model", "diffusion_pytorch_model", "pytorch_model"})
SMALL = (".json", ".txt", ".model")
PASSED = {"sd15": ("tokenizer", "safety_checker"), "sd2": ("tokenizer", "safety_checker"), "sdxl": ("tokenizer",)}
"""Components given to from_pretrained as None, which diffusers then leaves out of the download."""

FP16_VARIANTS = ("sdxl",)
"""Families of which the trainer asks for half-size files of a Hub id."""


def wants_fp16_variant(family: str, mixed_precision: str) -> bool:
    """Whether the trainer asks for the half-size files (library/sdxl_train_util.py:99)."""
    return family in FP16_VARIANTS and mixed_precision == "fp16"


def pipeline_bytes(family: str, mixed_precision: str, files: Mapping[str, int] | None = None) -> int | None:
    """Bytes that a Hub id of this family costs: counted where the files are known, else from the table."""
    fp16 = wants_fp16_variant(family, mixed_precision)
    if files:
        return sum(files[name] for name in pipeline_files(files, family=family, fp16=fp16))
    row = PIPELINES.get(family)
    return row[fp16] if row else None


def pipeline_files(names: Collection[str], *, family: str, fp16: bool) -> tuple[str, ...]:
    """The files of a repository that diffusers 0.32.1 downloads (pipelines/pipeline_utils.py:1280-1440).

    Small files and weights of the component folders: safetensors if there are any, else pickles; of each folder the
    fp16 variant where it is asked for and there.
    """
    passed = PASSED.get(family, ())
    inside = [name for name in names if name.count("/") == 1 and name.partition("/")[0] not in passed]
    small = [name for name in inside if name.endswith(SMALL)]
    stems = {name: name.rpartition("/")[2].partition(".")[0].partition("-")[0] for name in inside}
    weights = [name for name in inside if name.endswith(WEIGHTS) and stems[name] in WEIGHT_STEMS]
    suffix = next((s for s in WEIGHTS if any(name.endswith(s) for name in weights)), "")
    folders = {name.partition("/")[0] for name in weights}
    chosen: list[str] = []
    for folder in folders:
        here = [name for name in weights if name.startswith(f"{folder}/") and name.endswith(suffix)]
        half = [name for name in here if fp16 and _variant(name) == "fp16"]
        chosen += half or [name for name in here if not _variant(name)]
    return tuple(sorted({*small, *chosen, *(name for name in names if name == "model_index.json")}))


def _variant(name: str) -> str:
    """``fp16`` of ``model.fp16.safetensors`` and of ``model.fp16-00001-of-00002.safetensors``."""
    middle = name.rpartition("/")[2].split(".")[1:-1]
    return middle[0].partition("-")[0] if middle else ""


TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
"""A tokenizer is there when all files of one of these sets are."""


def repo_folder(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


def cached_files(cache: Path, repo: str, revision: str = "main") -> Mapping[str, int]:
    """Names and bytes of the complete files of a cached revision; a blob still being fetched has no link yet."""
    folder = repo_folder(cache, repo)
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        return {}
    return {
        path.relative_to(snapshot).as_posix(): path.stat().st_size for path in snapshot.rglob("*") if path.is_file()
    }


PIPELINE_PARTS = frozenset(("unet", "vae", "text_encoder"))
MORE_PARTS = {"sdxl": frozenset(("text_encoder_2",))}
"""Folders with weights in a pipeline: of every family, and besides."""


def has_pipeline(files: Mapping[str, int], *, family: str, fp16: bool) -> bool:
    """Whether the trainer can load the base model from these files: an index, and weights for every component."""
    if "model_index.json" not in files:
        return False
    chosen = pipeline_files(files, family=family, fp16=fp16)
    weighted = {name.partition("/")[0] for name in chosen if name.endswith((".safetensors", ".bin"))}
    return PIPELINE_PARTS | MORE_PARTS.get(family, frozenset()) <= weighted


def has_tokenizer(files: Mapping[str, int], subfolder: str = "") -> bool:
    """Whether a tokenizer can be made from these files."""
    prefix = f"{subfolder}/" if subfolder else ""
    return any(all(prefix + name in files for name in group) for group in TOKENIZER_FILES)


SCHEME = "hf://"
FORM = "hf://org/repo/path/to/file.safetensors, with @revision at the end for another than main"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MAX_NAME = 200
"""Bytes of one part: room is left for the names of partial and set-aside files."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a model repository; ``revision`` None is the main branch."""

    repo: str
    path: str
    revision: str | None = None
    where: str = ""

    @property
    def text(self) -> str:
        return f"{SCHEME}{self.repo}/{self.path}" + (f"@{self.revision}" if self.revision else "")


def parse_ref(text: str, where: str = "") -> HubFile:
    """The file that a text names.

    Raises:
        RecipeError: it has another form, or would lead out of the models folder.
    """
    body, _, revision = text.removeprefix(SCHEME).partition("@")
    owner, _, rest = body.partition("/")
    repo, _, path = rest.partition("/")
    fault = _fault(text, (owner, repo), path, revision)
    if fault:
        finding = error("model.reference", f"{text!r}: {fault}", where=where, hint=f"write {FORM}")
        raise RecipeError(str(finding), findings=(finding,))
    return HubFile(f"{owner}/{repo}", path, revision or None, where)


def local_path(ref: HubFile, models: Path) -> Path:
    """Where the file belongs: ``<models>/org/repo/path``, with ``@revision`` after the repository if there is one."""
    suffix = f"@{ref.revision.replace('/', '--')}" if ref.revision else ""
    return models.joinpath(f"{ref.repo}{suffix}", *ref.path.split("/"))


def _fault(text: str, names: tuple[str, str], path: str, revision: str) -> str:
    if not text.startswith(SCHEME):
        return f"does not begin with {SCHEME}"
    if not all(_NAME.fullmatch(name) for name in names):
        return "names no repository (org/repo)"
    if not path:
        return "names a repository, not a file in it"
    for part in path.split("/"):
        odd = "\\" in part or not part.isprintable() or part.startswith(".") or not part
        if odd or len(part.encode()) > MAX_NAME:
            return "has a part that is not a plain file name"
    if "@" in text and (not _REVISION.fullmatch(revision) or ".." in revision):
        return "has no valid revision after the @"
    return ""
