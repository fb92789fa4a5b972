"""The pages in a real browser: people look, decide, and are refused, with and without scripts, by mouse and by keys."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from deskpages import ALICE, Eyes, House, chromium, keys, plan_of
from faulty_traces import FAULTS, made
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.clean import ask
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Inventory, Output, Shape
from go_cache_safeguard.signals.spanstore import SpanStore
from go_cache_safeguard.web.view import STATIC
from webserver import PASSWORD, add_person, free_port, serving

NARROW = 360
EVIL = '<script>document.title="owned"</script><img src=x onerror=alert(1)>\u202e\u2066gnp.exe\x00\x1b[31m\u200b'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house"), {"approval.break_glass": "user:bob"}) as served:
        add_person(served, "alice", "requester", "approver", links=("uid:1000",))
        add_person(served, "bob", "approver", "auditor")
        add_person(served, "carol", "approver")
        yield House(served)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def eyes(browser: Browser, house: House) -> Iterator[Eyes]:
    """Windows; in none of them may a page complain, break its policy, or run what somebody else wrote."""
    found = Eyes(browser, house)
    try:
        yield found
    finally:
        found.close()
    assert found.complaints == []


def digits(house: House, op: str) -> str:
    return str(house.operation(op).data["digest"])[:8]


def stand(page: Page) -> str:
    return page.inner_text(".state .chip")


def test_somebody_logs_in_finds_what_waits_and_approves_it_by_typing_its_digits(eyes: Eyes, house: House) -> None:
    op = house.held()
    page = eyes.window()
    page.goto(f"/op/{op}")
    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove 12 keys, 1.2 KiB")
    page.get_by_role("link", name="Inbox").first.click()
    page.locator(f"#row-{op} a").click()
    expect(page.get_by_text("redis-names", exact=True)).to_be_visible()
    expect(page.get_by_role("row", name="0/session: 6 600 B")).to_be_visible()
    page.get_by_label("Digits", exact=True).fill(digits(house, op).upper())
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".state .chip")).to_contain_text("approved")
    operation = house.operation(op)
    assert (operation.state, operation.data["approver"], operation.data["channel"]) == (
        State.APPROVED,
        "user:bob",
        "page",
    )
    assert len(operation.data["seen"]) == 64, "the journal says which evidence was on the page"


def test_the_number_of_items_confirms_as_well_and_another_number_does_not(eyes: Eyes, house: House) -> None:
    op = house.held(plan_of(keys(1234)))
    page = eyes.window("bob")
    page.goto(f"/op/{op}")
    page.get_by_label("Digits", exact=True).fill("1,235")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("is not the beginning of the plan's digest")
    expect(alert).to_be_focused()
    assert house.operation(op).state is State.HELD
    page.get_by_label("Digits", exact=True).fill("1,234")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".state .chip")).to_contain_text("approved")


@pytest.mark.parametrize("typed", ["", "1", "0123456", "deadbeef", "f" * 64, "' or 1=1 --"])
def test_wrong_digits_change_nothing(house: House, typed: str) -> None:
    op = house.held()
    with house.client("bob") as client:
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(f"/op/{op}").text)
        assert csrf is not None
        digest = house.operation(op).data["digest"]
        answer = client.post(f"/op/{op}/approve", data={"csrf": csrf[1], "digest": digest, "typed": typed})
        assert answer.status_code == 409
        assert house.operation(op).state is State.HELD


def test_a_rejection_has_a_reason_and_ends_it(eyes: Eyes, house: House) -> None:
    op = house.held()
    page = eyes.window("bob")
    page.goto(f"/op/{op}")
    page.get_by_role("button", name="Reject").click()
    assert page.evaluate("document.activeElement.id") == "why"  # the browser asks for the reason
    assert house.operation(op).state is State.HELD
    page.get_by_label("Reason").fill(EVIL.replace("\x00", ""))
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".state .chip")).to_contain_text("rejected")
    expect(page.locator("aside")).to_contain_text("<script>")
    assert page.title() == "rejected: Remove 12 keys, 1.2 KiB · go-cache-safeguard"
    assert page.locator("form[action^='/op/']").count() == 0


def test_who_asked_cannot_approve_but_can_take_it_back(eyes: Eyes, house: House) -> None:
    op = house.held()
    page = eyes.window("alice")
    page.goto(f"/op/{op}")
    expect(page.locator("aside")).to_contain_text("asked for it; somebody else must approve")
    assert page.get_by_role("button", name="Approve").count() == 0
    csrf = page.locator("#cancel input[name=csrf]").get_attribute("value") or ""
    forged = page.request.post(
        f"/op/{op}/approve", form={"csrf": csrf, "typed": digits(house, op)}, headers={"Origin": house.url}
    )
    assert forged.status == 409
    assert house.operation(op).state is State.HELD
    page.get_by_label("Take it back").fill("not needed any more")
    page.get_by_role("button", name="Cancel the operation").click()
    expect(page.locator(".state .chip")).to_contain_text("cancelled")
    assert house.operation(op).data["cancelled_by"] == "user:alice"


def test_two_people_agree_and_each_sees_the_other_without_reloading(eyes: Eyes, house: House) -> None:
    op = house.held(approval__needed="2")
    bob, carol = eyes.window("bob"), eyes.window("carol")
    for page in (bob, carol):
        page.goto(f"/op/{op}")
        expect(page.locator(".votes")).to_have_text("0 of 2 have agreed")
    carol.evaluate("window.stayed = true")
    bob.get_by_label("Digits", exact=True).fill(digits(house, op))
    bob.get_by_role("button", name="Approve").click()
    expect(bob.locator(".votes")).to_have_text("1 of 2 have agreed")
    expect(bob.locator("aside")).to_contain_text("user:bob has approved it already")
    expect(carol.locator(".votes")).to_have_text("1 of 2 have agreed")
    expect(carol.locator(".approvers")).to_contain_text("user:bob")
    assert carol.evaluate("window.stayed") is True
    carol.get_by_label("Digits", exact=True).fill(digits(house, op))
    carol.get_by_role("button", name="Approve").click()
    expect(carol.locator(".state .chip")).to_contain_text("approved")
    expect(bob.locator(".state .chip")).to_contain_text("approved")
    assert house.operation(op).data["approvers"] == ["user:bob", "user:carol"]


def test_what_expires_while_somebody_looks_says_so_and_is_not_approved(eyes: Eyes, house: House) -> None:
    op = house.held(expires_s=6)
    page = eyes.window("bob")
    page.goto(f"/op/{op}")
    page.get_by_label("Digits", exact=True).fill(digits(house, op))
    expect(page.locator(".state .chip")).to_contain_text("expired")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert house.operation(op).state is State.EXPIRED


def test_what_is_typed_stays_when_something_else_happens(eyes: Eyes, house: House) -> None:
    op = house.held()
    page = eyes.window("bob")
    page.goto(f"/op/{op}")
    page.get_by_label("Reason").fill("half a sent")
    page.locator("#check-1 summary").click()
    with house.served.session().journal() as journal:
        journal.note("hook-sent", {"hook": "https://hooks.example.org"}, op=op)
    expect(page.locator(".way")).to_contain_text("people were told")
    assert page.get_by_label("Reason").input_value() == "half a sent"
    expect(page.locator("#check-1 .lines")).to_be_visible()


def test_what_is_held_appears_in_the_inbox_without_reloading(eyes: Eyes, house: House) -> None:
    page = eyes.window("bob")
    page.goto("/")
    page.evaluate("window.stayed = true")
    op = house.held()
    expect(page.locator(f"#row-{op}")).to_be_visible()
    assert page.evaluate("window.stayed") is True


def test_a_broken_glass_is_reviewed_by_somebody_else(eyes: Eyes, house: House) -> None:
    op = house.held(approval__needed="2", approval__break_glass="user:bob")
    bob, carol = eyes.window("bob"), eyes.window("carol")
    carol.goto(f"/op/{op}")
    assert carol.get_by_text("Break glass").count() == 0
    bob.goto(f"/op/{op}")
    bob.get_by_text("Break glass", exact=True).click()
    bob.get_by_label("First 8 digits").fill(digits(house, op))
    bob.get_by_label("What the emergency is").fill("the payment queue is full since 02:10")
    bob.get_by_role("button", name="Break glass and approve").click()
    expect(bob.locator(".state")).to_contain_text("break-glass")
    assert bob.get_by_role("button", name="Write the review").count() == 0
    carol.goto("/?show=reviews")
    carol.locator(f"#row-{op} a").click()
    carol.get_by_label("What you found").select_option("justified")
    carol.get_by_label("In your words").fill("yes, I saw it")
    carol.get_by_role("button", name="Write the review").click()
    expect(carol.locator(".way")).to_contain_text("finding: justified")
    assert carol.get_by_role("button", name="Write the review").count() == 0


def test_everything_can_be_done_by_keys_and_no_key_alone_approves(eyes: Eyes, house: House) -> None:
    target = "redis://keys-only:6379"
    first, second = (house.held(plan_of(keys(), target=target)) for _ in range(2))
    page = eyes.window("bob")
    page.goto("/?text=keys-only")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    expect(page.locator(f"#row-{first} a")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator(f"#row-{second} a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_visible()
    assert page.url.endswith(second)
    page.keyboard.press("?")
    expect(page.get_by_text("no key approves anything")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_text("no key approves anything")).to_be_hidden()
    page.locator("main").focus()
    for key in "abcdefghijklmnopqrstuvwxyzAY":
        page.keyboard.press(key)
    assert page.url.endswith(second)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "typed":
            break
    page.keyboard.type(digits(house, second))
    page.keyboard.press("Enter")
    expect(page.locator(".state .chip")).to_contain_text("approved")
    assert house.operation(first).state is State.HELD


def hostile(house: House) -> str:
    target = "unix:/run/" + "a-name-without-any-place-to-break-it" * 6 + EVIL
    names = ("0/<img src=x onerror=alert(1)>:1", "0/" + "k" * 300 + ":2", f"0/{EVIL}")
    items = [Item(name, 10, -1, EVIL) for name in sorted(names)]
    about = {"reasons": [EVIL, "r" * 500], "client": EVIL, "command": f"FLUSH{EVIL}", "user": EVIL, "final": EVIL}
    verdicts = [{"check": EVIL, "outcome": "BLOCK", "summary": EVIL, "evidence": [EVIL], "remedy": [EVIL]}]
    return house.held(plan_of(items, target=target, selectors=(EVIL,)), about={**about, "verdicts": verdicts})


def test_names_and_reasons_of_others_are_shown_and_never_run(eyes: Eyes, house: House) -> None:
    op = hostile(house)
    page = eyes.window("bob")
    for path in (f"/op/{op}", "/?text=without-any-place", f"/journal?op={op}"):
        page.goto(path)
        page.wait_for_timeout(50)
        text = page.inner_text("body")
        assert not set(text) & set("\u202e\u2066\x00\x1b\u200b")
        assert page.locator("script:not([src]), img:not([src^='/static/']), [onerror]").count() == 0
        assert page.title() != "owned"
    page.goto(f"/op/{op}")
    expect(page.locator(".target").first).to_contain_text(r"\u202e")
    expect(page.get_by_text("<img src=x onerror=alert(1)>").first).to_be_visible()


def test_a_page_shows_which_packages_would_go_and_how_much_of_it_nobody_has_looked_at(eyes: Eyes, house: House) -> None:
    items = (Item(f"aa/{'aa' * 32}-d", 3000, 3, "all"), Item(f"bb/{'bb' * 32}-d", 1000, 3, "all"))
    plan = Plan("go-build-cache", "/a/cache", "1:2", ("--all",), ALICE, "2026-01-02T03:04:05Z", 9000, items)
    about = Archive(f"net/{EVIL}", "linux", "amd64", "go1.27.3", (), "a" * 20, "c" * 20)
    output = Output(b"\xaa" * 32, 3000, 4096, 3, 0o644, False, Kind.ARCHIVE, about, Shape.FILE, 4, 5)  # noqa: FBT003 - a row
    seen = Inventory("/a/cache", "1:2", {}, {output.output: output})
    session = house.served.session()
    with session.journal() as journal:
        op = ask(session, journal, plan, list, person="a person", seen=seen).op
    page = eyes.window("bob")
    page.goto(f"/op/{op}")
    evil = page.get_by_role("row").filter(has_text="net/<script>")
    expect(evil).to_contain_text(r"\u202e")
    expect(evil).to_contain_text("2.9 KiB")
    for row in ("UNKNOWN 1 1000 B", "archive 1 2.9 KiB", "go1.27.3 1 2.9 KiB"):
        expect(page.get_by_role("row", name=row).first).to_be_visible()
    assert page.title() != "owned"


def test_nothing_is_wider_than_a_small_screen(eyes: Eyes, house: House) -> None:
    op = hostile(house)
    page = eyes.window("bob", width=NARROW, height=740)
    for path in ("/", "/?show=all", f"/op/{op}", f"/op/{house.held()}", "/journal", f"/journal?op={op}", "/nowhere"):
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, path
    nobody = eyes.window(width=NARROW, height=740)
    nobody.goto("/login")
    assert nobody.evaluate("document.documentElement.scrollWidth") <= NARROW


CONTRAST = """() => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found[3] > 250) return found;
    }
    return [255, 255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = Array.from(node.childNodes).some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("meter")) continue;
    const a = light(parse(getComputedStyle(node).color)), b = light(ground(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)} ${node.textContent.trim().slice(0, 30)}`);
  }
  return bad;
}"""
NAMELESS = """() => Array.from(document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a"))
  .filter((node) => !(node.labels && node.labels.length) && !node.textContent.trim() && !node.getAttribute("aria-label"))
  .map((node) => node.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground_and_everything_has_a_name(eyes: Eyes, house: House, scheme: str) -> None:
    op = house.held(approval__needed="2", approval__break_glass="user:bob")
    page = eyes.window("bob", color_scheme=scheme)
    for path in ("/?show=all", f"/op/{op}", "/journal", "/nowhere"):
        page.goto(path)
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(NAMELESS) == [], path
        assert page.locator("h1").count() == 1
        assert page.locator("main, header.top, footer").count() == 3
        ids = page.evaluate("Array.from(document.querySelectorAll('[id]')).map((node) => node.id)")
        assert len(ids) == len(set(ids))


def test_whoever_wants_no_motion_gets_none(eyes: Eyes) -> None:
    page = eyes.window("bob", reduced_motion="reduce")
    page.goto("/")
    moving = """Array.from(document.querySelectorAll('*')).filter((node) => {
      const style = getComputedStyle(node);
      return style.animationName !== 'none' || style.transitionDuration.split(', ').some((time) => parseFloat(time) > 0);
    }).length"""
    assert page.evaluate(moving) == 0


def test_without_scripts_forms_and_links_do_all(eyes: Eyes, house: House) -> None:
    op, other = house.held(), house.held()
    page = eyes.window("bob", java_script_enabled=False)
    page.goto("/")
    page.locator(f"#row-{op} a").click()
    page.get_by_label("Digits", exact=True).fill(digits(house, op))
    page.get_by_role("button", name="Approve").click()
    assert "approved" in stand(page)
    page.get_by_role("link", name="Inbox").first.click()
    page.get_by_role("link", name="Refresh").click()
    page.locator(f"#row-{other} a").click()
    page.get_by_label("Reason").fill("no")
    page.get_by_role("button", name="Reject").click()
    assert "rejected" in stand(page)
    page.get_by_role("link", name="All records of it in the journal").click()
    assert page.locator(".records li").count() == 4
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    del house.secrets["bob"]


def test_a_journal_is_read_page_by_page_and_only_by_auditors(eyes: Eyes, house: House) -> None:
    with house.served.session().journal() as journal:
        for number in range(120):
            journal.note("progress", {"n": number})
    page = eyes.window("bob")
    page.goto("/journal?step=progress")
    seen = []
    while True:
        seen += [int(text.replace(",", "")) for text in page.locator(".seq").all_inner_texts()]
        if not page.get_by_role("link", name="Older").count():
            break
        page.get_by_role("link", name="Older").click()
    wanted = [record.seq for record in house.records() if record.step == "progress"]
    assert seen == wanted[::-1]
    carol = eyes.window("carol")
    answer = carol.goto("/journal")
    assert answer is not None
    assert answer.status == 403
    expect(carol.get_by_role("heading", level=1)).to_have_text("Not for you")


LINKS = re.compile(r'(?:href|action|src|hx-get|hx-sse:connect)="([^"]+)"')


def test_a_robot_that_looks_at_every_address_changes_nothing(house: House) -> None:
    op = house.held(approval__needed="2", approval__break_glass="user:bob")
    house.secret("bob")
    before = house.records()
    for name in ("", "bob"):
        with house.client(name) as robot:
            waiting, seen = (
                ["/", f"/op/{op}", "/api/v1/operations", f"/op/{op}/review", "/logout", "/oidc/start"],
                set[str](),
            )
            while waiting and len(seen) < 150:
                path = waiting.pop(0)
                if path in seen or not path.startswith("/"):
                    continue
                seen.add(path)
                robot.head(path)
                with robot.stream("GET", path) as answer:
                    if "text/event-stream" in answer.headers.get("content-type", ""):
                        continue
                    text = answer.read().decode("utf-8", "replace")
                assert answer.status_code < 500, path
                waiting += [found.replace("&amp;", "&").partition("#")[0] for found in LINKS.findall(text)]
                waiting += [answer.headers[name] for name in ("location",) if name in answer.headers]
            assert not name or {f"/op/{op}/approve", f"/op/{op}/reject", f"/op/{op}/break-glass", "/logout"} <= seen
    assert house.records() == before


def test_a_form_on_a_page_of_somebody_else_is_refused(eyes: Eyes, house: House) -> None:
    op = house.held()
    page = eyes.window("bob")
    page.goto("/")
    before = house.records()
    other = f"http://127.0.0.1:{free_port()}"
    form = (
        f'<form method="post" action="{house.url}/op/{op}/approve"><input name="typed" value="{digits(house, op)}">'
        "<button>a present</button></form>"
    )
    page.route(f"{other}/*", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto(f"{other}/present")
    with page.expect_navigation() as went:
        page.get_by_role("button").click()
    assert went.value is not None
    assert went.value.status == 403
    assert house.records() == before
    assert house.operation(op).requester == ALICE


def test_what_came_from_elsewhere_is_what_the_readme_says() -> None:
    told = dict(re.findall(r"`([a-z.-]+\.js)` \| htmx.*`([0-9a-f]{64})`", (STATIC / "README.md").read_text()))
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(STATIC).glob("*.min.js")}
    assert told == kept
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()


def test_a_trace_is_shown_with_what_failed_and_nothing_that_a_span_says_is_run(eyes: Eyes, house: House) -> None:
    fault = next(one for one in FAULTS["shop"] if one.name == "errors that spread")
    spans = [replace(span, name=span.name + EVIL) for span in made("shop", 3, 1, fault)]
    folder = house.served.state / "signals"
    folder.mkdir(exist_ok=True)
    failed = next(span.trace_id for span in spans if span.is_error)
    with SpanStore(folder / "spans.sqlite") as store:
        store.put([span if span.trace_id == failed else replace(span, tenant="others") for span in spans])
    page = eyes.window("carol")
    page.goto(f"/traces/{failed.hex()}")
    expect(page.locator(".waterfall li")).to_have_count(sum(span.trace_id == failed for span in spans))
    page.locator(".waterfall li.failed summary").first.click()
    expect(page.locator(".waterfall li.failed dl").first).to_contain_text("waited for here")
    with house.client("carol") as client:
        other = next(span.trace_id for span in spans if span.trace_id != failed)
        assert [client.get(f"/traces/{one}").status_code for one in (other.hex(), "0" * 32, "x")] == [404, 404, 404]
