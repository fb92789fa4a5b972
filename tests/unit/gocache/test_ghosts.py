"""Entries that are gone, and who took them."""

from go_cache_safeguard.gocache.ghosts import Ghost


def test_only_an_operation_of_ours_is_named_as_who_took_an_entry() -> None:
    assert Ghost(b"", 0, "op-1").story == "removed by our operation op-1 at 1970-01-01 00:00 UTC"
    assert "not by us" in Ghost(b"", 0).story
