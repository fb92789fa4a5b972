"""What a trace says: lookups that belong together, their kinds and packages, and their sums."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.trace import (
    Lookup,
    by_kind,
    by_package,
    explain,
    from_hash_log,
    half,
    keys_in,
    parse_trace,
    total,
)
from go_cache_safeguard.gocache.traceline import get_line, put_line

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
OUT, OTHER = b"o" * 32, b"p" * 32


def test_a_miss_that_is_put_afterwards_is_one_lookup() -> None:
    (one,) = parse_trace(get_line(A, None, 0, 10) + put_line(A, OUT, 7, 30))
    assert one == Lookup(A, OUT, hit=False, put=True, size=7, ns=40)


def test_what_is_looked_up_twice_is_one_lookup_and_what_was_found_at_first_counts() -> None:
    lookups = parse_trace(
        get_line(A, OUT, 7, 1) + get_line(A, OUT, 7, 2) + get_line(B, None, 0, 3) + get_line(B, OUT, 7, 4)
    )
    assert lookups == (
        Lookup(A, OUT, hit=True, put=False, size=7, ns=3),
        Lookup(B, OUT, hit=False, put=False, size=7, ns=7),
    )


@given(st.binary(max_size=200))
def test_lines_that_are_none_are_left_out(noise: bytes) -> None:
    line = get_line(A, OUT, 7, 1)
    assert Lookup(A, OUT, hit=True, put=False, size=7, ns=1) in parse_trace(noise + b"\n" + line + line[:50])


def test_kinds_and_packages_come_from_outputs_subkeys_and_the_graph() -> None:
    stdout = subkey(A, "stdout")
    lookups = [
        Lookup(A, OUT, hit=True, put=False, size=7, ns=1),
        Lookup(stdout, OTHER, hit=True, put=False, size=0, ns=1),
        Lookup(B, None, hit=False, put=False, size=0, ns=1),
        Lookup(C, None, hit=False, put=False, size=0, ns=1),
    ]
    told = {OUT: ("archive", "example.com/a"), OTHER: ("empty", "")}
    explained = explain(lookups, told.__getitem__, subkey=subkey, graph={half(B): ("vet", "example.com/b")})
    assert [(one.kind, one.package) for one in explained] == [
        ("archive", "example.com/a"),
        ("empty", "example.com/a"),
        ("vet", "example.com/b"),
        ("", ""),
    ]


def test_sums_are_of_kinds_and_packages_most_misses_first() -> None:
    lookups = [
        Lookup(A, OUT, hit=True, put=False, size=7, ns=1, kind="archive", package="a"),
        Lookup(B, OUT, hit=True, put=False, size=5, ns=1, kind="archive", package="b"),
        Lookup(C, OTHER, hit=False, put=True, size=3, ns=2, kind="index", package="a"),
    ]
    assert [(one.name, one.hits, one.misses, one.hit_size, one.put_size, one.ns) for one in by_kind(lookups)] == [
        ("index", 0, 1, 0, 3, 2),
        ("archive", 2, 0, 12, 0, 2),
    ]
    assert [(one.name, one.hits, one.misses) for one in by_package(lookups)] == [("a", 1, 1), ("b", 1, 0)]
    assert total(lookups).as_value() == {"name": "", "hits": 2, "misses": 1, "hit_size": 12, "put_size": 3, "ns": 4}
    assert lookups[2].as_value() == {
        "action": C.hex(),
        "output": OTHER.hex(),
        "hit": False,
        "put": True,
        "size": 3,
        "ns": 2,
        "kind": "index",
        "package": "a",
    }


def test_from_a_hash_log_a_key_is_a_hit_if_it_was_there_before_and_put_if_only_after() -> None:
    entries = {A: (OUT, 7), B: (OTHER, 3)}
    keys = [
        (A, "build fmt"),
        (B, "vet example.com/b"),
        (C, "build example.com/c"),
        (b"x" * 32, "open"),
        (b"y" * 32, "subkey stdout"),
    ]
    assert from_hash_log(keys, frozenset({A}), entries.get) == (
        Lookup(A, OUT, hit=True, put=False, size=7, ns=0, package="fmt"),
        Lookup(B, OTHER, hit=False, put=True, size=3, ns=0, package="example.com/b"),
        Lookup(C, None, hit=False, put=False, size=0, ns=0, kind="build", package="example.com/c"),
    )


def test_keys_are_found_whatever_stands_between_them() -> None:
    a, b, c = (text * 32 for text in ("0a", "0b", "0c"))
    log = (
        f'HASH[build x [x.test]]\nHASH[build x [x.test]]: "go1.27.3"\nHASH[moduleIndex]: "{a}"\n'
        f'HASH[build x [x.test]]: {a}\nHASH /file: {c}\nnonsense HASH[x]: {c}\nHASH subkey {a} "stdout" = {b}\n'
    )
    assert keys_in(log.encode()) == ((bytes.fromhex(a), "build x [x.test]"), (bytes.fromhex(b), "subkey"))
    assert keys_in(b"") == ()
