"""What real servers say becomes the facts that the checks judge; and which questions of ours move the counters of the hit rate."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks import replication, ttl
from go_cache_safeguard.redis.hitrate import HitRate, Sample, State, Tuning, observe
from go_cache_safeguard.redis.info import Info, parse_info
from rediskeys import pipeline
from redisservers import Client

pytestmark = pytest.mark.real


def _info(client: Client) -> Info:
    return parse_info(client.text("INFO", "everything"))


def test_a_lonely_server_is_warned_of_and_nothing_about_it_is_unknown(redis_client: Client) -> None:
    verdict = replication.judge(replication.gather(_info(redis_client)))
    assert (verdict.outcome, verdict.evidence) == (Outcome.WARN, ("the server has no replica",))


def test_a_replica_without_its_master_is_warned_of(redis_client: Client) -> None:
    redis_client("REPLICAOF", "127.0.0.1", "1")
    try:
        evidence = replication.judge(replication.gather(_info(redis_client))).evidence
        assert evidence[:2] == ("the server is a replica itself", "it is not connected to its master")
    finally:
        redis_client("REPLICAOF", "NO", "ONE")


def test_every_state_of_an_expiry_is_told_apart(redis_client: Client) -> None:
    redis_client("SET", "soon", "1", "PX", "60000")
    redis_client("SET", "late", "1", "EX", "9999")
    redis_client("SET", "never", "1")
    pttl = {key.encode(): redis_client.number("PTTL", key) for key in ("soon", "late", "never", "gone")}
    assert [ttl.state_of(one) for one in pttl.values()] == [
        ttl.State.ENDS,
        ttl.State.ENDS,
        ttl.State.NO_EXPIRY,
        ttl.State.MISSING,
    ]
    assert ttl.judge(ttl.TtlFacts(pttl)).summary.startswith("1 key end within 5m by themselves; the first is 'soon' in")


def test_keys_of_a_database_are_counted(redis_client: Client) -> None:
    redis_client("SET", "a", "1")
    assert (_info(redis_client).keys(0), _info(redis_client).keys(3)) == (1, 0)


def _sample(client: Client, at_ms: int) -> Sample:
    info = _info(client)
    hits, misses = info.count("keyspace_hits"), info.count("keyspace_misses")
    assert hits is not None
    assert misses is not None
    return Sample(at_ms, hits, misses, info.fields["run_id"])


def test_a_loss_shows_in_the_counters_of_a_real_server(redis_client: Client) -> None:
    tuning = Tuning(enough=5, lookups=20)
    redis_client("SET", "there", "1")
    known = observe(HitRate(), _sample(redis_client, 0), tuning)
    for window in range(1, 12):
        hits = 18 if window < 9 else 2
        for at in range(20):
            redis_client("GET", "there" if at < hits else "gone")
        known = observe(known, _sample(redis_client, window * 5_000), tuning)
    assert known.reading.state is State.DROPPED
    redis_client("CONFIG", "RESETSTAT")
    assert observe(known, _sample(redis_client, 60_000), tuning).reading == known.reading


@pytest.mark.parametrize("question", ["EXISTS", "PTTL", "TTL", "TYPE", "DUMP", "OBJECT ENCODING", "TOUCH"])
def test_a_question_of_ours_counts_as_exactly_one_look_up(redis_client: Client, question: str) -> None:
    """So whoever asks can subtract them: a hit for a key that is there, a miss for one that is not."""
    redis_client("SET", "there", "1")
    for key, moved in (("there", (1, 0)), ("gone", (0, 1))):
        before = _sample(redis_client, 0)
        pipeline(redis_client, [(*question.split(" "), key)])
        after = _sample(redis_client, 0)
        assert (after.hits - before.hits, after.misses - before.misses) == moved


@pytest.mark.parametrize(
    "question", ["MEMORY USAGE there", "MEMORY USAGE gone", "SCAN 0", "DBSIZE", "INFO", "COMMAND COUNT"]
)
def test_these_questions_do_not_count(redis_client: Client, question: str) -> None:
    redis_client("SET", "there", "1")
    before = _sample(redis_client, 0)
    redis_client(*question.split(" "))
    assert _sample(redis_client, 0) == before
