"""The report in a real browser: looked at, walked through by mouse and by keys, with names that mean harm."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from deskpages import chromium
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.growth import Point
from go_cache_safeguard.flows.html_report import Section, render, write_report
from go_cache_safeguard.flows.xray import XRay
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.xray import Facet, find_projects, group
from gocaches import GoCache
from safeguard import Safeguard
from xrays import NOW_NS, inventory_of, made, plain

NARROW = 390
FLOORS = {
    "middle/middle.go": 'package middle\n\nimport "example.com/m/lib"\n\nfunc Twice() string { return lib.Hello() + lib.Hello() }\n',
    "main.go": 'package main\n\nimport "example.com/m/middle"\n\nfunc main() { println(middle.Twice()) }\n',
}
COUNTS = ("imported by", "API edit compiles", "links", "body edit compiles")
EVIL = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>\u202e\x00\x1b[31m'
GRAPH = Section(
    "Who needs whom",
    "graph",
    {
        "nodes": [
            {"id": name, "label": f"example.com/{name}", "bytes": 1000} for name in ("app", "lib", "dep", "other")
        ],
        "edges": [["app", "lib"], ["lib", "dep"], ["app", "dep"], ["other", "dep"]],
    },
)
TREE = Section(
    "What an edit costs",
    "tree",
    {"roots": [{"label": "dep", "bytes": 2048, "children": [{"label": f"lib {EVIL}", "note": "1.5 s"}]}]},
)


def inventory() -> Inventory:
    outputs = [made(f"example.com/m/p{number}", f"/ci/1/m/p{number}", size=1000 * number) for number in range(1, 30)]
    outputs += [made("fmt", "$GOROOT/src/fmt", size=500_000), made("fmt", "$GOROOT/src/fmt", size=9, flags=("-race",))]
    outputs += [
        made("example.com/m/p9", "/ci/2/m/p9", size=9000),
        made(f"example.com/{EVIL}", f"/ci/3/{EVIL}", size=400_000),
    ]
    return inventory_of(
        [*outputs, made("io", "$GOROOT/src/io", size=5, version=f"go1.20{EVIL}"), plain(Kind.TEST_OUTPUT)]
    )


def xray() -> XRay:
    found = inventory()
    points = tuple(Point(NOW_NS + day * 86_400 * 10**9, 1, 10**6 * (day + 1), {}) for day in range(5))
    return XRay(found, find_projects(found, {}), frozenset({"go1.27.3"}), NOW_NS, points)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, render(xray(), go="go1.27.3", host=EVIL, sections=[TREE, GRAPH]))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def windows(browser: Browser, file: Path) -> Iterator[Callable[..., Page]]:
    """Opens the report; no page of it may ask for anything, complain, or run what somebody else wrote."""
    complaints: list[str] = []
    opened: list[BrowserContext] = []

    def window(width: int = 1280, scheme: Literal["light", "dark"] = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: complaints.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield window
    titles = [page.title() for context in opened for page in context.pages]
    for context in opened:
        context.close()
    assert complaints == []
    assert set(titles) == {"Build cache /cache"}


def side(page: Page, name: str) -> Locator:
    return page.locator("#sides").get_by_role("button", name=name)


def columns(page: Page, at: int) -> list[str]:
    return page.locator(f"#parts td:nth-child({at})").all_inner_texts()


def test_the_tiles_show_every_part_in_proportion(windows: Callable[..., Page]) -> None:
    page = windows()
    parts = group(inventory(), Facet.PROJECT, now_ns=NOW_NS)
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(len(parts))
    boxes = [box for box in (tile.bounding_box() for tile in tiles.all()) if box is not None]
    areas = [box["width"] * box["height"] for box in boxes]
    whole = sum(part.amount.size for part in parts)
    for area, part in zip(areas, parts, strict=True):
        assert area / sum(areas) == pytest.approx(part.amount.size / whole, abs=0.01)
    expect(page.locator("#cards")).to_contain_text("+977 KiB a day")


def test_a_click_goes_in_and_the_trail_leads_out(windows: Callable[..., Page]) -> None:
    page = windows()
    page.locator(".tile", has_text="/ci/1/m (gone)").click()
    expect(side(page, "package")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".tile")).to_have_count(29)
    expect(page.locator("#trail")).to_contain_text("425 KiB in 29 outputs")
    page.get_by_role("button", name="everything").click()
    expect(side(page, "project")).to_have_attribute("aria-pressed", "true")
    side(page, "flags").click()
    assert columns(page, 1) == ["no flags", "unknown", "-race"]
    page.locator("#parts").get_by_role("button", name="-race").click()
    assert columns(page, 1) == ["std go1.27.3"]


def test_keys_walk_through_the_map(windows: Callable[..., Page]) -> None:
    page = windows()
    page.locator(".tile").first.focus()
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_be_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == first
    page.keyboard.press("Enter")
    expect(page.locator("#trail")).to_contain_text("project: std go1.27.3")
    page.keyboard.press("Backspace")
    expect(page.locator("#trail")).not_to_contain_text("project: std go1.27.3")
    assert page.evaluate("document.activeElement.className") == "tile"


def test_tables_sort_by_each_column(windows: Callable[..., Page]) -> None:
    page = windows()
    side(page, "package").click()
    sizes = columns(page, 3)
    page.locator("#parts").get_by_role("button", name="size").click()
    assert columns(page, 3)[0] == "5 B"
    page.locator("#parts").get_by_role("button", name="size").click()
    assert columns(page, 3) == sizes
    page.locator("#parts").get_by_role("button", name="package").first.click()
    names = [name for name in columns(page, 1) if re.fullmatch(r"example.com/m/p\d+", name)]
    assert names == sorted(names, key=lambda name: int(name.rpartition("p")[2]))
    page.get_by_role("button", name=re.compile(r"^\d+ more$")).click()
    assert len(columns(page, 1)) == 33


def test_names_that_mean_harm_are_only_text(windows: Callable[..., Page]) -> None:
    page = windows()
    side(page, "package").click()
    expect(page.locator("#parts")).to_contain_text("<img src=x onerror=alert(1)>")
    page.locator(".tile", has_text="img src=x").hover()
    expect(page.locator("#tip")).to_contain_text("\\u202e")
    page.get_by_text("dep · 2.0 KiB").click()
    expect(page.locator(".leaf")).to_contain_text("1.5 s")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_a_graph_lights_up_what_a_node_needs_and_who_needs_it(windows: Callable[..., Page]) -> None:
    page = windows()
    node = page.get_by_role("button", name="example.com/lib")
    node.click()
    expect(node).to_have_class("node lit")
    expect(page.get_by_role("button", name="example.com/other")).to_have_class("node faint")
    assert page.locator(".graph path.lit").count() == 3
    tops = [page.get_by_role("button", name=f"example.com/{name}").bounding_box() for name in ("app", "lib", "dep")]
    heights = [box["y"] for box in tops if box is not None]
    assert heights == sorted(heights)
    node.press("Enter")
    expect(node).to_have_class("node")


def test_the_graph_of_a_module_shows_what_the_command_says(
    browser: Browser, newest_cache: GoCache, tmp_path: Path
) -> None:
    for name, text in FLOORS.items():
        (newest_cache.module / name).parent.mkdir(exist_ok=True)
        (newest_cache.module / name).write_text(text)
    newest_cache.go("build", "./...")
    guard = Safeguard(newest_cache, tmp_path / "state")
    assert guard.run("report", "--html", str(tmp_path / "report.html")).returncode == 0
    packages = {one["package"]: one for one in guard.json("graph", "--all")["packages"] if not one["standard"]}
    assert [packages[f"example.com/m/{name}"]["edit"]["api"]["compiled"] for name in ("lib", "middle")] == [3, 2]

    context = browser.new_context(viewport={"width": 1280, "height": 844})
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    section = page.get_by_role("region", name="What an edit sets off")
    page.wait_for_function("document.querySelectorAll('#sections section').length >= 2")
    heads = section.locator("th").all_inner_texts()
    rows = [
        dict(zip(heads, row.locator("td").all_inner_texts(), strict=True)) for row in section.locator("tbody tr").all()
    ]
    shown = {
        row["package"]: (
            row["entry"],
            *(int(row[name]) for name in COUNTS),
            row["size"],
            row["writes"],
            row["CPU time"],
        )
        for row in rows
    }
    assert shown == {
        name: (
            one["entry"],
            len(one["imported_by"]),
            one["edit"]["api"]["compiled"],
            one["edit"]["api"]["linked"],
            one["edit"]["body"]["compiled"],
            format_size(one["bytes"]),
            format_size(one["edit"]["api"]["bytes"]),
            seconds(one["edit"]["api"]["cpu_seconds"]["seconds"]),
        )
        for name, one in packages.items()
    }
    assert [row["package"] for row in rows][:2] == ["example.com/m/lib", "example.com/m/middle"]
    section.get_by_role("button", name="API edit compiles").click()
    section.get_by_role("button", name="API edit compiles").click()
    assert section.locator("td").first.inner_text() == "example.com/m"
    table = section.locator(".scroll")
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth"), "no column is out of sight"

    drawing = page.get_by_role("region", name="Packages and what they need")
    drawing.get_by_role("button", name="example.com/m/middle").click()
    assert drawing.locator("path.lit").count() == 2
    size = format_size(packages["example.com/m/middle"]["bytes"])
    expect(drawing).to_contain_text(
        re.compile(rf"example.com/m/middle  ·  {re.escape(size)}  ·  hit, .*; 1 package depends on it")
    )
    context.close()


def seconds(value: float) -> str:
    """As the page writes it."""
    return f"{value * 1000:.0f} ms" if 0 < value < 0.0995 else f"{value:.2f} s"


def test_the_page_fits_a_telephone_and_follows_the_dark(windows: Callable[..., Page]) -> None:
    light, dark, narrow = windows(), windows(scheme="dark"), windows(NARROW)
    assert narrow.evaluate("document.documentElement.scrollWidth") == NARROW
    ink = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    assert ink[0] == "rgb(255, 255, 255)"
    assert ink[1] != ink[0]
    narrow.set_viewport_size({"width": 844, "height": NARROW})
    box = narrow.locator("#map").bounding_box()
    right = max(
        place["x"] + place["width"] for place in map(Locator.bounding_box, narrow.locator(".tile").all()) if place
    )
    assert box is not None
    assert right == pytest.approx(box["x"] + box["width"], abs=3)


def test_the_policy_lets_only_our_own_script_run(browser: Browser, file: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(file.as_uri())
    with page.expect_event("requestfailed") as refused:
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:1/picture";
            document.body.append(script, image);
        }""")
    assert refused.value.failure == "csp"
    assert page.evaluate("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.title() == "Build cache /cache"
    context.close()
