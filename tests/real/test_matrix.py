"""The matrix against real toolchains, for changes that compile little; `make matrix` measures all of them."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import EVERY, PINNED, GoCache, Toolchain, at, copy_cache, find_toolchain
from matrixfacts import FACTS, of_release
from safeguard import COMMAND, Safeguard

pytestmark = pytest.mark.real

CHEAP = ("again", "comment-end", "body", "func-exported", "tags-unknown", "moved-trimpath", "dependency-other")
COLUMNS = ("a", "b", "c", "main", "std", "ext")


def safeguard_of(warm: GoCache, tmp_path: Path) -> Safeguard:
    return Safeguard(warm, tmp_path / "state", {"TMPDIR": str(tmp_path)})


@pytest.mark.parametrize("version", EVERY)
def test_what_is_measured_is_what_was_found_by_hand(
    version: str, warm_cache: Callable[[Toolchain], GoCache], tmp_path: Path
) -> None:
    warm = warm_cache(find_toolchain(version))
    before = {path: path.stat().st_mtime_ns for path in warm.root.rglob("*")}
    chosen = [word for name in CHEAP for word in ("--dimension", name)]
    start = (
        "--start-from",
        str(warm.root),
        "--goflags",
        "-trimpath",
        "--no-cgo",
        "--keys",
        "--go",
        str(warm.toolchain.go),
    )
    document = safeguard_of(warm, tmp_path).json("matrix", *start, *chosen)
    (table,) = document["toolchains"]
    assert table["toolchain"] == version
    release = warm.toolchain.release
    for row in table["rows"]:
        facts = dict(
            zip(("a", "b", "c", "main", "std", "cg", "ext", "link", "test"), FACTS[row["dimension"]], strict=True)
        )
        found = {name: cell["letters"] for name, cell in row["packages"].items()}
        assert row["problem"] == ""
        assert found == {name: facts[name] for name in COLUMNS}, row["dimension"]
        assert ("yes" if row["linked"] else "no") == facts["link"], row["dimension"]
        assert (row["test"] or "-") == of_release(facts["test"], release), row["dimension"]
    lines = {row["dimension"]: row["key_lines"] for row in table["rows"]}
    assert lines["again"] == {}
    assert [line.rpartition(" ")[0] for line in lines["body"]["a"]] == [
        "- file safeguard_probe.go",
        "+ file safeguard_probe.go",
    ]
    assert [line.rpartition(" ")[0] for line in lines["body"]["b"]] == [
        "- import matrix.invalid/m/a",
        "+ import matrix.invalid/m/a",
    ]
    assert lines["tags-unknown"] == {"main": ["+ modinfo build -tags=safeguardnosuch"]}
    assert {path: path.stat().st_mtime_ns for path in warm.root.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == [], "the scratch place is gone"


def test_a_copy_of_somebodys_module_is_measured_and_the_module_is_let_be(
    warm_cache: Callable[[Toolchain], GoCache], tmp_path: Path
) -> None:
    cache = copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path)
    before = {path: path.read_bytes() for path in cache.module.rglob("*") if path.is_file()}
    page = tmp_path / "page.md"
    words = (
        "--dimension",
        "comment-end",
        "--dimension",
        "const",
        "--dimension",
        "vendor",
        "--start-from",
        str(cache.root),
    )
    done = safeguard_of(cache, tmp_path).run("matrix", "--module", ".", *words, "--markdown", str(page))
    assert done.returncode == 0, done.stderr
    lines = {line.split("|")[1].strip(" `"): line for line in page.read_text().splitlines() if line.startswith("| `")}
    assert list(lines) == ["comment-end", "const"], "dimensions of our own module are left out"
    assert re.search(r"\| A= \| == \| == 0/\d+ \| no \| - \|$", lines["comment-end"]), lines
    assert re.search(r"\| AC \| AC \| == 0/\d+ \| yes \| - \|$", lines["const"]), lines
    assert "{DIR}" in page.read_text()
    assert {path: path.read_bytes() for path in cache.module.rglob("*") if path.is_file()} == before
    refused = safeguard_of(cache, tmp_path).run("matrix", "--dimension", "nosuch")
    assert refused.returncode == 2
    assert "is not a dimension" in refused.stderr


def test_json_of_a_page_that_is_somebodys_own_is_never_written(tmp_path: Path) -> None:
    from go_cache_safeguard.core.errors import UsageFailure
    from go_cache_safeguard.flows.matrix import Matrix, write_page

    page = tmp_path / "page.md"
    write_page(Matrix((), ("a",), "what"), page, "make it")
    write_page(Matrix((), ("a",), "what else"), page, "make it")
    assert "what else" in page.read_text()
    page.write_text(json.dumps("mine"))
    with pytest.raises(UsageFailure):
        write_page(Matrix((), ("a",), "what"), page, "make it")
    assert page.read_text() == '"mine"'


def test_ctrl_c_leaves_no_scratch_place_and_no_go_behind(tmp_path: Path) -> None:
    cache = at(tmp_path, find_toolchain(PINNED[-1]))
    for name in ("home", "scratch", "module"):
        (tmp_path / name).mkdir()
    environ = {**Safeguard(cache, tmp_path / "state").environ, "TMPDIR": str(tmp_path / "scratch")}
    child = subprocess.Popen([*COMMAND, "matrix", "--no-cgo"], env=environ, cwd=cache.module, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "scratch").glob("*/tmp/go-build*")) and time.monotonic() < deadline:
        time.sleep(0.02)  # until go has begun to compile
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended
