"""Which builds count as roots, what of recorded runs is remembered, and when a disk is full."""

import os
import time
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.forecast import forecast_of
from go_cache_safeguard.flows.growth import Point
from go_cache_safeguard.flows.registered import register, registered
from go_cache_safeguard.flows.roots import DEFAULTS, add_roots, remove_roots, roots, scan_roots
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.uses import UsesUnusable, record_use, used

DAY_NS = 86_400 * 10**9
GIB = 1 << 30


@pytest.fixture
def session(tmp_path: Path) -> Session:
    environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    arguments = {"state.dir": str(tmp_path / "state")}
    config = load_config(environ=environ, cwd=tmp_path, home=tmp_path / "home", arguments=arguments)
    return Session(config, environ, tmp_path)


def module(folder: Path, name: str = "go.mod", text: str = "module m\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_registered_module_is_a_root_and_a_root_is_registered(session: Session, tmp_path: Path) -> None:
    one, two = module(tmp_path / "one"), module(tmp_path / "two")
    register(session, one)
    assert [root.command for root in roots(session)] == list(DEFAULTS)
    new = add_roots(session, two, [("build", "./cmd/x")], environment={"GOOS": "windows"}, go="/opt/go")
    assert [root.name for root in new] == [f"GOOS=windows /opt/go build ./cmd/x in {two}"]
    assert registered(session) == (one, two)
    assert add_roots(session, two, [("build", "./cmd/x")], environment={"GOOS": "windows"}, go="/opt/go") == ()


def test_one_way_of_building_can_be_forgotten_and_the_last_one_forgets_the_module(
    session: Session, tmp_path: Path
) -> None:
    one = module(tmp_path / "one")
    add_roots(session, one, [("build", "./..."), ("test", "./...")])
    assert [root.command for root in remove_roots(session, one, [("test", "./...")])] == [("test", "./...")]
    assert [root.command for root in roots(session)] == [("build", "./...")]
    remove_roots(session, one, [("build", "./...")])
    assert (roots(session), registered(session)) == ((), ())
    register(session, one)
    assert len(roots(session)) == len(DEFAULTS), "what was forgotten does not come back with it"


@pytest.mark.parametrize(
    ("commands", "environment"),
    [([("generate",)], {}), ([("build",)], {"GOCACHE": "/x"}), ([("build",)], {"PASSWORD": "x"})],
)
def test_what_cannot_be_asked_or_must_not_be_kept_is_no_root(
    session: Session, tmp_path: Path, commands: list[tuple[str, ...]], environment: dict[str, str]
) -> None:
    with pytest.raises(UsageFailure):
        add_roots(session, module(tmp_path / "one"), commands, environment=environment)
    with pytest.raises(UsageFailure):
        add_roots(session, tmp_path, [])
    assert roots(session) == ()


def test_a_scan_finds_modules_and_passes_over_what_is_none(session: Session, tmp_path: Path) -> None:
    top = tmp_path / "src"
    found = [module(top / "a"), module(top / "a/nested"), module(top / "z")]
    for name in ("vendor/x", "testdata/x", "node_modules/x", ".git/x", "_old/x"):
        module(top / "a" / name)
    (top / "link").symlink_to(top / "a")
    work = module(top / "work", "go.work", "go 1.21\n\nuse (\n\t./m1 // one\n\t./m2\n)\n")
    for name in ("m1", "m2"):
        module(work / name)
    alone = module(work / "m3")
    register(session, top / "z")
    scan = scan_roots(session, [top])
    assert set(scan.found) == {*found[:2], work, alone}
    assert scan.known == (top / "z",)
    assert roots(session)[0].directory == top / "z", "nothing else was registered"


def test_the_newest_runs_of_a_command_are_remembered(session: Session, tmp_path: Path) -> None:
    assert used(session) == ()
    ids = [bytes([number]) * 32 for number in range(6)]
    for number, action in enumerate(ids):
        record_use(
            session,
            project=Path(os.fsdecode(b"/p\xff")),
            command=("build", "./..."),
            toolchain="go1.27.3",
            at_ns=number,
            actions=[action],
        )
    record_use(session, project=tmp_path, command=("test",), toolchain="go1.27.3", at_ns=99, actions=[])
    kept = used(session)
    assert [one.at_ns for one in kept] == [3, 4, 5, 99]
    assert (kept[0].actions, kept[0].project) == (frozenset({ids[3]}), Path(os.fsdecode(b"/p\xff")))
    assert [one.at_ns for one in used(session, since_ns=5)] == [5, 99]
    (session.state_dir / "uses.sqlite").write_bytes(b"no database, but long enough to be taken for one" * 99)
    with pytest.raises(UsesUnusable):
        used(session)


def points(*sizes: float) -> list[Point]:
    now_ns = time.time_ns()
    return [Point(now_ns - (len(sizes) - at) * DAY_NS, 1, int(size * GIB), {}) for at, size in enumerate(sizes)]


def test_a_disk_that_fills_is_foretold_and_one_odd_look_bends_nothing() -> None:
    found = forecast_of(points(1, 2, 3, 9, 5, 6, 7, 8), free=4 * GIB, now_ns=time.time_ns())
    assert found is not None
    assert found.full_in == pytest.approx(4.0, rel=0.05)
    assert found.low <= found.per_day <= found.high
    assert found.text.startswith("the disk is full in 4 days")


def test_growth_counts_from_the_last_cleaning_on() -> None:
    found = forecast_of(points(20, 30, 40, 1, 2, 3, 4), free=10 * GIB, now_ns=time.time_ns())
    assert found is not None
    assert found.per_day == pytest.approx(GIB)


def test_too_little_is_no_forecast_and_a_cache_that_shrinks_fills_no_disk() -> None:
    now_ns = time.time_ns()
    assert forecast_of(points(1, 2, 3), free=GIB, now_ns=now_ns) is None
    shrinking = forecast_of(points(10, 9.9, 9.8, 9.7), free=GIB, now_ns=now_ns)
    assert shrinking is not None
    assert (shrinking.full_in, shrinking.text[:8]) == (None, "does not")
