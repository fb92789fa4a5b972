"""A small key space with a key of every kind, commands that do something to it, and what was done to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from go_cache_safeguard.redis.resp import encode
from redisservers import Client, ServerError

FORMS = """
DEL s|UNLINK s|DEL s d l|GETDEL s|GETEX s|GETEX s EXAT @P|GETEX s PXAT 1|GETEX s PERSIST|GETEX s EX 100|EXPIRE s 0|EXPIRE s -1
EXPIRE s 100|EXPIRE s 1|PEXPIRE s 0|EXPIREAT s @P|PEXPIREAT s 1|EXPIREAT s @F|PERSIST d|RENAME s d|RENAME s new|RENAMENX s new
RENAMENX s d|MOVE s 9|COPY s d REPLACE|COPY s d|COPY s new|COPY s d DB 9 REPLACE|COPY s other DB 9 REPLACE|RESTORE d 0 @D REPLACE
RESTORE new 0 @D|RESTORE new 1 @D ABSTTL|RESTORE d 1 @D ABSTTL REPLACE|SET d v|SET d v KEEPTTL|SET d v NX|SET d v XX GET|SET new v
SET d v PXAT 1|SET d v EXAT @P|SET d v EX 100|SETEX d 10 v|PSETEX d 10 v|PSETEX d 100000 v|SETNX d v|GETSET d v|MSET d v new v
MSETNX d v new v|APPEND d v|SETRANGE d 0 zz|INCR n|DECR n|INCRBY n 2|DECRBY n 2|INCRBYFLOAT n 1.5|SETBIT bm 7 0
BITFIELD bm SET u8 0 0|BITFIELD bm GET u8 0|BITOP NOT d s|BITOP AND d nokey nokey2|LPOP l|RPOP l|LPOP l1|LPOP l 3|LTRIM l 0 0
LTRIM l 5 9|LREM l 0 a|LREM l1 0 only|LSET l 0 q|LINSERT l BEFORE a q|LPUSH l q|RPUSH l q|LPUSHX l q|LMOVE l d2 LEFT LEFT
LMOVE l1 d2 LEFT LEFT|RPOPLPUSH l1 d2|LMPOP 1 l LEFT COUNT 10|BLPOP l1 1|BRPOP l1 l 1|BLMOVE l1 d2 LEFT LEFT 1|BRPOPLPUSH l1 d2 1
BLMPOP 1 1 l LEFT COUNT 10|SREM st a|SREM s1 only|SPOP st|SPOP s1|SPOP st 3|SMOVE st st2 a|SMOVE s1 st2 only|SADD st q
SINTERSTORE d st st2|SINTERSTORE d st nokey|SUNIONSTORE d st st2|SDIFFSTORE d st st2|ZREM z a|ZREM z1 only|ZPOPMIN z|ZPOPMAX z1
ZMPOP 1 z MIN COUNT 9|BZPOPMIN z1 1|BZPOPMAX z1 1|BZMPOP 1 1 z MIN COUNT 9|ZREMRANGEBYRANK z 0 -1|ZREMRANGEBYSCORE z -inf +inf
ZREMRANGEBYLEX z - +|ZADD z 9 a|ZINCRBY z 1 a|ZRANGESTORE d z 0 -1|ZRANGESTORE d z 9 9|ZUNIONSTORE d 1 z|ZUNIONSTORE d 2 z z1
ZINTERSTORE d 2 z z1|ZDIFFSTORE d 1 z|HDEL h a|HDEL h1 only|HSET h a 9|HMSET h a 9|HSETNX h a 9|HINCRBY h a 1|HINCRBYFLOAT h a 1
HEXPIRE h 0 FIELDS 1 a|HPEXPIRE h 0 FIELDS 1 a|HEXPIREAT h 1 FIELDS 1 a|HPEXPIREAT h 1 FIELDS 1 a|HEXPIRE h1 0 FIELDS 1 only
HEXPIRE h 100 FIELDS 1 a|HGETDEL h1 FIELDS 1 only|HGETEX h PXAT 1 FIELDS 1 a|HGETEX h1 PXAT 1 FIELDS 1 only|HGETEX h FIELDS 1 a
HSETEX h EX 100 FIELDS 1 a 7|HSETEX h1 PXAT 1 FIELDS 1 only 7|HPERSIST h FIELDS 1 a|XDEL x 1-1|XTRIM x MAXLEN 0|XTRIM x MINID 9
XADD x MAXLEN 1 * f v|XADD x maxlen = 1 * f v|XADD x * f v|XSETID x 9-1|XGROUP DESTROY x g|XGROUP DELCONSUMER x g c1
XGROUP SETID x g $|XGROUP CREATE x g9 $|XACK x g 1-1|XCLAIM x g c2 0 1-1|XAUTOCLAIM x g c2 0 0|XREADGROUP GROUP g c1 STREAMS x >
XREAD COUNT 1 STREAMS x 0|PFADD d2 a|PFMERGE hl2 hl|PFMERGE hl nokey|PFCOUNT hl|GEOADD geo 1 1 Q|GEORADIUS geo 13 38 200 km STORE d
GEORADIUS geo 13 38 200 km|GEORADIUSBYMEMBER geo P 200 km STORE d|GEORADIUSBYMEMBER geo P 200 km STOREDIST d
GEOSEARCHSTORE d geo FROMLONLAT 13 38 BYRADIUS 200 km ASC|GEOSEARCHSTORE d geo FROMLONLAT 1 1 BYRADIUS 1 m ASC|SORT l ALPHA STORE d
SORT nokey STORE d|SORT l ALPHA|SORT l BY nosort GET # STORE d|SORT l BY STORE STORE d|SORT_RO l ALPHA|FLUSHDB|FLUSHALL|FLUSHALL ASYNC
SWAPDB 0 9|EVAL return(redis.call('del',KEYS[1])) 1 s|EVAL return(redis.call('flushall')) 0|EVAL_RO return(redis.call('get',KEYS[1])) 1 s
TOUCH s|OBJECT ENCODING s|DEBUG RELOAD|CONFIG RESETSTAT|SCRIPT FLUSH|FUNCTION FLUSH|MEMORY PURGE|CONFIG SET slowlog-max-len 64
RESTORE-ASKING new 0 @D|WAIT 0 0|PUBLISH a b|SUBSTR s 0 1|LATENCY RESET|SLOWLOG RESET|ACL LOG RESET|CLIENT KILL TYPE pubsub
DELIFEQ s value|SET d q IFEQ dvalue|SET d q IFEQ NX|MSETEX 2 d v new v EX 100|MSETEX 1 d v NX|MSETEX 1 d v PXAT 1|KEYS *|SCAN 0|DBSIZE
MGET s d|STRLEN s|LRANGE l 0 -1|TYPE s|DUMP s|MEMORY USAGE s|EXISTS s d|LINDEX l 0|ZRANGE z 0 -1|HGETALL h|SMEMBERS st|RANDOMKEY
"""
"""@P is a time that is over, @F one to come, @D the payload of DUMP s."""

_BUILD = """
SET s value EX 9999|SET d dvalue EX 8888|SET n 41|SETBIT bm 7 1|RPUSH l a b c|RPUSH l1 only|SADD st a b c|SADD st2 c d|SADD s1 only
ZADD z 1 a 2 b 3 c|ZADD z1 1 only|HSET h a 1 b 2|HSET h1 only 1|XADD x 1-1 f v|XADD x 2-1 f v|XGROUP CREATE x g 0
XREADGROUP GROUP g c1 COUNT 1 STREAMS x >|PFADD hl a b c|PFADD hl2 q|GEOADD geo 13.3 38.1 P 13.5 37.9 C
"""
_SIZES = {b"list": "LLEN", b"set": "SCARD", b"zset": "ZCARD", b"hash": "HLEN", b"stream": "XLEN"}
DATABASES = (0, 9)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a key is at one moment."""

    kind: bytes
    dump: bytes
    size: int
    expires: bool


