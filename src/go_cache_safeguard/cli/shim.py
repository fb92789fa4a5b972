"""`shim`: stand in front of go, so that `go clean -cache` can be undone.

Knows:     what each flag of `go clean` becomes here, and how editors, agents and jobs ask before they run a command.
Called by: `cli.app`; the small `go` that `shim install` writes; pre-command hooks.
Never:     starts go with a flag that throws a cache away.
Source:    what the hooks send and read is in docs/shim.md, with the page of each tool that says so.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.flows.shim import Standing
    from go_cache_safeguard.gotool.cleanflags import CleanRequest
    from go_cache_safeguard.gotool.shellline import Danger

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where the small `go` lies; default: in your own data directory."),
]
Run = Callable[[Sequence[str]], int]
"""Carries out a command line of this program, and gives its exit code."""
_BLOCKED_HOOK = 2
"""What every hook that we know takes for a no, with the reason on stderr."""


@app.callback()
def _group() -> None:
    """Stand in front of go in PATH: `go clean -cache` is checked, planned and can be undone."""


@app.command()
@options.grouped
def install(
    *,
    folder: Folder = None,
    common: options.Common,
) -> None:
    """Write a small `go` that hands everything on, but `go clean` with a cache flag."""
    from go_cache_safeguard.flows.shim import default_folder
    from go_cache_safeguard.flows.shim import install as run

    session = common.session()
    _tell(common.screen(session), run(session, _where(session, folder) or default_folder(session)))


@app.command()
@options.grouped
def remove(
    *,
    folder: Folder = None,
    common: options.Common,
) -> None:
    """Take the small `go` away."""
    from go_cache_safeguard.flows.shim import default_folder
    from go_cache_safeguard.flows.shim import remove as run

    session = common.session()
    place = _where(session, folder) or default_folder(session)
    gone = run(place)
    screen = common.screen(session)
    if common.json:
        screen.document("shim-remove", 1, {"folder": str(place), "removed": gone})
    else:
        screen.line(f"removed: {place / 'go'}" if gone else f"there was none in {place}")


@app.command()
@options.grouped
def status(
    *,
    folder: Folder = None,
    common: options.Common,
) -> None:
    """Say whether the small `go` is there, and whether the shell finds it first."""
    from go_cache_safeguard.flows.shim import default_folder, standing

    session = common.session()
    found = standing(session, _where(session, folder) or default_folder(session))
    _tell(common.screen(session), found)
    raise typer.Exit(ExitCode.DONE if found.installed and found.first else ExitCode.TARGET)


@app.command()
def clean(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="-- [-C DIR] clean [FLAGS]", help="What stood after `go`.")],
    *,
    real: Annotated[
        Path | None, typer.Option("--real", metavar="GO", help="The go that all else is handed on to.")
    ] = None,
) -> None:
    """What the small `go` does for `go clean -cache|-testcache|-modcache|-fuzzcache`; `-n` only shows."""
    from go_cache_safeguard.gotool.cleanflags import CleanUsageError, parse_clean

    session = options.session()
    go = real or session.go.executable
    try:
        asked = parse_clean(words, shlex.split(session.go_env.flags))
    except ValueError as error:
        hint = "" if isinstance(error, CleanUsageError) else "GOFLAGS cannot be read"
        raise UsageFailure(str(error), not_done="nothing was removed", hint=hint) from error
    if not asked.caches:
        os.execv(go, ["go", *words])  # noqa: S606 - no flag of a cache: all of it is go's, with our place in the process tree
    _hand_on(session, go, asked)
    for name in asked.caches:
        code = _STORIES[name](session, asked, context.obj)
        if code:
            raise typer.Exit(code)


@app.command("restore-tests")
@options.grouped
def restore_tests(
    *,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Take back the last `go clean -testcache`: go counts its old test results again."""
    from go_cache_safeguard.flows.testcache import take_back

    session = common.session()
    before = take_back(session, session.gocache(gocache))
    screen = common.screen(session)
    if common.json:
        screen.document("restore-tests", 1, {"counts_from_ns": int(before)})
    else:
        screen.line("test results count again as before" + ("" if int(before) else ": all of them"))


@app.command()
def judge(
    line: Annotated[
        str | None, typer.Option("--command", "-c", metavar="LINE", help="A shell line; else a hook's JSON on stdin.")
    ] = None,
) -> None:
    """For pre-command hooks: says no to a shell line that would throw a Go or Redis cache away past this program.

    Without --command a hook's JSON is read from stdin and answered in the form of whoever sent it. Exit code 0: nothing speaks against
    it; 2: do not run it, the reason is on stderr.
    """
    sent: dict[str, Any] = {}
    if line is None:
        sent, line = _sent(sys.stdin.read(1 << 20))
    danger = _danger(line)
    if danger is None:
        return
    reason = f"{danger.what} would throw the cache away for good. Use this, which can be undone: {danger.instead}"
    answer = _answer(sent, reason)
    if answer is not None:
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    sys.stderr.write(reason + "\n")
    raise typer.Exit(_BLOCKED_HOOK)


def _where(session: "Session", folder: Path | None) -> Path | None:
    return None if folder is None else session.cwd / folder


