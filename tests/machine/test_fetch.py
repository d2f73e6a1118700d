from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kohya_runner.artefact import file_hash
from kohya_runner.artefact.file_hash import record_path
from kohya_runner.errors import PreflightError
from kohya_runner.hub import Access
from kohya_runner.machine import fetch as fetch_module
from kohya_runner.machine.downloads import local_path, parse_ref
from kohya_runner.machine.fetch import DownloadProgress, fetch

DATA = bytes(range(256)) * 40_000  # 10 MB
REF = parse_ref("hf://org/open/folder/model.safetensors")


@pytest.fixture
def files(make_repo):
    make_repo("org/open", {"folder/model.safetensors": DATA, "vae.safetensors": b"v" * 100})


@pytest.fixture
def models(odd_path):
    return odd_path / "models"


def _partials(models: Path) -> list[Path]:
    return list(models.rglob(".*.partial"))


def _codes(fault: PreflightError) -> list[str]:
    return [finding.code for finding in fault.findings]


def test_files_arrive_as_real_files_in_the_order_asked(hub, files, models):
    second = parse_ref("hf://org/open/vae.safetensors")
    found = fetch([REF, second], models, reach=hub.access())
    assert found == (local_path(REF, models), local_path(second, models))
    assert [path.read_bytes() for path in found] == [DATA, b"v" * 100]
    assert not any(path.is_symlink() for path in found)
    assert _partials(models) == []


def test_progress_goes_up_to_the_whole_file(hub, files, models):
    seen: list[DownloadProgress] = []
    fetch([REF], models, reach=hub.access(), on_progress=seen.append)
    assert seen[-1] == DownloadProgress(REF.text, len(DATA), len(DATA))
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_a_complete_file_needs_neither_network_nor_hashing(hub, files, models, monkeypatch):
    fetch([REF], models, reach=hub.access())
    monkeypatch.setattr(file_hash, "matches", lambda *_: pytest.fail("hashed again"))
    assert fetch([REF], models, reach=Access("http://127.0.0.1:9", offline=True))[0].read_bytes() == DATA


def test_a_broken_connection_is_resumed_within_the_fetch(hub, files, models):
    hub.cut_after, hub.cuts = 4_000_000, 1
    assert fetch([REF], models, reach=hub.access())[0].read_bytes() == DATA
    assert len(hub.bodies()) == 2


def test_a_fetch_goes_on_from_what_an_earlier_one_left(hub, files, models):
    target = local_path(REF, models)
    fetch([REF], models, reach=hub.access())
    partial = _become_partial(target, DATA[:6_000_000])
    assert fetch([REF], models, reach=hub.access())[0].read_bytes() == DATA
    assert hub.bodies()[-1]["range"] == "bytes=6000000-"
    assert not partial.exists()


def _become_partial(target: Path, data: bytes) -> Path:
    """As a killed fetch leaves it."""
    etag = json.loads(record_path(target).read_text())["etag"]
    partial = target.with_name(f".{target.name}.{etag[:16]}.partial")
    record_path(target).unlink()
    target.unlink()
    partial.write_bytes(data)
    return partial


CHILD = """
import sys
from pathlib import Path
from kohya_runner.machine.fetch import fetch
from kohya_runner.hub import Access
from kohya_runner.machine.downloads import parse_ref
text, models, endpoint = sys.argv[1:]
fetch([parse_ref(text)], Path(models), reach=Access(endpoint), on_progress=lambda p: print(p.done, flush=True))
"""
CHILD_ENVIRON = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_after_a_kill_the_next_fetch_goes_on(hub, make_repo, models):
    data = os.urandom(1 << 16) * 512  # 32 MB: three chunks of the client
    make_repo("org/open", {"folder/model.safetensors": data})
    hub.cut_after, hub.cuts = 25_000_000, 10**9
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, REF.text, str(models), hub.endpoint],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=CHILD_ENVIRON,
    )  # fmt: skip
    assert child.stdout is not None
    while int(child.stdout.readline()) < 10_000_000:
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = _partials(models)[0].stat().st_size
    hub.cut_after = None
    assert fetch([REF], models, reach=hub.access())[0].read_bytes() == data
    assert hub.bodies()[-1]["range"] == f"bytes={kept}-"


def test_a_connection_that_stays_broken_says_what_is_kept(hub, files, models, monkeypatch):
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda _: real(0))
    hub.cut_after = 10
    with pytest.raises(PreflightError, match="kept") as caught:
        fetch([REF], models, reach=hub.access())
    assert _codes(caught.value) == ["hub.offline"]


