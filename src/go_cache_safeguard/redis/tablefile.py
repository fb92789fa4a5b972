"""The table of commands that comes with this package.

Knows:     where commands.csv lies.
Called by: `flows`.
Never:     writes it: make/redis_commands.py does.
"""

from functools import cache
from importlib.resources import files

from go_cache_safeguard.redis.commands import Table, parse_table


@cache
def load_table() -> Table:
    """Every command that we know."""
    return parse_table(files("go_cache_safeguard.redis").joinpath("commands.csv").read_text("utf-8"))
