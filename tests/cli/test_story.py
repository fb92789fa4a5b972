"""Whole stories at the command line, on real caches that each toolchain made."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import SMALL_MAIN, GoCache, Toolchain, copy_cache
from safeguard import Safeguard, files_of

QUICK = ("--proof", "none", "--checks", "permissions,integrity")
ALONE = {"GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always"}
NEVER = {"GO_CACHE_SAFEGUARD_APPROVAL_SELF": "never"}
FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}


@pytest.fixture
def guard(newest_cache: GoCache, tmp_path: Path) -> Safeguard:
    return Safeguard(newest_cache, tmp_path / "state", dict(FREE))


@pytest.fixture
def each(toolchain: Toolchain, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> Safeguard:
    """The same on the cache of each toolchain, for what depends on what go wrote."""
    return Safeguard(copy_cache(warm_cache(toolchain), tmp_path), tmp_path / "state", dict(FREE))


@pytest.fixture
def pinned(fresh_cache: GoCache, tmp_path: Path) -> Safeguard:
    """The same on the cache of the oldest and of the newest toolchain."""
    return Safeguard(fresh_cache, tmp_path / "state", dict(FREE))


def test_clean_takes_everything_and_undo_brings_every_byte_back(each: Safeguard) -> None:
    before = files_of(each.cache.root)
    receipt = each.json("clean", "--all", *QUICK)
    assert receipt["state"] == "DONE"
    assert receipt["moved"] == len(before)
    assert files_of(each.cache.root) == {}
    undone = each.json("undo", receipt["op"], "--proof", "none")
    assert undone["restored"] == len(before)
    assert files_of(each.cache.root) == before
    each.cache.go("build", "./...")


def test_go_builds_in_the_cleaned_cache_and_the_canary_proves_it(guard: Safeguard) -> None:
    (guard.cache.module / "main.go").write_text(SMALL_MAIN)
    receipt = guard.json("clean", "--all", "--checks", "permissions", "--prove", "./...")
    assert receipt["state"] == "DONE"
    assert any("runs" in line for line in receipt["proof"])
    assert any("go build ./...: exit code 0" in line for line in receipt["proof"])


def test_after_undo_the_restored_entries_survive_the_trim_of_go(guard: Safeguard) -> None:
    long_ago = 20 * 86_400
    for path in guard.cache.root.glob("??/*"):
        found = path.stat()
        os.utime(path, (found.st_atime - long_ago, found.st_mtime - long_ago))
    receipt = guard.json("clean", "--all", *QUICK)
    (guard.cache.root / "trim.txt").write_text("1")
    guard.json("undo", receipt["op"], "--proof", "none")
    guard.cache.go("build", "./lib")
    assert len(files_of(guard.cache.root)) >= receipt["moved"]


def test_undo_keeps_what_a_build_has_written_since(guard: Safeguard) -> None:
    before = files_of(guard.cache.root)
    receipt = guard.json("clean", "--all", *QUICK)
    guard.cache.go("build", "./lib")
    live = files_of(guard.cache.root)
    undone = guard.json("undo", receipt["op"], "--proof", "none")
    after = files_of(guard.cache.root)
    assert undone["newer"] > 0
    assert set(after) >= set(before)
    assert {name: after[name] for name in live} == live


def test_a_plan_file_says_exactly_what_goes(guard: Safeguard, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    planned = guard.json("plan", "--kind", "test-output", "-o", str(plan))
    assert planned["files"] > 0
    before = files_of(guard.cache.root)
    receipt = guard.json("clean", str(plan), *QUICK)
    gone = before.keys() - files_of(guard.cache.root).keys()
    assert gone == {item["name"] for item in planned["items"]}
    assert receipt["digest"] == planned["digest"]


def test_an_edited_plan_is_void(guard: Safeguard, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    guard.json("plan", "--all", "-o", str(plan))
    value = json.loads(plan.read_bytes())
    value["items"].pop()
    plan.write_text(json.dumps(value))
    before = files_of(guard.cache.root)
    done = guard.run("clean", str(plan), *QUICK)
    assert done.returncode == 12
    assert "[plan-void]" in done.stderr
    assert files_of(guard.cache.root) == before


def test_what_was_used_since_the_plan_stays(guard: Safeguard, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    planned = guard.json("plan", "--all", "-o", str(plan))
    used = next(item["name"] for item in planned["items"] if item["name"].endswith("-a"))
    os.utime(guard.cache.root / used)
    receipt = guard.json("clean", str(plan), *QUICK)
    assert receipt["changed"] == 1
    assert (guard.cache.root / used).exists()


def test_a_package_is_chosen_by_its_import_path(guard: Safeguard) -> None:
    output = guard.cache.output_of("example.com/m/lib")
    planned = guard.json("plan", "--package", "example.com/m/...")
    names = {item["name"] for item in planned["items"]}
    assert str(output.relative_to(guard.cache.root)) in names
    assert guard.json("plan", "--package", "example.org/none")["files"] == 0


def test_dead_toolchains_leaves_what_an_installed_go_made(guard: Safeguard) -> None:
    version = guard.cache.toolchain.version
    assert guard.json("plan", "--dead-toolchains", "--keep-toolchain", version)["files"] == 0


def test_max_size_keeps_what_was_used_last(guard: Safeguard) -> None:
    whole = guard.json("plan", "--all")["bytes"]
    planned = guard.json("plan", "--max-size", str(whole // 2))
    assert whole // 2 <= planned["bytes"] < whole
    left = set(files_of(guard.cache.root)) - {item["name"] for item in planned["items"]}
    cut = max(item["mtime_ns"] for item in planned["items"] if item["name"].endswith("-a"))
    kept = [(guard.cache.root / name).stat().st_mtime_ns for name in left if name.endswith("-a")]
    assert cut <= max(kept)


def test_a_plan_never_leaves_an_entry_without_its_output(pinned: Safeguard) -> None:
    whole = pinned.json("plan", "--all")["bytes"]
    receipt = pinned.json("clean", "--max-size", str(whole // 3), *QUICK)
    assert receipt["moved"] > 0
    left = files_of(pinned.cache.root)
    for name, content in left.items():
        if name.endswith("-a"):
            output = content[68:132].decode()
            assert f"{output[:2]}/{output}-d" in left
    (pinned.cache.module / "main.go").write_text(SMALL_MAIN)
    pinned.cache.go("build", "./...")


def test_a_dry_run_touches_nothing_and_says_the_decision(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    before = files_of(newest_cache.root)
    told = guard.json("clean", "--all", "--dry-run", "--checks", "permissions")
    assert told["decision"] == "hold"
    assert files_of(newest_cache.root) == before
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_without_a_terminal_a_large_plan_is_held_and_approved_by_digest(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", ALONE)
    before = files_of(newest_cache.root)
    done = guard.run("clean", "--all", *QUICK)
    assert done.returncode == 11
    assert files_of(newest_cache.root) == before
    (held,) = guard.json("ops", "list")["operations"]
    assert held["state"] == "HELD"
    assert guard.run("clean", held["op"]).returncode == 11
    code, screen = guard.type("ops", "approve", held["op"], answers=(("Type its first 8 digits", "00000000"),))
    assert code == 12, screen
    code, screen = guard.type("ops", "approve", held["op"], answers=(("Type its first 8 digits", "{digest:.8}"),))
    assert code == 0, screen
    receipt = guard.json("clean", held["op"], "--proof", "none")
    assert receipt["moved"] == len(before)
    assert guard.run("clean", held["op"], "--proof", "none").returncode == 12


def test_the_requester_may_not_approve_alone_when_policy_says_so(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", NEVER)
    guard.run("clean", "--all", *QUICK)
    (held,) = guard.json("ops", "list")["operations"]
    code, screen = guard.type("ops", "approve", held["op"], answers=(("Type its first 8 digits", "{digest:.8}"),))
    assert code == 12, screen
    assert "not-approved" in screen
    assert guard.json("ops", "show", held["op"])["state"] == "HELD"


def test_a_token_approves_one_operation_once(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", ALONE)
    guard.run("clean", "--all", *QUICK)
    (held,) = guard.json("ops", "list")["operations"]
    token = tmp_path / "token"
    assert guard.run("ops", "token", held["op"], "-o", str(token)).returncode == 0
    assert token.stat().st_mode & 0o777 == 0o600
    assert guard.run("ops", "approve", held["op"], "--token-file", str(token)).returncode == 0
    assert guard.run("ops", "approve", held["op"], "--token-file", str(token)).returncode == 12
    assert guard.json("clean", held["op"], "--proof", "none")["state"] == "DONE"
    secret = token.read_text().strip()
    artefacts = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in artefacts if secret.encode() in path.read_bytes()]


def test_a_rejected_operation_stays_rejected(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", ALONE)
    guard.run("clean", "--all", *QUICK)
    (held,) = guard.json("ops", "list")["operations"]
    assert guard.run("ops", "reject", held["op"], "--why", "not today").returncode == 0
    assert guard.run("clean", held["op"]).returncode == 12


def test_confirming_at_the_terminal_shows_the_plan_and_goes_on(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", ALONE)
    code, screen = guard.type("clean", "--all", *QUICK, answers=(("Type its first 8 digits", "{digest:.8}"),))
    assert code == 0, screen
    assert "would move" in screen
    assert "DONE" in screen
    assert files_of(newest_cache.root) == {}


def test_saying_no_at_the_terminal_leaves_it_held(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", ALONE)
    before = files_of(newest_cache.root)
    code, _ = guard.type("clean", "--all", *QUICK, answers=(("Type its first 8 digits", ""),))
    assert code == 11
    assert files_of(newest_cache.root) == before


def test_purge_waits_for_the_end_of_the_retention_and_then_really_deletes(guard: Safeguard) -> None:
    receipt = guard.json("clean", "--all", *QUICK)
    assert guard.json("purge")["operations"] == []
    purged = guard.json("purge", "--set", "quarantine.retention=0s")
    assert [one["removed"] for one in purged["operations"]] == [receipt["moved"]]
    assert guard.json("ops", "show", receipt["op"])["state"] == "PURGED"
    assert guard.run("undo", receipt["op"]).returncode == 12


def test_every_step_is_in_the_journal_and_the_chain_is_whole(guard: Safeguard) -> None:
    receipt = guard.json("clean", "--all", *QUICK)
    guard.json("undo", receipt["op"], "--proof", "none")
    states = guard.json("ops", "show", receipt["op"])["states"]
    assert states == ["REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "PROVING", "DONE", "UNDOING", "UNDONE"]
    told = guard.json("audit", "verify")
    assert told["whole"]
    assert told["records"] == len(states) + 1  # and the one that names the key of its checkpoints
    assert guard.run("audit", "export").stdout.count("\n") == len(states) + 1


def test_fuzz_inputs_and_foreign_files_are_never_touched(guard: Safeguard) -> None:
    root = guard.cache.root
    fuzz = root / "fuzz" / "example.com" / "FuzzIt" / "input"
    fuzz.parent.mkdir(parents=True)
    fuzz.write_text("go test fuzz v1\n")
    shard = root / "ab"
    foreign = [root / "notes.txt", shard / "notes.txt", shard / ("ab" + "0" * 62 + "-garble-x-d")]
    for path in foreign:
        path.write_text("mine")
    guard.json("clean", "--all", *QUICK)
    guard.json("purge", "--set", "quarantine.retention=0s")
    assert fuzz.read_text() == "go test fuzz v1\n"
    assert [path.read_text() for path in foreign] == ["mine"] * 3


def test_damage_is_named_evicted_and_rebuilt(each: Safeguard) -> None:
    output = each.cache.output_of("example.com/m/lib")
    content = bytearray(output.read_bytes())
    content[-20] ^= 0x10
    output.write_bytes(content)
    told = each.json("fsck", code=10)
    (finding,) = [one for one in told["findings"] if one["severity"] == "BLOCK"]
    assert finding["package"] == "example.com/m/lib"
    assert finding["toolchain"] == each.cache.toolchain.version
    assert finding["effect"] == "SILENTLY_WRONG"
    done = each.run("fsck", "--repair")
    assert done.returncode == 0, done.stderr
    each.cache.go("build", "./...")
    assert each.json("fsck", "--all")["findings"] == []


def test_status_is_fit_for_scripts_and_for_people(guard: Safeguard) -> None:
    told = guard.json("status")
    assert told["schema"] == "go-cache-safeguard/status/1"
    assert guard.cache.toolchain.version in told["summary"]["by_toolchain"]
    assert "reclaimable" in guard.run("status").stdout


def test_no_command_fails_with_a_traceback(guard: Safeguard) -> None:
    for arguments in (
        ("undo", "op_0000000000000000"),
        ("clean", "nowhere.json"),
        ("plan",),
        ("plan", "--all", "--unused-for", "5d"),
        ("plan", "--unused-for", "soon"),
        ("plan", "--kind", "nonsense"),
        ("check", "--only", "nonsense"),
        ("fsck", "--sample", "lots"),
        ("status", "--set", "nonsense"),
        ("status", "--set", "no.such=1"),
        ("ops", "show", "op_0000000000000000"),
        ("nonsense",),
    ):
        done = guard.run(*arguments)
        assert done.returncode in {2, 35}, (arguments, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: "), (arguments, done.stderr)


def test_a_poisoned_package_index_is_found_by_fsck_and_evicted_by_its_repair(pinned: Safeguard, tmp_path: Path) -> None:
    module = tmp_path / "poison"
    module.mkdir()
    (module / "go.mod").write_text("module example.com/poison\n\ngo 1.21\n")
    source = module / "a.go"
    long_ago = (1_700_000_000, 1_700_000_000)
    for package in (
        "strings",
        "reflect",
    ):  # of one length: size and times stay, so the index of the first text stays valid
        source.write_text(f'package a\n\nimport _ "{package}"\n')
        for path in (module / "go.mod", source, module):
            os.utime(path, long_ago)
        assert pinned.run("fsck", cwd=module).returncode == (0 if package == "strings" else 10)
    done = pinned.run("fsck", "--repair", cwd=module)
    assert done.returncode == 0, done.stderr
    assert pinned.run("fsck", cwd=module).returncode == 0
    assert source.stat().st_mtime == long_ago[1]
