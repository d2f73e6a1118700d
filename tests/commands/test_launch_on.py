"""``launch --on`` a place that costs money: what is asked before, and what is never done."""

from __future__ import annotations

import json

import pytest
from shelf import Shelf

from kohya_runner.commands.launch import LaunchOptions, launch
from kohya_runner.commands.remote import OnOptions, runs_remote
from kohya_runner.errors import CancelledError, RemoteError, RunExistsError, UsageError
from kohya_runner.plan.value import Request
from kohya_runner.remote import kinds
from kohya_runner.remote import stay as stays

YES = {"yes": True}


@pytest.fixture
def hand_over(odd_path, pictures, monkeypatch):
    """Launches a small recipe at a place whose one card costs $2 an hour."""
    there, recipe = odd_path / "there", odd_path / "cat.yaml"
    there.mkdir()
    images = json.dumps(str(pictures(2, (64, 64))))
    recipe.write_text(
        "name: cat\nfamily: sd15\nmodel: {random: sd15}\nargs: {resolution: 64, max_train_epochs: 1}\n"
        f"datasets: [{{images: {images}, concept: cat}}]\n"
    )
    Shelf.happened, Shelf.fails = [], {}
    monkeypatch.setattr(kinds, "KINDS", {"shelf": Shelf})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(odd_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = odd_path / "kohya-runner" / "config.yaml"
    config.parent.mkdir()
    config.write_text(json.dumps({"places": {"mine": {"kind": "shelf", "there": str(there)}}}))

    def hand(on: str = "mine", *, resume: bool = False, place: dict | None = None, **choices: bool) -> int:
        request = Request(recipe, workspace=str(odd_path / "ws"), practice=True, resume=resume)
        return launch(request, LaunchOptions(**{"detach": True, **choices}, there=OnOptions(on=on, **(place or {}))))

    return hand


def test_without_a_terminal_nothing_is_rented_unless_yes_is_said(hand_over, odd_path):
    with pytest.raises(UsageError, match=r"at most \$6\.00 \(3 h at \$2\.00\)") as caught:
        hand_over(place={"max_hours": 3.0})
    assert "--yes" in caught.value.hint
    assert (Shelf.happened, (odd_path / "ws" / "runs").exists()) == ([], False)
    assert hand_over(place=YES) == 0
    assert Shelf.happened == ["rent", "send"]
    job = json.loads((odd_path / "ws" / "runs" / "cat" / "001" / "remote-job.json").read_text())[0]
    assert job["options"] == ["--practice", "--set=budget.price_per_hour=2"]


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_is_asked(hand_over, monkeypatch, answer):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr("click.confirm", lambda text, **_: asked.append(text) or answer)
    if answer:
        assert hand_over() == 0
    else:
        with pytest.raises(CancelledError, match="nothing was rented"):
            hand_over()
    assert asked == ["Rent 1 x card at mine for $2.00 an hour, without a limit of hours?"]
    assert Shelf.happened == (["rent", "send"] if answer else [])


def test_a_dearer_offer_is_not_taken(hand_over):
    with pytest.raises(RemoteError, match="more than --max-price 1"):
        hand_over(place={"max_price": 1.0, "yes": True})
    assert Shelf.happened == []


def test_a_dry_run_asks_for_offers_alone(hand_over, odd_path, capsys):
    assert hand_over(dry_run=True) == 0
    assert "2.00" in capsys.readouterr().out
    assert hand_over(dry_run=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["offer"]["price"] == 2.0
    assert (Shelf.happened, (odd_path / "ws" / "runs").exists()) == ([], False)


def test_a_second_launch_rents_nothing_while_the_first_goes_on(hand_over):
    hand_over(place=YES)
    with pytest.raises(RunExistsError, match="cat/001 is at a place already"):
        hand_over(place=YES)
    assert hand_over(resume=True) == 0
    assert Shelf.happened == ["rent", "send"]


def test_a_pack_that_cannot_be_made_leaves_no_run(hand_over, odd_path, monkeypatch):
    monkeypatch.setattr("kohya_runner.remote.send_off.pack", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        hand_over(place=YES)
    assert (Shelf.happened, list((odd_path / "ws" / "runs" / "cat").iterdir())) == ([], [])


def test_what_was_lost_is_rented_anew_only_when_it_is_allowed_again(hand_over, odd_path):
    hand_over(place=YES)
    run_dir = odd_path / "ws" / "runs" / "cat" / "001"
    stays.write(run_dir, stays.read(run_dir).changed(phase="lost", released=True))
    with pytest.raises(UsageError, match="Rent 1 x card"):
        hand_over(resume=True)
    assert hand_over(resume=True, place=YES) == 0
    assert Shelf.happened == ["rent", "send"] * 2


def test_what_is_billed_is_asked_of_kinds_that_no_place_names_too(hand_over, odd_path, capsys):
    (odd_path / "kohya-runner" / "config.yaml").write_text("")
    runs_remote(str(odd_path / "ws"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [one["place"] for one in told["billed"]] == ["shelf"]
    assert told["stays"] == []


class Choosy(Shelf):
    KIND = "choosy"
    address: str

    def problems(self, ask):
        return ("--spot: choosy has none; leave it out",) if ask.spot else ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        pytest.param({"on": "mien"}, "did you mean 'mine'?", id="misspelt place"),
        pytest.param({"on": "choosy"}, "address: ...", id="a kind that needs settings"),
        pytest.param(
            {"on": "picky", "place": {"spot": True}}, "--spot: choosy has none", id="what the place cannot do"
        ),
        pytest.param({"on": None, "place": {"gpu": "H100"} | YES}, "--gpu, --yes: only with --on", id="no place"),
        pytest.param({"again": True}, "--again: not with --on", id="does not go together"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_asked_or_rented(hand_over, odd_path, monkeypatch, more, said):
    monkeypatch.setattr(kinds, "KINDS", {"shelf": Shelf, "choosy": Choosy})
    places = {"mine": {"kind": "shelf"}, "picky": {"kind": "choosy", "address": "x"}}
    (odd_path / "kohya-runner" / "config.yaml").write_text(json.dumps({"places": places}))
    with pytest.raises(UsageError) as caught:
        hand_over(**more)
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert Shelf.happened == []
