"""What people are told of the entries of a build cache that would go: packages, kinds and toolchains, in counts and bytes."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditing import session_at
from go_cache_safeguard.approval.evidence import CONTENTS, REBUILD, UNKNOWN
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.checks import run_checks
from go_cache_safeguard.flows.clean import Held, clean
from go_cache_safeguard.flows.contents import contents_of
from go_cache_safeguard.flows.costs import record_costs
from go_cache_safeguard.flows.desk import desk_of
from go_cache_safeguard.flows.inspect import Effort, look
from go_cache_safeguard.flows.pack import pack_of
from go_cache_safeguard.flows.plan import Wanted, make_plan
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.repair import repair_plan
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.disk import Level
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.index import RACY_NS, Index, News
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.tree.root import open_root
from gocaches import GoCache

Amount = tuple[int, int]
"""Items, bytes."""


class Counted:
    """What lies in a cache, read with nothing of ours."""

    def __init__(self, cache: GoCache) -> None:
        listing = "{{.Name}} {{.ImportPath}} {{.Export}}"
        self.packages: dict[str, set[str]] = {}
        for line in cache.go("list", "-export", "-deps", "-test", "-f", listing, "./...").splitlines():
            name, path, *rest = line.split(" ")  # `fmt fmt FILE`, or `lib m/lib [m/lib.test] FILE`
            if name != "main" and rest and rest[-1]:
                self.packages.setdefault(path, set()).add(Path(rest[-1]).name[:64])
        files = [path if path.is_file() else next(path.iterdir()) for path in sorted(cache.root.glob("??/*-d"))]
        self.outputs = {path.relative_to(cache.root).parts[1][:64]: path for path in files}
        self.named = [path.read_bytes()[68:132].decode() for path in cache.root.glob("??/*-a")]

    def amount(self, outputs: Iterable[str]) -> Amount:
        """Of these outputs with all entries that name them."""
        wanted = set(outputs)
        entries = sum(output in wanted for output in self.named)
        return len(wanted) + entries, sum(self.outputs[one].stat().st_size for one in wanted) + 175 * entries

    def beginning(self, word: bytes) -> list[str]:
        """Outputs whose content begins like this; programs are in directories of their own."""
        return [one for one, path in self.outputs.items() if path.read_bytes().startswith(word)]

    def programs(self) -> list[str]:
        """Outputs that are directories."""
        return [one for one, path in self.outputs.items() if not path.name.endswith("-d")]


def settle(root: Path) -> None:
    """Wait until the cache is old enough to be remembered."""
    newest = max(path.stat().st_ctime_ns for path in root.glob("??/*"))
    time.sleep(max(0, newest + RACY_NS - time.time_ns()) / 10**9 + 0.01)


def held(
    session: Session, plan: Plan, checks: Callable[[], Sequence[Verdict]] = list, seen: Inventory | None = None
) -> Any:
    """Ask for a removal that waits for a person, and give the evidence."""
    with pytest.raises(Held):
        clean(session, plan, checks, Manner(0, None), None, always_ask=True, seen=seen)
    with session.journal(read_only=True) as journal:
        op = journal.operations()[-1].id
    plans = session.state_dir / "plans"
    pack = pack_of(desk_of(session), op, plans)
    assert pack_of(desk_of(session), op, plans).digest == pack.digest
    return pack.value


def table(value: Any, by: str) -> dict[str, Amount]:
    """One table of an evidence pack."""
    (found,) = [one for one in value["counts"] if one["by"] == by]
    groups = {group["name"]: (group["items"], group["bytes"]) for group in found["groups"]}
    others = found["others"]
    if others["groups"]:
        groups["..."] = (others["items"], others["bytes"])
    plan = value["plan"]
    assert tuple(map(sum, zip(*groups.values(), strict=True))) == (plan["items"], plan["bytes"])
    return groups


def test_a_held_clean_tells_packages_kinds_and_toolchains_with_the_right_counts_and_bytes(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    counted, session = Counted(newest_cache), session_at(tmp_path)
    settle(newest_cache.root)
    plan, _ = make_plan(session, newest_cache.root, Wanted(everything=True, words=("--all",)))
    value = held(session, plan, lambda: run_checks(session, newest_cache.root, ("integrity",)))

    packages = table(value, "package")
    known = {name: amount for name, amount in packages.items() if name in counted.packages}
    assert known == {name: counted.amount(counted.packages[name]) for name in known}
    assert len(known) > 15
    assert {"runtime", "fmt"} <= known.keys()
    assert len(packages) == 21
    assert UNKNOWN not in packages

    archives, indexes = counted.beginning(b"!<arch>\n"), counted.beginning(b"go index v")
    kinds = table(value, "kind")
    assert kinds["archive"] == counted.amount(archives)
    assert kinds["index"] == counted.amount(indexes)
    toolchains = table(value, "toolchain")
    assert toolchains[newest_cache.toolchain.version] == counted.amount([*archives, *counted.programs()])
    assert toolchains.keys() == {newest_cache.toolchain.version, "(none)"}

    only, _ = make_plan(session, newest_cache.root, Wanted(packages=("example.com/m/lib",), words=("--package",)))
    both = counted.packages["example.com/m/lib"]
    assert len(both) > 1  # with and without its test
    assert table(held(session, only), "package") == {"example.com/m/lib": counted.amount(both)}


def test_a_held_repair_tells_what_the_damaged_entries_are_also_if_nothing_was_remembered(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    session, output = session_at(tmp_path), newest_cache.output_of("example.com/m/lib")
    data = output.read_bytes()
    output.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    entries = newest_cache.entries_of(output)
    with open_root(newest_cache.root) as root:
        inspection = look(session, root, Effort(Level.ALL))
        plan = repair_plan(session, root, inspection.inventory, inspection.findings)
    value = held(session, plan, seen=inspection.inventory)
    amount = (1 + len(entries), len(data) + 175 * len(entries))
    assert table(value, "package") == {"example.com/m/lib": amount}
    assert table(value, "kind") == {"archive": amount}
    assert table(value, "toolchain") == {newest_cache.toolchain.version: amount}


def output_at(number: int, package: str | None, size: int, kind: Kind = Kind.ARCHIVE) -> Output:
    about = Archive(package, "linux", "amd64", "go1.27.3", (), "a" * 20, "c" * 20) if kind is Kind.ARCHIVE else None
    return Output(number.to_bytes() * 32, size, 4096, 3, 0o644, False, kind, about, Shape.FILE, 4, 5)  # noqa: FBT003 - a row


def remember(session: Session, plan: Plan, *outputs: Output) -> None:
    """Have looked at some outputs, each with an entry whose id is 100 more."""
    path = session.index_path(Path(plan.target))
    session.state_folder(path.parent.name)
    news = News(outputs=[(one, 3, True, True) for one in outputs])
    for one in outputs:
        key = (one.output[0] + 100).to_bytes() * 32
        news.entries.append(Action(key, 175, 3, Entry(key, one.output, one.size, 20), 4, 5, 4096))
    with closing(Index(path, plan.identity)) as index:
        index.save(news)


def plan_of(*numbers: int) -> Plan:
    """Outputs of 10 times their number in bytes, and the entries of each."""
    outputs = [Item(output_name(n.to_bytes() * 32), 10 * n, 3, "all") for n in numbers]
    entries = [Item(action_name((n + 100).to_bytes() * 32), 175, 3, "all") for n in numbers]
    items = tuple(sorted([*outputs, *entries]))
    return Plan("go-build-cache", "/a/cache", "1:2", ("--all",), "uid:0(root)", "2026-01-02T03:04:05Z", 10_000, items)


def test_what_was_not_looked_at_is_unknown_with_its_share(tmp_path: Path) -> None:
    session, plan = session_at(tmp_path), plan_of(1, 2, 3, 4)
    assert contents_of(session, plan) == {}
    assert table(held(session, plan), "package") == {UNKNOWN: (8, 800)}  # nothing at all is known
    remember(session, plan, output_at(1, "fmt", 10), output_at(2, None, 20), output_at(3, None, 30, Kind.TEST_OUTPUT))
    value = held(session, plan)
    assert table(value, "package") == {"fmt": (2, 185), "(none)": (2, 205), UNKNOWN: (4, 195 + 215)}
    assert table(value, "kind") == {"archive": (4, 185 + 195), "test-output": (2, 205), UNKNOWN: (2, 215)}
    assert table(value, "toolchain") == {"go1.27.3": (4, 380), "(none)": (2, 205), UNKNOWN: (2, 215)}
    shares = {by["by"]: [group["name"] for group in by["groups"]] for by in value["counts"]}
    assert shares["kind"] == ["archive", UNKNOWN, "test-output"]  # the largest first


def test_twenty_packages_are_named_and_a_name_is_cut_and_otherwise_as_it_is(tmp_path: Path) -> None:
    session, plan = session_at(tmp_path), plan_of(*range(1, 31))
    evil = "\x1b[31m\u202egnp.exe"
    names = {30: evil, 29: "p/" + "x" * 5000}
    remember(
        session, plan, *(output_at(n, names.get(n, f"p/{n}"), 10 * n) for n in range(1, 30)), output_at(30, evil, 300)
    )
    packages = table(held(session, plan), "package")
    assert list(packages) == [
        evil,
        f"p/{'x' * 498}... (5,002 characters)",
        *(f"p/{n}" for n in range(28, 10, -1)),
        "...",
    ]
    assert packages["..."] == (20, sum(10 * n + 175 for n in range(1, 11)))


def test_what_would_go_is_priced_once_and_what_was_measured_is_told_from_what_is_estimated(tmp_path: Path) -> None:
    session, plan = session_at(tmp_path), plan_of(1, 2, 3)
    remember(session, plan, output_at(1, "fmt", 10), output_at(2, "io", 20))
    record_costs(
        session, [seen_building("fmt", "a" * 20, 2.5)], toolchain="go1.27.3", outputs=[output_at(1, "fmt", 10)]
    )
    told = contents_of(session, plan)[REBUILD]
    assert isinstance(told, dict)
    # Both archives carry the same build ID here, so both were seen. Of the third nobody knows what its two items are.
    assert {name: told[name] for name in ("outputs", "measured", "unknown", "ms")} == {
        "outputs": 2,
        "measured": 2,
        "unknown": 2,
        "ms": 5000,
    }
    cost = held(session, plan)["rebuild_cost"]
    assert (cost["state"], cost["text"]) == ("KNOWN", "at least 5.0 CPU s of compilers, if all of it is needed again")
    only_entries = replace(plan, items=tuple(item for item in plan.items if item.name.endswith("-a")))
    assert contents_of(session, only_entries)[REBUILD] == {**told, "unknown": 1}


def seen_building(package: str, half: str, seconds: float) -> BuildAction:
    """A step of an action graph in which the compiler ran."""
    cpu_ns = int(seconds * 10**9)
    return BuildAction(1, "build", package, half, "", True, ("compile",), cpu_ns, cpu_ns, "", "")  # noqa: FBT003 - a row


def test_a_plan_about_anything_else_has_no_such_tables(tmp_path: Path) -> None:
    session, plan = session_at(tmp_path), plan_of(1)
    remember(session, plan, output_at(1, "fmt", 10))
    assert contents_of(session, plan).keys() == {CONTENTS, REBUILD}
    for other in ("redis", "go-module-cache"):
        asked = Plan(other, plan.target, plan.identity, (), plan.requester, plan.made_at, 0, plan.items)
        assert contents_of(session, asked) == {}
