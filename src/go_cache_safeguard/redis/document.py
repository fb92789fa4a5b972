"""The table of commands as the docs print it.

Knows:     how rows look in Markdown, and that those without a risk need a line only.
Called by: tests/docs/generate.py writes docs/redis.md with it, tests/docs compare it.
Never:     writes a file.
"""

from collections.abc import Iterator

from go_cache_safeguard.redis.commands import Class, Command, Table, Treatment
from go_cache_safeguard.redis.rules import Rules

_HARMLESS = (Class.WRITE, Class.SESSION, Class.READ)
_RISKY = tuple(cls for cls in Class if cls not in {*_HARMLESS, Class.UNKNOWN})


def commands_page(table: Table) -> str:
    """Every command by its class, with the policy that nobody changed."""
    return "\n".join([*_classes(table), *_lines(table)]) + "\n"


def _classes(table: Table) -> Iterator[str]:
    rules = Rules()
    yield "| class | what such a command does | policy by default | commands |"
    yield "| --- | --- | --- | --- |"
    for cls in Class:
        treatment = rules.treatments[cls]
        number = sum(row.cls is cls for row in table)
        yield f"| `{cls}` | {cls.meaning} | `{treatment}`: {treatment.meaning} | {number or 'all others'} |"


def _lines(table: Table) -> Iterator[str]:
    for cls in _RISKY:
        yield from ("", f"### {cls}", "", "| command | policy | what is lost | what would bring it back |")
        yield "| --- | --- | --- | --- |"
        for row in _of(table, cls):
            yield f"| `{row.name}` | {Rules().of_command(row)} | {row.why} | {row.undo or 'nothing'} |"
    for cls in _HARMLESS:
        passed = [row.name for row in _of(table, cls) if Rules().of_command(row) is Treatment.PASS]
        refused = [
            f"`{row.name}` ({row.why})" for row in _of(table, cls) if Rules().of_command(row) is not Treatment.PASS
        ]
        yield from ("", f"### {cls}", "", ", ".join(f"`{name}`" for name in passed) + ".")
        if refused:
            yield from ("", f"Refused all the same: {'; '.join(refused)}.")


def _of(table: Table, cls: Class) -> list[Command]:
    return [row for row in table if row.cls is cls]
