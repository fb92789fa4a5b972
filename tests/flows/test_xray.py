"""What became of source directories, and how a cache grew."""

import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from auditing import session_at
from go_cache_safeguard.flows.growth import Point, growth, note, per_day, sparkline
from go_cache_safeguard.flows.html_report import render
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.xray import find_grounds, xray
from go_cache_safeguard.gocache.xray import Facet, Ground
from xrays import NOW_NS, inventory_of, made

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_at(tmp_path)


def test_the_nearest_go_mod_above_tells_root_and_module(tmp_path: Path) -> None:
    (tmp_path / "m" / "a" / "b").mkdir(parents=True)
    (tmp_path / "m" / "go.mod").write_text('// a comment\nmodule "example.com/m" // another\n\ngo 1.21\n')
    (tmp_path / "m" / "a" / "go.mod").write_text("module example.com/m/a\n")
    here = str(tmp_path / "m")
    grounds = find_grounds([here, f"{here}/a/b", f"{here}/lost/deep", f"{here}/x@v1.0.0/y"])
    assert grounds[here] == Ground(exists=True, root=here, module="example.com/m")
    assert grounds[f"{here}/a/b"] == Ground(exists=True, root=f"{here}/a", module="example.com/m/a")
    assert grounds[f"{here}/lost/deep"] == Ground(exists=False, root=here, module="example.com/m")
    assert grounds[f"{here}/x@v1.0.0/y"] == Ground(exists=False)


def test_a_go_mod_that_is_none_is_not_read_and_does_not_stop_the_look(tmp_path: Path) -> None:
    for name in ("pipe", "link", "garbage"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "go.mod")
    (tmp_path / "link" / "go.mod").symlink_to("/dev/zero")
    (tmp_path / "garbage" / "go.mod").write_bytes(b"\xff\x00" * 100)
    grounds = find_grounds([str(tmp_path / name) for name in ("pipe", "link", "garbage")] + ["/nul\0byte", "/x" * 2000])
    assert [ground.module for ground in grounds.values()] == [""] * 5
    assert grounds[str(tmp_path / "garbage")].root == str(tmp_path / "garbage")
    assert not grounds["/nul\0byte"].exists


def test_one_look_an_hour_is_remembered_for_each_cache(session: Session) -> None:
    small, large = (
        inventory_of([made("fmt", None)]),
        inventory_of([made("fmt", None), made("io", None, version="go1.21")]),
    )
    one, other = Path("/cache/one"), Path("/cache/other")
    note(session, one, small, now_ns=NOW_NS)
    note(session, one, large, now_ns=NOW_NS + HOUR_NS // 2)
    note(session, other, large, now_ns=NOW_NS + 1)
    note(session, one, large, now_ns=NOW_NS + 2 * HOUR_NS)
    assert [(point.at_ns, point.files) for point in growth(session, one)] == [(NOW_NS, 2), (NOW_NS + 2 * HOUR_NS, 4)]
    (point,) = growth(session, other)
    assert (point.size, point.toolchains) == (large.size, {"go1.27.3": 100, "go1.21": 100})


def test_growth_that_cannot_be_remembered_stops_nothing(session: Session) -> None:
    session.state_folder("verified")
    (session.state_dir / "growth.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 50)
    note(session, Path("/cache"), inventory_of([]), now_ns=NOW_NS)
    assert growth(session, Path("/cache")) == ()


def test_no_more_than_so_many_points_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("go_cache_safeguard.flows.growth._MOST", 3)
    for day in range(5):
        note(session, Path("/cache"), inventory_of([]), now_ns=NOW_NS + day * DAY_NS)
    assert [point.at_ns - NOW_NS for point in growth(session, Path("/cache"))] == [2 * DAY_NS, 3 * DAY_NS, 4 * DAY_NS]
    with sqlite3.connect(session.state_dir / "growth.sqlite") as db:
        assert db.execute("SELECT count(*) FROM points").fetchone() == (3,)
    db.close()


def points(*sizes: int, step_ns: int = DAY_NS) -> tuple[Point, ...]:
    return tuple(Point(NOW_NS + at * step_ns, 1, size, {}) for at, size in enumerate(sizes))


def test_growth_is_so_many_bytes_a_day() -> None:
    assert per_day(points(100, 200, 300)) == pytest.approx(100)
    assert per_day(points(300, 200, 100)) == pytest.approx(-100)
    assert per_day(points(100, 900, step_ns=HOUR_NS)) is None
    assert per_day(()) is None
    old = (Point(NOW_NS - 90 * DAY_NS, 1, 10**12, {}), *points(100, 200, 300))
    assert per_day(old) == pytest.approx(100)


def test_growth_is_drawn_from_nothing_to_the_largest() -> None:
    assert sparkline(points(0, 50, 100)) == "▁▅█"
    assert sparkline(points(*range(100)), width=10)[-1] == "█"
    assert len(sparkline(points(*range(100)), width=10)) == 10
    assert sparkline(()) == ""


def test_a_cache_is_seen_through_with_what_is_on_the_disk(session: Session, tmp_path: Path) -> None:
    (tmp_path / "m" / "a").mkdir(parents=True)
    (tmp_path / "m" / "go.mod").write_text("module example.com/m\n")
    here = str(tmp_path / "m")
    inventory = inventory_of([made("example.com/m/a", f"{here}/a"), made("example.com/m/a", "/lost/m/a", size=30)])
    seen = xray(session, Path("/cache"), inventory, installed=frozenset())
    assert [part.name for part in seen.by(Facet.PROJECT)] == [here, "/lost/m"]
    assert [part.name for part in seen.gone] == ["/lost/m"]
    assert [one.saved for one in seen.duplicates] == [30]
    assert seen.dead is None


def test_a_page_of_very_many_packages_puts_the_smallest_together(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.flows.html_report._MOST_ROWS", 2)
    inventory = inventory_of([made(f"example.com/</script>{size}", None, size=size) for size in (500, 400, 3, 2, 1)])
    page = render(xray(session, Path("/cache"), inventory, installed=frozenset()))
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert [row[-2:] for row in data["rows"]] == [[1, 500], [1, 400], [3, 6]]
    packages = next(facet for facet in data["facets"] if facet["name"] == "package")
    assert packages["names"][-1] == "(many small ones)"
    assert page.count("</script>") == 2
