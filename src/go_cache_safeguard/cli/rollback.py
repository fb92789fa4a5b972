"""`rollback`: is a cache to blame, and if so, restore or rebuild?

Knows:     its arguments, and what a person is shown.
Called by: `cli.app`.
Never:     does anything to a cache unless --restore or --rebuild says so.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from go_cache_safeguard.cli import act, options
from go_cache_safeguard.cli import restore as restoring
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.rollback import Question
    from go_cache_safeguard.flows.session import Session


@options.grouped
def rollback(
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="[PACKAGE]...", help="What to build; default: ./...")
    ] = None,
    *,
    restore: Annotated[
        str | None,
        typer.Option(
            "--restore", metavar="SNAPSHOT", help="Move the cache to quarantine and bring this snapshot back."
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Move the cache to quarantine and build the packages again.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="With --restore or --rebuild: also when the build cache is not to blame.")
    ] = False,
    build_flags: Annotated[
        str, typer.Option("--build-flags", metavar="FLAGS", help="Your own build flags, as -name=value.")
    ] = "",
    tests: Annotated[bool, typer.Option("--test", help="Run the tests, too.")] = False,
    mirror: Annotated[
        Path | None,
        typer.Option("--mirror", metavar="DIR", help="A copy of cache/download; default: the module cache's own."),
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="Where the temporary caches lie; they can be large.")
    ] = None,
    repository: restoring.Repository = None,
    key: restoring.Key = None,
    checks: act.Checks = None,
    wait: act.Wait = None,
    gocache: options.GoCache = None,
    modcache: Annotated[
        Path | None,
        typer.Option("--modcache", metavar="DIR", help="The module cache; default: what `go env GOMODCACHE` says."),
    ] = None,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Build here and in an empty cache, compare, say who is to blame. Changes nothing unless told to."""
    import shlex

    from go_cache_safeguard.flows.modules import modcache_of
    from go_cache_safeguard.flows.packages import Wanted
    from go_cache_safeguard.flows.rollback import Question, examine
    from go_cache_safeguard.verify.outcome import Case

    if restore is not None and rebuild:
        raise UsageFailure("either --restore or --rebuild", not_done="nothing was done")
    session = common.session(*asking.settings)
    question = Question(
        gocache=session.gocache(gocache),
        modcache=modcache_of(session, None if modcache is None else session.cwd / modcache),
        wanted=Wanted(tuple(packages or ["./..."]), tuple(shlex.split(build_flags))),
        mirror=None if mirror is None else session.cwd / mirror,
        tests=tests,
        scratch=scratch,
    )
    screen = common.screen(session)
    diagnosis = examine(session, question)
    value: dict[str, Any] = {
        "case": str(diagnosis.case),
        "packages": list(diagnosis.packages),
        "verdict": diagnosis.verdict.as_value(),
    }
    if not common.json:
        screen.verdict(diagnosis.verdict)
    chosen = restore is not None or rebuild
    if not chosen or not (anyway or diagnosis.case is Case.BUILD_CACHE):
        if common.json:
            screen.document("rollback", 1, value)
        elif chosen:
            screen.line("nothing was changed: the build cache is not to blame (--anyway insists)", "yellow")
        raise typer.Exit(exit_code([diagnosis.verdict]))
    _act(session, screen, question, value, _Choice(restore, repository, key, checks, wait, asking))


class _Choice(NamedTuple):
    """What was chosen, as typed."""

    snapshot: str | None
    repository: str | None
    key: Path | None
    checks: str | None
    wait: str | None
    asking: options.Asking


def _act(session: "Session", screen: "Screen", question: "Question", value: dict[str, Any], choice: _Choice) -> None:
    from go_cache_safeguard.flows.checks import run_checks
    from go_cache_safeguard.flows.clean import How
    from go_cache_safeguard.flows.restore import open_source
    from go_cache_safeguard.flows.rollback import rebuild, restore_instead

    ids = None if choice.checks is None else tuple(id_ for id_ in choice.checks.split(",") if id_ not in {"", "none"})

    def checks() -> Any:
        return run_checks(session, question.gocache, ids)

    always = choice.asking.confirm
    confirm = options.confirming(session, screen, act.person_at(screen), always=always)
    how = How(confirm, always, choice.asking.replaces or "")
    given = options.duration(choice.wait, "--wait")
    wait_s = session.default_wait_s if given is None else given
    if choice.snapshot is None:
        receipt, restored = rebuild(session, question, checks, how, wait_s), None
    else:
        with open_source(session, choice.snapshot, place=choice.repository, key=choice.key) as source:
            if str(source.manifest.kind) != "go-build-cache":
                raise UsageFailure(
                    "this is not a snapshot of a build cache",
                    not_done="nothing was changed",
                    hint="go-cache-safeguard snapshot restore",
                )
            receipt, restored = restore_instead(session, question, source, checks, how, wait_s=wait_s)
    if screen.as_json:
        more = None if restored is None else restored.as_value()
        screen.document("rollback", 1, {**value, "clean": receipt.as_value(), "restore": more})
    else:
        act.tell_receipt(screen, receipt)
        if restored is not None:
            restoring.tell_restored(screen, restored)
    if restored is not None and not restored.whole:
        raise typer.Exit(ExitCode.RESTORE_FAILED)
