from __future__ import annotations

import hashlib
import time

import pytest
from model_headers import NAMES, header_bytes, small

from kohya_runner.artefact.model_inspection import identity_findings
from kohya_runner.hub import Access
from kohya_runner.machine import remote_header
from kohya_runner.machine.downloads import HubFile
from kohya_runner.machine.remote_header import inspect_hub_files

FILE = HubFile("org/open", "m.safetensors", None, "r.yaml:3:8")
LORA = small(NAMES["lora"])


def _look(hub, *, token=None, slot="model", file=FILE):
    return inspect_hub_files([(slot, file)], hub.access(token))


def test_a_file_of_the_hub_tells_size_hash_and_kind_before_it_is_fetched(hub, make_repo):
    make_repo("org/open", {"m.safetensors": LORA})
    (seen,) = _look(hub)
    facts = (seen.name, seen.bytes, seen.sha256, seen.identity.key, seen.where)
    assert facts == ("hf://org/open/m.safetensors", len(LORA), hashlib.sha256(LORA).hexdigest(), "lora", "r.yaml:3:8")


def test_only_the_beginning_is_asked_for(hub, make_repo):
    make_repo("org/open", {"m.safetensors": LORA})
    _look(hub)
    assert [headers["range"] for headers in hub.bodies()] == ["bytes=0-1048575"]


def test_a_server_without_ranges_is_not_read_to_its_end(hub, make_repo, monkeypatch):
    monkeypatch.setattr(remote_header, "FIRST", 4096)
    whole = small({"lora_unet_a.lora_down.weight": [400, 400], "lora_unet_a.lora_up.weight": [400, 400]})
    make_repo("org/open", {"m.safetensors": whole})
    (seen,) = _look(hub)
    assert (seen.identity.key, seen.bytes) == ("lora", len(whole))


def test_a_longer_header_takes_a_second_request(hub, make_repo, monkeypatch):
    monkeypatch.setattr(remote_header, "FIRST", 64)
    make_repo("org/open", {"m.safetensors": LORA})
    assert _look(hub)[0].identity.key == "lora"
    length = int.from_bytes(LORA[:8], "little") + 8
    assert [headers["range"] for headers in hub.bodies()] == ["bytes=0-63", f"bytes=0-{length - 1}"]


def test_the_token_goes_to_the_hub_and_not_to_a_storage_host(hub, make_repo):
    make_repo("org/open", {"m.safetensors": LORA}, gated=True, readers=("good",))
    assert len(_look(hub, token="good")) == 1
    assert all("authorization" not in headers for headers in hub.bodies())


@pytest.mark.parametrize("family", ["flux", "sdxl"])
def test_a_wrong_file_on_the_hub_is_the_same_error_as_here(hub, make_repo, family):
    make_repo("org/open", {"m.safetensors": LORA})
    found = identity_findings(_look(hub), family=family)
    assert ([f.code for f in found], found[0].where) == (["model.family"], "r.yaml:3:8")


def test_a_file_that_is_cut_on_the_hub_is_an_error(hub, make_repo):
    make_repo("org/open", {"m.safetensors": header_bytes(NAMES["flux"]) + b"\0" * 100})
    (finding,) = identity_findings(_look(hub), family="flux")
    assert (finding.code, "is cut on the Hub" in finding.message) == ("model.format", True)


def test_a_file_that_is_no_safetensors_is_an_error(hub, make_repo):
    make_repo("org/open", {"m.safetensors": b"<html>not found</html>" * 9})
    (finding,) = identity_findings(_look(hub), family="flux")
    assert (finding.code, "no safetensors header" in finding.message) == ("model.format", True)


def test_another_format_is_told_by_size_alone(hub, make_repo):
    make_repo("org/open", {"m.ckpt": b"PK\x03\x04" + b"0" * 50})
    (seen,) = _look(hub, file=HubFile("org/open", "m.ckpt"))
    assert (seen.bytes, seen.identity, hub.bodies()) == (54, None, [])


def test_offline_asks_nothing(hub):
    assert inspect_hub_files([("model", FILE)], Access(hub.endpoint, offline=True)) == ()
    assert hub.asked == []


@pytest.mark.parametrize("token", [None, "other"])
def test_a_file_that_may_not_be_read_is_left_to_the_hub_check(hub, make_repo, token):
    make_repo("org/open", {"m.safetensors": LORA}, gated=True, readers=("good",))
    assert _look(hub, token=token) == ()


def test_a_dead_network_is_silent_and_quick():
    begun = time.monotonic()
    assert inspect_hub_files([("model", FILE), ("ae", FILE)], Access("http://127.0.0.1:9")) == ()
    assert time.monotonic() - begun < 30
