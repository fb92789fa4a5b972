"""`mod register`, `mod registered`, `mod forget`: which modules the whole module cache is compared with.

Knows:     how registered modules are named and shown.
Called by: `cli.mod`.
Never:     changes anything but our own journal.
"""

from pathlib import Path
from typing import Annotated

import typer

from go_cache_safeguard.cli import options

Directory = Annotated[Path | None, typer.Argument(metavar="DIR", help="Inside a module or a workspace; default: here.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("register")(register_module)
    app.command("registered")(registered)
    app.command("forget")(forget)


def register_module(
    directory: Directory = None,
    *,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Let `mod verify --whole-cache` compare with the go.sum files of this module or workspace from now on."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.modules import Asking, modcache_of
    from go_cache_safeguard.flows.registered import register as run

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    place = Asking(session, modcache_of(session, None)).place(directory or session.cwd)
    folder = place.go_work.parent if place.go_work is not None else place.mains[0]
    new = run(session, folder)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("mod-register", 1, {"directory": str(folder), "new": new})
    else:
        screen.line(f"{'registered' if new else 'was registered already'}: {folder}")


def registered(
    *,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """List the modules that `mod verify --whole-cache` compares with."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.registered import registered as run

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    found = [str(folder) for folder in run(session)]
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("mod-registered", 1, {"directories": found})
        return
    for folder in found or ["no module is registered"]:
        screen.line(folder)


def forget(
    directory: Directory = None,
    *,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Compare with this module no longer; name it as `mod registered` does, it need not exist any more."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.registered import forget as run

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    folder = session.cwd / (directory or ".")
    known = run(session, folder)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("mod-forget", 1, {"directory": str(folder), "known": known})
    else:
        screen.line(f"{'forgotten' if known else 'was not registered'}: {folder}")
