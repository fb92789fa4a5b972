"""Build a throw-away module twice in a real cache, and run it.

Knows:     how the trial of `gotool.trial` is carried out, with the rights of the cache's owner.
Called by: `flows.checks` (reuse) and `flows.prove` (canary).
Never:     leaves anything but cache entries behind; judges what came out.
"""

import os
import pwd
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.costs import record_costs
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.actiongraph import NoGraph, parse_action_graph
from go_cache_safeguard.gotool.complaint import printable
from go_cache_safeguard.gotool.run import Go
from go_cache_safeguard.gotool.trial import Built, Trial, build_args, make_trial, trial_environment
from go_cache_safeguard.gotool.trim import trim_held
from go_cache_safeguard.tree.owner import must_drop
from go_cache_safeguard.tree.root import Root
from go_cache_safeguard.verify.canary import ProgramRun


class TrimNotHeld(Failure):
    """A build of ours could make go delete old entries, which no quarantine would hold."""

    id = "trim-not-held"
    exit_code = ExitCode.TARGET
    meaning = "go's own trim could not be kept from running after a build of ours, so nothing was built"


@dataclass(frozen=True, slots=True)
class Tried:
    """What the trial gave.

    Attributes:
        trial: What was built.
        first: The first build.
        second: The second; None when the first failed.
        run: The program; None when it was not run.
    """

    trial: Trial
    first: Built
    second: Built | None
    run: ProgramRun | None


def carry_out_trial(session: Session, root: Root) -> Tried:
    """Carry out a trial, with the rights of the cache's owner.

    Args:
        session: Who asks.
        root: The cache.

    Raises:
        GoMissing: There is no go command.
        GoTimedOut: A build did not end in time.
        TrimNotHeld: The builds could make go delete old entries.
    """
    go = session.go_for(root.uid, root.gid)
    with trim_held(root) as problems:
        if problems:
            raise TrimNotHeld(
                f"a build in {root.path} could set off go's own trim: {problems[0]}",
                not_done="nothing was built",
                hint="wait for running go commands to end, and see that trim.txt is yours",
            )
        return _try(session, root, go)


def _try(session: Session, root: Root, go: Go) -> Tried:
    trial = make_trial(secrets.token_hex(8))
    environ = {**trial_environment(root.path, flags=session.go_env.flags), **home_of_owner(root)}
    with tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as folder:
        place = Path(folder)
        _lay_out(trial, place, root)
        first = _build(go, place, "first", environ)
        record_costs(session, first.actions, toolchain=session.go_env.version)
        if first.exit_code:
            return Tried(trial, first, None, None)
        second = _build(go, place, "second", environ)
        if second.exit_code:
            return Tried(trial, first, second, None)
        ran = go.run_program(place / "second", cwd=place, timeout_s=60)
        return Tried(trial, first, second, ProgramRun(ran.exit_code, printable(ran.stderr).strip()))


def _lay_out(trial: Trial, place: Path, root: Root) -> None:
    """Write the module; all of it belongs to the owner of the cache when we act for somebody else."""
    made = [place]
    for name, content in trial.files.items():
        path = place / "module" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        made += [path, path.parent]
    if must_drop(root.uid):
        for path in {*made, place / "module"}:
            os.chown(path, root.uid, root.gid, follow_symlinks=False)


def _build(go: Go, place: Path, name: str, environ: dict[str, str]) -> Built:
    graph = place / f"{name}.json"
    ran = go.run(build_args(graph=graph, output=place / name), cwd=place / "module", extra_env=environ)
    try:
        actions = parse_action_graph(graph.read_bytes())
    except OSError as error:
        actions = NoGraph(f"go wrote no action graph: {error.strerror}")
    return Built(ran.exit_code, printable(ran.stderr), actions, ran.cpu_ns)


def home_of_owner(root: Root) -> dict[str, str]:
    """HOME of the cache's owner when we act for somebody else: go needs one, and ours is not theirs."""
    return home_of(root.uid)


def home_of(uid: int) -> dict[str, str]:
    """The same for any owner."""
    if not must_drop(uid):
        return {}
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        home = "/nonexistent"
    return {"HOME": home, "GOPATH": f"{home}/go", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
