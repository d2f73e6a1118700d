from __future__ import annotations

import pytest

from kohya_runner.recipe.finish import Finish, Notify, Publish, address_fault
from kohya_runner.recipe.load import load

GOOD = """name: cat
family: sdxl
model: m
datasets:
  - images: d
    concept: cat
"""


@pytest.fixture
def read(odd_path):
    def _read(text):
        path = odd_path / "recipe.yaml"
        path.write_text(GOOD + text, encoding="utf-8")
        loaded = load(path)
        return loaded.recipe, [str(finding).removeprefix(f"{path}:") for finding in loaded.findings]

    return _read


def test_nothing_is_asked_for_by_default(read):
    recipe, findings = read("")
    assert findings == []
    assert recipe.finish == Finish()


@pytest.mark.parametrize(
    ("written", "pod"), [("true", "stop"), ("stop", "stop"), ("terminate", "terminate"), ("false", ""), ("null", "")]
)
def test_the_words_for_the_pod(read, written, pod):
    recipe, findings = read(f"finish: {{stop_pod: {written}}}\n")
    assert findings == []
    assert recipe.finish.pod == pod


def test_the_contract_of_the_design_can_be_written(read):
    recipe, findings = read("finish: {compare: false, publish: null, stop_pod: false, notify: null}\n")
    assert (findings, recipe.finish) == ([], Finish())


def test_a_repository_is_a_publication_of_the_picked_epoch_for_oneself(read):
    recipe, findings = read("finish: {publish: me/cat}\n")
    assert findings == []
    assert recipe.finish.publication == Publish(repo="me/cat", epoch="picked", public=False, clean=False)


def test_a_publication_with_all_its_words_is_on_record(read):
    text = "finish:\n  publish: {repo: me/cat, epoch: 3, public: true, clean: true, trigger: [zkw], license: mit}\n"
    recipe, findings = read(text)
    assert findings == []
    asked = recipe.finish.recorded()["publish"]
    assert Publish.model_validate(asked) == recipe.finish.publication
    assert (asked["epoch"], asked["trigger"]) == (3, ["zkw"])


def test_an_address_is_a_receiver_of_json(read):
    recipe, findings = read("finish: {notify: https://example.org/hook}\n")
    assert findings == []
    assert recipe.finish.receiver == Notify(url="https://example.org/hook")


def test_a_variable_and_a_kind(read):
    recipe, findings = read("finish:\n  notify: {env: MY_HOOK, kind: slack}\n  grace_minutes: 3\n")
    assert findings == []
    assert recipe.finish.receiver == Notify(env="MY_HOOK", kind="slack")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finish: {publish: cat}\n", "7:19: finish.publish: must be a repository of the Hub, such as user/name"),
        ("finish: {publish: me/../cat}\n", "7:19: finish.publish: must be a repository of the Hub, such as user/name"),
        ("finish: {publish: {public: true}}\n", "7:19: finish.publish.repo: is missing"),
        ("finish: {publish: {repoo: a/b}}\n", "7:20: finish.publish.repoo: there is no such key; did you mean 'repo'?"),
        ("finish: {publish: {repo: a/b, epoch: 0}}\n", "7:38: finish.publish.epoch: must be picked, last, all, or"),
        (
            "finish: {stop_pods: true}\n",
            "7:10: finish.stop_pods: there is no such key; did you mean 'stop_pod'? write finish.stop_pod: true",
        ),
        ("finish: {stop_pod: delete}\n", "7:20: finish.stop_pod: is not one of the choices"),
        ("finish: {notify: ftp://a.b}\n", "7:18: finish.notify: must be an address that begins with https://"),
        ("finish: {notify: http://a.b}\n", "7:18: finish.notify: must begin with https://"),
        ("finish: {notify: https://u:p@a.b}\n", "7:18: finish.notify: holds a password"),
        ("finish: {notify: https://hooks.slack.com/services/x}\n", "7:18: finish.notify: is a secret"),
        ("finish: {notify: {url: https://discord.com/api/webhooks/1/x}}\n", "7:24: finish.notify.url: is a secret"),
        ("finish: {notify: {kind: ntfy}}\n", "7:18: finish.notify: needs one of url and env"),
        (
            "finish: {notify: {env: A, kin: ntfy}}\n",
            "7:27: finish.notify.kin: there is no such key; did you mean 'kind'? write finish.notify.kind: ntfy",
        ),
        ("finish: {notify: {env: A B}}\n", "7:24: finish.notify.env: must be the name of an environment variable"),
        (
            "finish: {grace_minutes: -1}\n",
            "7:25: finish.grace_minutes: must be 0 or more; write finish.grace_minutes: 0, or more",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(read, text, message):
    _, findings = read(text)
    assert len(findings) == 1
    assert findings[0].startswith(message)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8/x", "http://localhost/x", "http://[::1]:80/", "https://ntfy.sh/x"])
def test_an_address_that_may_be_written_to(url):
    assert address_fault(url) == ""


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.evil.example/", "http://0x7f.1/", "https://", "https://a b/", "x", "https://a:x/"]
)
def test_an_address_that_may_not(url):
    assert address_fault(url)
