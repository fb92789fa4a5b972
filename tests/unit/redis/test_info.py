"""INFO is read as far as it makes sense, and silence stays silence."""

from go_cache_safeguard.redis.info import parse_info

TEXT = (
    b"# Stats\r\nkeyspace_hits:12\r\n\r\n# Persistence\r\nloading:0\r\nasync_loading:1\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:err"
    b"\r\nodd:\xff:x\r\nno colon\r\n# Keyspace\r\ndb0:keys=7,expires=1,avg_ttl=0\r\ndb2:keys=x\r\n"
)


def test_fields_are_read_in_their_kinds() -> None:
    info = parse_info(TEXT)
    assert (info.count("keyspace_hits"), info.is_one("loading"), info.is_one("async_loading")) == (12, False, True)
    assert (info.is_ok("rdb_last_bgsave_status"), info.is_ok("aof_last_write_status")) == (True, False)
    assert info.fields["odd"] == "\\xff:x"


def test_keys_of_databases_are_known_only_if_the_section_is_there() -> None:
    info = parse_info(TEXT)
    assert (info.keys(0), info.keys(1), info.keys(2)) == (7, 0, None)
    assert parse_info(b"keyspace_hits:1\r\n").keys(0) is None


def test_what_is_missing_or_odd_is_not_known() -> None:
    info = parse_info(b"a:-1\r\nb:2\r\nc:maybe\r\n")
    assert (info.count("a"), info.count("x"), info.is_one("b"), info.is_ok("c"), info.is_ok("x")) == (None,) * 5