def _tell(screen: "Screen", found: "Standing") -> None:
    if screen.as_json:
        screen.document("shim", 1, found.as_value())
        return
    if not found.installed:
        screen.line(f"not installed: there is no shim in {found.folder}", "yellow")
        return
    screen.line(f"installed: {found.folder / 'go'}", "green")
    screen.line(f"  hands on to {found.real or 'nothing: there is no other go in PATH'}")
    if not found.current:
        screen.line("  it is of another version or another Python of ours; `shim install` writes it again", "yellow")
    if found.first:
        screen.line("  and is what your shell finds as `go`")
    else:
        screen.line("  but PATH does not lead to it first; put this into your shell's own file:", "yellow")
        screen.line(f'    export PATH="{found.folder}:$PATH"')


def _hand_on(session: "Session", go: Path, asked: "CleanRequest") -> None:
    """What is left of the command line when the caches are taken out."""
    from go_cache_safeguard.gotool.run import Go

    if asked.rest is None:
        return
    where = session.cwd / asked.directory if asked.directory else session.cwd
    args = [word for word in asked.rest if word.removeprefix("-").partition("=")[0] not in {"-C", "C"}]
    ran = Go(go, environ={**session.environ, "GOFLAGS": _without_caches(session)}, toolchain="auto").run(
        args, cwd=where
    )
    sys.stdout.write(ran.stdout.decode("utf-8", "backslashreplace"))
    sys.stderr.write(ran.stderr.decode("utf-8", "backslashreplace"))
    if ran.exit_code:
        raise typer.Exit(ran.exit_code)


def _without_caches(session: "Session") -> str:
    from go_cache_safeguard.gotool.cleanflags import CACHES

    words = shlex.split(session.go_env.flags)
    return shlex.join(word for word in words if word.lstrip("-").partition("=")[0] not in CACHES)


def _run(run: Run, *words: str) -> int:
    """One more command line of this program, said and then carried out."""
    sys.stderr.write(f"go-cache-safeguard {shlex.join(words)}\n")
    return run(words)


def _build_cache(_session: "Session", asked: "CleanRequest", run: Run) -> int:
    return _run(run, "plan", "--all") if asked.dry_run else _run(run, "clean", "--all")


def _module_cache(_session: "Session", asked: "CleanRequest", run: Run) -> int:
    return _run(run, "mod", "gc", "--all", *(["--dry-run"] if asked.dry_run else []))


def _test_results(session: "Session", asked: "CleanRequest", _run: Run) -> int:
    gocache = session.gocache()
    if asked.dry_run:
        sys.stdout.write(f"would let no test result count that is in {gocache}; nothing would be deleted\n")
        return 0
    from go_cache_safeguard.flows.testcache import expire_tests

    expire_tests(session, gocache)
    sys.stderr.write(
        "test results made before now do not count any more; go-cache-safeguard shim restore-tests takes it back\n"
    )
    return 0


def _fuzz_inputs(session: "Session", asked: "CleanRequest", _run: Run) -> int:
    from go_cache_safeguard.cli.act import person_at, show_plan, tell_receipt
    from go_cache_safeguard.flows.clean import clean as run_clean
    from go_cache_safeguard.flows.fuzz import judge_fuzz, plan_fuzz
    from go_cache_safeguard.flows.remove import Manner

    screen = options.Common().screen(session)
    made = plan_fuzz(session, session.gocache())
    if not made.items:
        screen.line("there are no fuzzing inputs")
    elif asked.dry_run:
        show_plan(screen, made)
        screen.line(f"{len(made.items):,} inputs, {format_size(made.total)}: a person would have to approve it")
    else:
        person = person_at(screen) if options.at_terminal(session, json=False) else None
        tell_receipt(
            screen, run_clean(session, made, lambda: [judge_fuzz(made)], Manner(wait_s=0, prover=None), person)
        )
    return 0


_STORIES = {"cache": _build_cache, "testcache": _test_results, "modcache": _module_cache, "fuzzcache": _fuzz_inputs}


def _sent(text: str) -> tuple[dict[str, Any], str]:
    """What a hook sent, and the shell line in it; empty if it is about no shell line.

    Raises:
        UsageFailure: It cannot be read; then nothing was looked at, and 2 means no to every hook.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageFailure(
            f"what the hook sent is no JSON: {error}", not_done="the command was not looked at"
        ) from error
    if not isinstance(value, dict):
        raise UsageFailure("what the hook sent is no object", not_done="the command was not looked at")
    given = value.get("tool_input", value.get("toolArgs", value))
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = {"command": given}
    line = given.get("command", "") if isinstance(given, dict) else ""
    return value, shlex.join(map(str, line)) if isinstance(line, list) else str(line)


def _danger(line: str) -> "Danger | None":
    from go_cache_safeguard.gotool.shellline import Places, find_danger

    session = options.session(quiet=True)
    try:
        gocache, modcache = str(session.gocache()), session.go_env.modcache
    except Failure:  # no go answers: what names a cache by its flags, or by its usual place, is still found
        gocache, modcache = str(session.home / ".cache/go-build"), str(session.home / "go/pkg/mod")
    return find_danger(line, Places(gocache, modcache, str(session.home), str(session.cwd)))


def _answer(sent: dict[str, Any], reason: str) -> dict[str, Any] | None:
    """A no in the form of whoever asked; None for one who only looks at the exit code."""
    event = sent.get("hook_event_name", "")
    if event == "PreToolUse":
        told = {"hookEventName": event, "permissionDecision": "deny", "permissionDecisionReason": reason}
        return {"hookSpecificOutput": told}
    if event == "BeforeTool":
        return {"decision": "deny", "reason": reason}
    if event == "beforeShellExecution":
        return {"permission": "deny", "user_message": reason, "agent_message": reason}
    if "toolName" in sent:
        return {"permissionDecision": "deny", "permissionDecisionReason": reason}
    return None
