from __future__ import annotations

import time
from pathlib import Path

import pytest

from kohya_runner import hub as hub_module
from kohya_runner.findings import Severity
from kohya_runner.hub import Access, HubFact, HubNeed, access, hub_facts, hub_findings, write_findings


def _codes(needs: list[HubNeed], facts: list[HubFact], reach: Access) -> list[str]:
    return [finding.code for finding in hub_findings(needs, facts, reach)]


def test_an_open_repository_gives_its_commit_and_the_sizes_of_its_files(hub, make_repo):
    make_repo("org/open")
    assert hub_facts(["org/open"], hub.access()) == (
        HubFact("org/open", "ok", "", "a" * 40, 5005, (("README.md", 5), ("model.safetensors", 5000))),
    )


@pytest.mark.parametrize(
    ("repo", "token", "status"),
    [
        pytest.param("org/gated", None, "unauthorized", id="gated, no token: 401"),
        pytest.param("org/gated", "other", "gated", id="gated, licence not accepted: 403"),
        pytest.param("org/gated", "good", "ok", id="gated, licence accepted"),
        pytest.param("org/open", "expired", "unauthorized", id="open, invalid token: 401"),
        pytest.param("org/absent", None, "missing", id="missing, no token: 401"),
        pytest.param("org/absent", "good", "missing", id="missing, token: 404"),
        pytest.param("org/private", "other", "missing", id="private to somebody else: 404"),
        pytest.param("org/private", "good", "ok", id="private, mine"),
        pytest.param("not a repo!", None, "missing", id="no valid name"),
    ],
)
def test_401_403_and_404_are_told_apart(hub, make_repo, repo, token, status):
    make_repo("org/open")
    make_repo("org/gated", gated=True, readers=("good",))
    make_repo("org/private", private=True, readers=("good",))
    assert hub_facts([repo], hub.access(token))[0].status == status


def test_several_repositories_keep_their_order(hub, make_repo):
    make_repo("org/open")
    assert [fact.repo for fact in hub_facts(["a/b", "org/open", "a/b"], hub.access())] == ["a/b", "org/open"]


def test_offline_asks_nothing_and_says_why(hub):
    fact = hub_facts(["org/open"], Access(hub.endpoint, offline=True))[0]
    assert (fact.status, fact.detail, hub.asked) == ("offline", "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set", [])


def test_a_dead_network_is_offline_at_once():
    begun = time.monotonic()
    assert hub_facts(["a/b", "c/d"], Access("http://127.0.0.1:9"))[0].status == "offline"
    assert time.monotonic() - begun < 30


def test_a_broken_server_is_an_error_with_its_number(hub):
    hub.status = 503
    fact = hub_facts(["a/b"], hub.access())[0]
    assert (fact.status, fact.detail[:4]) == ("error", "503:")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        pytest.param("good", None, id="it may write"),
        pytest.param("reader", "the token may only read", id="it may only read"),
        pytest.param("expired", "the Hub refuses the token (401)", id="it is no more"),
        pytest.param(None, "there is no token of the Hub", id="there is none"),
    ],
)
def test_whether_a_token_may_publish_is_known_before_the_training(hub, token, said):
    found = write_findings("me/cat", "r.yaml:3:8", hub.access(token))
    assert [(f.code, f.severity) for f in found] == ([("hub.write", Severity.ERROR)] if said else [])
    assert all(said in f.message and f.where == "r.yaml:3:8" and "HF_TOKEN" in f.hint for f in found)


def test_a_hub_that_does_not_answer_is_no_error_yet_and_one_that_is_switched_off_is(hub):
    hub.status = 503
    reach = [hub.access("good"), Access("http://127.0.0.1:9", "good"), Access(hub.endpoint, "good", offline=True)]
    found = [write_findings("me/cat", "", one)[0].severity for one in reach]
    assert found == [Severity.WARNING, Severity.WARNING, Severity.ERROR]


def test_the_token_is_never_shown():
    assert "hf_secret" not in repr(Access("http://x", "hf_secret"))


@pytest.mark.parametrize("status", ["gated", "unauthorized", "missing", "offline", "error"])
def test_every_status_but_ok_is_an_error_with_a_code_of_its_own(status):
    (finding,) = hub_findings([HubNeed("a/b")], [HubFact("a/b", status)], Access())
    assert (finding.code, finding.severity, bool(finding.hint)) == (f"hub.{status}", Severity.ERROR, True)


@pytest.mark.parametrize(("set_so", "advice"), [(True, "unset HF_HUB_OFFLINE"), (False, "see that http://mirror")])
def test_a_hub_that_is_not_reached_says_what_to_do_about_its_cause(set_so, advice):
    reach = Access("http://mirror", offline=set_so)
    for names in (["a/b"], ["a/b", "c/d"]):
        needs, facts = [HubNeed(name) for name in names], [HubFact(name, "offline", "no answer") for name in names]
        (finding,) = hub_findings(needs, facts, reach)
        assert finding.hint.startswith(advice)
        assert ("HF_HUB_OFFLINE" in finding.hint) is set_so


def test_a_gated_repository_says_where_to_accept_the_licence(hub):
    finding = hub_findings([HubNeed("a/b")], [HubFact("a/b", "gated", "403")], hub.access("t"))[0]
    assert f"{hub.endpoint}/a/b" in finding.hint


def test_what_is_cached_needs_no_hub(hub):
    assert _codes([HubNeed("a/b", cached=True)], [HubFact("a/b", "offline")], hub.access()) == []


def test_a_repository_that_is_ok_is_no_finding(hub):
    assert _codes([HubNeed("a/b")], [HubFact("a/b", "ok")], hub.access()) == []


def test_missing_without_a_token_may_be_private(hub, make_repo):
    finding = hub_findings([HubNeed("a/b", where="r.yaml:3:8")], hub_facts(["a/b"], hub.access()), hub.access())[0]
    assert "missing or private" in finding.message
    assert finding.where == "r.yaml:3:8"


def test_the_token_comes_from_the_environment_before_the_file(odd_path: Path):
    (odd_path / "token").write_text("from file\n")
    file_only = access({"HF_HOME": str(odd_path)})
    both = access({"HF_HOME": str(odd_path), "HF_TOKEN": "named"})
    assert (file_only.token, both.token) == ("from file", "named")


def test_no_token_anywhere_is_none(odd_path: Path):
    assert access({"HOME": str(odd_path)}) == Access(hub_module.ENDPOINT)


def test_the_endpoint_and_offline_come_from_the_environment(odd_path: Path):
    found = access({"HOME": str(odd_path), "HF_ENDPOINT": "http://mirror/", "HF_HUB_OFFLINE": "1"})
    assert found == Access("http://mirror", None, offline=True)
