"""`gotool.complaint`: what go says, and what that means."""

import pytest

from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.gotool.complaint import (
    GocacheOff,
    GocacheRelative,
    GoFailed,
    cache_trouble,
    failure_of,
    last_lines,
    printable,
)


@pytest.mark.parametrize(
    "line",
    [
        "main.go:3:8: could not import m/word (open /c/ab/abcd-d: no such file or directory)",
        "main.go:3:8: package fmt is not in std (/usr/local/go/src/fmt)",
        "go: failed to trim cache: open /c/trim.txt: read-only file system",
        f"open /c/ab/{'ab' * 32}-d: read-only file system",
        "failed to initialize build cache at /c: mkdir /c: permission denied",
        "# m\n<unknown line number>: internal compiler error: bad export data",
    ],
)
def test_a_sentence_that_points_at_the_cache_is_found(line: str) -> None:
    assert cache_trouble(f"# m\n{line}\n{line}\n") == (line.splitlines()[-1],)


@pytest.mark.parametrize(
    "said", ["", "main.go:4:2: undefined: x", "go: no Go files in /m", "no required module provides package a"]
)
def test_a_fault_of_the_source_is_no_trouble_of_the_cache(said: str) -> None:
    assert cache_trouble(said) == ()


def test_each_way_to_have_no_cache_has_its_failure_that_quotes_go() -> None:
    off = failure_of(("build",), 1, b"build cache is disabled by GOCACHE=off, but required as of Go 1.12\n")
    relative = failure_of(
        ("build",), 1, b"build cache is required, but could not be located: GOCACHE is not an absolute path\n"
    )
    homeless = failure_of(
        ("build",), 1, b"build cache is required, but could not be located: GOCACHE is not defined and ...\n"
    )
    assert (type(off), off.exit_code, off.id) == (GocacheOff, ExitCode.TARGET, "gocache-off")
    assert (type(relative), relative.exit_code, relative.id) == (GocacheRelative, ExitCode.TARGET, "gocache-relative")
    assert isinstance(homeless, GocacheOff)
    assert "required as of Go 1.12" in off.what


def test_any_other_failure_says_what_was_run_how_it_ended_and_what_go_said_last() -> None:
    failure = failure_of(("build", "."), 1, b"first\n\n" + b"x\n" * 20 + b"last\n")
    assert isinstance(failure, GoFailed)
    assert "`go build .` ended with exit code 1" in failure.what
    assert failure.what.endswith("last")
    assert "first" not in failure.what
    assert "signal 9" in failure_of((), -9, b"").what
    assert failure_of((), 2, b"").what.endswith("nothing")


def test_speech_cannot_steer_a_terminal() -> None:
    assert printable(b"a\x1b[2Jb\tc\r\n\xff") == "a�[2Jb\tc�\n�"
    assert last_lines(b"one\ntwo\n\nthree\n", 2) == "two\nthree"
