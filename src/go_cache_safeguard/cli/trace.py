"""`trace`: run a go command and see every lookup in its cache.

Knows:     how a trace is shown; that stdout and stderr are the command's own until it has ended.
Called by: `cli.app`.
Never:     changes the exit code of what it ran.
"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options

if TYPE_CHECKING:
    from go_cache_safeguard.flows.trace import Traced
    from go_cache_safeguard.gocache.trace import Sum

_MOST_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(context_settings={"allow_interspersed_args": False})(trace)


def trace(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="As you would type it: go build ./...")],
    *,
    json: options.Json = False,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", metavar="FILE", help="Write a line of JSON for each lookup to a new file.")
    ] = None,
    used: Annotated[
        Path | None,
        typer.Option("--used", metavar="FILE", help="Write the names of all entries that it used to a new file."),
    ] = None,
    graph: Annotated[
        bool, typer.Option("--graph", help="Ask go for its action graph, too: names packages, prices what was built.")
    ] = False,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Take go's own log of keys, as before go1.24: half of the overhead, and no times."),
    ] = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Run a go command as it is, and tell every lookup that it made: hit or miss, package, action, output, size, time.

    Nothing is stored elsewhere than without it. The exit code is the command's own.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.trace import trace as run_trace
    from go_cache_safeguard.flows.trace import used_names

    files = {path: path.open("x", encoding="utf-8") for path in _new(jsonl, used)}
    session = options.session(settings=settings, state_dir=state_dir, quiet=True, json=json)
    traced = run_trace(session, command, graph=graph, keys=keys)
    if jsonl is not None:
        for one in traced.lookups:
            files[jsonl].write(json_module.dumps(one.as_value()) + "\n")
    if used is not None:
        files[used].writelines(f"{name}\n" for name in used_names(traced))
    for file in files.values():
        file.close()
    if json:
        Screen(as_json=True).document("trace", 1, _document(traced))
    elif not quiet:
        for line in _lines(traced):
            typer.echo(line, err=True)
    raise typer.Exit(traced.exit_code)


def _new(*paths: Path | None) -> list[Path]:
    from go_cache_safeguard.core.errors import UsageFailure

    named = [path for path in paths if path is not None]
    for path in named:
        if path.exists() or not path.parent.is_dir():
            why = "is there already" if path.exists() else "is in no directory"
            raise UsageFailure(f"{path} {why}", not_done="nothing was run", hint="name a new file")
    if len(set(named)) < len(named):
        raise UsageFailure("--jsonl and --used name the same file", not_done="nothing was run")
    return named


def _document(traced: "Traced") -> dict[str, object]:
    from go_cache_safeguard.gocache.trace import by_kind, by_package, total

    return {
        "command": list(traced.command),
        "exit_code": traced.exit_code,
        "toolchain": traced.toolchain,
        "way": traced.way,
        "gocache": str(traced.gocache),
        "began_ns": traced.began_ns,
        "wall_ns": traced.wall_ns,
        "total": total(traced.lookups).as_value(),
        "kinds": [one.as_value() for one in by_kind(traced.lookups)],
        "packages": [one.as_value() for one in by_package(traced.lookups)],
        "lookups": [one.as_value() for one in traced.lookups],
        "notes": list(traced.notes),
    }


def _lines(traced: "Traced") -> list[str]:
    from go_cache_safeguard.core.size import format_size
    from go_cache_safeguard.gocache.trace import by_kind, by_package, total

    whole = total(traced.lookups)
    lines = [
        (
            f"trace: {len(traced.lookups)} lookups, {whole.hits} hits ({format_size(whole.hit_size)}), {whole.misses} misses,"
            f" {format_size(whole.put_size)} put; exit code {traced.exit_code} after {traced.wall_ns / 1e9:.2f} s"
        ),
        "",
        *_table("kind", by_kind(traced.lookups)),
    ]
    missed = [one for one in by_package(traced.lookups) if one.misses]
    if missed:
        lines += ["", *_table("packages with misses", missed[:_MOST_ROWS])]
        if len(missed) > _MOST_ROWS:
            lines.append(f"  and {len(missed) - _MOST_ROWS} more; --jsonl has all of them")
    return lines + [f"note: {note}" for note in traced.notes]


def _table(heading: str, sums: "list[Sum] | tuple[Sum, ...]") -> list[str]:
    from go_cache_safeguard.core.size import format_size

    width = max((len(one.name) for one in sums), default=0)
    width = max(width, len(heading), 9)
    lines = [f"  {heading:<{width}}  {'hits':>6} {'misses':>6} {'found':>10} {'put':>10} {'time':>9}"]
    for one in sums:
        name = one.name or "(unknown)"
        lines.append(
            f"  {name:<{width}}  {one.hits:>6} {one.misses:>6} {format_size(one.hit_size):>10} {format_size(one.put_size):>10}"
            f" {one.ns / 1e6:>6.1f} ms"
        )
    return lines
