"""Whatever is protected: the patterns that remain take in every other key, and none of those."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.pattern import parse_glob
from go_cache_safeguard.redis.keyspace import Region, region_of_glob, without

_BYTES = st.sampled_from([*b"ab:-]^\\*?[", 0, 10, 32, 0xE9, 0xFF])
_KEYS = st.lists(_BYTES, max_size=5).map(bytes)
_HEADS = st.lists(st.sampled_from([*b"ab:-]^\\*?[", 0xE9]), min_size=1, max_size=4).map(bytes)
_REGIONS = st.builds(Region, _HEADS, st.booleans())


@given(protected=st.lists(_REGIONS, max_size=4), key=_KEYS, head=st.one_of(st.just(b""), _HEADS))
def test_what_is_left_is_exactly_what_is_not_protected(protected: list[Region], key: bytes, head: bytes) -> None:
    region = Region(head)
    globs = without(region, protected)
    assert globs is not None
    key = head + key
    taken = any(parse_glob(glob).matches(key) for glob in globs)
    guarded = any(Region(key, whole=False) in one for one in protected)
    assert taken is not guarded or not key


@given(region=_REGIONS)
def test_a_region_is_what_its_pattern_says(region: Region) -> None:
    assert region_of_glob(region.glob) == region
