from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import devtools
import pytest
from reported_runs import NASTY, measured, recorded, sampled

from kohya_runner.errors import UsageError
from kohya_runner.record import ledger
from kohya_runner.show.run_page import write

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


@pytest.fixture
def run_dir(odd_path):
    return odd_path / "runs" / "my cat" / "001"


@pytest.fixture
def page(run_dir):
    """The page of a whole run, with text that would like to be more than text in every place."""
    recorded(run_dir)
    measured(run_dir)
    sampled(run_dir)
    (run_dir / "trainer.log").write_text(f"the last line {NASTY}\n", encoding="utf-8")
    return write(ledger.view(run_dir), None).read_text(encoding="utf-8")


class Seen(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_holds_what_one_wants_to_know(page):
    text = " ".join(" ".join(Seen(page).texts).split())
    for wanted in ("succeeded", "1000 of 1000, epoch 10 of 10", "cost 0.16", "cat-000009.safetensors", "264",
                   "18.1 MiB", "removed by the trainer", "incomplete", "disk.low", "learning_rate", "cat.yaml:5:3",
                   "48d368fa", "caching latents", "10.0 s", "exit code 0", "the last line"):  # fmt: skip
        assert wanted in text, wanted


def test_the_curves_are_drawn_with_epochs_checkpoints_and_learning_rates(page):
    tags = Seen(page).tags
    assert sum(tag == "svg" for tag, _ in tags) == 4  # loss and learning rates, wide and narrow
    assert sum(tag == "polygon" for tag, _ in tags) == 4 * 10
    paths = [attrs["d"] for tag, attrs in tags if tag == "path"]
    assert len(paths) == 2 * 3 + 2 * 3
    assert all(re.fullmatch(r"([ML][\d.]+ [\d.]+)+", path) for path in paths)
    assert sum(tag == "img" for tag, _ in tags) == 12
    assert "cannot be drawn" in page


def test_nothing_from_outside_becomes_code_and_nothing_is_fetched(page):
    seen = Seen(page)
    assert "script" not in {tag for tag, _ in seen.tags}
    assert not [name for _, attrs in seen.tags for name in attrs if name.startswith("on")]
    assert "49" not in "".join(t for t in seen.texts if "alert" in t)
    sources = [v for _, attrs in seen.tags for k, v in attrs.items() if k in ("src", "href", "action", "data")]
    assert all(source.startswith("data:image/") for source in sources)
    assert NASTY in "".join(seen.texts)


def test_a_loss_that_is_no_number_is_seen(run_dir):
    recorded(run_dir, loss="nan")
    measured(run_dir, nan_from=500)
    page = write(ledger.view(run_dir), None).read_text(encoding="utf-8")
    assert 'class="broken"' in page
    assert "red: no number" in page


def test_unknown_learning_rates_are_said_to_be_unknown(run_dir):
    recorded(run_dir)
    page = write(ledger.view(run_dir), None).read_text(encoding="utf-8")
    assert "Not known: the trainer logs them to TensorBoard only" in page
    assert "No step was measured" in page
    assert "<svg" not in page


def test_a_run_without_a_record_and_a_place_that_cannot_be_written_are_usage(run_dir, odd_path):
    run_dir.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"record\.json"):
        write(ledger.view(run_dir), None)
    recorded(run_dir)
    with pytest.raises(UsageError, match="File exists"):
        write(ledger.view(run_dir), run_dir / "record.json" / "x.html")


@pytest.mark.skipif(devtools.CHROMIUM is None, reason=devtools.WHY)
@pytest.mark.parametrize("width", [devtools.PHONE, 320, devtools.DESK])
def test_nothing_reaches_beyond_the_device(page, run_dir, odd_path, width):
    assert page
    with devtools.tab(odd_path / "profile") as tab:
        tab.open(run_dir / "report.html", width)
        assert tab.sideways() == []
        assert tab.does("return document.documentElement.scrollWidth") == width
        assert tab.complaints == []


@pytest.mark.skipif(CHROMIUM is None, reason="NO BROWSER: the page was not looked at (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_the_page_without_sideways_scrolling_or_a_word_of_complaint(page, run_dir, odd_path, width):
    """The page's own width is asked for through a copy that may run one script and writes it into the title."""
    ask = "<script>document.title = 'wide ' + document.documentElement.scrollWidth</script></body>"
    loose = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", ask)
    copy = odd_path / "loose.html"
    copy.write_text(loose, encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},2000",
             f"--user-data-dir={odd_path / 'profile'}")  # fmt: skip
    dumped = subprocess.run(
        (CHROMIUM, *flags, "--dump-dom", copy.as_uri()), capture_output=True, text=True, timeout=180, check=True
    )
    title = re.search(r"<title>wide (\d+)</title>", dumped.stdout)
    assert title is not None
    assert int(title[1]) <= max(width, 500)  # a window of headless Chromium is not narrower than that
    shot = odd_path / "shot.png"
    address = (run_dir / "report.html").as_uri()
    seen = subprocess.run(
        (CHROMIUM, *flags, f"--screenshot={shot}", address), capture_output=True, text=True, timeout=180, check=True
    )
    assert "CONSOLE" not in seen.stderr
    assert shot.stat().st_size > 20_000