def test_damaged_data_is_set_aside_and_never_kept_under_its_name(hub, files, models):
    fetch([REF], models, reach=hub.access())
    target = local_path(REF, models)
    _become_partial(target, b"?" * 6_000_000)
    with pytest.raises(PreflightError, match="damaged") as caught:
        fetch([REF], models, reach=hub.access(), clock=lambda: 0.0)
    assert _codes(caught.value) == ["model.broken"]
    assert not target.exists()
    assert target.with_name(f"{target.name}.broken-19700101-000000").exists()


def test_a_changed_file_is_set_aside_and_fetched_again(hub, files, models):
    target = fetch([REF], models, reach=hub.access())[0]
    target.write_bytes(DATA[:100])
    assert fetch([REF], models, reach=hub.access(), clock=lambda: 0.0)[0].read_bytes() == DATA
    assert target.with_name(f"{target.name}.broken-19700101-000000").read_bytes() == DATA[:100]


def test_a_right_file_put_there_by_hand_is_taken_over(hub, files, models):
    target = local_path(REF, models)
    target.parent.mkdir(parents=True)
    target.write_bytes(DATA)
    fetch([REF], models, reach=hub.access())
    assert hub.bodies() == []
    assert record_path(target).exists()


@pytest.mark.parametrize(("token", "code"), [(None, "hub.unauthorized"), ("other", "hub.gated")])
def test_a_gated_file_is_refused_before_anything_is_fetched(hub, make_repo, models, token, code):
    make_repo("org/gated", {"a.safetensors": b"a"}, gated=True)
    make_repo("org/open", {"folder/model.safetensors": DATA})
    with pytest.raises(PreflightError) as caught:
        fetch([REF, parse_ref("hf://org/gated/a.safetensors", "r.yaml:4:7")], models, reach=hub.access(token))
    assert [(f.code, f.where) for f in caught.value.findings] == [(code, "r.yaml:4:7")]
    assert hub.bodies() == []


def test_a_missing_file_is_named(hub, files, models):
    with pytest.raises(PreflightError, match=r"absent\.safetensors") as caught:
        fetch([parse_ref("hf://org/open/absent.safetensors")], models, reach=hub.access())
    assert _codes(caught.value) == ["hub.missing"]


def test_all_missing_files_are_reported_at_once(hub, files, models):
    wanted = [parse_ref(f"hf://org/open/{name}.safetensors") for name in "ab"]
    with pytest.raises(PreflightError) as caught:
        fetch(wanted, models, reach=hub.access())
    assert len(caught.value.findings) == 2


def test_offline_without_the_file_says_so(models):
    with pytest.raises(PreflightError, match="HF_HUB_OFFLINE") as caught:
        fetch([REF], models, reach=Access(offline=True))
    assert _codes(caught.value) == ["hub.offline"]


def test_the_token_goes_to_the_hub_and_not_to_its_storage(hub, make_repo, models):
    make_repo("org/gated", {"a.safetensors": b"a"}, gated=True, readers=("good",))
    fetch([parse_ref("hf://org/gated/a.safetensors")], models, reach=hub.access("good"))
    assert [headers.get("authorization") for headers in hub.bodies()] == [None]


def test_hf_transfer_switched_on_without_being_installed_does_no_harm(hub, files, models):
    child = [sys.executable, "-c", CHILD, REF.text, str(models), hub.endpoint]
    environ = {**CHILD_ENVIRON, "HF_HUB_ENABLE_HF_TRANSFER": "1"}
    assert subprocess.run(child, env=environ, capture_output=True, check=False).returncode == 0


def test_two_fetches_of_one_file_do_not_mix(hub, files, models):
    fetch([REF], models, reach=hub.access())
    partial = _become_partial(local_path(REF, models), b"")
    with fetch_module._locked(partial), pytest.raises(PreflightError, match="another process"):
        fetch([REF], models, reach=hub.access())


def test_a_full_disk_is_a_disk_finding(hub, files, models, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module.CountingFile, "write", full)
    with pytest.raises(PreflightError) as caught:
        fetch([REF], models, reach=hub.access())
    assert _codes(caught.value) == ["disk.full"]


def test_a_link_in_the_models_folder_may_not_lead_out_of_it(hub, files, models, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    models.mkdir()
    (models / "org").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PreflightError, match="leads out"):
        fetch([REF], models, reach=hub.access())


def test_ctrl_c_keeps_what_has_arrived(hub, files, models):
    def interrupt(progress: DownloadProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch([REF], models, reach=hub.access(), on_progress=interrupt)
    assert _partials(models)[0].stat().st_size > 0
    assert fetch([REF], models, reach=hub.access())[0].read_bytes() == DATA
