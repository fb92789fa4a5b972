"""Snapshots in a repository, as a person types them."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repositories import files_of, make_cache, put
from safeguard import COMMAND


@dataclass(frozen=True, slots=True)
class Shell:
    """The command with a cache and a state directory, and without go."""

    base: Path

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    def run(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        return self.tool("snapshot", *arguments, code=code)

    def tool(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "GOCACHE": str(self.cache),
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(self.base / "state"),
            "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
        }
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environ,
            cwd=self.base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code).stdout)
        return document


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    make_cache(tmp_path / "cache")
    return Shell(tmp_path)


def test_a_story_from_the_first_snapshot_to_the_first_prune(shell: Shell) -> None:
    first = shell.json("create", "--tag", "nightly")
    assert first["files"] == len(files_of(shell.cache))
    put(shell.cache, 50, b"new" * 20_000)
    assert "stored" in shell.run("create").stdout
    listed = shell.json("list")
    assert [one["tags"] for one in listed["snapshots"]] == [["nightly"], []]
    text = shell.run("list").stdout
    assert first["id"][:10] in text
    assert "#nightly" in text
    assert str(shell.cache) in text
    shown = shell.json("show", first["id"][:8], "--files")
    assert len(shown["entries"]) == first["files"]
    difference = shell.json("diff", first["id"][:8], "latest")
    assert [one["size"] for one in difference["added"]] == [60_000]
    assert "1 added" in shell.run("diff", first["id"][:8], "latest").stdout
    verified = shell.json("verify", "--all", "--read-data")
    assert [one["outcome"] for one in verified["verdicts"]] == ["PASS", "PASS"]
    assert "seed" in shell.run("verify", "latest", "--sample", "50%").stdout
    dry = shell.json("prune", "--keep-last", "1", "--grace", "0s", "--dry-run")
    assert dry["forgotten"] == [first["id"]]
    refused = shell.run("prune", "--keep-last", "1", "--grace", "0s", code=2)
    assert "--yes" in refused.stderr
    shell.run("prune", "--keep-last", "1", "--grace", "0s", "-o", "plan.json")
    done = shell.json("prune", "plan.json")
    assert done["snapshots"] == 1
    assert shell.run("prune", "plan.json", code=12).stderr.count("executed already") == 1
    assert len(shell.json("list")["snapshots"]) == 1


def test_damage_is_told_with_the_files_it_concerns_and_with_an_exit_code(shell: Shell) -> None:
    shell.run("create", "--repo", "backup", "--append-only")
    victim = next((shell.base / "backup" / "data").glob("*/*"))
    victim.write_bytes(victim.read_bytes()[:-1])
    said = shell.run("verify", "latest", "--repo", "backup", code=10).stdout
    assert victim.name in said
    assert "-d" in said
    assert "append-only" in shell.run("prune", "--keep-last", "1", "--repo", "backup", code=12).stderr


def test_what_makes_no_sense_is_refused(shell: Shell) -> None:
    for arguments in (
        ("verify",),
        ("verify", "latest", "--all"),
        ("create", "-o", "x.tar", "--tag", "a"),
        ("create", "--tag", "two words"),
        ("create", "--repo", "ftp://x/y"),
        ("prune", "plan.json", "--keep-last", "1"),
        ("list", "--repo", "s3://me:secret@bucket"),
    ):
        done = shell.run(*arguments, code=2)
        assert "secret" not in done.stderr
    assert not (shell.base / "state" / "repository").exists()


def test_a_prune_is_held_and_carried_out_once_it_is_approved(shell: Shell) -> None:
    for _ in range(2):
        shell.run("create")
    held = shell.run("prune", "--keep-last", "1", "--grace", "0s", "--detach", code=11)
    op = held.stderr.split("error: ")[1].split(" ")[0]
    assert len(shell.json("list")["snapshots"]) == 2
    shell.run("prune", op, code=11)
    shell.tool("ops", "token", op, "-o", "token")
    done = shell.json("prune", op, "--token-file", "token")
    assert (done["state"], done["outcome"]["snapshots"]) == ("PURGED", 1)
    assert len(shell.json("list")["snapshots"]) == 1
    shell.run("prune", op, code=12)
