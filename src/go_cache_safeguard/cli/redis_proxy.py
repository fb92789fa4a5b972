"""`redis proxy`: the guard in the path between clients and their server.

Knows:     its options, which are settings for this run.
Called by: `cli.redis`.
Never:     decides anything: `flows.redis_gate` does, for every call that is not harmless.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options

if TYPE_CHECKING:
    from go_cache_safeguard.flows.session import Session


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(proxy)


def proxy(
    *,
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream",
            metavar="URL",
            help="The server: redis://, rediss://, unix:///path, or sentinel://host:port,host:port/name; default: `redis.url`.",
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="PLACE", help="Where clients come in: host:port or unix:///path. Repeatable."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", metavar="PLACE=URL", help="For a cluster: one place for each node. Repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="How many processes share the work.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate for clients.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option("--tls-client-ca", metavar="FILE", help="Clients need a certificate signed by one of these."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="PLACE", help="Where Prometheus may ask for metrics: 127.0.0.1:9121."),
    ] = None,
    drain: Annotated[
        str | None, typer.Option("--drain", metavar="TIME", help="How long clients may go on after SIGTERM: 30s.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="The guard's own password, readable by you only."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done; listen nowhere.")] = False,
    probe: Annotated[
        str | None,
        typer.Option(
            "--probe",
            metavar="WHAT",
            help="Ask the proxy that runs with these settings whether it is `alive`, or `ready`: the server answers.",
        ),
    ] = None,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Stand between clients and a server: what destroys is checked, held until somebody approves it, captured before it is done.

    Says on stderr what happens; with --json, JSON lines on stdout. SIGHUP reads the settings again, SIGTERM stops when
    clients have ended what they do, a second one at once.
    """
    from go_cache_safeguard.flows.redis_routes import arrange, client_tls, told

    pairs = (
        ("redis_proxy.upstream", upstream),
        ("redis_proxy.listen", " ".join(listen) if listen else None),
        ("redis_proxy.nodes", " ".join(node) if node else None),
        ("redis_proxy.workers", workers),
        ("redis_proxy.tls_cert", _absolute(tls_cert)),
        ("redis_proxy.tls_key", _absolute(tls_key)),
        ("redis_proxy.tls_client_ca", _absolute(tls_client_ca)),
        ("redis_proxy.drain", drain),
        ("redis_proxy.metrics", metrics),
        ("redis.password_file", _absolute(password_file)),
    )
    given = [*(settings or []), *(f"{key}={value}" for key, value in pairs if value is not None)]

    def session() -> "Session":
        return options.session(settings=given, state_dir=state_dir, quiet=json, json=json)

    first = session()
    if probe is not None:
        _probe(first, probe)
        return
    if not dry_run:
        from go_cache_safeguard.flows.redis_voice import Voice
        from go_cache_safeguard.flows.redis_workers import run

        raise typer.Exit(run(first, session, Voice(json, log_json=first.config.choice("log.format") == "json")))
    from go_cache_safeguard.cli.screen import Screen

    arranged = arrange(first.config)
    client_tls(first.config)
    screen = Screen(as_json=json, color=first.config.choice("output.color"))
    value = told(arranged)
    if json:
        screen.document("redis-proxy", 1, value)
        return
    for route in arranged.routes:
        for where in route.listens:
            note = "" if where.is_local else "  (can be reached from other machines)"
            screen.line(f"would listen at {where.name}, guarding {route.upstream.target}{note}")
    for name, one in value.items():
        if name not in {"routes", "treatments"}:
            screen.line(f"  {name:<14} {one if one not in ([], '') else 'nothing'}")
    for cls, treatment in arranged.setting.rules.treatments.items():
        screen.line(f"  {cls:<14} {treatment}")
    screen.line("nothing was started")


def _probe(session: "Session", what: str) -> None:
    from go_cache_safeguard.core.errors import UsageFailure
    from go_cache_safeguard.flows.redis_probe import Asked, probe
    from go_cache_safeguard.flows.redis_routes import arrange

    if what not in set(Asked):
        raise UsageFailure(f"--probe {what!r} is neither alive nor ready")
    arranged = arrange(session.config)
    where = arranged.listens[0]
    tls = not where.path and bool(session.config.text("redis_proxy.tls_cert"))
    typer.echo(f"{where.name}: {probe(where, Asked(what), tls=tls, header=arranged.header)}")


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(Path.cwd() / path)
