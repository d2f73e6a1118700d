"""What RunPod's catalogue offers for a run, and the request that takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runpod_cloud import Fault, runpod_cloud, violations

from kohya_runner.errors import RemoteError
from kohya_runner.remote.place import Ask, Job
from kohya_runner.remote.runpod import RunPodPlace

VOLUME = {"id": "2q9m7x4c", "name": "training", "size": 100, "dataCenter": "EU-RO-1", "type": "STANDARD"}
GIB = 1 << 30


@pytest.fixture
def cloud(monkeypatch, odd_path):
    with runpod_cloud() as account:
        for name, value in {**account.environ(), "HOME": str(odd_path)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        yield account


def place(**settings):
    return RunPodPlace(name="pod", **settings)


def shown(offers):
    return [(offer.gpu, offer.price, offer.where) for offer in offers]


def test_what_is_free_is_offered_the_cheapest_first(cloud):
    assert shown(place().offers(Ask())) == [
        ("RTX A4000", 0.25, "secure cloud"),
        ("L4", 0.43, "secure cloud"),
        ("RTX A6000", 0.49, "secure cloud"),
        ("RTX 4090", 0.69, "secure cloud"),
        ("H100 SXM", 2.99, "secure cloud"),
    ]


def test_of_both_clouds_each_price_counts(cloud):
    first, *_ = place(cloud="any").offers(Ask(gpu="4090"))
    assert shown([first]) == [("RTX 4090", 0.34, "community cloud")]
    assert first.note == "24 GB each, stock high"


def test_a_card_that_the_plan_does_not_fit_on_is_not_offered(cloud):
    assert [offer.gpu for offer in place().offers(Ask(vram_bytes=30 * GIB))] == ["RTX A6000", "H100 SXM"]


def test_a_card_sold_with_24_gb_bears_24_gib(cloud):
    assert "L4" in [offer.gpu for offer in place().offers(Ask(vram_bytes=24 * GIB))]


@pytest.mark.parametrize("settings", [{}, {"max_price": 9.0}])
def test_the_price_is_for_all_cards_together(cloud, settings):
    offers = place(**settings).offers(Ask(gpus=2, max_price=0.9))
    assert shown(offers) == [("RTX A4000", 0.5, "secure cloud"), ("L4", 0.86, "secure cloud")]


def test_the_settings_have_limits_too(cloud):
    assert [offer.gpu for offer in place(max_price=0.3, cloud="any").offers(Ask())] == ["RTX A4000", "RTX A4000"]


def test_a_data_center_must_have_the_card_now(cloud):
    assert "RTX A6000" not in [offer.gpu for offer in place(data_centers=("US-KS-2",)).offers(Ask())]
    (offer,) = place(data_centers=("EU-RO-1", "US-KS-2"), gpu="A6000").offers(Ask())
    assert offer.spec == {"id": "NVIDIA RTX A6000", "cloud": "secure", "centers": "EU-RO-1 US-KS-2", "gb": ""}


def test_pods_are_where_their_network_volume_is(cloud):
    cloud.volumes.append(VOLUME)
    (offer,) = place(network_volume="2q9m7x4c").offers(Ask(gpu="L4"))
    assert (offer.spec["centers"], offer.spec["gb"]) == ("EU-RO-1", "100")


def test_a_network_volume_that_is_not_there_is_told(cloud):
    cloud.volumes.append(VOLUME)
    with pytest.raises(RemoteError, match="no network volume 2q9m7x4d") as caught:
        place(network_volume="2q9m7x4d").offers(Ask())
    assert "did you mean '2q9m7x4c'?" in caught.value.hint


@pytest.mark.parametrize(
    ("wish", "card"),
    [
        ("L4", "L4"),
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("h100", "H100 SXM"),
        ("rtx-a6000", "RTX A6000"),
    ],
)  # fmt: skip
def test_a_card_is_found_by_its_name_or_a_part_of_it(cloud, wish, card):
    assert [offer.gpu for offer in place().offers(Ask(gpu=wish))] == [card]


def test_a_card_that_there_is_not_is_told(cloud):
    with pytest.raises(RemoteError, match="no card named RTX 4080") as caught:
        place().offers(Ask(gpu="RTX 4080"))
    assert "did you mean 'RTX 4090'?" in caught.value.hint


def test_why_nothing_fits_is_counted(cloud):
    with pytest.raises(RemoteError) as caught:
        place().offers(Ask(vram_bytes=40 * GIB, max_price=0.4))
    assert caught.value.message == (
        "RunPod has no machine for this run now; of 6 offers: 3 with less memory than the 40.0 GiB of the plan, "
        "3 above 0.4 dollars an hour"
    )
    with pytest.raises(RemoteError, match="1 not free in US-KS-2"):
        place(data_centers=("US-KS-2",)).offers(Ask(gpu="A6000"))
    with pytest.raises(RemoteError, match="1 not in the secure cloud with 9 cards"):
        place().offers(Ask(gpu="L4", gpus=9))


def test_stock_is_asked_for_these_cards_in_this_cloud_with_this_cuda(cloud):
    place(cuda="12.4").offers(Ask(gpus=2))
    assert cloud.queries == ["include=AVAILABILITY&product=POD&count=2&cloud=SECURE&minCudaVersion=12.4"]


@pytest.mark.parametrize(("status", "says"), [(401, "does not know this key"), (403, "may not do that")])
def test_a_key_that_may_not_is_told(cloud, status, says):
    cloud.faults.append(Fault("GET /v2/catalog/gpus", status))
    with pytest.raises(RemoteError, match=says):
        place().offers(Ask())


def test_what_runpod_cannot_do_is_told_before_anybody_is_asked(cloud, monkeypatch):
    monkeypatch.delenv("KOHYA_RUNPOD_API_KEY")
    found = place(network_volume="x", cloud="any").problems(Ask(spot=True, nodes=2))
    assert [text.split(":")[0] for text in found] == [
        "RunPod's API v2 rents no spot machines", "one pod is one machine", "network volumes are in the secure cloud",
        "RunPod needs your key",
    ]  # fmt: skip
    assert cloud.requests == []
    monkeypatch.setenv("RUNPOD_API_KEY", "x")
    assert place().problems(Ask()) == ()


def job(folder, **ask):
    return Job("my run", "007", folder, 1, Ask(**ask))


@pytest.mark.parametrize(
    ("settings", "mounts"),
    [
        ({}, {"persistent": {"size": 50, "path": "/workspace"}}),
        ({"volume": 20}, {"persistent": {"size": 20, "path": "/workspace"}}),
        ({"network_volume": "2q9m7x4c"}, {"network": [{"volumeId": "2q9m7x4c", "path": "/workspace"}]}),
    ],
)
def test_the_request_is_what_the_contract_allows(cloud, odd_path, settings, mounts):
    cloud.volumes.append(VOLUME)
    (offer,) = place(**settings).offers(Ask(gpu="L4", gpus=2))
    body = place(**settings).request(job(odd_path), offer, "kohya-runner-a-001-0f0f0f0f", "ssh-ed25519 AAAA")
    assert violations(body) == []
    assert body["mounts"] == mounts
    assert body["gpu"] == {"id": "NVIDIA L4", "count": 2, "minCudaVersion": "12.8"}
    assert body["env"] == {"PUBLIC_KEY": "ssh-ed25519 AAAA"}
    assert (body["cloud"], body["ports"], body["startSsh"]) == ("SECURE", ["22/tcp"], True)


def test_a_volume_holds_what_the_plan_needs_and_a_third_more(cloud, odd_path):
    (offer,) = place().offers(Ask(gpu="L4"))
    body = place().request(job(odd_path, disk_bytes=100 * 10**9), offer, "x", "y")
    assert body["mounts"]["persistent"]["size"] == 130


def test_what_is_rendered_can_be_sent_and_holds_no_secret(cloud, odd_path):
    (offer,) = place().offers(Ask(gpu="L4"))
    files = place().render(job(odd_path), offer)
    assert violations(json.loads(files["pod.json"])) == []
    assert "$KOHYA_RUNPOD_API_KEY" in files["by-hand.sh"]
    assert "rpa_" not in "".join(files.values())


def test_a_key_is_made_once_where_the_user_has_none_without_a_passphrase(cloud, odd_path):
    asked = place().render(job(odd_path), None)
    made = odd_path / ".config" / "kohya-runner" / "runpod_ed25519"
    assert made.stat().st_mode & 0o777 == 0o600
    public = made.with_suffix(".pub").read_text().rsplit(" ", 1)[0]
    assert json.loads(asked["pod.json"])["env"]["PUBLIC_KEY"].startswith(public)
    assert place().render(job(odd_path), None) == asked


def test_a_key_of_the_settings_must_be_there(cloud, odd_path):
    with pytest.raises(RemoteError, match="the ssh key ~/nothing cannot be used"):
        place(key="~/nothing").render(job(Path(odd_path)), None)


def test_all_that_is_billed_is_listed_with_the_run_it_belongs_to(cloud, odd_path):
    cloud.volumes += [VOLUME, {**VOLUME, "id": "fast", "type": "HIGH_PERFORMANCE"}]
    (offer,) = place().offers(Ask(gpu="L4"))
    for name in ("kohya-runner-my run-007-0f0f0f0f", "somebody's"):
        cloud.create(place().request(job(odd_path), offer, name, "y"))
    cloud.act(cloud.living()[1], {"action": "stop"})
    found = place().billed()
    assert [(one.what.split()[0], one.price, one.run) for one in found] == [
        ("pod", 0.43, "my run/007"), ("pod", 0.0137, None), ("network", 0.0096, None), ("network", None, None),
    ]  # fmt: skip
    assert found[1].text == "exited, 50 GB; end it: runpodctl pod delete pod2x7h9k2"
