"""`pollution` and `gate`: whether a cache gives what a build would make.

Knows:     how verdicts, counts and the bound are shown, and which exit code they mean.
Called by: `cli.app`.
Never:     writes into a cache: what is compiled is compiled in a scratch place.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.cli.matrix import GoCommands, Start
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.core.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.gate import Gate
    from go_cache_safeguard.flows.pollution import LabReport
    from go_cache_safeguard.flows.sampling import Request
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.gocache.pollution import Demonstration, Sampled

Patterns = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PACKAGES]...", help="As for `go build`; default: the whole module or workspace here."),
]
Sample = Annotated[
    str | None,
    typer.Option(
        "--sample", metavar="N|SHARE", help="Rebuild so many packages in isolation, chosen by chance: 20, or 5%."
    ),
]
Packages = Annotated[
    list[str] | None,
    typer.Option("--package", metavar="PATH", help="Rebuild this one; repeatable. No chance, no bound."),
]
Seed = Annotated[
    str | None, typer.Option("--seed", metavar="TEXT", help="Choose as an earlier run did, which printed it.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(pollution)
    app.command()(gate)


def pollution(
    patterns: Patterns = None,
    *,
    sample: Sample = None,
    package: Packages = None,
    seed: Seed = None,
    go: GoCommands = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, max=100, help="How often each way to build has its turn.")
    ] = 2,
    configuration: Annotated[
        list[str] | None,
        typer.Option("--configuration", metavar="NAME", help="Only this way to build; repeatable. Default: all."),
    ] = None,
    trimpath: Annotated[
        bool | None, typer.Option("--trimpath/--no-trimpath", help="Only with, or only without. Default: both.")
    ] = None,
    module: Annotated[
        Path | None, typer.Option("--module", metavar="DIR", help="Build a copy of this module instead of one of ours.")
    ] = None,
    start_from: Start = None,
    demonstrate: Annotated[
        bool, typer.Option("--demonstrate", help="Show the three kinds of pollution that there really are.")
    ] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Prove that builds do not change each other's outputs; or, with --sample or --package, look for wrong outputs in your cache.

    Without --sample: builds in turn in one scratch cache (plain, -race, -tags, cgo, -cover, toolchains) are compared byte by byte with
    clean ones. With it: packages of the module here are rebuilt in an empty cache, offline, and compared with what yours holds.
    Exit code 0: equal. 10: something differs. 13: it could not be told.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.pollution import Experiment, run_lab
    from go_cache_safeguard.flows.pollution import demonstrate as show

    detector = sample is not None or bool(package)
    if detector and (demonstrate or go or configuration or module):
        raise UsageFailure("--sample and --package look at your cache; the other options are about a scratch cache")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if detector:
        _detect(session, screen, gocache, _request(patterns, sample, package, seed))
        return
    if patterns:
        raise UsageFailure("packages are for --sample", hint="a scratch cache builds a module of ours, or --module DIR")
    if demonstrate:
        shown = show(session, session.cwd / go[0] if go else None, start_from)
        _print_demonstrations(screen, shown)
        raise typer.Exit(ExitCode.DONE if all(one.shown for one in shown) else ExitCode.COULD_NOT_TELL)
    both = (False, True) if trimpath is None else (trimpath,)
    report = run_lab(session, Experiment(tuple(go or ()), rounds, tuple(configuration or ()), both, module, start_from))
    _print_lab(screen, report)
    raise typer.Exit(exit_code([report.verdict]))


def gate(
    patterns: Patterns = None,
    *,
    sample: Sample = None,
    package: Packages = None,
    seed: Seed = None,
    fail_closed: Annotated[
        bool, typer.Option("--fail-closed", help="Whatever is not PASS forbids the release: UNKNOWN and WARN, too.")
    ] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Tell whether a release may be built with this cache: entries, permissions, index, modules, and a sample rebuilt.

    Exit code 0: nothing forbids it. 10: something does. 13: it could not be told; with --fail-closed that is 10, and so is WARN.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.gate import ask_gate

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    found = ask_gate(session, session.gocache(gocache), _request(patterns, sample, package, seed))
    passed = all(one.outcome is Outcome.PASS for one in found.verdicts)
    code = exit_code(list(found.verdicts))
    if fail_closed and not passed:
        code = ExitCode.BLOCKED
    _print_gate(screen, found, fail_closed=fail_closed, code=code)
    raise typer.Exit(code)


def _request(patterns: list[str] | None, sample: str | None, packages: list[str] | None, seed: str | None) -> "Request":
    from go_cache_safeguard.flows.sampling import DEFAULT, Request

    if packages and (sample is not None or seed is not None):
        raise UsageFailure("--package names packages; --sample and --seed draw them")
    count = options.size(sample, "--sample")
    if count == 0:
        raise typer.BadParameter("at least one", param_hint="--sample")
    return Request(tuple(patterns or ()), DEFAULT if count is None else count, tuple(packages or ()), seed or "")


def _detect(session: "Session", screen: "Screen", gocache: Path | None, request: "Request") -> None:
    from go_cache_safeguard.flows.sampling import sample_cache
    from go_cache_safeguard.gocache.pollution import judge

    where = session.gocache(gocache)
    sampled = sample_cache(session, where, request)
    verdict = judge(sampled)
    if screen.as_json:
        screen.document(
            "pollution-sample", 1, {"gocache": str(where), **_value(sampled), "verdict": verdict.as_value()}
        )
    else:
        screen.verdict(verdict)
        _print_sample(screen, sampled)
    raise typer.Exit(exit_code([verdict]))


def _value(sampled: "Sampled") -> dict[str, object]:
    return {
        "population": sampled.population,
        "missing": sampled.missing,
        "seed": sampled.seed,
        "statement": sampled.statement,
        "at_most_bad": sampled.bound,
        "confidence": 0.95,
        "digest": sampled.digest,
        "packages": [
            {
                "package": one.held.package,
                "action": one.held.half,
                "output": one.held.output.hex(),
                "judged": str(one.judged),
            }
            for one in sampled.results
        ],
        "beside": {"compared": sampled.beside[0], "differ": list(sampled.beside[1])},
        "notes": list(sampled.notes),
    }


def _print_sample(screen: "Screen", sampled: "Sampled") -> None:
    screen.line(
        f"{sampled.population:>6} packages that the build would take from the cache; it would compile {sampled.missing}"
    )
    screen.line(
        f"{len(sampled.results):>6} rebuilt as the sample, {sampled.beside[0]} more beside because they are imported"
    )
    if sampled.seed:
        screen.line(f"seed {sampled.seed}: with --seed the same sample is drawn again", style="dim")


def _print_lab(screen: "Screen", report: "LabReport") -> None:
    if screen.as_json:
        counts = [
            {
                "toolchain": one.toolchain,
                "configuration": one.configuration,
                "builds": one.builds,
                "archives": one.archives,
                "programs": one.programs,
            }
            for one in report.counts
        ]
        found = [
            {
                "toolchain": one.toolchain,
                "configuration": one.configuration,
                "round": one.round,
                "name": one.name,
                "what": one.what,
            }
            for one in report.found
        ]
        value = {
            "counts": counts,
            "differences": found,
            "doubts": list(report.doubts),
            "verdict": report.verdict.as_value(),
        }
        screen.document("pollution", 1, value)
        return
    rows = [
        (one.toolchain, one.configuration, f"{one.builds}", f"{one.archives}", f"{one.programs}")
        for one in report.counts
    ]
    screen.table(("toolchain", "configuration", "builds", "archives", "programs"), rows, right=(2, 3, 4))
    screen.line()
    screen.verdict(report.verdict)


def _print_demonstrations(screen: "Screen", shown: "Sequence[Demonstration]") -> None:
    if screen.as_json:
        value = [{"name": one.name, "title": one.title, "shown": one.shown, "text": one.text} for one in shown]
        screen.document("pollution-demonstration", 1, {"demonstrations": value})
        return
    for one in shown:
        screen.heading(one.title)
        screen.line(f"  {'shown' if one.shown else 'not shown'}: {one.text}")


def _print_gate(screen: "Screen", found: "Gate", *, fail_closed: bool, code: ExitCode) -> None:
    if screen.as_json:
        value = {
            "gocache": str(found.gocache),
            "toolchain": found.toolchain,
            "patterns": list(found.patterns),
            "digest": found.digest,
            "fail_closed": fail_closed,
            "allowed": code is ExitCode.DONE,
            "verdicts": [one.as_value() for one in found.verdicts],
            "proved": list(found.proved),
            "not_proved": list(found.open),
            "sample": _value(found.sampled),
        }
        screen.document("gate", 1, value)
        return
    for verdict in found.verdicts:
        screen.verdict(verdict)
    screen.heading("proved")
    for line in found.proved or ("nothing",):
        screen.line(f"  {line}")
    screen.heading("not proved")
    for line in found.open:
        screen.line(f"  {line}")
    screen.line()
    screen.line(
        f"what this is about: sha256:{found.digest} ({found.sampled.population} packages, {found.toolchain})",
        style="dim",
    )
    screen.line(
        "the release may be built" if code is ExitCode.DONE else f"the release may not be built: {code.meaning}", "bold"
    )
