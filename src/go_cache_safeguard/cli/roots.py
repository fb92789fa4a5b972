"""`roots`: which modules and workspaces need what is in the caches, and how each is built.

Knows:     how roots are named and shown.
Called by: `cli.app`.
Never:     changes anything but our own journal; registers what was found before a person saw it.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.flows.roots import Root

app = typer.Typer(help="Roots: which builds must find everything in the caches.", no_args_is_help=True)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)

Directory = Annotated[Path | None, typer.Argument(metavar="DIR", help="With a go.mod or go.work; default: here.")]
Run = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        metavar="COMMAND",
        help="How it is built, in quotation marks: 'GOOS=windows go build ./cmd/app'. Repeatable. "
        "[default: go build, go vet and go test, each of ./...]",
    ),
]


@app.callback()
def _group() -> None:
    """Roots: which builds must find everything in the caches."""


@app.command()
@options.grouped
def add(
    directory: Directory = None,
    *,
    run: Run = None,
    go: Annotated[
        Path | None, typer.Option("--go", metavar="FILE", help="Another go command that builds it, absolute.")
    ] = None,
    common: options.Common,
) -> None:
    """Register a module or workspace, and how it is built, as a root of `gc`. `mod register` does the same without commands."""
    from go_cache_safeguard.flows.roots import add_roots

    session = common.session()
    folder = _absolute(session.cwd, directory)
    if go is not None and not (session.cwd / go).is_file():
        raise UsageFailure(f"{go} is no go command", not_done="nothing was registered")
    command = "" if go is None else str(session.cwd / go)
    made: list[Root] = []
    if not run:
        made += add_roots(session, folder, go=command)
    for environment, words in _commands(run):
        made += add_roots(session, folder, [words], environment=environment, go=command)
    _tell(common, "roots-add", "new", made, f"nothing new: {folder} was a root already")


@app.command()
@options.grouped
def scan(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="Look below; default: here.")] = None,
    *,
    register: Annotated[
        bool, typer.Option("--add", help="Register what was found without asking; otherwise it is only shown.")
    ] = False,
    common: options.Common,
) -> None:
    """Find modules and workspaces below directories, show them, and register them when you say so."""
    from go_cache_safeguard.flows.roots import add_roots, scan_roots

    session = common.session()
    found = scan_roots(session, [_absolute(session.cwd, folder) for folder in folders or [Path()]])
    screen = common.screen(session)
    if not common.json:
        for folder in found.found:
            screen.line(f"found  {folder}")
        for note in found.notes:
            screen.line(note, "yellow")
        screen.line(f"{len(found.found)} found, {len(found.known)} are roots already")
        if found.found and not register and options.at_terminal(session, json=False):
            register = typer.confirm("register all of these as roots?", default=False)
    added = [str(folder) for folder in found.found if register and add_roots(session, folder)]
    if common.json:
        rows = {"found": found.found, "known": found.known}
        listed = {key: [str(folder) for folder in folders] for key, folders in rows.items()}
        screen.document("roots-scan", 1, {**listed, "added": added, "notes": list(found.notes)})
    elif added:
        screen.line(f"{len(added)} were registered; `roots list` shows how each is built")
    elif found.found:
        screen.line("nothing was registered; --add registers them")


@app.command("list")
@options.grouped
def show(*, common: options.Common) -> None:
    """List roots: what was registered, and the recorded runs of `trace` that count as well."""
    import time

    from go_cache_safeguard.flows.roots import roots
    from go_cache_safeguard.flows.uses import used

    session = common.session()
    mine = roots(session)
    since_ns = time.time_ns() - session.config.seconds("gc.traces") * 10**9
    traced = used(session, since_ns=since_ns)
    screen = common.screen(session)
    if common.json:
        rows = [
            {
                "directory": str(one.project),
                "command": list(one.command),
                "at_ns": one.at_ns,
                "toolchain": one.toolchain,
            }
            for one in traced
        ]
        screen.document("roots", 1, {"roots": [root.as_value() for root in mine], "traces": rows})
        return
    for root in mine:
        screen.line(root.name)
    for one in traced:
        screen.line(f"traced: go {' '.join(one.command)} in {one.project}, {len(one.actions)} entries")
    if not mine and not traced:
        screen.line("no roots; `roots scan DIR` finds modules")


@app.command()
@options.grouped
def remove(directory: Directory = None, *, run: Run = None, common: options.Common) -> None:
    """Forget a module or workspace, or only some of the ways in which it is built; it need not exist any more."""
    from go_cache_safeguard.flows.roots import remove_roots

    session = common.session()
    folder = _absolute(session.cwd, directory)
    gone = remove_roots(session, folder, [words for _environment, words in _commands(run)])
    _tell(common, "roots-remove", "removed", gone, f"no root is registered there: {folder}")


def _absolute(cwd: Path, folder: Path | None) -> Path:
    import os

    return Path(os.path.realpath(cwd / (folder or ".")))


def _commands(given: Sequence[str] | None) -> list[tuple[dict[str, str], tuple[str, ...]]]:
    read = []
    for text in given or ():
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageFailure(f"{text!r} is no command: {error}", not_done="nothing was changed") from error
        count = next((at for at, word in enumerate(words) if not _SETTING.fullmatch(word)), len(words))
        environment = {key: value for key, _, value in (word.partition("=") for word in words[:count])}
        rest = words[count:]
        if rest[:1] != ["go"] or len(rest) < 2:
            raise UsageFailure(
                f"{text!r} is no go command", not_done="nothing was changed", hint="such as 'go build ./...'"
            )
        read.append((environment, tuple(rest[1:])))
    return read


def _tell(common: options.Common, name: str, key: str, roots: "Sequence[Root]", nothing: str) -> None:
    from go_cache_safeguard.cli.screen import Screen

    screen = Screen(as_json=common.json)
    if common.json:
        screen.document(name, 1, {key: [root.as_value() for root in roots]})
        return
    for root in roots:
        screen.line(f"{key}: {root.name}")
    if not roots:
        screen.line(nothing)
