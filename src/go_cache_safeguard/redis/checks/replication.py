"""Would somebody still have a copy?

Knows:     what replicas, a running failover, loading and failed saves mean for data that is about to go.
Called by: `flows`, with what INFO says.
Never:     takes silence for health: what INFO does not tell is UNKNOWN.
Source:    INFO sections replication and persistence (Redis 6.2, 7.0, Valkey 9); FAILOVER since 6.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.info import Info

CHECK = Check(
    id="redis-replication",
    title="replicas and saves",
    question="Does the server have a replica, no failover running, and did its last saves succeed?",
    blind_spot="A replica repeats a deletion at once, so it is no copy to go back to; a save may be older than what is about to go.",
)
_ORDER = tuple(Outcome)
_QUIET = "no-failover"


@dataclass(frozen=True, slots=True)
class ReplicationFacts:
    """What a server says.

    Attributes:
        role: `master` or `slave`; empty if it was not told.
        replicas: Connected ones; None if that was not told.
        failover: State of a failover; `no-failover` if there is none. Empty if it was not told.
        link_up: Of a replica: whether it is connected to its master; None elsewhere or if it was not told.
        loading: Whether a data set is being read; None if that was not told.
        saved: Whether the last save succeeded; None if that was not told.
        appended: Whether the last write to the append-only file succeeded; None if that was not told.
        rewritten: Whether that file's last rewrite succeeded; None if that was not told.
    """

    role: str
    replicas: int | None
    failover: str
    link_up: bool | None
    loading: bool | None
    saved: bool | None
    appended: bool | None
    rewritten: bool | None


def gather(info: Info) -> ReplicationFacts:
    """The facts out of INFO."""
    link = {"up": True, "down": False}.get(info.fields.get("master_link_status", ""))
    return ReplicationFacts(
        role=info.fields.get("role", ""),
        replicas=info.count("connected_slaves"),
        failover=info.fields.get("master_failover_state", ""),
        link_up=link,
        loading=info.is_one("loading"),
        saved=info.is_ok("rdb_last_bgsave_status"),
        appended=info.is_ok("aof_last_write_status"),
        rewritten=info.is_ok("aof_last_bgrewrite_status"),
    )


def judge(facts: ReplicationFacts) -> Verdict:
    """WARN for what is not as it should be, UNKNOWN for what was not told; the worst decides."""
    found = sorted(_told(facts), key=lambda told: -_ORDER.index(told[0]))
    if not found:
        return Verdict(CHECK.id, Outcome.PASS, f"replicas: {facts.replicas}; the last saves succeeded")
    return Verdict(
        check=CHECK.id,
        outcome=found[0][0],
        summary=found[0][1],
        evidence=tuple(text for _, text in found),
        remedy=("INFO replication", "INFO persistence"),
    )


def _told(facts: ReplicationFacts) -> Iterator[tuple[Outcome, str]]:
    yield from _role(facts)
    if not facts.failover:
        yield Outcome.UNKNOWN, "the server does not tell whether a failover is running"
    elif facts.failover != _QUIET:
        yield Outcome.WARN, f"a failover is running: {facts.failover}"
    for good, wanted, bad, what in (
        (facts.loading, False, "the server is still loading its data set", "whether it is loading"),
        (facts.saved, True, "the last save failed", "whether its last save succeeded"),
        (facts.appended, True, "the last write to the append-only file failed", "whether its last append succeeded"),
        (
            facts.rewritten,
            True,
            "the last rewrite of the append-only file failed",
            "whether its last rewrite succeeded",
        ),
    ):
        if good is None:
            yield Outcome.UNKNOWN, f"the server does not tell {what}"
        elif good is not wanted:
            yield Outcome.WARN, bad


def _role(facts: ReplicationFacts) -> Iterator[tuple[Outcome, str]]:
    match facts.role:
        case "master":
            if facts.replicas is None:
                yield Outcome.UNKNOWN, "the server does not tell how many replicas it has"
            elif not facts.replicas:
                yield Outcome.WARN, "the server has no replica"
        case "slave":
            yield Outcome.WARN, "the server is a replica itself"
            if facts.link_up is None:
                yield Outcome.UNKNOWN, "the server does not tell whether it is connected to its master"
            elif not facts.link_up:
                yield Outcome.WARN, "it is not connected to its master"
        case _:
            yield Outcome.UNKNOWN, "the server does not tell its role"
