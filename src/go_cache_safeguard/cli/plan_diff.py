"""`mod plan-diff`: does go plan the same build as before?

Knows:     how two plans and what would be compiled now are shown.
Called by: `cli.mod`.
Never:     compiles anything, or overwrites a file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.build_plan import PlanReport
    from go_cache_safeguard.gotool.buildplan import Plan


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(name="plan-diff")(plan_diff)


def plan_diff(
    *,
    packages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PACKAGES]...",
            help="As for `go build`; default: what the baseline was recorded for, else the module or workspace here.",
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Only write the plan of now into a new file.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Compare with a plan that was recorded.")
    ] = None,
    go: Annotated[
        Path | None,
        typer.Option("--go", metavar="PATH", help="Plan with this go command, and compare with the usual one."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME=VALUE", help="Plan with this variable, and compare with without. Repeatable."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A difference is BLOCK, exit code 10, instead of WARN.")
    ] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Compare what go would do for every package: tools, flags, files, import configurations, and the cause of each difference.

    Alone, it plans twice and expects no difference. It also tells what would really be compiled now. Nothing is built.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.build_plan import Question, diff_plans, record_plan
    from go_cache_safeguard.flows.looking import Under

    if record is not None and (against is not None or strict):
        raise UsageFailure("--record writes a plan and compares nothing", not_done="nothing was written")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    under = Under(go, _variables(env or []))
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if record is not None:
        _show_recorded(screen, record_plan(session, packages or [], under, record), session.cwd / record)
        return
    question = Question(tuple(packages or ()), against, under, strict)
    report = diff_plans(session, session.gocache(gocache), question)
    if json:
        screen.document("plan-diff", 1, _value(report))
    else:
        screen.verdict(report.verdict)
    raise typer.Exit(exit_code([report.verdict]))


def _variables(pairs: list[str]) -> dict[str, str]:
    found = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
        found[name] = value
    return found


def _show_recorded(screen: "Screen", plan: "Plan", path: Path) -> None:
    if screen.as_json:
        about = {"toolchain": plan.toolchain, "patterns": list(plan.patterns), "packages": len(plan.units)}
        screen.document("plan-record", 1, {"file": str(path), **about})
    else:
        screen.line(f"{path}: the plan of {len(plan.units)} packages with {plan.toolchain}")


def _value(report: "PlanReport") -> dict[str, object]:
    now = report.rebuild
    return {
        "patterns": list(report.after.patterns),
        "toolchain": report.after.toolchain,
        "rebuild": {"compile": list(now.compile), "cascade": list(now.cascade), "link": list(now.link)},
        "comparison": report.comparison.as_value(),
        "verdict": report.verdict.as_value(),
    }
