"""Prices from the user and from two catalogues, each with its source and its age."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runpod_cloud import KEY, gpu, runpod_cloud
from servers import serving

from kohya_runner.errors import PreflightError, UsageError
from kohya_runner.machine import runpod_api
from kohya_runner.machine.prices import Offer, given, runpod, sky

HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
ROWS = (
    "1x_L4,L4,1.0,8.0,45.0,\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 24}}]}\",0.43,0.2,US,US-1\n"
    "1x_L4,L4,1.0,8.0,45.0,\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 24}}]}\",0.39,,CA,CA-1\n"
    "2x_L4,L4,2.0,8.0,45.0,\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 24}}]}\",0.86,,US,US-1\n"
    "cpu,,,8.0,45.0,,0.1,,US,US-1\n"
    "gone,H100,1.0,8.0,45.0,,,0.9,US,US-1\n"
)
GPUS = (
    gpu("L4", 24, 0.43, 0.1, community=False),
    gpu("RTX 4090", 24, 0.69, 0.34, id="NVIDIA GeForce RTX 4090"),
    gpu("A30", 24, 0, 0),
)


@pytest.fixture
def home(odd_path: Path) -> Path:
    for version, price in (("v7", "9.0"), ("v8", None)):
        folder = odd_path / ".sky" / "catalogs" / version / "runpod"
        folder.mkdir(parents=True)
        text = HEAD + (ROWS if price is None else ROWS.replace("0.39", price))
        (folder / "vms.csv").write_text(text, encoding="utf-8")
        os.utime(folder / "vms.csv", (1_790_000_000, 1_790_000_000))
    return odd_path


def test_the_cheapest_of_skypilots_newest_catalogue_counts_with_its_age(home):
    (offer,) = sky({"HOME": str(home)}, 1)
    assert (offer.card, offer.price, offer.gb) == ("L4", 0.39, 24)
    assert offer.source == "SkyPilot's catalogue, runpod"
    assert offer.when.timestamp() == 1_790_000_000


def test_two_cards_are_offers_of_two_cards(home):
    (offer,) = sky({"HOME": str(home)}, 2)
    assert (offer.count, offer.price) == (2, 0.86)


def test_a_megabyte_is_not_taken_for_a_gigabyte(home):
    file = home / ".sky" / "catalogs" / "v8" / "runpod" / "vms.csv"
    file.write_text(HEAD + ROWS.replace("'SizeInMiB': 24", "'SizeInMiB': 23034"), encoding="utf-8")
    assert sky({"HOME": str(home)}, 1)[0].gb == 22


def test_without_skypilot_there_are_no_offers_of_it(odd_path):
    assert sky({"HOME": str(odd_path)}, 1) == ()


def test_a_catalogue_that_is_no_text_is_named(home):
    (home / ".sky" / "catalogs" / "v8" / "runpod" / "vms.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PreflightError, match=r"vms\.csv: cannot be read"):
        sky({"HOME": str(home)}, 1)


def test_runpods_prices_are_those_of_each_cloud_that_has_the_card():
    with runpod_cloud(catalogue=GPUS) as cloud:
        found = runpod({"KOHYA_RUNPOD_API_KEY": KEY, "KOHYA_RUNPOD_API": cloud.url}, 2)
    assert [(offer.card, offer.price, offer.gb, offer.source) for offer in found] == [
        ("NVIDIA L4", 0.86, 24, "RunPod, secure cloud"),
        ("NVIDIA GeForce RTX 4090", 1.38, 24, "RunPod, secure cloud"),
        ("NVIDIA GeForce RTX 4090", 0.68, 24, "RunPod, community cloud"),
    ]
    assert (cloud.requests, cloud.queries) == ([("GET", "/v2/catalog/gpus", None)], [""])


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (401, b"", "it does not know this key"),
        (403, b"", "this key, or this account, may not do that"),
        (429, b"", "too many requests"),
        (200, b"<html>", "its answer is not what its documentation says"),
        (200, b'{"gpus": [7]}', "its answer is not what its documentation says"),
        (200, b"[]", "its answer is not what its documentation says"),
    ],
)
def test_an_answer_that_holds_no_prices_is_told(status, said, why, monkeypatch):
    monkeypatch.setattr(runpod_api, "WAITS", ())
    with serving(status, said=said) as server, pytest.raises(PreflightError, match=why) as caught:
        runpod({"RUNPOD_API_KEY": "rp-secret", "KOHYA_RUNPOD_API": server.url}, 1)
    assert "rp-secret" not in caught.value.message


def test_without_a_key_nobody_is_asked():
    with pytest.raises(PreflightError, match="needs your key"):
        runpod({}, 1)


def test_a_price_may_name_its_card():
    assert given(("0.4", "NVIDIA L4=0.43"), "--price", 1) == (
        Offer("", 1, 0.4, "--price"),
        Offer("NVIDIA L4", 1, 0.43, "--price"),
    )


@pytest.mark.parametrize("text", ["", "much", "L4=", "-1", "0", "nan", "inf"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(UsageError, match="is no price"):
        given((text,), "--price", 1)


@pytest.mark.parametrize(
    ("gpus", "card", "same"),
    [
        (("NVIDIA GeForce RTX 4090",), "RTX4090", True),
        (("NVIDIA L4",), "NVIDIA L4", True),
        (("NVIDIA L40S",), "L40", False),
        (("NVIDIA A100 80GB PCIe",), "A100-80GB", False),  # RunPod's, and another card at other clouds
        (("NVIDIA L4", "NVIDIA L4"), "L4", False),
        ((), "L4", False),
    ],
)
def test_an_offer_is_of_a_measured_card_only_where_their_names_say_so(gpus, card, same):
    assert Offer(card, 1, 1.0, "x").is_of(gpus) is same
