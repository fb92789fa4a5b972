"""Modules that everybody uses, fetched from the module proxy that this machine's go is set up with, and pinned by their go.sum."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import OWN, find_toolchain

pytestmark = pytest.mark.real

_MOD = """module example.com/real

go 1.21

require (
\tgolang.org/x/mod v0.17.0
\trsc.io/quote v1.5.2
)

require (
\tgolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect
\trsc.io/sampler v1.3.0 // indirect
)
"""
_SUM = """golang.org/x/mod v0.17.0 h1:zY54UmvipHiNd+pm+m0x9KhZ9hl1/7QNMyxXbc6ICqA=
golang.org/x/mod v0.17.0/go.mod h1:hTbmBsO62+eylJbnUtE2MGJUyE7QWk4xUqPFrRgJ+7c=
golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=
golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=
rsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=
rsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=
rsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=
rsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=
"""
_MAIN = """package main

import (
\t"fmt"

\t"golang.org/x/mod/semver"
\t"rsc.io/quote"
)

func main() { fmt.Println(quote.Glass(), semver.IsValid("v1.2.3")) }
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "real"
    folder.mkdir()
    for name, text in (("go.mod", _MOD), ("go.sum", _SUM), ("main.go", _MAIN)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(module: Path, tmp_path: Path) -> Run:
    """Runs a command in the module, with a module cache of its own that holds what go.mod asks for."""
    go = find_toolchain(OWN).go
    environ = {
        **os.environ,
        "PATH": f"{go.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
        "GOMODCACHE": str(tmp_path / "mod"),
        "GOCACHE": str(tmp_path / "build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(tmp_path / "state"),
        "GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%",
    }

    def command(*arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-m", "go_cache_safeguard"] if arguments[0] != "go" else []
        done = subprocess.run(
            [*words, *arguments], cwd=module, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    command("go", "mod", "download")
    return command


def test_real_modules_pass_an_edit_is_named_and_repair_fetches_the_module_again(run: Run, tmp_path: Path) -> None:
    assert not json.loads(run("mod", "verify", "--json").stdout)["findings"]
    edited = tmp_path / "mod/rsc.io/quote@v1.5.2/quote.go"
    edited.chmod(0o644)
    edited.write_text(edited.read_text().replace("I can eat glass", "I can eat grass"))
    found = run("mod", "verify", code=10).stdout
    assert "rsc.io/quote@v1.5.2" in found
    assert "quote.go" in found
    run("mod", "verify", "--repair")
    run("go", "mod", "download")
    assert not json.loads(run("mod", "verify", "--json").stdout)["findings"]
    assert "glass" in edited.read_text()


def test_a_snapshot_of_real_modules_brings_them_back_into_an_empty_cache(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("snapshot", "create", "--modcache", str(tmp_path / "mod"), "-o", str(tmp_path / f"{name}.tar"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    run("snapshot", "verify", str(tmp_path / "one.tar"))
    empty = tmp_path / "empty"
    empty.mkdir()
    run("snapshot", "restore", str(tmp_path / "one.tar"), "--modcache", str(empty), "--proof", "none")
    off = {**os.environ, "GOMODCACHE": str(empty), "GOPROXY": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    done = subprocess.run([find_toolchain(OWN).go, "mod", "download"], cwd=tmp_path / "real", env=off, check=False)
    assert done.returncode == 0
    assert (empty / "rsc.io/quote@v1.5.2/quote.go").is_file()


def test_dependencies_that_stay_are_stable_and_one_that_moves_is_named(run: Run, module: Path) -> None:
    run("mod", "drift", "--record")
    assert "PASS" in run("mod", "drift").stdout
    path = module / "go.mod"
    path.write_text(path.read_text().replace("x/mod v0.17.0", "x/mod v0.16.0"))
    moved = run("go", "mod", "tidy")
    assert moved.returncode == 0
    assert "golang.org/x/mod" in run("mod", "drift").stdout
