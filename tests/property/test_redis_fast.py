"""What is called harmless is harmless to the judge, and both twins and the strict reader see the same requests."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks import names
from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.connection import Connection, advance
from go_cache_safeguard.redis.fast import Fast, Words, fast_calls, scan_python
from go_cache_safeguard.redis.intent import Terms, judge
from go_cache_safeguard.redis.resp import Limits, encode
from go_cache_safeguard.redis.rules import TREATMENTS, Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from redisstreams import WORDS, Twin, compiled, expected, forms, stream

TABLE = load_table()


def _mixed() -> Rules:
    """Every command treated in some way, whatever it does."""
    random = Random(7)  # noqa: S311 - the same choices in every run
    return Rules(overrides={name: random.choice(list(Treatment)) for name in TABLE.rows})


RULES = (
    Rules(),
    Rules(protect=parse_patterns("session:*"), treatments={**TREATMENTS, Class.REMOVES: Treatment.PROTECT}),
    Rules(overrides=dict.fromkeys(TABLE.rows, Treatment.PASS)),
    Rules(overrides=dict.fromkeys(TABLE.rows, Treatment.PROTECT), namespaces=frozenset({b"user"})),
    _mixed(),
)
SOON_MS = 1_500
CALLS = tuple((rules, fast_calls(TABLE, rules, soon_ms=SOON_MS)) for rules in RULES)
SMALL = Limits(arguments=3, argument_bytes=9, request_bytes=20)
SCANNED = (CALLS[0][1], CALLS[1][1], Fast(CALLS[1][1].calls, limits=SMALL, timed=CALLS[1][1].timed))
FORMS = forms(CALLS[0][1], TABLE)

_WORD = st.one_of(st.sampled_from(WORDS), st.binary(max_size=6))


@st.composite
def _calls(draw: st.DrawFn) -> tuple[Rules, Words, tuple[bytes, ...]]:
    """A call that is called harmless, with any words."""
    rules, fast = draw(st.sampled_from(CALLS))
    name = draw(st.one_of(st.sampled_from(sorted(fast.forms)), st.sampled_from(sorted(fast.timed) or [b"GET"])))
    assume(name in fast.forms)
    words = draw(st.sampled_from(fast.forms[name]))
    count = draw(st.integers(words.least, min(words.most, words.least + 30)))
    args = [name, *draw(st.lists(_WORD, min_size=count - 1, max_size=count - 1))]
    if words.time_at:
        args[words.time_at] = b"%d" % draw(st.integers(words.above + 1, 10**10 - 1))
        args[words.time_at - 1] = words.option or args[words.time_at - 1]
        assert words.fits(args)
    return rules, words, tuple(args)


@given(call=_calls(), now_ms=st.integers(0, 1 << 42))
@settings(max_examples=1_500, deadline=None)
def test_a_harmless_call_is_never_judged_otherwise(call: tuple[Rules, Words, tuple[bytes, ...]], now_ms: int) -> None:
    rules, words, args = call
    intent = judge(args, Connection(), TABLE, Terms(now_ms, SOON_MS))
    treatment = rules.of_intent(intent)
    if words.keyed:
        assert treatment is Treatment.PROTECT
        assert {use.key for use in intent.losing} == {args[1]}
    else:
        assert treatment is Treatment.PASS
    assert advance(Connection(), args) == Connection()


def test_every_harmless_call_is_tried_with_every_small_number_of_words() -> None:
    for rules, fast in CALLS:
        for name, words in fast.calls.items():
            for count in range(1, 40):
                args = (name, *(WORDS[(count * 7 + at) % len(WORDS)] for at in range(1, count)))
                treatment = rules.of_intent(judge(args, Connection(), TABLE, Terms(0)))
                if words.least <= count <= words.most:
                    assert treatment is (Treatment.PROTECT if words.keyed else Treatment.PASS), args


@given(key=st.lists(_WORD, max_size=3).map(b"".join))
def test_without_rules_only_keys_that_look_like_patterns_are_ever_refused(key: bytes) -> None:
    verdict = names.judge(names.NameFacts((key,), Rules()))
    assert verdict.outcome is Outcome.PASS or set(key) & set(b"*?[\\")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return Twin(compiled(tmp_path_factory.mktemp("twin")))


def _agree(twin: Twin, data: bytes) -> None:
    for fast in SCANNED:
        found, _ = expected(data, fast)
        assert scan_python(data, fast) == found, data
        assert twin(data, fast) == found, data


_NAME = st.one_of(st.sampled_from([name for name, _ in FORMS]), st.sampled_from(sorted(SCANNED[0].forms)))
_REQUESTS = st.lists(
    st.builds(lambda name, words: encode((name, *words)), _NAME, st.lists(_WORD, max_size=5)), max_size=5
)


@given(requests=_REQUESTS, byte=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_streams_are_scanned_alike_cut_and_corrupted_at_every_byte(
    twin: Twin, requests: Sequence[bytes], byte: int
) -> None:
    data = b"".join(requests)[:600]
    _agree(twin, data)
    for at in range(len(data)):
        _agree(twin, data[:at])
        _agree(twin, data[:at] + bytes([byte]) + data[at + 1 :])


@given(
    data=st.lists(st.sampled_from([b"*", b"$", b"1", b"2", b"3", b"0", b"\r\n", b"\r", b"GET", b"SET", b"k"])).map(
        b"".join
    )
)
@settings(deadline=None)
def test_noise_is_scanned_alike(twin: Twin, data: bytes) -> None:
    _agree(twin, data)


def test_hostile_streams_are_scanned_alike(twin: Twin) -> None:
    random = Random(11)  # noqa: S311 - the same streams in every run
    for _ in range(10_000):
        _agree(twin, stream(random, FORMS))
