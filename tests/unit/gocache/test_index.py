"""The memory of a cache: kept, thrown away when it cannot be trusted, never in the way."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.fsck import Memory
from go_cache_safeguard.gocache.index import Index, IndexState, News
from go_cache_safeguard.gocache.inventory import Action, Output, Shape

ROOT = "1:2"


def key(number: int) -> bytes:
    return bytes([number]) * 32


def action(number: int = 1, mtime_ns: int = 3) -> Action:
    entry = Entry(key(number), key(number + 100), 10, 20)
    return Action(key(number), 175, mtime_ns, entry, 4, 5, 4096)


def output(number: int = 101, package: str | None = "fmt") -> Output:
    about = Archive(package, "linux", "amd64", "go1.27.3", ("-race",), "a" * 20, "c" * 20, "/src/m", 0xFFFFFFFF)
    return Output(key(number), 10, 4096, 3, 0o644, False, Kind.ARCHIVE, about, Shape.FILE, 4, 5)  # noqa: FBT003 - a row


NEWS = News(entries=[action()], outputs=[(output(), 3, True, True), (output(102, None), 3, False, False)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "index.sqlite"
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.NEW
        index.save(NEWS)
    return path


def test_what_is_saved_is_known_again(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.USED
        (entry,) = index.shard(1).actions.values()
        (known,) = index.shard(101).outputs.values()
        (plain,) = index.shard(102).outputs.values()
        assert not index.shard(255).actions
    assert (entry.marks, entry.output, entry.said, entry.time_ns) == ((4, 175, 3, 5), key(101), 10, 20)
    assert (known.marks, known.hashed, known.content_id) == ((4, 10, 3, 5), True, True)
    assert known.facts == (Kind.ARCHIVE, output().about)
    assert (plain.facts, plain.hashed) == ((Kind.ARCHIVE, output(102, None).about), False)


def test_words_that_another_process_wrote_meanwhile_are_known(path: Path) -> None:
    elsewhere = Archive("fmt", "linux", "arm64", "go1.21.13", (), "a" * 20, "c" * 20, "/src/other")
    with closing(Index(path, ROOT)) as early:
        with closing(Index(path, ROOT)) as late:
            late.save(News(outputs=[(replace(output(103), about=elsewhere), 3, True, True)]))
        (known,) = early.shard(103).outputs.values()
        assert known.facts == (Kind.ARCHIVE, elsewhere)
        assert early.state is IndexState.USED


def test_what_was_is_recalled_by_action_and_by_output(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        memory = index.recall([key(1), key(7)], [key(102)])
    assert memory.actions == {key(1): key(101)}
    assert memory.outputs == {
        key(101): (Kind.ARCHIVE, output().about),
        key(102): (Kind.ARCHIVE, output(102, None).about),
    }


def test_many_things_are_recalled_like_few(tmp_path: Path) -> None:
    pairs = [(number.to_bytes(2) * 16, (number + 5000).to_bytes(2) * 16) for number in range(1500)]
    news = News()
    for one, other in pairs:
        news.entries.append(Action(one, 175, 3, Entry(one, other, 10, 20), 4, 5, 4096))
        news.outputs.append((replace(output(), output=other), 3, True, True))
    with closing(Index(tmp_path / "index.sqlite", ROOT)) as index:
        index.save(news)
        many = index.recall([one for one, _ in pairs[:1400]], [])
        few = [index.recall([one], []) for one, _ in pairs[:1400]]
    assert many.actions == dict(pairs[:1400])
    assert many.outputs == {key: facts for memory in few for key, facts in memory.outputs.items()}


def test_who_only_reads_recalls_the_same_and_changes_nothing(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        known = index.recall([key(1)], [key(102)])
    before = path.read_bytes()
    for identity, expected in ((ROOT, known), ("9:9", Memory())):
        with closing(Index(path, identity, read_only=True)) as index:
            assert index.recall([key(1)], [key(102)]) == expected
            index.save(News(gone_actions=[key(1)]))
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_who_only_reads_knows_nothing_where_there_is_no_index_and_makes_none(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "in a folder?" / "index.sqlite"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with closing(Index(path, ROOT, read_only=True)) as index:
        assert index.recall([key(1)], []) == Memory()
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_damaged_output_is_not_believed_but_stays_known(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        index.save(News(bad_outputs=[key(101)]))
        (known,) = index.shard(101).outputs.values()
    assert known.marks[0] == -1
    assert not known.hashed
    assert known.facts == (Kind.ARCHIVE, output().about)


def test_what_is_gone_is_forgotten(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        index.save(News(gone_actions=[key(1)], gone_outputs=[key(101)]))
        assert not index.shard(1).actions
        assert not index.shard(101).outputs


def test_an_index_of_another_cache_is_thrown_away(path: Path) -> None:
    with closing(Index(path, "1:3")) as index:
        assert index.state is IndexState.REMADE
        assert not index.shard(1).actions


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 40, b"SQLite format 3\0"])
def test_a_file_that_is_no_index_is_thrown_away(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.REMADE
        index.save(NEWS)
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.USED
        assert index.shard(1).actions


def test_a_database_of_another_program_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.REMADE


def test_pages_of_garbage_are_thrown_away_when_they_are_met(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with closing(Index(path, ROOT)) as index:
        known = [index.shard(number) for number in range(256)]
        assert not any(shard.actions or shard.outputs for shard in known)
        assert index.state is IndexState.REMADE
        index.save(NEWS)
    with closing(Index(path, ROOT)) as index:
        assert index.shard(1).actions


def test_a_journal_of_the_old_file_is_not_rolled_back_into_the_new_one(path: Path) -> None:
    Path(f"{path}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 5000)
    path.write_bytes(b"garbage" * 1000)
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.REMADE
        index.save(NEWS)
        assert index.shard(1).actions


def test_a_place_that_cannot_hold_a_file_is_no_failure(tmp_path: Path) -> None:
    with closing(Index(tmp_path, ROOT)) as index:
        assert index.state is IndexState.UNUSABLE
        assert not index.shard(0).actions
        assert index.recall([key(1)], []).actions == {}
        index.save(NEWS)


def test_a_number_that_does_not_fit_is_not_saved_and_no_failure(path: Path) -> None:
    with closing(Index(path, ROOT)) as index:
        index.save(News(entries=[action(9, 1 << 70)]))
        assert index.state is IndexState.UNUSABLE
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.USED
        assert index.shard(1).actions


def test_many_writers_do_not_lose_each_others_rows(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"

    def write(number: int) -> IndexState:
        with closing(Index(path, ROOT)) as index:
            index.save(News(entries=[action(number)]))
            return index.state

    with ThreadPoolExecutor(4) as pool:
        assert IndexState.UNUSABLE not in set(pool.map(write, range(20)))
    with closing(Index(path, ROOT)) as index:
        assert sum(len(index.shard(number).actions) for number in range(256)) == 20


def test_an_index_that_is_being_written_is_not_thrown_away(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with closing(Index(path, ROOT, patience_s=0.01)) as index:
            assert index.state is IndexState.UNUSABLE
        other.execute("COMMIT")
    with closing(Index(path, ROOT)) as index:
        assert index.state is IndexState.USED
        assert index.shard(1).actions
