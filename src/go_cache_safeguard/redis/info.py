"""What a server says of itself in reply to INFO.

Knows:     the lines of INFO that the checks need, and what a missing or odd one means: not known.
Called by: `flows` makes the facts of `redis.checks` with it.
Never:     fills a gap with a default that would look like good news.
Source:    server.c `genRedisInfoString` of Redis 6.2, 7.0 and Valkey 9: sections stats, replication, persistence, keyspace.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DATABASE = re.compile(r"keys=(\d{1,18}),expires=(\d{1,18})(?:,.*)?", re.ASCII)
_COUNT = re.compile(r"\d{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Info:
    """One reply.

    Attributes:
        fields: From name to text, of all sections that were asked for.
    """

    fields: Mapping[str, str]

    def count(self, name: str) -> int | None:
        """A number; None if it is missing or none."""
        text = self.fields.get(name, "")
        return int(text) if _COUNT.fullmatch(text) else None

    def is_one(self, name: str) -> bool | None:
        """A flag that is 0 or 1; None if it is something else."""
        return {"0": False, "1": True}.get(self.fields.get(name, ""))

    def is_ok(self, name: str) -> bool | None:
        """A status that is `ok` or `err`; None if it is something else."""
        return {"ok": True, "err": False}.get(self.fields.get(name, ""))

    def keys(self, db: int) -> int | None:
        """Keys of a database. One without keys has no line; None if the section is not there."""
        if not self.fields.keys() & {"keyspace"}:
            return None
        text = self.fields.get(f"db{db}")
        if text is None:
            return 0
        match = _DATABASE.fullmatch(text)
        return int(match[1]) if match else None


def parse_info(text: bytes) -> Info:
    """Read INFO. Headings are kept as fields of their own in lower case: `# Keyspace` is `keyspace`."""
    fields: dict[str, str] = {}
    for line in text.decode("utf-8", "backslashreplace").split("\n"):
        name, colon, value = line.strip("\r").partition(":")
        if name.startswith("# "):
            fields.setdefault(name[2:].lower(), "")
        elif colon:
            fields.setdefault(name, value)
    return Info(fields)
