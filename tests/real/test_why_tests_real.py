"""Why a test runs again: each thing in the key of its result, changed and named, with real toolchains."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.runs import keep_run
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.testkeys import TestRow
from go_cache_safeguard.flows.why import Report, question_of, report_why
from go_cache_safeguard.gocache.why import Basis, Cause
from gocaches import EVERY, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard

_LIB = "example.com/m/lib"
_TEST = """package lib

import (
	"os"
	"testing"
)

func TestLooks(t *testing.T) {
	os.Getenv("FOO")
	os.ReadFile("testdata/opened")
	os.Stat("testdata")
	os.ReadDir("testdata")
	os.Stat("testdata/none")
}
"""


def ask(
    cache: GoCache, *words: str, remembered: bool = True, environ: Mapping[str, str] = MappingProxyType({})
) -> Report:
    """Ask why in the module of a cache."""
    path = f"{cache.toolchain.go.parent}:{cache.environ['PATH']}"
    state = str(cache.root.parent / "state")
    whole = {**cache.environ, "PATH": path, "GO_CACHE_SAFEGUARD_STATE_DIR": state, **environ}
    home = Path(whole["HOME"])
    config = load_config(environ=whole, cwd=cache.module, home=home, arguments={}, system=home / "none.toml")
    session = Session(config, whole, cache.module)
    report = report_why(session, cache.root, question_of(words), remembered=remembered)
    if "recording" in environ:
        keep_run(session, report.record)
    return report


def said(row: TestRow) -> list[tuple[str, Basis]]:
    return [(first.text, first.basis) for first in row.own]


@pytest.mark.parametrize("name", EVERY)
def test_what_makes_a_test_run_again_is_named(
    name: str, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    cache = copy_cache(warm_cache(find_toolchain(name)), tmp_path)
    data = cache.module / "lib" / "testdata"
    data.mkdir()
    (data / "opened").write_text("x")
    (cache.module / "lib" / "lib_test.go").write_text(_TEST)
    old = time.time() - 3600
    for path in (data / "opened", data):
        os.utime(path, (old, old))
    cache.go("test", "./lib")
    assert "(cached)" in cache.go("test", "./lib")

    (row,) = ask(cache, "test", "./lib", environ={"recording": "yes"}).tests
    assert (row.package, row.state, row.looked > 3) == (_LIB, "cached", True)

    variable = ("environment variable that the test reads FOO: ", Basis.PROVED)
    for remembered in (True, False):
        (row,) = ask(cache, "test", "./lib", environ={"FOO": "bar"}, remembered=remembered).tests
        assert [(text[: len(variable[0])], basis) for text, basis in said(row)] == [variable]

    (row,) = ask(cache, "test", "./lib", environ={"GODEBUG": "http2client=0"}).tests
    if cache.toolchain.release >= 23:
        assert said(row) == [("environment variable that the test reads GODEBUG: another value", Basis.PROVED)]
    else:
        assert row.state == "cached"

    os.utime(data / "opened", (old - 60, old - 60))
    (row,) = ask(cache, "test", "./lib").tests
    assert (f"file that the test opens {data}/opened: another size, time or mode", Basis.PROVED) in said(row)
    (row,) = ask(cache, "test", "./lib", remembered=False).tests
    assert said(row)[0][1] is Basis.UNKNOWN
    os.utime(data / "opened", (old, old))

    (row,) = ask(cache, "test", "-v", "./lib", remembered=False).tests
    assert said(row) == [
        ("test arguments: -test.timeout=10m0s before, -test.timeout=10m0s -test.v=true now", Basis.PROVED)
    ]
    (row,) = ask(cache, "go", "test", "-count=1", "./lib").tests
    assert row.text == "caching disabled for test argument: -test.count=1"

    (cache.module / "lib" / "lib.go").write_text(
        'package lib\n\n// Hello greets.\nfunc Hello() string { return "oh" }\n'
    )
    report = ask(cache, "test", "./lib")
    assert [group.first.text for group in report.groups] == [f"file lib.go of {_LIB} edited"]
    assert report.tests[0].begins == {f"file lib.go of {_LIB} edited"}

    write_lib = 'package lib\n\n// Hello greets.\nfunc Hello() string { return "hello" }\n'
    (cache.module / "lib" / "lib.go").write_text(write_lib)
    (row,) = ask(cache, "test", "./lib").tests
    assert row.state == "cached"
    cache.go("clean", "-testcache")
    (row,) = ask(cache, "test", "./lib").tests
    assert [first.cause for first in row.own] == [Cause.EVICTED]
    assert "go clean -testcache" in row.text


def test_the_command_tells_causes_records_them_and_carries_them_elsewhere(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    run = tmp_path / "run.json"
    first = guard.run("why", "--record", "--export", str(run), "--", "go", "build", "./...")
    assert first.returncode == 0, first.stderr
    assert "0 of " in first.stdout
    assert "recorded: " in first.stdout
    again = guard.run("why", "--export", str(run))
    assert again.returncode == 2
    assert "cannot be written" in again.stderr
    lib = newest_cache.module / "lib" / "lib.go"
    lib.write_text(lib.read_text() + "// more\n")
    for options in (("why",), ("why", "--against", str(run))):
        document = guard.json(*options)
        assert document["schema"] == "go-cache-safeguard/why/1"
        (cause,) = document["causes"]
        assert (cause["text"], cause["basis"]) == (f"file lib.go of {_LIB} edited", "proved")
        assert (cause["begins_in"], cause["cascade"]) == ([f"build {_LIB}"], ["build example.com/m"])
    shown = guard.run("why", "./lib").stdout
    assert shown.startswith(f"file lib.go of {_LIB} edited\n    proved; key ")
    assert json.loads(run.read_text())["schema"] == "go-cache-safeguard/run/1"
    assert guard.run("why", "--", "go", "run", ".").returncode == 2
    (tmp_path / "bad.json").write_text("{}")
    refused = guard.run("why", "--against", str(tmp_path / "bad.json"))
    assert refused.returncode == 2
    assert "is no record of a run" in refused.stderr


def test_what_our_own_removal_took_is_told_with_its_operation(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    removed = guard.json("clean", "--package", _LIB)
    (cause,) = guard.json("why", "./lib")["causes"]
    assert (cause["cause"], cause["basis"]) == ("evicted", "proved")
    assert f"removed by our operation {removed['op']}" in cause["text"]
    guard.json("undo", removed["op"])
    assert guard.json("why", "./lib")["causes"] == []
