"""Whatever lives and whatever a snapshot says: a restore never touches what is there, and the second one has nothing to do."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.merge import Live, Step, plan_merge, stamp_of
from sources import DAY_NS, entry_of

CONTENT = st.sampled_from([b"", b"a", b"b", b"aa"])
NAMES = st.sampled_from([f"{shard}/{file}" for shard in ("aa", "bb") for file in "wxyz"])
FILES = st.dictionaries(NAMES, CONTENT)


def live_of(files: dict[str, bytes]) -> dict[str, Live]:
    return {name: Live(len(data), sha256(data).hexdigest()) for name, data in files.items()}


@given(live=FILES, kept=FILES, odd=st.sets(NAMES), out=st.sets(NAMES))
def test_a_merge_only_adds_and_a_second_one_writes_nothing(
    live: dict[str, bytes], kept: dict[str, bytes], odd: set[str], out: set[str]
) -> None:
    manifest = make_manifest(Kind.BUILD, [entry_of(name, data) for name, data in kept.items()])

    def refused(entry: Entry) -> str | None:
        return "odd" if entry.name in odd else None

    def omitted(entry: Entry) -> str | None:
        return "out" if entry.name in out else None

    first = plan_merge(manifest, live_of(live), omitted=omitted, refused=refused)
    assert [choice.entry for choice in first.choices] == list(manifest.entries)
    written = {choice.entry.name: kept[choice.entry.name] for choice in first.of(Step.WRITE)}
    assert not written.keys() & live.keys()
    assert not written.keys() & (odd | out)
    after = live | written
    assert after.items() >= live.items()
    second = plan_merge(manifest, live_of(after), omitted=omitted, refused=refused)
    assert not list(second.of(Step.WRITE))
    for choice in second.of(Step.SKIP):
        assert after[choice.entry.name] == kept[choice.entry.name]


@given(mtime_ns=st.integers(-(10**19), 10**19), now_ns=st.integers(0, 10**19))
def test_no_restored_file_is_older_than_a_day_or_of_the_future(mtime_ns: int, now_ns: int) -> None:
    assert now_ns - DAY_NS <= stamp_of(mtime_ns, now_ns) <= now_ns
