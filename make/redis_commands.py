"""Write the generated columns of the table of Redis commands again, from real servers: `make commands`.

What people decide (class, rule, treatment, reason, undo) stays as it is; commands that are new come in as `unknown`, so that
somebody looks at them. The documentation of newer versions than those at hand is one more source, if its path is given:
`make/redis_commands.py commands_core.json`.
"""

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from go_cache_safeguard.redis.commands import COLUMNS, Class, Command, KeySpec, Table, format_table, parse_table
from redisservers import BINARIES, Answer, Client, running

TABLE = Path(__file__).parents[1] / "src/go_cache_safeguard/redis/commands.csv"
DOC = "doc-8.10"
_MODES = {"ro": "RO", "rw": "RW", "ow": "OW", "rm": "RM"}
_INTERNAL = ("_", "SEARCH.", "TIMESERIES.")


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says of one command."""

    name: str
    arity: int
    flags: frozenset[str]
    categories: frozenset[str]
    keys: tuple[KeySpec, ...] | None
    since: str = ""


def ask(client: Client) -> Iterator[Told]:
    """Everything that a server says of its commands, subcommands instead of their containers."""
    for answer in client.array("COMMAND"):
        yield from _told(answer)


def _told(answer: Answer) -> Iterator[Told]:
    name, arity, flags, _, _, _, categories, *more = _array(answer)
    below = _array(more[2]) if len(more) > 2 else []
    for one in below:
        yield from _told(one)
    if below:
        return
    if not isinstance(name, bytes) or not isinstance(arity, int):
        raise TypeError(answer)
    specs = more[1] if len(more) > 1 else None
    yield Told(
        name=name.decode().upper().replace("|", " "),
        arity=arity,
        flags=_words(flags),
        categories=_words(categories),
        keys=tuple(_spec(_pairs(spec)) for spec in specs) if isinstance(specs, list) else None,
    )


def _array(answer: Answer) -> list[Answer]:
    if not isinstance(answer, list):
        raise TypeError(answer)
    return answer


def _words(answer: Answer) -> frozenset[str]:
    return frozenset(word.decode().lstrip("@") for word in _array(answer) if isinstance(word, bytes))


def _pairs(answer: Answer) -> dict[str, Any]:
    """An array of names and values as a dictionary, all the way down."""
    names = [name.decode() for name in _array(answer)[::2] if isinstance(name, bytes)]
    values: list[Any] = _array(answer)[1::2]
    for at, (name, value) in enumerate(zip(names, values, strict=True)):
        if name in {"begin_search", "find_keys", "spec"} and isinstance(value, list):
            values[at] = _pairs(value)
        elif isinstance(value, bytes):
            values[at] = value.decode()
    return dict(zip(names, values, strict=True))


def _spec(told: dict[str, Any]) -> KeySpec:
    flags = [word.decode().lower() for word in told.get("flags", []) if isinstance(word, bytes)]
    flags += [name.lower() for name, value in told.items() if value is True]
    mode = next((_MODES[flag] for flag in flags if flag in _MODES), "")
    rest = frozenset(flag for flag in flags if flag not in _MODES)
    begin, find = told["begin_search"], told["find_keys"]
    if "unknown" in {begin["type"], find["type"]}:
        return KeySpec(mode, rest)
    where, how = begin["spec"], find["spec"]
    return KeySpec(
        mode=mode,
        flags=rest,
        keyword=where.get("keyword", ""),
        begin=where.get("index", where.get("startfrom", 0)),
        last=how.get("lastkey", 0),
        step=how.get("keystep", 1) or 1,
        limit=how.get("limit", 0),
        count_at=how.get("keynumidx"),
        first=how.get("firstkey", 0),
    )


def documented(path: Path) -> Iterator[Told]:
    """What the documentation says; modules' internals left out."""
    listed: dict[str, dict[str, Any]] = json.loads(path.read_text())
    containers = {name.rpartition(" ")[0] for name in listed}
    for name, told in listed.items():
        if name in containers or name.startswith(_INTERNAL):
            continue
        yield Told(
            name=name,
            arity=told.get("arity", 0),
            flags=frozenset(told.get("command_flags", [])),
            categories=frozenset(word.lstrip("@").lower() for word in told.get("acl_categories", [])),
            keys=tuple(_spec(spec) for spec in told.get("key_specs", [])) or None,
            since=told.get("since", ""),
        )


def since(client: Client) -> dict[str, str]:
    """The versions that brought commands, as far as a server tells."""
    found = {}
    for name, told in _rows(client.array("COMMAND", "DOCS")):
        found[name] = str(told.get("since", ""))
        below = told.get("subcommands")
        if isinstance(below, list):
            found |= {sub: str(more.get("since", "")) for sub, more in _rows(below)}
    return found


def _rows(answer: list[Answer]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, told in zip(answer[::2], answer[1::2], strict=True):
        if isinstance(name, bytes):
            yield name.decode().upper().replace("|", " "), _pairs(told)


def merged(old: Table | None, sources: dict[str, dict[str, Told]]) -> Iterator[Command]:
    """The rows, from what people decided before and what the sources say now. Later sources win."""
    containers = {name.split(" ")[0] for told in sources.values() for name in told if " " in name}
    names = {name for told in sources.values() for name in told} - containers
    names |= set(old.rows) if old else set()
    for name in names:
        row = (old.rows.get(name) if old else None) or Command(name, Class.UNKNOWN)
        seen = tuple(source for source, told in sources.items() if name in told)
        kept = tuple(source for source in row.seen if source not in sources)
        row = replace(row, seen=tuple(sorted({*seen, *kept})))
        for source in seen:
            told = sources[source][name]
            row = replace(
                row,
                arity=told.arity or row.arity,
                flags=told.flags or row.flags,
                categories=told.categories or row.categories,
                keys=row.keys if told.keys is None else told.keys,
                since=told.since or row.since,
            )
        yield row


def main(documentation: Path | None) -> None:
    """Ask everybody, write the table."""
    sources: dict[str, dict[str, Told]] = {}
    versions: dict[str, str] = {}
    if documentation is not None:
        sources[DOC] = {told.name: told for told in documented(documentation)}
    for name in BINARIES:
        with tempfile.TemporaryDirectory() as folder, running(name, Path(folder)) as server, server.client() as client:
            sources[name] = {told.name: told for told in ask(client)}
            versions |= {} if name == "redis-6.2" else since(client)
    old = parse_table(TABLE.read_text()) if TABLE.exists() else None
    rows = [replace(row, since=row.since or versions.get(row.name, "")) for row in merged(old, sources)]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(format_table(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
