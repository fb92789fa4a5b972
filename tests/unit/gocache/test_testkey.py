"""Keys of test results, as go makes them."""

import stat
from hashlib import sha256

import pytest

from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.testkey import (
    BadLog,
    FileFacts,
    Looked,
    Sort,
    go_mode,
    go_time,
    hash_open,
    hash_stat,
    hash_variable,
    inputs_key,
    looked_at,
    result_key,
    with_godebug,
)

_LOG = b"# test log\ngetenv FOO\nchdir /m/a\nstat x\nopen ../y\nopen /z\n"


def test_the_log_of_a_test_says_what_it_looked_at() -> None:
    assert looked_at(_LOG, "/m") == (
        Looked(Sort.ENV, "FOO"),
        Looked(Sort.CHDIR, "/m/a"),
        Looked(Sort.STAT, "/m/a/x"),
        Looked(Sort.OPEN, "/m/y"),
        Looked(Sort.OPEN, "/z"),
    )


@pytest.mark.parametrize("log", [b"", b"# test log", b"# test log\nopen\n", b"# test log\nremove x\n", b"getenv X\n"])
def test_a_log_that_go_would_not_accept_is_not_accepted(log: bytes) -> None:
    assert isinstance(looked_at(log, "/m"), BadLog)


def test_newer_releases_always_ask_for_godebug() -> None:
    assert with_godebug((), 22) == ()
    assert with_godebug((), 23) == (Looked(Sort.ENV, "GODEBUG"),)


def test_the_key_of_inputs_leaves_out_what_go_leaves_out() -> None:
    looked = looked_at(_LOG, "/m")
    assert not isinstance(looked, BadLog)
    key = inputs_key("go1.21.13", "a", looked, lambda one: None if one.name == "/z" else b"\x01" * 32)
    assert key.name == "inputs a"
    assert key.lines[1] == f"env FOO {'01' * 32}\n"
    assert len(key.lines) == 5
    assert key.sum == sha256("".join(key.lines).encode()).digest()
    assert result_key(b"p" * 32, key.sum) == subkey(b"p" * 32, f"inputs:{key.sum.hex()}")


def test_a_variable_that_is_not_set_is_not_an_empty_one() -> None:
    assert hash_variable("go1.24.11", None).hex() == "7affd1378449f2843676b830a319786c3f67f3daaf21290b9b0e6e5605b39885"
    assert (
        hash_variable("go1.24.11", "gocachehash=1").hex()
        == "dca395cce6f8f3b73fa9f9122b0265ff73c18336f1079d44a04448813cebefff"
    )
    assert hash_variable("s", None) != hash_variable("s", "")


def test_files_are_hashed_in_go_s_words() -> None:
    facts = FileFacts(3, stat.S_IFREG | 0o644, 0, "2026-11-22 21:00:00 +0000 UTC")
    said = "stat 3 1a4 2026-11-22 21:00:00 +0000 UTC false\n"
    assert hash_open("s", facts) == sha256(f"s{said}".encode()).digest()
    assert hash_stat("s", facts, "lstat x: no such file or directory") == (
        sha256(f"s{said}err lstat x: no such file or directory\n".encode()).digest()
    )
    folder = FileFacts(0, stat.S_IFDIR | 0o755, 0, "t")
    assert hash_open("s", folder, [("a", facts)]) == sha256(f"sstat 0 800001ed t true\nfile a {said}".encode()).digest()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFREG | stat.S_ISUID | 0o755, 1 << 23 | 0o755),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, 1 << 31 | 1 << 20 | 0o777),
    ],
)
def test_modes_are_written_in_go_s_bits(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected


def test_times_are_written_as_go_does() -> None:
    assert go_time("2026-11-22 21:23:56", 847_511_700, 0, "UTC") == "2026-11-22 21:23:56.8475117 +0000 UTC"
    assert go_time("2026-11-22 21:23:56", 0, -12_600, "-0330") == "2026-11-22 21:23:56 -0330 -0330"
