"""The page of ``dataset report`` in a real browser, which is there on some machines only."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import devtools
import PIL.Image
import pytest

from kohya_runner.plan.inspection import inspect
from kohya_runner.plan.inspection_target import InspectionRequest, find_target
from kohya_runner.show.dataset_page import report_html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), "")

pytestmark = pytest.mark.skipif(not BROWSER, reason="NO BROWSER: the report's page was not opened (install chromium)")

ACTIONS = """
window.addEventListener("load", () => {
  const cards = [...document.querySelectorAll("#cards article")];
  const shown = () => cards.filter(card => card.offsetParent !== null).length;
  const choose = (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById("filters").dispatchEvent(new Event("input"));
    return [shown(), document.getElementById("shown").textContent];
  };
  const images = [...document.images];
  const found = {
    all: shown(), drawn: images.filter(image => image.complete && image.naturalWidth > 0).length, images: images.length,
    bold: document.querySelectorAll("#cards b, #cards script").length, wide: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length,
  };
  found.code = choose("code", "image.unreadable");
  found.any = choose("code", "*");
  choose("code", "");
  found.bucket = choose("bucket", "512x512");
  choose("bucket", "");
  found.text = choose("text", "NUMBER 3");
  choose("text", "");
  document.querySelector('.findings button[data-code="caption.missing"]').click();
  found.clicked = [shown(), document.getElementById("code").value];
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
});
"""


def looked_at(folder: Path, room: Path, page: Path, width: int = 1280) -> dict[str, Any]:
    """What a browser makes of the page after the actions; they run as a script of the page."""
    target = find_target(
        InspectionRequest(folder, workspace=str(room), family="sd15"), {"HOME": str(room), "HF_HUB_OFFLINE": "1"}
    )
    text = report_html(inspect(target))
    nonce = re.search(r'<script nonce="(\w+)">', text)
    assert nonce is not None
    page.write_text(text.replace("</body>", f'<script nonce="{nonce[1]}">{ACTIONS}</script></body>'), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900")
    profile = f"--user-data-dir={room / 'profile'}"
    command = (BROWSER, *options, profile, "--virtual-time-budget=20000", "--dump-dom", page.as_uri())
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def draw(folder: Path, number: int, size: tuple[int, int] = (512, 512)) -> None:
    image = PIL.Image.new("RGB", size, (number % 256, number // 256 * 40, 99))
    image.paste((255 - number % 256, 9, number * 7 % 256), (size[0] // 2, 0, *size))
    image.save(folder / f"{number:04d}.png")
    (folder / f"{number:04d}.txt").write_text(
        f"a cat, number {number} <b>bold</b> <script>x</script>", encoding="utf-8"
    )


def test_pictures_filters_and_buttons_work_without_a_network(odd_path: Path) -> None:
    folder = odd_path / "cat"
    folder.mkdir()
    for number in range(6):
        draw(folder, number)
    draw(folder, 300, (768, 384))
    (folder / "broken.png").write_bytes(b"")
    found = looked_at(folder, odd_path / "room", odd_path / "it's a page.html")
    assert (found["all"], found["images"], found["drawn"]) == (8, 7, 7)
    assert (found["requests"], found["bold"]) == (0, 0)
    assert found["code"] == [1, "1 of 8 images"]
    assert found["bucket"][0] == 6
    assert found["text"] == [2, "2 of 8 images"]  # number 3 and number 300
    assert found["clicked"] == [1, "caption.missing"]


def test_three_thousand_pictures_open_and_a_narrow_window_does_not_scroll_sideways(odd_path: Path) -> None:
    folder = odd_path / "cat"
    folder.mkdir()
    for number in range(3000):
        draw(folder, number, (32, 32))
    (folder / "broken.png").write_bytes(b"")
    found = looked_at(folder, odd_path / "room", odd_path / "page.html", width=500)
    assert (found["all"], found["images"]) == (3001, 3000)
    assert found["drawn"] > 0
    assert found["wide"] <= 500


def test_on_a_phone_every_picture_is_whole_and_a_finger_filters(odd_path: Path) -> None:
    folder = odd_path / "a concept with a rather long name without any end to it"
    folder.mkdir()
    for number in range(6):
        draw(folder, number)
    draw(folder, 300, (768, 384))
    (folder / f"{'0123456789' * 15}.png").write_bytes(b"")
    page = odd_path / "page.html"
    looked_at(folder, odd_path / "room", page)
    page.write_text(page.read_text(encoding="utf-8").replace(ACTIONS, ""), encoding="utf-8")
    with devtools.tab(odd_path / "profile") as tab:
        for width in (devtools.PHONE, 320, devtools.DESK):
            tab.open(page, width)
            assert tab.sideways() == []
            assert tab.does("return document.documentElement.scrollWidth") == width
        tab.open(page, devtools.PHONE)
        tab.choose("#code", "image.unreadable")
        assert tab.does("return document.getElementById('shown').textContent") == "1 of 8 images"
        tab.choose("#code", "")
        tab.tap('.findings button[data-code="caption.missing"]')
        assert tab.does("return document.getElementById('code').value") == "caption.missing"
        assert tab.complaints == []
