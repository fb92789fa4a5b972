"""`verify`: prove that the person's packages build, pass their tests, and can be debugged.

Knows:     which proofs are on by default, and how they are shown.
Called by: `cli.app`.
Never:     removes or puts back anything: that is `clean` with `--proof`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.doctor import exit_code

if TYPE_CHECKING:
    from go_cache_safeguard.flows.packages import Wanted

BuildFlags = Annotated[
    str | None,
    typer.Option("--build-flags", metavar="FLAGS", help="Your own flags besides GOFLAGS: '-tags=x -ldflags=-w'."),
]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(verify)


def verify(
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="[PACKAGES]...", help="As for `go build`; default: ./...")
    ] = None,
    *,
    test: Annotated[bool, typer.Option("--test/--no-test", help="go test -count=1: runs your tests.")] = True,
    vet: Annotated[bool, typer.Option("--vet/--no-vet", help="go vet.")] = True,
    symbols: Annotated[
        bool, typer.Option("--symbols/--no-symbols", help="Look for debug information in binaries of yours.")
    ] = True,
    canary: Annotated[
        bool, typer.Option("--canary/--no-canary", help="Build, rebuild and run a throw-away program.")
    ] = False,
    race: Annotated[bool, typer.Option("--race", help="Test with the race detector.")] = False,
    retry: Annotated[
        int,
        typer.Option(
            "--retry", metavar="N", min=0, max=10, help="Run what failed again, up to N times; flaky is told."
        ),
    ] = 0,
    build_flags: BuildFlags = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="For one go command; default: the setting go.timeout."),
    ] = None,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Prove that your packages still work with this cache: tests, vet, and debug symbols that lead back to the sources.

    Exit code 0: proved. 10: a proof failed. 13: a proof could not be made.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.prove import Step
    from go_cache_safeguard.flows.verify import verify as run_verify

    chosen = {Step.CANARY: canary, Step.TEST: test, Step.VET: vet, Step.SYMBOLS: symbols}
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    wanted = _wanted(packages, build_flags, race=race, retry=retry, timeout=timeout)
    where = session.gocache(gocache)
    proof = run_verify(session, where, tuple(step for step in Step if chosen.get(step)), wanted)
    verdicts = [step.verdict for step in proof.steps]
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        steps = [{**step.verdict.as_value(), "kept": step.kept} for step in proof.steps]
        value = {"gocache": str(where), "packages": list(wanted.patterns), "proved": proof.passed, "steps": steps}
        screen.document("verify", 1, value)
    else:
        for verdict in verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(verdicts))


def _wanted(
    packages: list[str] | None, build_flags: str | None, *, race: bool, retry: int, timeout: str | None
) -> "Wanted":
    import shlex

    from go_cache_safeguard.flows.packages import Wanted

    try:
        flags = tuple(shlex.split(build_flags or ""))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--build-flags") from error
    limit = options.duration(timeout, "--timeout")
    if limit == 0:
        raise typer.BadParameter("at least a second", param_hint="--timeout")
    return Wanted(tuple(packages or ["./..."]), flags, race, retry, limit)
