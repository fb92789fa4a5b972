"""`ops show --evidence`: what a person looks at before they decide, as text and as JSON."""

import json
from pathlib import Path

import jsonschema

from auditing import session_at
from go_cache_safeguard.approval.evidence import Pack, read_pack, schema_of_pack
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import ask
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Inventory, Output, Shape
from webserver import run_command


def test_the_evidence_of_a_held_operation_is_shown_and_says_what_is_unknown(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    items = tuple(Item(f"0/user:{number}", 100, -1, "named") for number in range(3))
    plan = Plan("redis", "redis://10.0.0.1:6379", "run", ("del",), session.actor, "2026-01-02T03:04:05Z", 600, items)
    with session.journal() as journal:
        op = ask(session, journal, plan, lambda: [Verdict("redis-undo", Outcome.PASS, "fits")], person="a person").op
    shown = run_command(session.state_dir, {}, "ops", "show", op, "--evidence")
    assert shown.returncode == 0, shown.stderr
    for text in (
        f"evidence of {op}, HELD",
        "UNKNOWN: the removal was not simulated",
        "0/user:",
        "READY: a copy of each value",
    ):
        assert text in shown.stdout
    told = run_command(session.state_dir, {}, "ops", "show", op, "--evidence", "--json")
    value = json.loads(told.stdout)
    jsonschema.Draft202012Validator(schema_of_pack()).validate(value)
    assert isinstance(read_pack(value), Pack)
    nothing = run_command(session.state_dir, {}, "ops", "show", "op_0000000000000000", "--evidence")
    assert nothing.returncode == 2


def test_packages_of_a_build_cache_are_shown_with_their_share_and_cannot_steer_a_terminal(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    items = (Item(f"aa/{'aa' * 32}-d", 300, 3, "all"), Item(f"bb/{'bb' * 32}-d", 100, 3, "all"))
    plan = Plan("go-build-cache", "/a/cache", "1:2", ("--all",), session.actor, "2026-01-02T03:04:05Z", 900, items)
    about = Archive("\x1b[2J\u202ecmt", "linux", "amd64", "go1.27.3", (), "a" * 20, "c" * 20)
    output = Output(b"\xaa" * 32, 300, 4096, 3, 0o644, False, Kind.ARCHIVE, about, Shape.FILE, 4, 5)  # noqa: FBT003 - a row
    seen = Inventory("/a/cache", "1:2", {}, {output.output: output})
    with session.journal() as journal:
        op = ask(session, journal, plan, list, person="a person", seen=seen).op
    shown = run_command(session.state_dir, {}, "ops", "show", op, "--evidence")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()]
    for row in (
        [r"\x1b[2J\u202ecmt", "1", "300", "B", "75.0%"],
        ["UNKNOWN", "1", "100", "B", "25.0%"],
        ["go1.27.3", "1", "300", "B", "75.0%"],
    ):
        assert row in rows
    assert "\x1b" not in shown.stdout
