"""What popular users of redis-py do when a guard is in their way: nothing else than before, until they would destroy something.

Each runs in a process of its own, because a library is set up once per process. The rules are those that docs/redis.md advises for an
application that deletes keys of its own all day.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from redisservers import Server, running

pytestmark = pytest.mark.real

_BEGIN = """
import json, sys
import redis
from go_cache_safeguard.redis_py import Guard, GuardedRedis, OperationHeld, guard_process
url, state = sys.argv[1:]
guard = Guard.load({"state.dir": state, "redis.on_removes": "protect", "redis.protect": "keep:*"})
found = {}
def held(call):
    try:
        return repr(call())
    except OperationHeld as error:
        return error.op[:3]
"""
_END = """
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("valkey-9.1", tmp_path_factory.mktemp("server")) as one:
        yield one


def _run(server: Server, state: Path, story: str, scheme: str = "unix") -> dict[str, object]:
    with server.client() as client:
        client("FLUSHALL")
    program = _BEGIN + dedent(story) + _END
    command = [sys.executable, "-c", program, f"{scheme}://{server.path}", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=state)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _keys(server: Server) -> int:
    with server.client() as client:
        return client.number("DBSIZE")


def test_the_cache_of_django_works_and_clear_is_held(server: Server, tmp_path: Path) -> None:
    found = _run(
        server,
        tmp_path,
        """
        from go_cache_safeguard.redis_py import guard as module
        module._DEFAULT.append(guard)
        from django.conf import settings
        pool = "go_cache_safeguard.redis_py.GuardedConnectionPool"
        settings.configure(CACHES={"default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url, "OPTIONS": {"pool_class": pool}}})
        from django.core.cache import cache
        cache.set("a", {"b": [1, 2]}, 60)
        cache.set("forever", 1, None)
        found["get"] = cache.get("a")
        found["add"] = [cache.add("a", 1), cache.add("new", 1, 30)]
        cache.set_many({"m": 1, "n": 2}, 60)
        found["many"] = cache.get_many(["m", "n", "none"])
        found["incr"] = cache.incr("m", 5)
        found["touch"] = cache.touch("m", 100)
        found["delete"] = cache.delete("m")
        cache.delete_many(["n", "new"])
        found["or"] = cache.get_or_set("x", lambda: 7, 10)
        found["has"] = "x" in cache
        found["clear"] = held(cache.clear)
        cache.close()
        """,
    )
    assert found == {
        "get": {"b": [1, 2]},
        "add": [False, True],
        "many": {"m": 1, "n": 2},
        "incr": 6,
        "touch": True,
        "delete": True,
        "or": 7,
        "has": True,
        "clear": "op_",
    }
    assert _keys(server) == 3


def test_dogpile_caches_locks_and_deletes(server: Server, tmp_path: Path) -> None:
    found = _run(
        server,
        tmp_path,
        """
        from dogpile.cache import make_region
        from redis.connection import ConnectionPool
        pool = GuardedRedis.under(guard).from_url(url).connection_pool
        region = make_region().configure("dogpile.cache.redis", expiration_time=60, arguments={
            "connection_pool": pool, "redis_expiration_time": 120, "distributed_lock": True, "thread_local_lock": False})
        made = []
        @region.cache_on_arguments()
        def double(number):
            made.append(number)
            return 2 * number
        found["twice"] = [double(2), double(2), list(made)]
        double.invalidate(2)
        found["again"] = [double(2), made]
        region.set_multi({"a": 1, "b": 2})
        found["multi"] = region.get_multi(["a", "b"])
        region.delete_multi(["a", "b"])
        found["protected"] = [held(lambda: region.set("keep:me", 1)), held(lambda: region.delete("keep:me"))]
        found["flush"] = held(lambda: redis.Redis(connection_pool=pool).flushdb())
        """,
    )
    assert found["twice"] == [4, 4, [2]]
    assert found["again"] == [4, [2, 2]]
    assert found["multi"] == [1, 2]
    assert found["protected"] == ["op_", "op_"]
    assert found["flush"] == "op_"


def test_rq_queues_works_and_cleans_up(server: Server, tmp_path: Path) -> None:
    (tmp_path / "rqjobs.py").write_text(
        "def add(one, other):\n    return one + other\n\ndef fail():\n    raise ValueError('on purpose')\n"
    )
    found = _run(
        server,
        tmp_path,
        """
        import logging, rqjobs
        from rq import Queue, SimpleWorker
        connection = GuardedRedis.from_url(url, guard=guard)
        queue = Queue("work", connection=connection)
        jobs = [queue.enqueue(rqjobs.add, 1, 2), queue.enqueue(rqjobs.fail), queue.enqueue(rqjobs.add, 3, 4, result_ttl=0)]
        later = queue.enqueue(rqjobs.add, 5, 6, depends_on=jobs[0])
        logging.disable(logging.CRITICAL)
        SimpleWorker([queue], connection=connection).work(burst=True, with_scheduler=False)
        found["results"] = [jobs[0].return_value(), jobs[1].get_status().value, later.return_value()]
        jobs[0].delete()
        queue.enqueue(rqjobs.add, 1, 1)
        found["emptied"] = held(queue.empty)
        queue.delete(delete_jobs=False)
        found["flush"] = held(connection.flushall)
        """,
    )
    assert found["results"] == [3, "failed", 11]
    assert found["flush"] == "op_"
    assert found["emptied"] == "op_", "RQ empties a queue with a script, which nobody has looked at"


def test_celery_sends_works_and_keeps_results(server: Server, tmp_path: Path) -> None:
    found = _run(
        server,
        tmp_path,
        """
        guard_process(guard)
        from celery import Celery, chord, group
        app = Celery("test", broker=url, backend=url)
        app.conf.update(worker_hijack_root_logger=False, task_ignore_result=False, broker_connection_retry_on_startup=True)
        @app.task
        def add(one, other):
            return one + other
        from celery.contrib.testing.worker import start_worker
        with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR", shutdown_timeout=30):
            found["one"] = add.delay(1, 2).get(timeout=30)
            results = group(add.s(number, number) for number in range(5)).apply_async()
            found["group"] = results.get(timeout=30)
            results.forget()
        found["purge"] = app.control.purge()
        found["guarded"] = type(app.backend.client.connection_pool.connection_class).__name__ and issubclass(
            app.backend.client.connection_pool.connection_class, __import__("go_cache_safeguard.redis_py.wire", fromlist=["x"]).Watched)
        found["flush"] = held(app.backend.client.flushall)
        """,
        scheme="redis+socket",
    )
    assert found == {"one": 3, "group": [0, 2, 4, 6, 8], "purge": 0, "guarded": True, "flush": "op_"}
