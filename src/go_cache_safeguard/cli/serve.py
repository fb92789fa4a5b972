"""`serve`: pages and the API where people decide about what is held.

Knows:     its options, which are settings for this run; that the extra `server` may be missing.
Called by: `cli.app`.
Never:     takes a secret from the command line.
"""

from pathlib import Path
from typing import Annotated

import typer

from go_cache_safeguard.cli import database, options, people
from go_cache_safeguard.cli.extra import need_extra

app = typer.Typer(
    help="The web page and the API where people decide about what is held; people and API tokens.",
    invoke_without_command=True,
)
app.add_typer(people.app, name="people")
app.add_typer(people.tokens, name="token")
app.add_typer(database.app, name="database")


@app.callback()
def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="PLACE", help="Where people come in: host:port; default 127.0.0.1:8443."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Under which URL people come: https://safeguard.example.org."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="The server's certificate.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key.")] = None,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Serve the web page and the API until SIGTERM or Ctrl-C; SIGHUP reads the settings again.

    People log in with a password and a code, or at an identity provider. `serve people` says who they are.
    """
    if context.invoked_subcommand is not None:
        return
    need_extra("go_cache_safeguard.web.server")
    from go_cache_safeguard.web.server import run

    pairs = (
        ("serve.listen", listen),
        ("serve.url", url),
        ("serve.tls_cert", _absolute(tls_cert)),
        ("serve.tls_key", _absolute(tls_key)),
    )
    given = [*(settings or []), *(f"{key}={value}" for key, value in pairs if value is not None)]
    session = options.session(settings=given, state_dir=state_dir, quiet=True)
    arguments = dict(text.partition("=")[::2] for text in given)
    if state_dir is not None:
        arguments["state.dir"] = state_dir
    said = f"serving at {session.config.text('serve.url') or session.config.text('serve.listen')}"
    if session.config.choice("log.format") == "json":
        from go_cache_safeguard.telemetry.logs import json_line

        said = json_line("info", "serve", said)
    typer.echo(said, err=True)
    raise typer.Exit(run(session, arguments))


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(Path.cwd() / path)
