"""`matrix`: what is really in Go's cache key, measured.

Knows:     how the table is shown, one line for a dimension, toolchains side by side.
Called by: `cli.app`.
Never:     builds in the person's module: a copy is made.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.matrix import Matrix, Question
    from go_cache_safeguard.gocache.matrix import Table

GoCommands = Annotated[
    list[Path] | None,
    typer.Option("--go", metavar="PATH", help="A go command; repeatable, they are shown side by side."),
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--start-from",
        metavar="DIR",
        help="Begin with a copy of this cache instead of an empty one: saves compiling std.",
    ),
]
GoFlags = Annotated[
    str, typer.Option("--goflags", metavar="FLAGS", help="Words that every build gets in GOFLAGS besides.")
]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(matrix)


def matrix(
    *,
    go: GoCommands = None,
    dimension: Annotated[
        list[str] | None, typer.Option("--dimension", metavar="NAME", help="Only this one; repeatable. Default: all.")
    ] = None,
    module: Annotated[
        Path | None,
        typer.Option("--module", metavar="DIR", help="Measure with a copy of this module instead of one of ours."),
    ] = None,
    tests: Annotated[bool, typer.Option("--test/--no-test", help="Run the tests of our module, too.")] = True,
    cgo: Annotated[bool, typer.Option("--cgo/--no-cgo", help="With a package of our module that needs C.")] = True,
    keys: Annotated[
        bool, typer.Option("--keys", help="Ask go what it hashes, and show what changed in the key of each package.")
    ] = False,
    start_from: Start = None,
    goflags: GoFlags = "",
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write a page, in a new file or over an older such page."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Change one thing at a time and tell what it does to keys, outputs, links and test results. Uses a scratch cache.

    With all dimensions it compiles the standard library about ten times: some minutes for each toolchain.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.matrix import Question, run_matrix, write_page

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    question = Question(tuple(go or ()), tuple(dimension or ()), module, start_from, goflags, tests, cgo, keys)
    found = run_matrix(session, question)
    if markdown is not None:
        write_page(found, session.cwd / markdown, _command(question, markdown))
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("matrix", 1, _value(found))
    else:
        _print(screen, found)


def _command(question: "Question", page: Path) -> str:
    """What makes the page again, without paths of this machine."""
    words = [f"--go {{{number}}}" for number, _ in enumerate(question.gos, 1)]
    words += [f"--dimension {name}" for name in question.dimensions]
    words += ["--module {DIR}"] if question.module else []
    words += ["--keys"] if question.keys else []
    return " ".join(("go-cache-safeguard matrix", *words, f"--markdown {page.name}"))


def _value(found: "Matrix") -> dict[str, object]:
    return {
        "measured_with": found.what,
        "columns": list(found.columns),
        "toolchains": [
            {
                "toolchain": table.toolchain,
                "target": table.target,
                "cpu_ns": table.cpu_ns,
                "notes": list(table.notes),
                "rows": [row.as_value() for row in table.rows],
            }
            for table in found.tables
        ],
    }


def _print(screen: "Screen", found: "Matrix") -> None:
    from go_cache_safeguard.gocache.matrix import Letters, merged

    rows = [(name, *cells) for name, _title, cells in merged(found.tables, found.columns)]
    screen.table(("dimension", *found.columns, "link", "test"), rows)
    screen.line()
    for letters in Letters:
        screen.line(f"{letters:<3} {letters.meaning}", style="dim")
    screen.line(found.what.replace("`", ""), style="dim")
    for table in found.tables:
        _print_lines(screen, table)
        screen.line(f"{table.toolchain} {table.target}: {table.cpu_ns / 1e9:.0f} CPU seconds of go build")
        for row in table.rows:
            if row.problem:
                screen.line(f"note: {row.dimension} was not measured: {row.problem}")
        for note in table.notes:
            screen.line(f"note: {note}")


def _print_lines(screen: "Screen", table: "Table") -> None:
    """What changed in keys, if it was asked for: the same lines once for all columns that have them."""
    for row in table.rows:
        if not row.lines:
            continue
        screen.heading(f"{table.toolchain}: {row.dimension}")
        for lines in dict.fromkeys(row.lines.values()):
            screen.line(f"  {', '.join(name for name, own in row.lines.items() if own == lines)}")
            for line in lines:
                screen.line(f"    {line}")
