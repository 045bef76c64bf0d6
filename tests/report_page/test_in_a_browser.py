"""The report page in headless Chromium: it asks for nothing, and is used by mouse, keyboard and screen reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

import tightc
from helpers import models
from helpers.report_pages import ARRAY, HOSTILE, hostile, long_layer, save

pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("needs Chromium; scripts/install_system_packages.sh installs it", allow_module_level=True)

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware" / "tight-32x32.yaml"
AREA = Path(__file__).parents[2] / "configs" / "area" / "sg13g2.yaml"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages on a small network, on two, and on one with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    model = save(models.cnn(), folder / "net.onnx")
    compared = tightc.compare(model, method=("dense", "nm"), array=ARRAY)
    (folder / "compare.json").write_text(json.dumps(compared.to_dict()))
    tightc.write_report(model, folder / "one.html", compare=str(folder / "compare.json"))
    large = save(models.cnn(), folder / "large.onnx", array="32x32", fan_in=8)
    plain = tightc.load(models.save(models.cnn(), folder / "plain.onnx"))
    tightc.write_report([large, plain], folder / "two.html", hardware=HARDWARE, area=AREA)
    tightc.write_report(save(long_layer(64, 600, 0.1), folder / "long.onnx"), folder / "long.html")
    tightc.write_report(save(hostile(), folder / "hostile.onnx"), folder / "hostile.html")
    return folder


class Opened:
    """A page in the browser, with what it said on the console and asked for."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        assert self.requests == [path.as_uri()]

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def expect(self, selector: str) -> Any:
        return sync_api.expect(self.page.locator(selector))

    def texts(self, selector: str) -> list[str]:
        return list(
            self.page.eval_on_selector_all(selector, "found => found.map(one => one.innerText.trim())")
        )


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    """Opens a page of the folder; at the end it must have said nothing and asked for nothing."""
    contexts = []

    def open_page(name: str, scheme: str = "light", width: int = 1240) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        found.append(Opened(context.new_page(), folder / name))
        return found[-1]

    found: list[Opened] = []
    yield open_page
    for one in found:
        assert one.messages == [] and len(one.requests) == 1
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1240, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one.html", "two.html"])
def test_nothing_for_axe_to_find(opened: Any, name: str, scheme: str, width: int) -> None:
    page = opened(name, scheme, width)
    page.page.eval_on_selector_all("details", "found => found.forEach(one => { one.open = true; })")
    found = axe.Axe().run(page.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


def test_a_heading_sorts(opened: Any) -> None:
    page = opened("one.html")
    names = page.texts("#layer-table tbody th")
    cycles = {row.name: row.cycles for row in tightc.simulate(tightc.load(page_model(page))).layers}
    heading = page.page.locator("#layer-table thead button", has_text="cycles").nth(1)
    heading.click()
    assert page.texts("#layer-table tbody th") == sorted(names, key=lambda name: -cycles[name])
    assert page.page.locator("#layer-table th[aria-sort=descending]").inner_text().startswith("cycles")
    heading.focus()
    page.page.keyboard.press("Enter")
    assert page.texts("#layer-table tbody th") == sorted(names, key=lambda name: cycles[name])
    assert page.page.locator("#layer-table th[aria-sort=ascending]").count() == 1
    page.page.locator("#layer-table thead button").first.click()
    page.page.locator("#layer-table thead button").first.click()
    assert page.texts("#layer-table tbody th") == names


def page_model(page: Opened) -> Path:
    """The model of the small page, beside it."""
    path = Path(page.requests[0].removeprefix("file://"))
    return path.parent / "net.onnx"


def test_texts_filter(opened: Any) -> None:
    page = opened("one.html")
    visible = "#layer-table tbody tr:not([hidden]) th"
    page.page.fill("#filter", "CONV")
    assert page.texts(visible) == ["first", "second"]
    assert page.text("#filtered") == "2 of 3 layers"
    page.page.fill("#filter", "conv sec")
    assert page.texts(visible) == ["second"]
    page.page.fill("#filter", "")
    assert page.text("#filtered") == "3 layers"


def test_a_layer_is_chosen(opened: Any) -> None:
    page = opened("one.html")
    page.page.select_option("#pick", label="last · tiles")
    page.expect("#matrix-title").to_have_text("Before: 4 filters × 8 inputs")
    assert page.texts("#layer article:not([hidden]) h3") == ["last Gemm"]
    page.page.locator("#layer-table button.link", has_text="second").click()
    page.expect("#matrix-title").to_contain_text("72 inputs")
    assert page.texts("#layer article:not([hidden]) h3") == ["second Conv"]
    assert page.page.evaluate("document.activeElement.id") == "pick"


def test_the_second_model_is_chosen(opened: Any) -> None:
    page = opened("two.html")
    page.page.select_option("#pick-subject", "B")
    page.expect("#status").to_have_text("The layer has no tiles: it runs dense.")
    assert page.page.is_hidden("#tiles-picture")


def test_arrow_keys_move_over_the_slots(opened: Any) -> None:
    page = opened("one.html")
    page.page.select_option("#pick", label="second · tiles")
    page.expect("#matrix-title").to_contain_text("72 inputs")
    tiles = [tile for tile in tightc.tiles(tightc.load(page_model(page))) if tile.layer == "second"]
    page.page.focus("#tiles")
    for keys, (tile, lane, column) in [
        (["ArrowRight"], (0, 0, 1)),
        (["ArrowDown", "ArrowDown"], (0, 2, 1)),
        (["ArrowLeft"], (0, 2, 0)),
        (["ArrowRight"] * 4, (1, 2, 0)),
        (["ArrowLeft"], (0, 2, 3)),
        (["ArrowUp"], (0, 1, 3)),
        (["End"], (len(tiles) - 1, 0, 0)),
        (["Home"], (0, 0, 0)),
    ]:
        for key in keys:
            page.page.keyboard.press(key)
        found = tiles[tile].slot_inputs()
        text = page.text("#status")
        assert text.startswith(f"Tile {tile}, lane {lane}, column {column}: ")
        if lane >= found.shape[0] or column >= found.shape[1]:
            assert text.endswith("array outside the tile")
            continue
        filter_, taken = int(tiles[tile].filters[column]), int(found[lane, column])
        channel, dy, dx = taken // 9, taken % 9 // 3, taken % 3
        weight = f"weight of filter {filter_}, input {taken} (channel {channel}, dy {dy}, dx {dx})"
        assert (weight if taken >= 0 else f"empty slot of filter {filter_}") in text
        carried = tiles[tile].lane_inputs(lane)
        assert text.endswith(f": {', '.join(map(str, carried))}.") or len(carried) > 16


def test_pages_of_tiles(opened: Any) -> None:
    page = opened("long.html", width=360)
    page.expect("#pages").to_contain_text("Page 1 of ")
    pages = int(page.text("#pages").split()[3].rstrip(":"))
    assert pages > 1 and page.page.is_disabled("#previous")
    page.page.click("#next")
    assert page.text("#pages").startswith(f"Page 2 of {pages}: tiles ")
    page.page.focus("#tiles")
    page.page.keyboard.press("PageUp")
    assert page.text("#pages").startswith("Page 1 of ")
    for _ in range(pages):
        page.page.keyboard.press("PageDown")
    assert page.text("#pages").startswith(f"Page {pages} of {pages}: ") and page.page.is_disabled("#next")


def test_the_mouse_over_a_matrix(opened: Any, folder: Path) -> None:
    page = opened("one.html")
    page.page.select_option("#pick", label="last · tiles")
    page.expect("#matrix-title").to_contain_text("8 inputs")
    proto = onnx.load(folder / "net.onnx")
    weight = next(numpy_helper.to_array(one) for one in proto.graph.initializer if one.name == "last_w")
    box = page.page.locator("#matrix").bounding_box()
    for filter_, taken in [(0, 0), (1, 5), (3, 7)]:
        x = (taken + 0.5) * box["width"] / 8
        y = (filter_ + 0.5) * box["height"] / 4
        page.page.hover("#matrix", position={"x": x, "y": y})
        content = "a weight, in tile" if weight[filter_, taken] else "zero"
        assert page.text("#status").startswith(f"Filter {filter_}, input {taken}: {content}")


def test_enter_finds_the_weight_in_the_tiles(opened: Any) -> None:
    page = opened("one.html")
    page.page.select_option("#pick", label="last · tiles")
    page.expect("#matrix-title").to_contain_text("8 inputs")
    page.page.focus("#matrix")
    for _ in range(8):
        page.page.keyboard.press("ArrowRight")
        if "a weight" in page.text("#status"):
            break
    where = page.text("#status").partition("in tile ")[2]
    page.page.keyboard.press("Enter")
    assert page.page.evaluate("document.activeElement.id") == "tiles"
    assert page.text("#status").startswith(f"Tile {where}: weight of filter 0, input ")


def test_the_mouse_over_a_bar(opened: Any) -> None:
    page = opened("one.html")
    page.page.locator(".on-wide path[aria-roledescription=bar]").nth(1).hover()
    assert "cycles" in page.text("#tip") and page.page.is_visible("#tip")
    page.page.mouse.move(2, 2)
    assert page.page.is_hidden("#tip")


def colors(page: Opened) -> tuple[str, str]:
    style = "getComputedStyle(document.body)"
    return page.page.evaluate(f"[{style}.color, {style}.backgroundColor]")


def test_both_schemes_and_print(opened: Any) -> None:
    light, dark = (colors(opened("one.html", scheme)) for scheme in ("light", "dark"))
    assert light != dark
    page = opened("one.html", "dark")
    picture = "document.getElementById('tiles').toDataURL()"
    shown = page.page.evaluate(picture)
    page.page.emulate_media(media="print")
    for _ in range(50):
        if page.page.evaluate(picture) != shown:
            break
        page.page.wait_for_timeout(100)
    assert page.page.evaluate(picture) != shown
    assert colors(page)[1] == "rgb(255, 255, 255)"
    assert page.page.is_hidden("nav") and page.page.is_hidden("#filter")
    assert page.page.is_visible("#layer-table") and len(page.page.pdf()) > 10_000


def test_without_scripts(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((folder / "one.html").as_uri())
    assert page.locator("#layer article").count() == 3
    assert all(page.locator("#layer article").nth(number).is_visible() for number in range(3))
    assert page.is_hidden("#viewer")
    context.close()


def test_hostile_names_are_harmless(opened: Any) -> None:
    page = opened("hostile.html")
    assert HOSTILE in page.texts("#layer-table tbody th")
    page.page.select_option("#pick", "0")
    page.page.locator("#layer-table button.link").nth(1).click()
    assert page.page.title() == "hostile.onnx · tightc report"
    assert page.page.locator("img").count() == 0 and page.page.locator("script").count() == 2
