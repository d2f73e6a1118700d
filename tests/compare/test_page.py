"""The sheet and the page: as data, and the page in a real browser where there is one."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import devtools
import pytest
from PIL import Image

from kohya_runner.compare.checkpoints import Skipped
from kohya_runner.compare.comparison import Comparison, Head, Shown, Suggestion
from kohya_runner.compare.metrics import Table, Training
from kohya_runner.compare.page import report_html, scaled, sheet_png
from kohya_runner.compare.training_data import Losses

EVIL = """portrait of </script><script>document.title='broken'</script> "a" 'b' {{ 7 * 7 }}"""


def comparison(
    folder: Path, *, epochs: int = 3, prompts=("a cat", EVIL), seeds=(1, 2), samplers=("",), grid=None
) -> Comparison:
    """Plain colours; the picture of epoch 2, prompt 2, seed 2 is missing."""
    heads = [Head("base", base=True, strength=0.0)]
    heads += [Head(f"epoch {n}", number=n, path=folder / f"a-{n}.safetensors", epoch=n) for n in range(1, epochs + 1)]
    shown = []
    for column in range(len(heads)):
        for prompt, sampler in itertools.product(range(len(prompts)), samplers):
            for seed in seeds:
                path = folder / f"{column}-{prompt}-{seed}.png"
                Image.new("RGB", (64, 64), (20 * column, 60 * prompt, 50 * seed)).save(path)
                broken = (column, prompt, seed) == (2, 1, 2)
                shown.append(
                    Shown(
                        column,
                        prompt,
                        seed,
                        None if broken else path,
                        problem="out of memory <b>" if broken else "",
                        sampler=sampler,
                    )
                )
    rows = tuple({"drift": 0.1 * n if n else None} for n in range(len(heads)))
    return Comparison(
        name=f"my {EVIL}", folder=folder, columns=tuple(heads), prompts=tuple(prompts), seeds=tuple(seeds),
        samplers=samplers,
        shown=tuple(shown), table=Table(rows, Training(grid=grid)), suggestion=Suggestion(2, "epoch 2 is best: <i>."),
        how={"size": "64x64"}, skipped=(Skipped(folder / "odd <b>.safetensors", "has rank 8"),),
        losses=Losses(((1, 0.5), (5, 0.2), (9, 0.1)), ((1, 3), (2, 6), (3, 9))),
        command=f"kohya-runner compare '{folder}' --pick",
    )  # fmt: skip


def test_whatever_comes_from_files_is_escaped(odd_path):
    page = report_html(comparison(odd_path))
    assert EVIL not in page
    assert "out of memory &lt;b&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert page.count("<script") == 1


def test_everything_is_in_the_page(odd_path):
    page = report_html(comparison(odd_path))
    assert not re.search(r"(?:src|href)=[\"'](?!data:)[^\"']", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert len(re.findall(r'<button type="button" class="cell"', page)) == 4 * 2 * 2 - 1


def test_small_pictures_are_embedded_without_loss(odd_path):
    page = report_html(comparison(odd_path))
    assert "data:image/png" in page
    assert "data:image/webp" not in page


def test_the_loss_curve_has_a_mark_for_each_epoch(odd_path):
    drawing = report_html(comparison(odd_path)).split('<svg id="loss"')[1].split("</svg>")[0]
    assert re.findall(r"</title>(\d)</text>", drawing) == ["1", "2", "3"]
    assert len(re.findall(r"[\d.]+,[\d.]+", drawing.split("points=")[1])) == 3


def sheet(made: Comparison) -> Image.Image:
    return Image.open(io.BytesIO(sheet_png(made)))


def test_a_sheet_of_ten_epochs_four_prompts_and_two_seeds_stays_readable(odd_path):
    prompts = tuple(f"portrait of bespoke punk number {n}, green solid background, black hair" for n in range(4))
    picture = sheet(comparison(odd_path, epochs=10, prompts=prompts))
    assert picture.width <= 2400
    assert picture.width >= 11 * 160
    assert picture.height >= 8 * 160


def test_every_picture_of_the_grid_is_on_the_sheet(odd_path):
    made = comparison(odd_path)
    found = {colour for _, colour in sheet(made).getcolors(1 << 24)}
    assert {(20 * s.column, 60 * s.prompt, 50 * s.seed) for s in made.shown if s.path} <= found
    assert (40, 60, 100) not in found


def test_pixel_art_keeps_its_hard_edges():
    board = Image.new("RGB", (4, 4))
    board.putdata([(255 * ((x + y) % 2),) * 3 for y in range(4) for x in range(4)])
    large = board.resize((1024, 1024), Image.Resampling.NEAREST)
    assert len(scaled(large, 190, pixel_art=True).getcolors()) == 2
    assert len(scaled(large, 190, pixel_art=False).getcolors(1 << 20)) > 2
    assert len(scaled(board, 190, pixel_art=False).getcolors()) == 2


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if devtools.CHROMIUM is None:
        pytest.skip(devtools.WHY)
    with devtools.tab(tmp_path_factory.mktemp("profile")) as made:
        yield made


class Browser:
    """What a person would do on a desk is done by a script in the page."""

    def __init__(self, tab: devtools.Tab, folder: Path) -> None:
        self.tab = tab
        self.file = folder / "page.html"

    def does(self, page: str, actions: str) -> object:
        self.file.write_text(page, encoding="utf-8")
        self.tab.open(self.file, devtools.DESK)
        return self.tab.does(actions)


@pytest.fixture
def browser(tab: devtools.Tab, odd_path: Path) -> Browser:
    return Browser(tab, odd_path)


def test_the_page_works_in_a_browser(browser, odd_path):
    """One visit, many looks: filters, zoom, the A against B slider, and a script in a prompt that must not run."""
    told = browser.does(report_html(comparison(odd_path)), """
        const byId = id => document.getElementById(id);
        const told = name => new Event(name, {bubbles: true});
        const set = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(told("input")); };
        const place = row => [row.dataset.prompt, row.dataset.seed].join();
        const visible = () => rows.filter(row => row.offsetParent).map(place);
        const picture = (column, row) => rows[row].querySelector(`td[data-column="${column}"] img`).src;
        const seen = {title: document.title, all: visible()};
        set("prompt", "1"); seen.prompt = visible();
        set("seed", "2"); seen.both = visible();
        set("prompt", ""); seen.seed = visible();
        set("seed", "");
        set("size", "400"); seen.width = document.querySelector(".cell").getBoundingClientRect().width;
        document.querySelector('td[data-column="1"] .cell').click();
        seen.zoom = [zoom.open, zoom.querySelector("img").src === picture(1, 0)];
        zoom.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
        seen.next = zoom.querySelector("img").src === picture(2, 0);
        zoom.close();
        set("a", "1"); set("b", "3"); set("row", "2"); set("slide", "25");
        seen.slider = [byId("over").src === picture(1, 2), byId("under").src === picture(3, 2)];
        seen.slider.push(byId("over").style.clipPath);
        set("b", "2"); set("row", "3"); seen.failed = [byId("under").hidden, byId("tag-b").textContent];
        seen.suggested = document.querySelector("th.best .label").textContent;
        seen.naturally = [...document.images].every(one => !one.src || one.naturalWidth > 0);
        seen.math = document.querySelector("h1").textContent.includes("{{ 7 * 7 }}");
        return seen;
    """)  # fmt: skip
    assert told["title"].startswith("my portrait of </script>")
    assert told["all"] == ["0,1", "0,2", "1,1", "1,2"]
    assert told["prompt"] == ["1,1", "1,2"]
    assert told["both"] == ["1,2"]
    assert told["seed"] == ["0,2", "1,2"]
    assert told["width"] == 400
    assert told["zoom"] == [True, True]
    assert told["next"]
    assert told["slider"] == [True, True, "inset(0px 75% 0px 0px)"]
    assert told["failed"] == [True, "epoch 2 (failed)"]
    assert told["suggested"] == "epoch 2"
    assert told["naturally"]
    assert told["math"]


def test_rows_of_several_samplers_are_told_apart_and_filtered(browser, odd_path):
    told = browser.does(report_html(comparison(odd_path, samplers=("ddim", "heun"))), """
        const visible = () => rows.filter(row => row.offsetParent).map(row => row.dataset.sampler);
        const before = visible(), shown = field("sampler").offsetParent !== null;
        field("sampler").value = "heun"; field("sampler").dispatchEvent(new Event("input", { bubbles: true }));
        return [before.length, shown, visible(), rows[0].querySelector("th .soft").textContent];
    """)  # fmt: skip
    assert told == [8, True, ["heun"] * 4, "ddim, seed 1"]
    alone = "return document.getElementById('sampler').offsetParent === null;"
    assert browser.does(report_html(comparison(odd_path)), alone) is True


PICK = 'return [document.getElementById("pick").offsetParent !== null, document.getElementById("command").textContent];'


def test_a_pick_is_remembered_and_says_its_command(browser, odd_path):
    page = report_html(comparison(odd_path))
    assert browser.does(page, PICK) == [False, ""]
    expected = f"kohya-runner compare '{odd_path}' --pick 3"
    assert browser.does(page, f"document.querySelector('.choose[data-pick=\"3\"]').click(); {PICK}") == [True, expected]
    assert browser.does(page, PICK) == [True, expected]
    assert browser.does(page, f'document.getElementById("forget").click(); {PICK}')[0] is False
    assert browser.does(page, PICK)[0] is False


def opened_page(tab, folder: Path, width: int, **changes) -> Comparison:
    made = comparison(folder, epochs=10, **changes)
    (folder / "page.html").write_text(report_html(made), encoding="utf-8")
    tab.open(folder / "page.html", width)
    return made


IN_SIGHT = """
    const wide = document.documentElement.clientWidth;
    return [...document.querySelectorAll("#grid .cell")].filter(one => one.offsetParent).map(one => {
      const box = one.getBoundingClientRect();
      return [box.left >= 0 && box.right <= wide, box.width === box.height, box.width];
    });
