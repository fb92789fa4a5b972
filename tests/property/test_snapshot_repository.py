"""Keep rules beside a simple oracle, two manifests beside sets, and packs of which no flipped bit goes unseen."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.canonical import digest
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.snapshot.bundle import Opener, Sealer, refuse_other
from go_cache_safeguard.snapshot.difference import compare
from go_cache_safeguard.snapshot.keep import Kept, Rules, choose
from go_cache_safeguard.snapshot.manifest import Entry, Kind, format_time, make_manifest
from go_cache_safeguard.snapshot.record import RecordBad, parse_record
from go_cache_safeguard.snapshot.repository import Config, Stored, part_of, plan_prune
from unit.snapshot.test_record import RECORD

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_COUNT = st.integers(0, 4)
_RULES = st.builds(
    Rules,
    last=_COUNT,
    hourly=_COUNT,
    daily=_COUNT,
    weekly=_COUNT,
    monthly=_COUNT,
    yearly=_COUNT,
    within_s=st.none() | st.integers(0, 10**7),
    tags=st.lists(st.sampled_from("ab"), unique=True).map(tuple),
)
_SNAPSHOT = st.tuples(
    st.integers(0, 60 * 24 * 900), st.sampled_from("xy"), st.lists(st.sampled_from("abc"), unique=True, max_size=1)
)


def snapshots_of(drawn: list[tuple[int, str, list[str]]]) -> list[Kept]:
    return [
        Kept(f"{number}", int((_BEGIN + timedelta(minutes=minutes)).timestamp()) * 10**9, (group,), tuple(tags))
        for number, (minutes, group, tags) in enumerate(drawn)
    ]


_FORMATS = {"hourly": "%Y %j %H", "daily": "%Y %j", "weekly": "%G %V", "monthly": "%Y %m", "yearly": "%Y"}


def oracle(snapshots: list[Kept], rules: Rules) -> set[str]:
    """The rules once more, as a person would do it with a calendar: mark the newest of each period, take the first n of them."""
    kept: set[str] = set()
    for group in {snapshot.group for snapshot in snapshots}:
        members = sorted((one for one in snapshots if one.group == group), key=lambda one: (one.made_ns, one.id))[::-1]
        kept |= {one.id for one in members[: rules.last]}
        kept |= {one.id for one in members if set(one.tags) & set(rules.tags)}
        if rules.within_s is not None:
            kept |= {one.id for one in members if members[0].made_ns - one.made_ns <= rules.within_s * 10**9}
        for name, form in _FORMATS.items():
            newest: dict[str, str] = {}
            for one in members:
                period = datetime.fromtimestamp(one.made_ns / 10**9, UTC).strftime(form)
                newest.setdefault(period, one.id)
            wanted = getattr(rules, name)
            kept |= set(list(newest.values())[:wanted])
            if len(newest) < wanted:
                kept.add(members[-1].id)
    return kept


@given(st.lists(_SNAPSHOT, max_size=25), _RULES)
def test_the_rules_keep_what_a_calendar_says(drawn: list[tuple[int, str, list[str]]], rules: Rules) -> None:
    snapshots = snapshots_of(drawn)
    chosen = choose(snapshots, rules)
    assert {id_ for id_, reasons in chosen.items() if reasons} == oracle(snapshots, rules)
    assert chosen.keys() == {snapshot.id for snapshot in snapshots}


@given(st.lists(_SNAPSHOT, min_size=1, max_size=25), _RULES)
def test_more_rules_never_keep_less(drawn: list[tuple[int, str, list[str]]], rules: Rules) -> None:
    snapshots = snapshots_of(drawn)
    fewer = Rules(last=rules.last, daily=rules.daily, tags=rules.tags)
    some = {id_ for id_, reasons in choose(snapshots, fewer).items() if reasons}
    assert some <= {id_ for id_, reasons in choose(snapshots, rules).items() if reasons}


_ENTRIES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@given(_ENTRIES, _ENTRIES)
def test_a_difference_accounts_for_every_file(
    first: dict[str, tuple[int, int]], second: dict[str, tuple[int, int]]
) -> None:
    def manifest(files: dict[str, tuple[int, int]]) -> list[Entry]:
        return [Entry(name, 1, 0o644, time, f"{content:064x}") for name, (content, time) in files.items()]

    found = compare(make_manifest(Kind.BUILD, manifest(first)), make_manifest(Kind.BUILD, manifest(second)))
    both = first.keys() & second.keys()
    assert {entry.name for entry in found.added} == second.keys() - first.keys()
    assert {entry.name for entry in found.removed} == first.keys() - second.keys()
    assert {after.name for _, after in found.changed} == {name for name in both if first[name][0] != second[name][0]}
    assert len(found.changed) + len(found.touched) + found.same == len(both)


_CONTENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=8, unique=True)


@given(_CONTENTS, st.sampled_from([0, 1, 3]))
def test_a_pack_gives_back_what_was_put_into_it(contents: list[bytes], level: int) -> None:
    named = {sha256(content).hexdigest(): content for content in contents}
    opened = Opener().unpack(Sealer(level).pack(named))
    assert {name: bytes(content) for name, content in opened.items()} == named


@given(_CONTENTS, st.data())
def test_a_flipped_bit_in_a_pack_is_always_found(contents: list[bytes], data: st.DataObject) -> None:
    packed = Sealer(1).pack({sha256(content).hexdigest(): content for content in contents})
    at = data.draw(st.integers(0, len(packed) * 8 - 1))
    flipped = bytearray(packed)
    flipped[at // 8] ^= 1 << at % 8
    assert digest(bytes(flipped)) != digest(packed)  # so the name alone tells
    try:
        opened = Opener().unpack(flipped)
        for name, content in opened.items():
            refuse_other(content, name)
    except Failure:
        return
    # What a flip leaves readable and true is only what nothing depends on, such as a checksum's absence.
    assert opened.keys() == {sha256(content).hexdigest() for content in contents}


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_a_content_opens_alike_however_it_is_cut(content: bytes, cut: int) -> None:
    sealed = Sealer(1).seal(content)
    pieces = [sealed[at : at + cut] for at in range(0, len(sealed), cut)]
    assert (
        b"".join(Opener().unseal_pieces(pieces, len(content)))
        == bytes(Opener().unseal(sealed, len(content)))
        == content
    )


@given(st.binary(max_size=300))
def test_nonsense_is_refused_and_nothing_else_happens(data: bytes) -> None:
    opener = Opener()
    for head in (b"", b"gcs-zstd1\n", b"gcs-pack1\n", b"gcs-pack1\n\0\0\0\1"):
        for work in (
            lambda whole: opener.unseal(whole, 100),
            lambda whole: list(opener.unseal_pieces([whole], 100)),
            opener.unpack,
        ):
            try:
                work(head + data)
            except Failure:
                continue


@given(st.data())
def test_a_flipped_bit_in_a_record_is_always_found(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(RECORD.data) * 8 - 1))
    flipped = bytearray(RECORD.data)
    flipped[at // 8] ^= 1 << at % 8
    for name in (RECORD.id, digest(bytes(flipped))):
        try:
            parsed = parse_record(bytes(flipped), name)
        except RecordBad:
            continue
        assert parsed.id == name != RECORD.id  # another record, under its own name


_NAME = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["data/aa/" + "a" * 64, "packs/bb/" + "b" * 64, "snapshots/" + "c" * 64 + ".json", "config.json"]),
    st.sampled_from(["locks/write-" + "0" * 32, "staging/" + "0" * 32 + "/1", "data/aa/../" + "a" * 64]),
)


@given(st.lists(_NAME, unique=True), st.lists(_NAME), st.integers(0, 3))
def test_a_prune_never_plans_to_remove_what_is_foreign_needed_or_young(
    names: list[str], needed: list[str], before_ns: int
) -> None:
    plan = plan_prune(
        place="/r",
        config=Config("0" * 32),
        listed=[Stored(name, 1, number % 3) for number, name in enumerate(names)],
        needed=needed,
        forgotten=(),
        before_ns=before_ns,
        rules=(),
        requester="t",
        made_at=format_time(0),
    )
    for item in plan.items:
        assert part_of(item.name) is not None
        assert item.name not in needed
        assert item.stamp < before_ns
