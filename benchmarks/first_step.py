"""From a bare folder to the first real step: set-up, models and dataset at the same time, and one after the other.

    PYTHONPATH=. python benchmarks/first_step.py WHEELS MODEL SD_SCRIPTS [MEGABYTES_A_SECOND] [FOLDER]

WHEELS: a folder with every wheel of runpod/requirements.lock and of the trainer (pip download): the package index.
MODEL: ``models/random-sd15`` of a workspace in which quickstart ran: 2.1 GB, which a Hub on this machine hands out at
50 MB/s. SD_SCRIPTS: a checkout. Each side begins with an empty home and an empty workspace, and trains two steps on the
CPU. "Longest" is the longest of the two pieces that overlap. Fails where they take more than 1.15 times that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kohya_runner.artefact.file_hash import sha256

LIMIT = 1.15
ROOT = Path(__file__).parents[1]
PIECE = 1 << 20
FILE = "bench/sd15/resolve/main/model.safetensors"


class Hub(BaseHTTPRequestHandler):
    """One repository with one file, at so many bytes a second for each connection."""

    protocol_version = "HTTP/1.1"
    file: Path
    digest: str
    rate: float

    def do_GET(self) -> None:
        size = self.file.stat().st_size
        if self.path.startswith("/api/models/bench/sd15"):
            files = [{"rfilename": "model.safetensors", "size": size, "blobId": "b"}]
            body = json.dumps({"id": "bench/sd15", "sha": "a" * 40, "gated": False, "siblings": files}).encode()
            self._head(200, len(body), {"Content-Type": "application/json"})
            self.wfile.write(body)
        elif self.path.endswith(FILE):
            begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self._head(206 if begin else 200, size - begin, {"ETag": f'"{self.digest}"', "X-Repo-Commit": "a" * 40})
            if self.command == "GET":
                self._body(begin)
        else:
            self._head(404, 0, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _body(self, begin: int) -> None:
        started, sent = time.monotonic(), 0
        with self.file.open("rb") as file, contextlib.suppress(OSError):  # who reads the header alone leaves then
            file.seek(begin)
            while data := file.read(PIECE):
                self.wfile.write(data)
                sent += len(data)
                time.sleep(max(0.0, sent / self.rate - (time.monotonic() - started)))

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def hub(file: Path, rate: float) -> Iterator[str]:
    served = type("Served", (Hub,), {"file": file, "digest": sha256(file), "rate": rate})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def machine(home: Path, wheels: Path, model: Path, sources: Path, endpoint: str) -> tuple[dict[str, str], list[str]]:
    """A bare home and workspace, and the words of the recipe."""
    room = home / "workspace"
    shutil.copytree(model / "tokenizers", room / "tokenizers")
    environ = {
        "HOME": str(home), "PATH": os.defpath, "HF_ENDPOINT": endpoint, "KOHYA_RUNNER_SD_SCRIPTS": str(sources),
        "KOHYA_RUNNER_BOOTSTRAP_PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1",
    }  # fmt: skip
    words = [
        str(ROOT / "recipes" / "quickstart.yaml"), "--set=model=hf://bench/sd15/model.safetensors",
        f"--set=args.tokenizer_cache_dir={room / 'tokenizers'}", "--set=args.max_train_epochs=null",
        "--set=args.max_train_steps=2", f"--workspace={room}",
    ]  # fmt: skip
    return environ, words


def run(argv: list[str], environ: dict[str, str]) -> float:
    begun = time.time()
    with Path(environ["HOME"], "log").open("ab") as log:
        code = subprocess.run(argv, env=environ, cwd=environ["HOME"], stdout=log, stderr=log, check=False).returncode
    if code:
        sys.exit(f"{' '.join(argv[:3])} ended with {code}: {Path(environ['HOME'], 'log')}")
    return time.time() - begun


def first_step(home: Path) -> dict[str, float]:
    (file,) = (home / "workspace" / "runs").glob("*/*/record.json")
    times: dict[str, float] = json.loads(file.read_text())["timings"]
    return times


def overlapped(environ: dict[str, str], words: list[str]) -> tuple[float, float]:
    """Seconds to the first step, and those of the part that overlaps: from the check of the recipe to the launch."""
    begun = time.time()
    run(["bash", str(ROOT / "runpod" / "start_training.sh"), *words], environ)
    home = Path(environ["HOME"])
    times = first_step(home)
    checked = max(path.stat().st_ctime for path in home.glob(".local/share/kohya-runner/runner-*/complete"))
    return times["first_step"] - begun, times["queued"] - checked


def in_turn(environ: dict[str, str], words: list[str]) -> tuple[float, dict[str, float]]:
    """The same commands one after the other, with the seconds of each."""
    begun = time.time()
    code = f'. "{ROOT}/runpod/runner_env.sh"; runner_env runner "{ROOT}" >"$HOME/runner"'
    pieces = {"the runner's environment": run(["bash", "-c", code], environ)}
    runner = f"{Path(environ['HOME'], 'runner').read_text().strip()}/bin/kohya-runner"
    steps = {
        "check": ["launch", *words, "--practice", "--dry-run"], "set-up": ["setup"],
        "models and dataset": ["launch", *words, "--prepare"], "launch": ["launch", *words, "--once"],
    }  # fmt: skip
    for name, argv in steps.items():
        launched = time.time()
        pieces[name] = run([runner, *argv], environ)
    times = first_step(Path(environ["HOME"]))
    pieces["launch"] = times["first_step"] - launched
    return times["first_step"] - begun, pieces


def main(wheels: Path, model: Path, sources: Path, rate: float = 50.0, folder: Path | None = None) -> None:
    with (
        tempfile.TemporaryDirectory(dir=folder) as name,
        hub(model / "random-sd15.safetensors", rate * 1e6) as endpoint,
    ):
        homes = [Path(name) / side for side in ("in turn", "overlapped")]
        apart, pieces = in_turn(*machine(homes[0], wheels, model, sources, endpoint))
        shutil.rmtree(homes[0])
        together, both = overlapped(*machine(homes[1], wheels, model, sources, endpoint))
    longest = max(pieces["set-up"], pieces["models and dataset"])
    for piece, seconds in pieces.items():
        print(f"  {piece:<26}{seconds:8.1f} s")
    print(f"one after the other         {apart:8.1f} s to the first step")
    print(f"overlapped                  {together:8.1f} s, {together / apart:.2f} of it")
    print(f"the part that overlaps      {both:8.1f} s, {both / longest:.2f} of its longest piece (limit {LIMIT})")
    sys.exit(0 if both / longest <= LIMIT else 1)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(Path, given[:3]), *map(float, given[3:4]), *map(Path, given[4:5]))
