"""Proofs after a clean at the command line: what fails goes back by itself, and its evidence stays."""

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from gocaches import GoCache, copy_cache
from otherusers import NOBODY, reveal
from safeguard import COMMAND, Safeguard, files_of

FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
CLEAN = ("clean", "--package", "example.com/m/lib", "--checks", "permissions")
HANGS = """package lib

import (
	"os"
	"testing"
)

func TestHangs(t *testing.T) {
	os.WriteFile("began", []byte(os.Args[0]), 0o600)
	select {}
}
"""


@pytest.fixture
def guard(newest_cache: GoCache, tmp_path: Path) -> Safeguard:
    return Safeguard(newest_cache, tmp_path / "state", dict(FREE))


def meaning(guard: Safeguard) -> dict[str, bytes]:
    """Name and content of every entry; of an index entry all but the time, for a build of the proof may write the same one anew."""
    found = files_of(guard.cache.root)
    return {name: data[:-21] if name.endswith("-a") else data for name, data in found.items()}


def break_test(guard: Safeguard) -> None:
    path = guard.cache.module / "lib" / "lib_test.go"
    path.write_text(path.read_text().replace('"hello"', '"hallo"'))


def test_a_clean_is_proved_by_the_tests_the_vet_and_the_symbols_of_a_module(guard: Safeguard) -> None:
    receipt = guard.json(*CLEAN, "--proof", "test,vet,symbols")
    assert receipt["state"] == "DONE"
    assert [line.partition(":")[0] for line in receipt["proof"]] == ["test", "vet", "symbols"]
    assert not (guard.state / "evidence").exists(), "of what passed, the receipt is enough"


def test_a_failed_proof_rolls_back_by_itself_and_keeps_the_evidence(guard: Safeguard) -> None:
    break_test(guard)
    before = meaning(guard)
    done = guard.run(*CLEAN, "--proof", "canary,test")
    assert done.returncode == 22, (done.stdout, done.stderr)
    assert "[proof-failed]" in done.stderr
    after = meaning(guard)
    assert before.items() <= after.items(), "every byte is where it was; builds of the proof only added"
    (operation,) = guard.json("ops", "list", "--all")["operations"]
    assert operation["state"] == "ROLLED_BACK"
    evidence = Path(operation["data"]["evidence"])
    assert str(evidence) in done.stderr
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600
    value = json.loads(evidence.read_text())
    assert (value["schema"], value["op"], value["passed"]) == ("go-cache-safeguard/evidence/1", operation["op"], False)
    assert [(step["check"], step["outcome"]) for step in value["steps"]] == [("canary", "PASS"), ("test", "BLOCK")]
    assert (guard.state / "costs.sqlite").exists(), "what the compilers of the canary took is remembered"
    assert "lib_test.go:7: hello" in value["steps"][1]["kept"]["failures"][0]["said"]
    shown = guard.run("ops", "show", operation["op"]).stdout
    assert str(evidence) in shown
    assert "FAIL example.com/m/lib.TestHello" in shown


def test_a_proof_that_cannot_be_made_is_a_failed_one(guard: Safeguard) -> None:
    before = meaning(guard)
    done = guard.run(*CLEAN, "--proof", "test", "--prove", "./nowhere")
    assert done.returncode == 22, done.stderr
    assert "the proof could not be made" in done.stderr
    assert before.items() <= meaning(guard).items()


def test_packages_are_built_when_no_other_proof_of_them_is_named(guard: Safeguard) -> None:
    for arguments, lines in (
        (("--proof", "none", "--prove", "./lib"), ["build"]),
        (("--proof", "vet", "--prove", "./lib"), ["vet"]),
    ):
        guard.cache.go("build", "./lib")
        receipt = guard.json(*CLEAN, *arguments)
        assert [line.partition(":")[0] for line in receipt["proof"]] == lines


def test_an_unknown_proof_and_a_flag_for_a_package_are_usage_faults(guard: Safeguard) -> None:
    before = meaning(guard)
    for arguments in (
        (*CLEAN, "--proof", "canary,prayer"),
        (*CLEAN, "--prove=-exec=rm"),
        ("verify", "--build-flags", "-o=x"),
        ("verify", "--build-flags", "./..."),
        ("verify", "--no-test", "--no-vet", "--no-symbols"),
        ("verify", "--retry", "11"),
        ("verify", "--timeout", "0s"),
    ):
        done = guard.run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
    assert meaning(guard) == before


def test_verify_says_what_it_found_to_people_and_to_scripts(guard: Safeguard) -> None:
    document = guard.json("verify", "--no-symbols")
    assert (document["schema"], document["proved"]) == ("go-cache-safeguard/verify/1", True)
    break_test(guard)
    document = guard.json("verify", "--no-symbols", "--no-vet", code=10)
    (step,) = document["steps"]
    assert (document["proved"], step["outcome"], step["kept"]["failures"][0]["test"]) == (False, "BLOCK", "TestHello")
    done = guard.run("verify", "--no-symbols", "--no-vet", "./lib")
    assert done.returncode == 10
    assert "BLOCK" in done.stdout
    assert "FAIL example.com/m/lib.TestHello" in done.stdout
    assert "FAIL example.com/m/lib.TestHello" in done.stderr, "told at once"
    assert guard.run("verify", "--no-symbols", "--no-vet", "./nowhere").returncode == 13


def started(guard: Safeguard, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a command whose test hangs, and wait until it does."""
    (guard.cache.module / "lib" / "lib_test.go").write_text(HANGS)
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=guard.cache.module,
        env=guard.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began, deadline = guard.cache.module / "lib" / "began", time.monotonic() + 120
    while not (began.exists() and began.read_text()) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert began.exists(), child.communicate()
    return child


def running(guard: Safeguard) -> list[str]:
    """Command lines of processes of which the test program is part."""
    program = (guard.cache.module / "lib" / "began").read_text()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode())
        except OSError:
            continue
    return [line for line in found if line.startswith(program)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_of_a_proof_everything_is_put_back_and_nobody_runs_on(
    guard: Safeguard, number: signal.Signals
) -> None:
    before = meaning(guard)
    child = started(guard, *CLEAN, "--proof", "test")
    child.send_signal(number)
    said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert running(guard) == []
    assert before.items() <= meaning(guard).items()
    (operation,) = guard.json("ops", "list", "--all")["operations"]
    assert operation["state"] == "ROLLED_BACK"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_verification_that_is_stopped_leaves_nobody_running(guard: Safeguard, number: signal.Signals) -> None:
    child = started(guard, "verify", "--no-vet", "--no-symbols")
    child.send_signal(number)
    said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert running(guard) == []


@pytest.mark.root
def test_root_proves_the_cache_of_somebody_else_with_their_rights(newest_cache: GoCache, tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir()
    cache = copy_cache(newest_cache, place)
    test = cache.module / "lib" / "lib_test.go"
    test.write_text(
        'package lib\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc TestWho(t *testing.T) {\n'
        f"\tif os.Getuid() != {NOBODY} {{\n\t\tt.Fatal(os.Getuid())\n\t}}\n}}\n"
    )
    reveal(place)
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    document = Safeguard(cache, tmp_path / "state").json("verify")
    assert document["proved"], document
    assert {path.lstat().st_uid for path in cache.root.rglob("*")} == {NOBODY}
