"""Lua scripts of libraries that were read, and do no more than their library says.

Knows:     the SHA-1 of each, as EVALSHA sends it.
Called by: `redis_py.guard`, which treats them as the ones in the setting `redis.scripts`: protected keys stay protected.
Never:     trusts what is installed: these are the texts that were read, and a changed one is held.
Source:    lock.py of redis-py 6.4 and 8.1, scripts.py of RQ 3.0, transport/redis.py of kombu 5.7, backends/redis.py of Celery 5.7.
"""

from collections.abc import Mapping

LIBRARY_SCRIPTS: Mapping[str, str] = {
    "c3f8721cbb97f72bc19e972846bd7aaf91901658": "redis-py's Lock, release: deletes the lock's key if it holds the caller's token",
    "a4e8783852e6b949f9ef3a97212805108459a890": "redis-py's Lock, extend: a later end for the lock's key, likewise",
    "1cac51482acf5858da00f6d685d68f886cd6b6b2": "redis-py's Lock, reacquire: a new end for the lock's key, likewise",
    "4227fa753143e6f652e2e185d254964b3a7413a5": "RQ, acquires a lock, or gives it a new end",
    "d44df6e1a0e76df1009084a91af26cc23ac035a9": "RQ, releases a lock that holds the caller's token",
    "5cee5213d2ee93f19f93badbfc1c8abbccde5baf": "RQ, writes a job that is not there yet, and puts it into its queue",
    "10808fbebdc9b5ffafa2b7f5f2ce29a5bc6a1e07": "RQ, writes a job that is not there yet, and schedules it",
    "ef7a9e205fbaf46bf959e1522ff796622fc676c7": "kombu, adds a binding and its deadline",
    "9a2b966a0a2d2d0e36ec32bc30fc89342b94a4bf": "kombu, deletes its own binding tables whose deadline is over; it does not name them",
    "b8fc152c83a7e634103ccebd49dcd3146a8f4366": "Celery, adds the result of one part of a chord, and claims the last one",
    "dc87180d6bcb7f73c7275eb0fe7a70baf0a8b7c7": "Celery, a later end for the claim of a chord",
    "59d7aab41242d82196947ba8926cab712416da4f": "Celery, deletes the bookkeeping of a chord that is claimed with the caller's token",
}
"""What each does, by its digest."""
