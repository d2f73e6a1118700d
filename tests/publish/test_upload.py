"""The real client against a Hub that speaks its protocol: what arrives, what is refused, what is never replaced."""

from __future__ import annotations

import pytest
from local_hub import TOKEN, Fault

from kohya_runner.errors import PublishError, UsageError
from kohya_runner.hub import Access
from kohya_runner.publish.copies import piece
from kohya_runner.publish.upload import ANSWERS, Hub
from kohya_runner.recipe.finish import Publish

WISH = Publish(repo="me/cat")
LORA = piece("cat.safetensors", b"weights" * 1000)
CARD = piece("README.md", b"---\ntags: [a]\n---\n\n# cat\n")


@pytest.fixture
def said():
    return []


@pytest.fixture
def client(mine, said):
    return Hub("me/cat", Access(mine.endpoint, TOKEN), said.append)


@pytest.fixture
def send(client, odd_path):
    def send(*pieces, settings=WISH):
        return client.publish(pieces or (LORA, CARD), settings, odd_path / "copies")

    return send


def test_a_new_repository_is_private_and_has_the_files(mine, send):
    done = send()
    repo = mine.repos["me/cat"]
    assert (repo.private, done.private, done.commit) == (True, True, repo.head)
    assert (repo.files["cat.safetensors"], repo.files["README.md"]) == (LORA.head, CARD.head)
    assert (done.files, done.tag) == (("cat.safetensors", "README.md"), "")


def test_public_is_said(mine, send):
    assert send(settings=Publish(repo="me/cat", public=True)).private is False
    assert mine.repos["me/cat"].private is False


def test_xet_is_asked_for_and_where_it_is_refused_the_file_goes_by_lfs(mine, send):
    send()
    asked = [path for _, path, _ in mine.asked]
    assert any("/xet-write-token/" in path for path in asked)
    assert [path for path in asked if path.startswith("/lfs/")] == [f"/lfs/{LORA.sha256}"]


