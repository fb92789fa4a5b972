"""The whole command line, and the one place where a failure becomes an exit code.

Knows:     the groups of commands, and what to do with whatever comes out of one.
Called by: `__main__`.
Never:     decides anything about a cache. One of the two places with a broad `except`: it fails closed and writes a report.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.exceptions import TyperException

from go_cache_safeguard import __version__
from go_cache_safeguard.core.errors import ExitCode, Failure

_EPILOG = (
    "Exit codes: 0 done, 1 bug, 2 usage, 10-19 the guard said no, 20-29 acting failed, 30-39 tools and environment."
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"go-cache-safeguard {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Prove, plan, clean and undo: the tool to reach for before anything deletes a cache."""


def _look(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import look

    look.register(app)


def _act(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import act

    act.register(app)


def _browse(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import browse

    browse.register(app)


def _report(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import report_html

    report_html.register(app)


def _doctor(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import doctor

    doctor.register(app)


def _verify(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import verify

    verify.register(app)


def _stale(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import stale

    stale.register(app)


def _matrix(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import matrix

    matrix.register(app)


def _graph(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import graph

    graph.register(app)


def _gc(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import gc

    gc.register(app)


def _roots(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import roots

    app.add_typer(roots.app, name="roots")


def _pollution(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import pollution

    pollution.register(app)


def _why(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import why

    why.register(app)


def _mod(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import mod

    app.add_typer(mod.app, name="mod")


def _redis(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import redis

    app.add_typer(redis.app, name="redis")


def _ops(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import operations, watch

    watch.register(operations.app)
    app.add_typer(operations.app, name="ops")


def _rollback(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import rollback

    app.command()(rollback.rollback)


def _snapshot(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import snapshot

    app.add_typer(snapshot.app, name="snapshot")


def _audit(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import audit

    app.add_typer(audit.app, name="audit")


def _serve(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import serve

    app.add_typer(serve.app, name="serve")


def _ci(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import ci

    app.add_typer(ci.app, name="ci")


def _shim(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import shim

    app.add_typer(shim.app, name="shim", context_settings={"obj": run})


def _cacheprog(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import cacheprog

    cacheprog.register(app)


def _trace(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import trace

    trace.register(app)


def _traces(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import traces

    app.add_typer(traces.app, name="traces")


def _signals(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import signals

    app.add_typer(signals.app, name="signals")


def _config(app: typer.Typer) -> None:
    from go_cache_safeguard.cli import config_show

    app.add_typer(config_show.app, name="config")


_PARTS: Mapping[Callable[[typer.Typer], None], tuple[str, ...]] = {
    _look: ("status", "check", "fsck"),
    _browse: ("browse",),
    _report: ("report",),
    _act: ("plan", "clean", "undo", "recover", "purge"),
    _doctor: ("doctor",),
    _verify: ("verify",),
    _stale: ("stale",),
    _why: ("why",),
    _graph: ("graph",),
    _matrix: ("matrix",),
    _pollution: ("pollution", "gate"),
    _gc: ("gc",),
    _roots: ("roots",),
    _mod: ("mod",),
    _redis: ("redis",),
    _ops: ("ops",),
    _rollback: ("rollback",),
    _snapshot: ("snapshot",),
    _audit: ("audit",),
    _serve: ("serve",),
    _ci: ("ci",),
    _shim: ("shim",),
    _trace: ("trace",),
    _cacheprog: ("cacheprog",),
    _traces: ("traces",),
    _signals: ("signals",),
    _config: ("config",),
}
"""What adds which commands, in the order of the help."""


def commands(first: str = "") -> typer.Typer:
    """The command line.

    Args:
        first: The first word of it. If that is a command, only that one is loaded, because loading all of them takes longer than
            many of them run; otherwise all are there, for help and for completion.
    """
    app = typer.Typer(
        name="go-cache-safeguard",
        help="Prove, plan, clean and undo: the tool to reach for before anything deletes a cache.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    named = [add for add, names in _PARTS.items() if first in names]
    for add in named or _PARTS:
        add(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code; see `core.errors.ExitCode`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path need not be UTF-8
    failed: Failure | None = None
    try:
        app = commands(arguments[0] if arguments else "")
        code = app(args=list(arguments), prog_name="go-cache-safeguard", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except Failure as failure:
        _say_failure(failure)
        failed = failure
        return failure.exit_code
    except TyperException as error:
        return _say_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong with us, and there is nobody to tell.
        sys.stderr.close()
        return 141
    except Exception as error:  # noqa: BLE001 - the top of the process: a report instead of a traceback
        from go_cache_safeguard.cli.report import write_report

        write_report(error, arguments)
        return ExitCode.BUG
    finally:
        _afterwards(failed)


def _afterwards(failed: Failure | None) -> None:
    """Only where a command has come as far as to read its settings."""
    options = sys.modules.get("go_cache_safeguard.cli.options")
    if options is not None:
        options.afterwards(failed)


def _say_usage(error: TyperException) -> ExitCode:
    text = error.format_message()
    if "Usage:" in text:
        # Nothing was asked: the help is the answer.
        sys.stderr.write(text + "\n")
    else:
        sys.stderr.write(f"error: {text} [usage]\n\nhint: put --help after the command\n")
    return ExitCode.USAGE


def _say_failure(failure: Failure) -> None:
    lines = [f"error: {failure.what} [{failure.id}]"]
    if failure.not_done:
        lines.append(f"  {failure.not_done}")
    if failure.hint:
        lines.append(f"\nhint: {failure.hint}")
    sys.stderr.write("\n".join(lines) + "\n")
