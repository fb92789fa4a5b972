"""The action that an archive names, and outputs that name none."""

from pathlib import Path

from go_cache_safeguard.gocache.seals import HEAD, seal_of
from gocaches import OWN, find_toolchain, make_warm


def test_every_archive_of_a_real_cache_names_the_action_that_its_entry_has(shared: Path) -> None:
    cache = make_warm(shared, find_toolchain(OWN))
    sealed = 0
    for entry in cache.root.glob("??/*-a"):
        text = entry.read_bytes()
        output = cache.root / text[68:70].decode() / f"{text[68:132].decode()}-d"
        if output.is_file():
            seal = seal_of(output.read_bytes()[:HEAD])
            assert seal is None or bytes.fromhex(entry.name[:64]).startswith(seal)
            sealed += seal is not None
    assert sealed > 40


def test_what_is_no_archive_names_no_action() -> None:
    assert seal_of(b"") is None
    assert seal_of(b"ok  \texample.com/m/lib\t0.003s\n") is None
    assert seal_of(b"!<arch>\n" + b"x" * 500) is None