def _lines(text: str) -> Iterator[list[bytes]]:
    for form in text.replace("\n", "|").split("|"):
        if form:
            yield [word.encode() for word in form.split()]


def forms(client: Client) -> list[tuple[bytes, ...]]:
    """Every form, with its times and its payload filled in."""
    now = client.strings("TIME")[0]
    filled = {b"@P": b"%d" % (int(now) - 1000), b"@F": b"%d" % (int(now) + 10_000), b"@D": client.text("DUMP", "s")}
    return [tuple(filled.get(word, word) for word in words) for words in _lines(FORMS)]


def build(client: Client) -> None:
    """Make the key space; a second database holds one key."""
    second = ([b"SELECT", b"9"], [b"SET", b"other", b"1"], [b"SELECT", b"0"])
    pipeline(client, [[b"FLUSHALL"], *_lines(_BUILD), *second])


def pipeline(client: Client, commands: Sequence[Sequence[bytes | str]]) -> list[object]:
    """Send many commands at once; errors are values."""
    wire = [tuple(word if isinstance(word, bytes) else word.encode() for word in command) for command in commands]
    client.send(b"".join(map(encode, wire)))
    return [client.read() for _ in wire]


def look(client: Client) -> dict[tuple[int, bytes], Kept]:
    """Every key of both databases. Expired keys are gone for this look, as for any client."""
    found: dict[tuple[int, bytes], Kept] = {}
    for db in DATABASES:
        client("SELECT", db)
        keys = client.strings("KEYS", "*")
        kinds = pipeline(client, [("TYPE", key) for key in keys])
        asked = pipeline(client, [word for key in keys for word in (("DUMP", key), ("PTTL", key))])
        sizes = pipeline(
            client,
            [
                (_SIZES.get(kind, "STRLEN") if isinstance(kind, bytes) else "STRLEN", key)
                for kind, key in zip(kinds, keys, strict=True)
            ],
        )
        for at, (key, kind, size) in enumerate(zip(keys, kinds, sizes, strict=True)):
            dump, pttl = asked[2 * at], asked[2 * at + 1]
            if isinstance(kind, bytes) and isinstance(dump, bytes) and isinstance(pttl, int):
                found[db, key] = Kept(kind, dump, size if isinstance(size, int) else 0, pttl > 0)
    client("SELECT", 0)
    return found


def run(client: Client, args: tuple[bytes, ...]) -> object:
    """Run one command inside of MULTI, where nothing blocks. None if the server did not do it."""
    answers = pipeline(client, [("MULTI",), args, ("EXEC",)])
    if isinstance(answers[1], ServerError):
        return None
    done = answers[2]
    return done[0] if isinstance(done, list) and done else None
