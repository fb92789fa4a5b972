"""What INFO says becomes facts, and facts a verdict."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.replication import ReplicationFacts, gather, judge
from go_cache_safeguard.redis.info import Info, parse_info

GOOD = ReplicationFacts("master", 2, "no-failover", None, loading=False, saved=True, appended=True, rewritten=True)
TEXT = (
    b"# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_failover_state:no-failover\r\n"
    b"# Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:ok\r\naof_last_bgrewrite_status:ok\r\n"
)


def test_facts_come_out_of_info() -> None:
    assert gather(parse_info(TEXT)) == GOOD
    assert gather(parse_info(b"role:slave\r\nmaster_link_status:up\r\n")).link_up is True
    assert judge(GOOD).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("facts", "outcome", "text"),
    [
        (replace(GOOD, replicas=0), Outcome.WARN, "no replica"),
        (replace(GOOD, replicas=None), Outcome.UNKNOWN, "how many replicas"),
        (replace(GOOD, role=""), Outcome.UNKNOWN, "its role"),
        (replace(GOOD, role="slave", link_up=True), Outcome.WARN, "a replica itself"),
        (replace(GOOD, role="slave", link_up=False), Outcome.WARN, "a replica itself"),
        (replace(GOOD, role="slave"), Outcome.UNKNOWN, "connected to its master"),
        (replace(GOOD, failover="waiting-for-sync"), Outcome.WARN, "failover is running: waiting-for-sync"),
        (replace(GOOD, failover=""), Outcome.UNKNOWN, "failover"),
        (replace(GOOD, loading=True), Outcome.WARN, "still loading"),
        (replace(GOOD, saved=False), Outcome.WARN, "last save failed"),
        (replace(GOOD, appended=False), Outcome.WARN, "last write to the append-only file"),
        (replace(GOOD, rewritten=False), Outcome.WARN, "last rewrite"),
        (replace(GOOD, saved=None), Outcome.UNKNOWN, "whether its last save"),
        (gather(Info({})), Outcome.UNKNOWN, "its role"),
    ],
)
def test_what_is_not_as_it_should_be_or_not_told(facts: ReplicationFacts, outcome: Outcome, text: str) -> None:
    verdict = judge(facts)
    assert verdict.outcome is outcome
    assert text in verdict.summary
    assert verdict.remedy
