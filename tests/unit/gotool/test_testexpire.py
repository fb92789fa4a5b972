"""`testexpire.txt`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.gotool.testexpire import NEVER, read_expiry, write_expiry


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_is_written_is_read(cache: int, tmp_path: Path) -> None:
    assert read_expiry(cache) == NEVER
    write_expiry(cache, b"17\n")
    assert (tmp_path / "testexpire.txt").read_bytes() == b"17\n"
    assert read_expiry(cache) == b"17\n"
    write_expiry(cache, NEVER)
    assert (tmp_path / "testexpire.txt").read_bytes() == NEVER


@pytest.mark.parametrize("text", ["17", "x\n", "", "-5\n", "1" * 70 + "\n"])
def test_what_go_would_not_heed_counts_as_nothing(cache: int, tmp_path: Path, text: str) -> None:
    (tmp_path / "testexpire.txt").write_text(text)
    assert read_expiry(cache) == NEVER


def test_a_link_is_neither_read_nor_written(cache: int, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("17\n")
    (tmp_path / "testexpire.txt").symlink_to(target)
    with pytest.raises(OSError, match=r".+"):
        read_expiry(cache)
    with pytest.raises(OSError, match=r".+"):
        write_expiry(cache, NEVER)
    (tmp_path / "testexpire.txt").unlink()
    (tmp_path / "testexpire.txt").hardlink_to(target)
    with pytest.raises(OSError, match="plain file"):
        write_expiry(cache, NEVER)
    assert target.read_text() == "17\n"
