"""`redis.asyncio.cluster.RedisCluster` behind the guard.

Knows:     that a node makes its connections itself, of the class that the cluster was made with.
Called by: applications, by way of `redis_py.asyncio`.
Never:     sends a pipeline to one node when another node's part is held.
Source:    asyncio/cluster.py of redis-py 8.1: all nodes are made with the cluster's `connection_kwargs`, and connect when first used.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from redis.asyncio.cluster import ClusterPipeline, RedisCluster

from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answered, Call, Pass
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis_py.aiowire import asked, guarded
from go_cache_safeguard.redis_py.client import claiming
from go_cache_safeguard.redis_py.cluster import decided, parts_of
from go_cache_safeguard.redis_py.errors import OutcomeUnknown
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.once import once
from go_cache_safeguard.redis_py.turnstile import Passage


class GuardedRedisCluster(RedisCluster):
    """A drop-in for `redis.asyncio.cluster.RedisCluster`; see `redis_py.cluster.GuardedRedisCluster`.

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
        kind = guarded(self.connection_kwargs["connection_class"], self.guard, OutcomeUnknown)
        for kwargs_of_nodes in (self.connection_kwargs, nodes.connection_kwargs):
            kwargs_of_nodes["connection_class"] = kind
        for node in [*nodes.startup_nodes.values(), *nodes.nodes_cache.values()]:
            node.connection_class = kind

    def set_retry(self, retry: Any) -> None:
        """As in redis-py."""
        self.retry = once(retry)

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        """As in redis-py."""
        if args[1:] or kwargs.get("shard_hint"):
            return super().pipeline(*args, **kwargs)
        kind: Any = _GuardedPipeline
        return kind(self, *args, **kwargs)

    async def guard_status(self, op: str) -> str:
        """Where an operation stands; see `redis_py.client.GuardedRedis.guard_status`."""
        return await asyncio.to_thread(self.guard.status, op)

    async def guard_retry(self, op: str, *args: Any, **options: Any) -> Any:
        """Send again what was held; see `redis_py.client.GuardedRedis.guard_retry`."""
        with claiming(op):
            return await self.execute_command(*args, **options)


class _GuardedPipeline(ClusterPipeline):
    """Asks once about all it is going to send."""

    async def execute(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As in redis-py, when every part of it may go."""
        this: Any = self
        client: Any = this.cluster_client
        calls = [one.args for one in this._execution_strategy._command_queue]  # noqa: SLF001 - redis-py has no other way
        if client._initialize:  # noqa: SLF001 - likewise
            await client.initialize()
        answers: list[tuple[Passage, Pass | Answered]] = []
        for address, passage, (call, intent) in parts_of(client.guard, client.encoder, calls, client.nodes_manager):
            ask = partial(_decide, client.guard, address, call, intent)
            answers.append((passage, await asked(ask)))
        with decided(answers):
            return await super().execute(*args, **kwargs)


def _decide(
    guard: Guard, address: Address, call: Call, intent: Intent, abandoned: Callable[[], bool]
) -> Pass | Answered:
    return guard.decide(address, call, intent, abandoned=abandoned)