def test_a_very_large_file_goes_in_pieces(mine, send):
    mine.part = 3000
    send()
    assert [path for method, path, _ in mine.asked if method == "PUT"] == [f"/part/{LORA.sha256}/{n}" for n in range(3)]
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_without_xet_in_the_client_it_goes_by_lfs_at_once(mine, send, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    send()
    assert not any("/xet-" in path for _, path, _ in mine.asked)
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_a_second_time_nothing_is_uploaded(mine, send):
    first = send()
    mine.asked.clear()
    second = send()
    assert (second.files, second.tag, second.commit) == ((), "", first.commit)
    assert mine.uploads() == []


def test_only_what_differs_is_uploaded(mine, send):
    send()
    mine.asked.clear()
    done = send(LORA, piece("README.md", b"---\ntags: [b]\n---\n"))
    assert done.files == ("README.md",)
    assert not any(line.startswith("PUT") for line in mine.uploads())


def test_what_is_replaced_is_kept_under_a_tag_before_anything_is_sent(mine, send, said):
    old = send().commit
    new = piece("cat.safetensors", b"other weights")
    done = send(new, CARD)
    repo = mine.repos["me/cat"]
    assert (done.tag, repo.tags) == (f"before-{old[:12]}", {f"before-{old[:12]}": old})
    assert repo.at(done.tag)["cat.safetensors"] == LORA.head
    assert repo.files["cat.safetensors"] == new.head
    order = [path for method, path, _ in mine.asked if method in ("PUT", "POST")]
    assert order.index(f"/api/models/me/cat/tag/{old}") < order.index(f"/lfs/{new.sha256}")
    assert f"the old files are kept as before-{old[:12]}" in said


def test_a_new_file_beside_old_ones_needs_no_tag(mine, send):
    send()
    assert send(piece("dog.safetensors", b"dog")).tag == ""
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_a_tag_that_holds_something_else_stops_it(mine, send):
    old = send().commit
    mine.repos["me/cat"].tags[f"before-{old[:12]}"] = "b" * 40
    with pytest.raises(PublishError, match="nothing replaced"):
        send(piece("cat.safetensors", b"other"), CARD)
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_a_tag_that_cannot_be_made_stops_it(mine, send):
    send()
    mine.faults.append(Fault("/tag/", 403, "no tags for you"))
    with pytest.raises(PublishError, match="was not tagged"):
        send(piece("cat.safetensors", b"other"), CARD)
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_a_public_repository_gets_nothing_without_a_word(mine, make_repo, send):
    make_repo("me/cat")
    with pytest.raises(UsageError, match="is public") as caught:
        send()
    assert "--public" in caught.value.hint
    assert mine.uploads() == []
    assert send(settings=Publish(repo="me/cat", public=True)).private is False


ROWS = [
    ("GET /api/models/me/cat", 401, "could not be looked at"),
    ("POST /api/repos/create", 401, "was not made"),
    ("POST /api/repos/create", 403, "was not made"),
    ("POST /api/repos/create", 409, "was not made"),
    ("POST /api/repos/create", 429, "was not made"),
    ("POST /api/repos/create", 500, "was not made"),
    ("/preupload/", 401, "did not get cat.safetensors"),
    ("/preupload/", 403, "did not get cat.safetensors"),
    ("/preupload/", 404, "did not get cat.safetensors"),
    ("/objects/batch", 413, "did not get cat.safetensors"),
    ("PUT /lfs/", 403, "did not get cat.safetensors"),
    ("PUT /lfs/", 413, "did not get cat.safetensors"),
    ("PUT /lfs/", 429, "did not get cat.safetensors"),
    ("PUT /lfs/", 503, "did not get cat.safetensors"),
    ("/objects/verify", 404, "did not get cat.safetensors"),
    ("/commit/", 403, "was not written"),
    ("/commit/", 409, "was not written"),
    ("/commit/", 412, "was not written"),
    ("/commit/", 413, "was not written"),
    ("/commit/", 429, "was not written"),
    ("/commit/", 500, "was not written"),
    ("/commit/", 418, "was not written"),
]


@pytest.mark.parametrize(("asked", "status", "doing"), ROWS)
def test_every_refusal_is_told_apart_and_says_what_to_do(mine, send, asked, status, doing):
    mine.faults.append(Fault(asked, status, "the Hub's own words", headers={"Retry-After": "7"}))
    with pytest.raises(PublishError) as caught:
        send()
    fault = caught.value
    meaning = ANSWERS.get(min(status, 500), ("the Hub refused it", ""))[0]
    assert f"me/cat {doing}: {meaning} (HTTP {status}): " in fault.message
    assert "the Hub's own words" in fault.message
    assert fault.hint
    assert "{" not in fault.hint
    assert ("wait 7 s" in fault.hint) is (status == 429)
    assert TOKEN not in fault.message + fault.hint
    assert "cat.safetensors" not in (mine.repos["me/cat"].files if "me/cat" in mine.repos else {})


def test_the_signature_of_an_address_is_not_shown(mine, send, caplog):
    mine.signature = "?X-Amz-Signature=abc123"
    mine.faults.append(Fault("PUT /lfs/", 403, ""))
    with pytest.raises(PublishError, match="/lfs/") as caught:
        send()
    assert "abc123" not in caught.value.message + caplog.text


def test_no_two_refusals_have_the_same_meaning():
    assert len({meaning for meaning, _ in ANSWERS.values()}) == len(ANSWERS) - 1  # 409 and 412 are one


@pytest.mark.parametrize("after", ["nothing", "half the file"])
def test_a_cut_in_the_middle_is_told_and_the_same_again_goes_on(mine, send, after):
    other = piece("dog.safetensors", b"dog" * 1000)
    mine.cut_upload_after = 3500 if after == "half the file" else 0
    mine.objects[other.sha256] = other.head  # arrived before the cut
    with pytest.raises(PublishError, match="the connection broke"):
        send(other, LORA, CARD)
    assert "cat.safetensors" not in mine.repos["me/cat"].files
    mine.cut_upload_after = None
    mine.asked.clear()
    assert send(other, LORA, CARD).files == ("dog.safetensors", "cat.safetensors", "README.md")
    assert [path for method, path, _ in mine.asked if method == "PUT"] == [f"/lfs/{LORA.sha256}"]
    assert mine.repos["me/cat"].files["cat.safetensors"] == LORA.head


def test_a_cut_that_passes_is_tried_again_by_itself(mine, send):
    mine.faults.append(Fault("PUT /lfs/", 503, times=2))
    assert send().files == ("cat.safetensors", "README.md")


def test_a_commit_whose_answer_was_lost_is_not_made_twice(mine, send):
    mine.faults.append(Fault("/paths-info/(?!a{40})", 500, times=1))
    with pytest.raises(PublishError):
        send()
    mine.faults.clear()
    assert (send().files, len(mine.repos["me/cat"].history)) == ((), 2)


def test_somebody_else_s_commit_in_between_is_not_overwritten(mine, send, monkeypatch):
    send()
    before = Hub._keep

    def keep(self, commit, tag):
        before(self, commit, tag)
        mine.repos["me/cat"].commit({"cat.safetensors": b"theirs"})

    monkeypatch.setattr(Hub, "_keep", keep)
    with pytest.raises(PublishError, match="somebody else"):
        send(piece("cat.safetensors", b"mine"), CARD)
    assert mine.repos["me/cat"].files["cat.safetensors"] == b"theirs"


def test_other_bytes_than_were_sent_are_no_success(mine, send):
    mine.damaged = True
    with pytest.raises(PublishError, match=r"other bytes than were sent: cat\.safetensors"):
        send()


def test_a_card_that_the_hub_cannot_read_is_told_in_its_words(send):
    with pytest.raises(PublishError, match=r"HTTP 400\): while parsing"):
        send(LORA, piece("README.md", b"---\na: [\n---\n"))


@pytest.mark.parametrize(
    ("token", "repo", "code"),
    [
        pytest.param("expired", "me/cat", 401, id="a token that is no more"),
        pytest.param(None, "me/cat", 401, id="no token"),
        pytest.param("reader", "me/cat", 403, id="a token that only reads"),
        pytest.param(TOKEN, "them/cat", 403, id="somebody else's name"),
    ],
)
def test_a_token_that_may_not_is_refused_by_the_hub_itself(mine, odd_path, token, repo, code):
    hub = Hub(repo, Access(mine.endpoint, token), lambda _: None)
    with pytest.raises(PublishError, match=f"HTTP {code}"):
        hub.publish([LORA], Publish(repo=repo), odd_path / "copies")


def test_a_dead_network_and_a_shell_that_is_offline(odd_path):
    for reach, said in ((Access("http://127.0.0.1:9", TOKEN), "connection"), (Access(offline=True), "HF_HUB_OFFLINE")):
        with pytest.raises(PublishError, match=said):
            Hub("me/cat", reach, lambda _: None).publish([LORA], WISH, odd_path / "copies")
