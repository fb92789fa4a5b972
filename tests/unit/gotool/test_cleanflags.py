"""What a `go clean` command line asks for, beside what real go commands make of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gotool.cleanflags import CACHES, CleanUsageError, parse_clean
from gocaches import EVERY, find_toolchain

LINES = (
    "clean -cache",
    "clean --cache",
    "clean -cache=1 -testcache=false",
    "clean -cache=F",
    "clean -modcache -cache",
    "clean -x -cache",
    "clean -fuzzcache",
    "clean",
    "clean -i -cache",
    "clean -tags -cache",
    "clean -ldflags -cache -modcache",
    "clean -- -cache",
    "clean -cache -cache=0",
    "-C . clean -cache",
    "clean -C . -cache",
    "clean -p 2 -cache",
    "clean -race -r -cache",
    "clean -modcacherw -cache",
)


def test_a_plain_one_leaves_nothing_to_go() -> None:
    asked = parse_clean(["clean", "-cache"])
    assert asked.caches == ("cache",)
    assert asked.rest is None


def test_what_is_no_cache_is_handed_on() -> None:
    asked = parse_clean(["clean", "-i", "-cache", "-x"])
    assert asked.caches == ("cache",)
    assert asked.rest == ("clean", "-i", "-x")
    assert parse_clean(["clean", "./cache"]).rest == ("clean", "./cache")


def test_goflags_count_as_if_they_stood_first() -> None:
    assert parse_clean(["clean"], ["-modcache", "-mod=mod"]).caches == ("modcache",)
    assert parse_clean(["clean", "-modcache=false"], ["-modcache"]).caches == ()
    assert parse_clean(["clean", "-cache"], ["-n"]).dry_run


@pytest.mark.parametrize(
    "line", ["clean -cache fmt", "clean -foo", "clean -cache=maybe", "clean -tags", "build -cache", ""]
)
def test_what_go_would_refuse_or_nobody_knows_is_an_error(line: str) -> None:
    with pytest.raises(CleanUsageError):
        parse_clean(line.split())


@given(
    st.lists(
        st.sampled_from(["clean", "-cache", "-n", "--", "-tags", "x", "-cache=0", "-modcache=T", "-", "-C"]), max_size=6
    )
)
def test_any_line_is_read_or_refused(words: list[str]) -> None:
    try:
        asked = parse_clean(words)
    except CleanUsageError:
        return
    assert set(asked.caches) <= set(CACHES)
    assert not (
        asked.caches and asked.rest is not None and any(word in asked.rest for word in ("-cache", "-modcache=T"))
    )


@pytest.mark.real
@pytest.mark.parametrize("version", EVERY)
def test_real_go_means_the_same(version: str, tmp_path: Path) -> None:
    import subprocess

    go = find_toolchain(version).go
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.21\n")
    (tmp_path / "x.go").write_text("package x\n")
    for shard in ("00", "fuzz"):
        (tmp_path / "cache" / shard).mkdir(parents=True)
    environ = {
        "GOCACHE": f"{tmp_path}/cache",
        "GOMODCACHE": f"{tmp_path}/mod",
        "HOME": str(tmp_path),
        "GOTOOLCHAIN": "local",
    }
    for line in LINES:
        asked = parse_clean(line.split())
        words = line.split()
        words.insert(words.index("clean") + 1 + 2 * ("clean -C" in line), "-n")  # -C must be the first flag
        ran = subprocess.run(
            [go, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
        )
        said = {"cache": "cache/00", "modcache": "/mod", "fuzzcache": "cache/fuzz"}
        named = {name for name, text in said.items() if f"{tmp_path}/{text.lstrip('/')}" in ran.stdout + ran.stderr}
        assert named == set(asked.caches) - {"testcache"}, (line, ran.stdout, ran.stderr)
