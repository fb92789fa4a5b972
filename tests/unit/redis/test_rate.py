"""What a client removed in the last minute."""

from go_cache_safeguard.redis.rate import Removals


def test_a_minute_is_counted_for_each_client() -> None:
    known = Removals().plus("a", 2, 0).plus("b", 5, 1_000).plus("a", 3, 30_000)
    assert (known.of("a", 30_000), known.of("b", 30_000), known.of("c", 30_000)) == (5, 5, 0)
    assert known.of("a", 66_000) == 3
    assert known.of("a", 200_000) == 0


def test_what_is_over_is_forgotten() -> None:
    known = Removals()
    for second in range(1_000):
        known = known.plus("a", 1, second * 1_000)
    assert len(known.buckets) <= 14
    assert 60 <= known.of("a", 999_000) <= 65
