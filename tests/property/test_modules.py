"""What is remembered of modules never hides an edit: any single change of any file is found by the next look."""

import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.modules import Report, verify_cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gomod.index import RACY_NS
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import read_copy
from go_cache_safeguard.gomod.verify import Content

ONE, TWO = Version("example.com/One", "v1.0.0"), Version("example.com/two", "v2.0.0+incompatible")
FILES = {"go.mod": b"module x\n", "a.go": b"package a\n", "sub/b.go": b"package sub\n", "empty": b""}


@dataclass(frozen=True, slots=True)
class Cache:
    """A small module cache that was verified, so that all of it is remembered."""

    root: Path

    @property
    def modcache(self) -> Path:
        return self.root / "mod"

    def verify(self, *, everything: bool = False) -> Report:
        config = load_config(
            environ={}, cwd=self.root, home=self.root, arguments={"state.dir": str(self.root / "state")}
        )
        session = Session(config, {}, self.root)
        return verify_cache(session, [], self.modcache, everything=everything, go=False)

    def files(self) -> list[Path]:
        return sorted(path for path in self.modcache.rglob("*") if path.is_file())


def make(root: Path) -> Cache:
    for version in (ONE, TWO):
        tree, place = root / "mod" / version.tree, root / "mod" / version.download(".zip")
        place.parent.mkdir(parents=True)
        for name, content in FILES.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in FILES.items():
                archive.writestr(f"{version}/{name}", content)
        place.with_suffix(".mod").write_bytes(FILES["go.mod"])
        fd = os.open(root / "mod", os.O_RDONLY | os.O_DIRECTORY)
        copy, _marks = read_copy(fd, version)
        os.close(fd)
        assert isinstance(copy.zip, Content)
        prefix = f"{version}/".encode()
        h1 = hash1((prefix + name, digest) for name, digest in copy.zip.files.items())
        place.with_suffix(".ziphash").write_text(h1)
    return Cache(root)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Old enough to be remembered."""
    made = make(tmp_path_factory.mktemp("old"))
    time.sleep(RACY_NS / 1e9 + 0.1)
    return made


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count()


def test_what_is_sound_and_old_is_remembered_and_what_is_young_is_not(old: Cache, tmp_path: Path) -> None:
    first, again, everything = old.verify(everything=True), old.verify(), old.verify(everything=True)
    assert (first.totals.zips, first.totals.unchanged) == (2, 0)
    assert (again.totals.zips, again.totals.files, again.totals.unchanged) == (0, 0, 2)
    assert (everything.totals.zips, everything.totals.trees, everything.totals.unchanged) == (2, 2, 0)
    young = make(tmp_path)
    young.verify()
    assert young.verify().totals.unchanged == 0


def overwrite(path: Path, flip: int) -> None:
    """The same size and, afterwards, the same mtime."""
    data = bytearray(path.read_bytes() or b"x")
    data[flip % len(data)] ^= 1 + flip % 255
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(path: Path, flip: int) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    overwrite(other, flip)
    other.replace(path)


def add_beside(path: Path, _flip: int) -> None:
    path.with_name("extra.go").write_bytes(b"package extra\n")


def take_away(path: Path, _flip: int) -> None:
    path.unlink()


def link_instead(path: Path, _flip: int) -> None:
    other = path.parents[1] / f"{path.name}.elsewhere"
    path.rename(other)
    path.symlink_to(other)


CHANGES = (overwrite, exchange, take_away, link_instead, add_beside)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 99), change=st.sampled_from(CHANGES), flip=st.integers(0, 9999))
def test_any_change_of_any_file_is_found_as_if_nothing_was_remembered(
    old: Cache, numbers: Iterator[int], at: int, change: Callable[[Path, int], None], flip: int
) -> None:
    # A copy by hard links would share inodes with what must stay whole.
    here = Cache(old.root.parent / f"copy-{next(numbers)}")
    shutil.copytree(old.root / "mod", here.modcache, copy_function=shutil.copy2)
    believe(here)
    assert here.verify().totals.unchanged == 2
    files = here.files()
    change(files[at % len(files)], flip)
    remembered, everything = here.verify(), here.verify(everything=True)
    shutil.rmtree(here.root / "state")
    fresh = here.verify()
    assert remembered.findings == everything.findings == fresh.findings
    outside = change is add_beside and "cache" in files[at % len(files)].parts
    assert remembered.totals.unchanged == (2 if outside else 1)
    shutil.rmtree(here.root)


def believe(cache: Cache) -> None:
    """Have a cache remembered that is too young for it, as if two seconds had passed."""
    with pytest.MonkeyPatch.context() as patch:
        now = time.time_ns()
        patch.setattr(time, "time_ns", lambda: now + 10 * RACY_NS)
        cache.verify()