"""


@pytest.mark.parametrize("width", [devtools.PHONE, 320])
def test_on_a_phone_every_picture_is_whole_and_every_column_named(tab, odd_path, width):
    opened_page(tab, odd_path, width)
    assert tab.sideways() == []
    assert tab.does("return document.documentElement.scrollWidth") == width
    cells = tab.does(IN_SIGHT)
    assert len(cells) == 11 * 4 - 1
    assert all(inside and square and side > 130 for inside, square, side in cells)
    labels = tab.does("return [...rows[0].querySelectorAll('td')].map(td => getComputedStyle(td, '::before').content)")
    assert labels == ['"base"', *(f'"epoch {n}"' for n in range(1, 11))]
    small = tab.does("""return [...document.querySelectorAll("button, select")].filter(one => one.offsetParent
        && one.getBoundingClientRect().height < 44).map(one => one.outerHTML)""")
    assert small == []
    assert tab.complaints == []


def test_a_finger_filters_enlarges_compares_and_picks(tab, odd_path):
    opened_page(tab, odd_path, devtools.PHONE)
    tab.choose("#prompt", "1")
    assert tab.does("return rows.filter(row => row.offsetParent).length") == 2
    tab.tap("#filters button[type=reset]")
    tab.does("return new Promise(done => setTimeout(done, 50))")
    assert tab.does("return rows.filter(row => row.offsetParent).length") == 4

    tab.tap('td[data-column="10"] .cell')
    whole = "const box = zoom.querySelector('img').getBoundingClientRect();"
    assert tab.does(
        f"{whole} return [zoom.open, box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight]"
    )
    source = "zoom.querySelector('img').src === rows[0].querySelector('td[data-column=\"%d\"] img').src"
    assert tab.does(f"return {source % 10}")
    tab.tap('#zoom button[data-by="-1"]')
    assert tab.does(f"return [zoom.open, {source % 9}]") == [True, True]
    tab.tap("#zoom .choose")
    assert tab.does(PICK) == [True, f"kohya-runner compare '{odd_path}' --pick 9"]
    assert tab.does("return zoom.open") is False
    tab.tap("#forget")
    tab.tap('#grid .choose[data-pick="10"]')
    assert tab.does(PICK)[1].endswith("--pick 10")
    tab.tap("#forget")

    tab.choose("#a", "3")
    tab.drag("#slider", 0.25)
    assert tab.does("return field('over').style.clipPath") in {f"inset(0px {n}% 0px 0px)" for n in (74, 75, 76)}
    assert tab.does("return field('tag-a').textContent") == "epoch 3"


def test_on_a_desk_the_page_does_not_scroll_sideways_beside_its_grid(tab, odd_path):
    opened_page(tab, odd_path, devtools.DESK)
    assert tab.sideways() == []
    assert tab.does("return document.documentElement.scrollWidth") == devtools.DESK
