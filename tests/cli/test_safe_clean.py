"""`clean --snapshot --prove`: one command for the whole safe clean, and the receipt an auditor keeps."""

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gocaches import SMALL_MAIN, GoCache
from safeguard import Safeguard, files_of

FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
CHECKS = ("--checks", "permissions,integrity")


@pytest.fixture
def guard(newest_cache: GoCache, tmp_path: Path) -> Safeguard:
    return Safeguard(newest_cache, tmp_path / "state", dict(FREE))


def test_one_command_checks_copies_removes_proves_and_accounts(guard: Safeguard, tmp_path: Path) -> None:
    paper, tar = tmp_path / "receipt.json", tmp_path / "before.tar"
    (guard.cache.module / "main.go").write_text(SMALL_MAIN)
    before = files_of(guard.cache.root)
    done = guard.json(
        "clean",
        "--all",
        *CHECKS,
        "--snapshot-file",
        str(tar),
        "--proof",
        "canary,build",
        "--prove",
        "./...",
        "--receipt",
        str(paper),
    )
    told = json.loads(paper.read_bytes())
    assert (told["op"], told["state"]) == (done["op"], "DONE")
    assert [verdict["check"] for verdict in told["verdicts"]] == ["permissions", "integrity"]
    assert told["plan"]["digest"] == done["digest"]
    assert told["snapshot"]["file"] == str(tar)
    assert told["snapshot"]["files"] == len(before)
    assert told["result"]["proof"]
    assert [step for step, _ in told["times"]] == [
        "REQUESTED",
        "CHECKED",
        "ALLOWED",
        "SNAPSHOTTING",
        "REMOVING",
        "PROVING",
        "DONE",
    ]
    folder = tmp_path / "by hand"
    folder.mkdir()
    subprocess.run(["sha256sum", "--check", "--quiet", f"{tar}.sha256"], cwd=tmp_path, check=True)
    subprocess.run(["tar", "xf", str(tar)], cwd=folder, check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder / "snapshot", check=True)
    unpacked = {
        str(path.relative_to(folder / "snapshot/files"))
        for path in (folder / "snapshot/files").rglob("*")
        if path.is_file()
    }
    assert len(unpacked) == len(before)
    for name in unpacked & before.keys():
        assert (folder / "snapshot/files" / name).read_bytes() == before[name]


def test_without_a_file_the_copy_goes_into_the_repository_and_can_be_restored(guard: Safeguard) -> None:
    before = files_of(guard.cache.root)
    done = guard.json("clean", "--all", *CHECKS, "--snapshot", "--proof", "none")
    shown = guard.json("ops", "show", done["op"])
    assert shown["data"]["snapshot"] == done["snapshot"]
    snapshot = shown["data"]["snapshot"]
    assert snapshot["files"] == len(before)
    guard.json("purge", done["op"], "--dry-run")
    guard.json("snapshot", "restore", snapshot["id"], "--proof", "none", "--gocache", str(guard.cache.root))
    assert files_of(guard.cache.root) == before


def test_without_the_copy_that_was_asked_for_nothing_goes(guard: Safeguard, tmp_path: Path) -> None:
    before = files_of(guard.cache.root)
    paper = tmp_path / "receipt.json"
    taken = tmp_path / "taken.tar"
    taken.write_text("mine")
    done = guard.run(
        "clean", "--all", *CHECKS, "--snapshot-file", str(taken), "--receipt", str(paper), "--proof", "none"
    )
    assert done.returncode == 2, done.stderr
    assert "nothing was" in done.stderr
    assert taken.read_text() == "mine"
    assert files_of(guard.cache.root) == before
    assert not paper.exists() or json.loads(paper.read_bytes())["state"] == "CANCELLED"


def test_what_is_held_has_a_receipt_too_and_goes_on_with_its_copy(guard: Safeguard, tmp_path: Path) -> None:
    guard = Safeguard(guard.cache, guard.state, {"GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always"})
    first, last = tmp_path / "held.json", tmp_path / "done.json"
    held = guard.run("clean", "--all", *CHECKS, "--receipt", str(first))
    assert held.returncode == 11
    op = json.loads(first.read_bytes())["op"]
    code, _ = guard.type("ops", "approve", op, answers=(("first 8 digits", "{digest}\n"),))
    assert code == 0
    guard.json("clean", op, "--snapshot-file", str(tmp_path / "x.tar"), "--proof", "none", "--receipt", str(last))
    told = json.loads(last.read_bytes())
    assert told["decision"]["state"] == "HELD"
    assert told["approval"]["channel"] == "terminal"
    assert told["snapshot"]["manifest"]
    for paper in (first, last):
        assert guard.run("audit", "verify", "--receipt", str(paper)).returncode == 0


def test_a_receipt_is_checked_against_the_journal(guard: Safeguard, tmp_path: Path) -> None:
    paper = tmp_path / "receipt.json"
    done = guard.json("clean", "--all", *CHECKS, "--proof", "none", "--receipt", str(paper))
    guard.json("undo", done["op"], "--proof", "none")
    checked = guard.json("audit", "verify", "--receipt", str(paper))
    assert checked["receipt"] == {"op": done["op"], "state": "DONE", "now": "UNDONE", "differences": []}

    told = json.loads(paper.read_bytes())
    told["result"]["moved"] = 1
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(told))
    checked = guard.json("audit", "verify", "--receipt", str(forged), code=34)
    assert [one["where"] for one in checked["receipt"]["differences"]] == ["result.moved"]

    with sqlite3.connect(guard.state / "journal.sqlite") as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in tables:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'DONE', 'UNDO') AS BLOB)")
    assert guard.run("audit", "verify", "--receipt", str(paper)).returncode == 34


def test_a_receipt_can_be_had_at_any_time(guard: Safeguard, tmp_path: Path) -> None:
    done = guard.json("clean", "--all", *CHECKS, "--proof", "none", "--receipt", str(tmp_path / "one.json"))
    assert guard.run("ops", "receipt", done["op"], "-o", str(tmp_path / "two.json")).returncode == 0
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    again = guard.run("ops", "receipt", done["op"], "-o", str(tmp_path / "two.json"))
    assert again.returncode == 2
    assert guard.run("ops", "receipt", done["op"]).stdout == (tmp_path / "one.json").read_text()


def test_a_receipt_is_never_written_over_a_file_and_says_so_before_anything_goes(
    guard: Safeguard, tmp_path: Path
) -> None:
    before = files_of(guard.cache.root)
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path / "mine", tmp_path / "no/where"):
        done = guard.run("clean", "--all", *CHECKS, "--proof", "none", "--receipt", str(path))
        assert done.returncode == 2, done.stderr
    assert files_of(guard.cache.root) == before
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{}", "[]", "\xff", '{"format": "other"}'])
def test_what_is_no_receipt_is_told(guard: Safeguard, tmp_path: Path, text: str) -> None:
    guard.json("clean", "--all", *CHECKS, "--proof", "none")
    paper = tmp_path / "other.json"
    paper.write_text(text)
    assert guard.run("audit", "verify", "--receipt", str(paper)).returncode == 2
