"""`redis.cluster.RedisCluster` behind the guard.

Knows:     that nodes come and go, that each has a pool of its own, and that a pipeline goes to several of them.
Called by: applications, in the place of `redis.cluster`; `redis_py.aiocluster` shares the questions about a pipeline.
Never:     sends a pipeline to one node when another node's part is held.
Source:    cluster.py of redis-py 8.1: `NodesManager.create_redis_node` makes every node's client. Pipelines send again what failed
           with a subclass of ConnectionError; a lost reply of a guarded node is none, so they leave it alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from redis.cluster import ClusterPipeline, NodesManager, RedisCluster
from redis.connection import PythonRespSerializer
from redis.crc import key_slot

from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answered, Call, Pass
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis_py.client import claiming
from go_cache_safeguard.redis_py.errors import OutcomeUnknown
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.once import once
from go_cache_safeguard.redis_py.pools import guard_pool
from go_cache_safeguard.redis_py.turnstile import ANSWERED, PASSED, Passage, Turnstile, Words

__all__ = ["GuardedRedisCluster"]


class _GuardedNodes(NodesManager):
    """Makes guarded clients only."""

    ruled_by: Guard | None = None

    def create_redis_node(self, host: Any, port: Any, **kwargs: Any) -> Any:
        """As in redis-py."""
        above: Any = super()
        node = above.create_redis_node(host, port, **kwargs)
        guard_pool(node.connection_pool, self.ruled_by, OutcomeUnknown)
        return node


class GuardedRedisCluster(RedisCluster):
    """A drop-in for `redis.cluster.RedisCluster`.

    Attributes:
        ruled_by: The guard of this class; None for the one of the process.
        guard: Whose rules are kept.
    """

    ruled_by: ClassVar[Guard | None] = None

    def __init__(self, *args: Any, guard: Guard | None = None, **kwargs: Any) -> None:
        """As in redis-py.

        Args:
            *args: As in redis-py.
            guard: Whose rules are kept; None for the class' own, or else the process'.
            **kwargs: As in redis-py.

        Raises:
            Failure: The settings cannot be used.
        """
        self.guard = guard or self.ruled_by or default_guard()
        super().__init__(*args, **kwargs)
        self.retry = once(self.retry)
        nodes: Any = self.nodes_manager
        nodes.__class__ = _GuardedNodes
        nodes.ruled_by = self.guard
        for node in [*nodes.nodes_cache.values(), *nodes.startup_nodes.values()]:
            if node.redis_connection is not None:
                guard_pool(node.redis_connection.connection_pool, self.guard, OutcomeUnknown)

    def set_retry(self, retry: Any) -> None:
        """As in redis-py."""
        self.retry = once(retry)

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        """As in redis-py."""
        above: Any = super()
        pipe = above.pipeline(*args, **kwargs)
        pipe.__class__ = _GuardedPipeline
        pipe.guard = self.guard
        return pipe

    def guard_status(self, op: str) -> str:
        """Where an operation stands; see `redis_py.client.GuardedRedis.guard_status`."""
        return self.guard.status(op)

    def guard_retry(self, op: str, *args: Any, **options: Any) -> Any:
        """Send again what was held; see `redis_py.client.GuardedRedis.guard_retry`."""
        this: Any = self
        with claiming(op):
            return this.execute_command(*args, **options)


class _GuardedPipeline(ClusterPipeline):
    """Asks once about all it is going to send."""

    guard: Guard
    _execution_strategy: Any

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        """As in redis-py, when every part of it may go."""
        this: Any = self
        calls = [one.args for one in self._execution_strategy.command_queue]
        answers: list[tuple[Passage, Pass | Answered]] = []
        for address, passage, (call, intent) in parts_of(self.guard, this.encoder, calls, this.nodes_manager):
            answers.append((passage, self.guard.decide(address, call, intent)))
        with decided(answers):
            return super().execute(raise_on_error)


def parts_of(
    guard: Guard, encoder: Any, calls: Sequence[Sequence[Any]], nodes: Any
) -> list[tuple[Address, Passage, tuple[Call, Intent]]]:
    """What has to be asked about before a pipeline is sent, one question for each node.

    Args:
        guard: Whose rules are kept.
        encoder: The cluster's.
        calls: As they were called; nothing is asked about a single one here.
        nodes: The cluster's `nodes_manager`.
    """
    packer: Any = PythonRespSerializer(6_000, encoder.encode)
    data = b"".join(piece for args in calls for piece in packer.pack(*args))
    if len(calls) < 2 or guard.glance(data) is not None:
        return []
    parts: dict[Address, list[Words]] = {}
    for args in Turnstile(guard).weigh(data).calls:
        uses = guard.judge(args, Connection()).uses
        node = nodes.get_node_from_slot(key_slot(uses[0].key)) if uses else nodes.default_node
        parts.setdefault(Address(host=node.host, port=int(node.port), tls=_is_tls(nodes)), []).append(args)
    weighed = [(address, Turnstile(guard).weigh_calls(tuple(part))) for address, part in parts.items()]
    return [(address, passage, passage.ask) for address, passage in weighed if passage.ask is not None]


def _is_tls(nodes: Any) -> bool:
    known = nodes.connection_kwargs
    return bool(known.get("ssl")) or "SSL" in getattr(known.get("connection_class"), "__name__", "")


@contextmanager
def decided(answers: Sequence[tuple[Passage, Pass | Answered]]) -> Iterator[None]:
    """Let the calls inside through, or give their replies: they were asked about before."""
    allowed = {args for passage, answer in answers if isinstance(answer, Pass) for args in passage.calls}
    replies = {passage.calls: answer.reply for passage, answer in answers if isinstance(answer, Answered)}
    tokens = PASSED.set(frozenset(allowed)), ANSWERED.set(replies)
    try:
        yield
    finally:
        PASSED.reset(tokens[0])
        ANSWERED.reset(tokens[1])
