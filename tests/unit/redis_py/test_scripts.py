"""The scripts that were read are those of the libraries."""

from hashlib import sha1

import celery.backends.redis as celery
import kombu.transport.redis as kombu
import rq.scripts as rq
from redis.lock import Lock

from go_cache_safeguard.redis_py.scripts import LIBRARY_SCRIPTS


def test_each_is_the_text_of_a_library_that_is_tested_with() -> None:
    texts = [
        Lock.LUA_RELEASE_SCRIPT,
        Lock.LUA_EXTEND_SCRIPT,
        Lock.LUA_REACQUIRE_SCRIPT,
        rq.ACQUIRE_OR_REFRESH_LOCK_SCRIPT,
        rq.RELEASE_LOCK_SCRIPT,
        rq.UNIQUE_ENQUEUE_SCRIPT,
        rq.UNIQUE_SCHEDULE_SCRIPT,
        kombu.REFRESH_BINDING,
        kombu.SWEEP_BINDINGS,
        celery.CHORD_PART_RETURN_LUA,
        celery.CHORD_CLAIM_EXTEND_LUA,
        celery.CHORD_CLEANUP_LUA,
    ]
    assert {sha1(text.encode(), usedforsecurity=False).hexdigest() for text in texts} == set(LIBRARY_SCRIPTS)
