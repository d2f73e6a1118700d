"""Marking in the page of a dataset: by keyboard in a real browser, saved as a file or by the server, and read again."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import devtools
import PIL.Image
import pytest

from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import DatasetVersion, MadePicture, VersionStep, source_stamp
from kohya_runner.dataset.prepare.review import Review, read_review, write_review
from kohya_runner.errors import UsageError
from kohya_runner.plan.inspection import Inspection, inspect
from kohya_runner.plan.inspection_target import InspectionRequest, find_target
from kohya_runner.show.dataset_page import report_html, stems_by_folder
from kohya_runner.show.review_server import ReviewServer, review_file, saved_reviews

HOSTILE = "a\"'><img src=x onerror=alert(1)> <script>alert(2)</script> {{ 7*7 }} </textarea>"
NAMES = ("a", "b", "c'\"><b>x", "__proto__", "d.e")
needs_browser = pytest.mark.skipif(devtools.CHROMIUM is None, reason=devtools.WHY)


def seen(folder: Path) -> Inspection:
    room = folder.parent / "room"
    return inspect(find_target(InspectionRequest(folder, workspace=str(room), family="sd15"), {"HF_HUB_OFFLINE": "1"}))


@pytest.fixture
def folder(odd_path: Path) -> Path:
    made = odd_path / "it's cats"
    made.mkdir()
    for number, name in enumerate(NAMES):
        image = PIL.Image.new("RGB", (512, 512), (number * 40, 90, 9))
        image.paste((255, 255, number * 60), (number * 50, 0, 512, 300))
        image.save(made / f"{name}.png")
        (made / f"{name}.txt").write_text(f"a cat {number} {HOSTILE}", encoding="utf-8")
    (made / "b.txt").unlink()
    return made


@contextlib.contextmanager
def served(folder: Path) -> Iterator[ReviewServer]:
    inspection, room = seen(folder), folder.parent / "reviews"
    known = stems_by_folder(inspection)
    page = report_html(inspection, marked=saved_reviews(room, known), saves=True)
    with ReviewServer(page, room, known) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def stem_of(tab: devtools.Tab) -> str:
    return tab.does("return document.querySelector('article.current').dataset.stem")  # type: ignore[no-any-return]


def marked_by_keyboard(tab: devtools.Tab) -> dict[str, object]:
    """Rejects the first picture and c, changes the caption of b and leaves that of a as it was."""
    first = "x"
    for key in ("ArrowRight", first, "j"):
        tab.press(key)
    second = stem_of(tab)
    tab.press("e")
    tab.write("a  new\tcaption </textarea><b>")
    tab.press("Enter")
    tab.press("j")
    third = stem_of(tab)
    tab.press("e")
    tab.write("not kept")
    tab.press("Escape")
    for key in ("x", "x", "j", "x", "k"):
        tab.press(key)
    assert stem_of(tab) == third
    return {"second": second}


def wait_for(what, seconds: float = 180.0):
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


@needs_browser
def test_marks_made_by_keyboard_are_downloaded_as_a_review(odd_path, folder):
    page = odd_path / "page.html"
    page.write_text(report_html(seen(folder)), encoding="utf-8")
    loads = odd_path / "loads"
    loads.mkdir()
    with devtools.tab(odd_path / "profile") as tab:
        tab.open(page, devtools.DESK)
        tab.downloads(loads)
        order = tab.does("return [...document.querySelectorAll('#cards article')].map(one => one.dataset.stem)")
        assert sorted(order) == sorted(NAMES)
        marked_by_keyboard(tab)
        assert tab.does("return document.getElementById('marks').textContent") == "2 rejected, 1 caption changed"
        assert tab.does("return document.querySelectorAll('article.rejected').length") == 2
        tab.press("s")
        file = wait_for(lambda: next(loads.glob("*.json"), None))
        wait_for(lambda: file.stat().st_size)
        assert file.name == "it's cats.review.json" or file.name.endswith(".review.json")
        review = read_review(file)
        assert review == Review(str(folder), (order[0], order[3]), {order[1]: "a new caption </textarea><b>"})
        said = tab.does("return document.getElementById('said').textContent")
        assert said.startswith("saved; to apply: kohya-runner dataset edit '")
        assert tab.does("return document.querySelectorAll('#cards b, #cards script, img[src=x]').length") == 0
        assert tab.does("return performance.getEntriesByType('resource').filter(e => /^http/.test(e.name)).length") == 0
        assert tab.complaints == []


@needs_browser
def test_a_served_page_saves_by_itself_and_shows_the_marks_again(odd_path, folder):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    with served(folder) as server, devtools.tab(odd_path / "profile") as tab:
        tab.open(server.address, devtools.DESK)
        second = marked_by_keyboard(tab)["second"]
        file = review_file(server.room, str(folder))
        text = "a new caption </textarea><b>"
        assert wait_for(lambda: file.is_file() and len(read_review(file).reject) == 2)
        assert read_review(file).captions == {second: text}
        assert wait_for(lambda: str(file.name) in tab.does("return document.getElementById('said').textContent"))
        assert tab.complaints == []
    with served(folder) as server, devtools.tab(odd_path / "profile") as tab:
        tab.open(server.address, devtools.PHONE)
        assert tab.does("return document.getElementById('marks').textContent") == "2 rejected, 1 caption changed"
        assert tab.does("return document.querySelector('.changed').textContent") == text
        assert tab.sideways() == []
        tab.tap("article.rejected .reject")
        assert wait_for(lambda: len(read_review(file).reject) == 1)
        tab.tap("article:not(.rejected) .edit")
        tab.write("by hand")
        tab.tap("h1")
        assert wait_for(lambda: "by hand" in read_review(file).captions.values())
        assert tab.complaints == []
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


@needs_browser
def test_what_was_marked_is_applied_to_a_new_version(odd_path, folder):
    pytest.importorskip("kohya_runner.dataset.captioning.caption_edit")
    with served(folder) as server, devtools.tab(odd_path / "profile") as tab:
        tab.open(server.address, devtools.DESK)
        changed_one = marked_by_keyboard(tab)["second"]
        file = review_file(server.room, str(folder))
        assert wait_for(lambda: file.is_file() and len(read_review(file).reject) == 2)
    gone = read_review(file).reject
    words = ("dataset", "edit", "--from", str(file), "--output", str(odd_path / "new"), "--yes", "--json")
    done = subprocess.run((sys.executable, "-m", "kohya_runner", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.stem for path in (odd_path / "new").glob("*.png")) == sorted({*NAMES} - {*gone})
    text = (odd_path / "new" / f"{changed_one}.txt").read_text(encoding="utf-8").strip()
    assert text == "a new caption </textarea><b>"
    assert len(list(folder.glob("*.png"))) == len(NAMES)


@needs_browser
def test_before_and_after_stand_side_by_side(odd_path, folder):
    page, version = odd_path / "page.html", changed(odd_path, folder)
    page.write_text(report_html(seen(version)), encoding="utf-8")
    with devtools.tab(odd_path / "profile") as tab:
        for width in (devtools.PHONE, devtools.DESK):
            tab.open(page, width)
            assert tab.sideways() == []
            left, right = tab.does("""return [...document.querySelectorAll(".pair img")].map(one =>
                [one.getBoundingClientRect().x, one.getBoundingClientRect().y, one.naturalWidth])""")
            assert left[0] < right[0]
            assert abs(left[1] - right[1]) < 100
            assert min(left[2], right[2]) > 0


def changed(room: Path, folder: Path) -> Path:
    """A version of the folder in which one picture is another, and one the same."""
    version = room / "version"
    version.mkdir()
    for name in ("a.png", "b.png"):
        (version / name).write_bytes((folder / name).read_bytes())
    rows = tuple(
        MadePicture(name, str(folder / name), source_stamp(folder / name), what=what)
        for name, what in (("a.png", ("grey",)), ("b.png", ()))
    )
    manifest.write(version, DatasetVersion((VersionStep("prepare", {}),), rows))
    return version


def test_only_a_source_that_is_as_the_manifest_says_is_shown(odd_path, folder):
    version = changed(odd_path, folder)
    text = report_html(seen(version))
    assert text.count('class="before"') == 1
    assert "(grey)" in text
    (folder / "a.png").touch()
    assert 'class="before"' not in report_html(seen(version))


def asked(server: ReviewServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=180)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


JSON = "application/json"


def test_a_server_answers_only_its_own_page(folder):
    with served(folder) as server:
        path = f"/{server.token}/"
        good = json.dumps({"version": 1, "folder": str(folder), "reject": ["a"], "captions": {}}).encode()
        assert server.server_address[0] == "127.0.0.1"
        assert asked(server, "GET", path)[0] == 200
        for wrong in ("/", "/x/", path[:-1], f"{path}..", f"{path}../../etc/passwd", f"{path}save", "/favicon.ico"):
            assert asked(server, "GET", wrong)[0] == 403
        assert asked(server, "GET", path, Host=f"evil.example:{server.server_port}")[0] == 403
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
            assert asked(server, "POST", f"{path}save", good, Content_Type=JSON, **headers)[0] == 403
        assert asked(server, "POST", "/save", good, Content_Type=JSON)[0] == 403
        assert asked(server, "POST", f"{path}save", good, Content_Type="text/plain")[0] == 400
        assert asked(server, "POST", f"{path}save", good, Content_Type=JSON, Content_Length="999999999")[0] == 400
        assert asked(server, "PUT", f"{path}save", good)[0] == 501
        assert not server.room.exists()
        assert asked(server, "POST", f"{path}save", good, Content_Type=JSON)[0] == 200
        assert read_review(review_file(server.room, str(folder))).reject == ("a",)


@pytest.mark.parametrize(
    "value",
    [
        {"folder": "/etc", "reject": [], "captions": {}},
        {"folder": None, "reject": ["z"], "captions": {}},
        {"folder": None, "reject": [], "captions": {"../../x": "y"}},
        {"folder": None, "reject": "a", "captions": {}},
    ],
)
def test_a_server_keeps_no_marks_of_other_pictures(folder, value):
    with served(folder) as server:
        body = json.dumps({"version": 1, **value, "folder": value["folder"] or str(folder)}).encode()
        assert asked(server, "POST", f"/{server.token}/save", body, Content_Type=JSON)[0] == 400
        assert not server.room.exists()


def test_the_server_knows_no_way_around_the_token(folder):
    with served(folder) as one, served(folder) as other:
        assert one.token != other.token
        assert one.server_port != other.server_port
        assert len(one.token) >= 32


def test_a_damaged_file_of_marks_is_told_and_not_overwritten(odd_path, folder):
    file = review_file(odd_path / "reviews", str(folder))
    write_review(file, Review(str(folder), ("a",)))
    assert saved_reviews(odd_path / "reviews", [str(folder)])[str(folder)].reject == ("a",)
    file.write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        saved_reviews(odd_path / "reviews", [str(folder)])


def test_the_page_holds_marks_and_hostile_texts_as_text(folder):
    review = Review(str(folder), ("a", "c'\"><b>x"), {"b": HOSTILE})
    text = report_html(seen(folder), marked={str(folder): review})
    assert text.count('data-rejected="1"') == 2
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "connect-src" not in text
    assert "connect-src 'self'" in report_html(seen(folder), saves=True)


def test_the_command_serves_until_ctrl_c(odd_path, folder):
    words = ("dataset", "report", str(folder), "--serve", "--family", "sd15", "--workspace", str(odd_path / "room"))
    process = subprocess.Popen(
        (sys.executable, "-m", "kohya_runner", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    host, port = address.removeprefix("http://").split("/")[0].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=180)
    connection.request("GET", f"/{address.split('/')[3]}/")
    assert b"kohya-runner" in connection.getresponse().read()
    connection.close()
    process.send_signal(2)
    _, errors = process.communicate(timeout=180)
    assert (process.returncode, host, "Traceback" in errors) == (0, "127.0.0.1", False)
    both = subprocess.run(
        (sys.executable, "-m", "kohya_runner", *words, "--output", "x"), capture_output=True, text=True, check=False
    )
    assert both.returncode == 2
