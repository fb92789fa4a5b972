"""The printed table has every command once."""

import re

from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.document import commands_page
from go_cache_safeguard.redis.tablefile import load_table


def test_every_command_is_printed_exactly_once() -> None:
    _, _, below = commands_page(load_table()).partition("\n### ")
    assert sorted(re.findall(r"`([^`]+)`", below)) == sorted(load_table().rows)


def test_every_class_is_explained() -> None:
    above, _, _ = commands_page(load_table()).partition("\n### ")
    assert re.findall(r"^\| `(\w+)` \|", above, re.MULTILINE) == list(Class)
    assert "all others" in above.splitlines()[-1]
