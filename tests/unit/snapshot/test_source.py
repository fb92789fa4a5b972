"""An archive is a source: what the protocol promises, tried on it."""

from pathlib import Path

import pytest

from archives import CONTENTS, compressed, manifest_of, members, whole
from go_cache_safeguard.snapshot.archive import open_archive
from go_cache_safeguard.snapshot.source import Source


@pytest.mark.parametrize("packed", [False, True])
def test_a_source_gives_what_is_wanted_and_passes_over_what_was_not_taken(tmp_path: Path, *, packed: bool) -> None:
    path = tmp_path / "a"
    data = whole(members(CONTENTS))
    path.write_bytes(compressed(data) if packed else data)
    with open_archive(path) as archive:
        source: Source = archive
        assert source.manifest == manifest_of(CONTENTS)
        got = {}
        for entry, chunks in source.contents(["m@v1/é.go", "00/b-d", "00/a-a"]):
            if entry.name != "00/b-d":
                got[entry.name] = b"".join(chunks)
        assert got == {"00/a-a": b"index", "m@v1/é.go": b"package m\n"}
        with pytest.raises(KeyError):
            next(source.contents(["unknown"]))
