"""The questions that a server is asked before keys may go, for every key of the command.

Adding one: a file here with `CHECK`, a frozen dataclass of facts, and `judge(facts) -> Verdict`; its `CHECK` in the tuple below;
a section in docs/checks.md and a test file of the same name. Ids begin with `redis-`.
"""

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.redis.checks import blast_radius, hit_rate, names, replication, ttl, undo

CHECKS: tuple[Check, ...] = (
    names.CHECK,
    ttl.CHECK,
    hit_rate.CHECK,
    blast_radius.CHECK,
    replication.CHECK,
    undo.CHECK,
)
"""Every check of a server, in the order in which they are asked: those that need no question to the server first."""
