"""In an emergency: find out whether a cache is to blame, then restore or rebuild.

Knows:     which builds are compared, with which environment, and what each choice consists of.
Called by: the command line's `rollback`.
Never:     changes a cache in order to find out: apart from what any build adds. Removes nothing but through the same plan, policy
           and door as a clean.
Source:    an empty temporary GOCACHE, because GOCACHE=off has not existed since go1.12. The download cache of a module cache is a
           file proxy (`go help goproxy`). go.sum is compared whatever GOSUMDB, GONOSUMDB and GOPRIVATE say; those only switch the
           checksum database on and off, which is asked for what go.sum does not name yet (cmd/go/internal/modfetch/fetch.go
           `checkModSum`, go1.21.13 and go1.27.3), and with -mod=readonly such a module is an error.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.clean import How, clean
from go_cache_safeguard.flows.modules import verify_module
from go_cache_safeguard.flows.packages import Packages, Wanted
from go_cache_safeguard.flows.plan import Wanted as Selected
from go_cache_safeguard.flows.plan import make_plan
from go_cache_safeguard.flows.prove import Prover, Step, prover_for
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.restore import Restored, restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.complaint import GoTimedOut, last_lines
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.snapshot.source import Source
from go_cache_safeguard.tree.owner import must_drop
from go_cache_safeguard.tree.root import Root, open_below, open_root
from go_cache_safeguard.verify.outcome import FIELDS, Archive, Built, Diagnosis, Export, diagnose, parse_exports

_OFFLINE = {
    "GOPROXY": "off",
    "GONOPROXY": "none",  # GOPRIVATE would lead around GOPROXY
    "GOSUMDB": "off",  # nobody is asked; go.sum is compared all the same
    "GOVCS": "*:off",
    "GOCACHEPROG": "",  # the directory is asked, nobody else
}
_LINES = 12


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared.

    Attributes:
        gocache: The build cache, resolved.
        modcache: The module cache, resolved.
        wanted: Packages of the module in the current directory.
        mirror: A copy of `cache/download`; None for the module cache's own.
        tests: Whether the tests are run, too.
        scratch: Where the temporary caches lie; None for the usual place. They may become as large as the real ones.
    """

    gocache: Path
    modcache: Path
    wanted: Wanted
    mirror: Path | None = None
    tests: bool = False
    scratch: Path | None = None

    @property
    def proxy(self) -> str:
        """GOPROXY of the mirror."""
        return (self.mirror or self.modcache / "cache" / "download").as_uri()


def examine(session: Session, question: Question) -> Diagnosis:
    """Build the same with the present cache, with an empty one, and with modules fresh from the mirror.

    Raises:
        UsageFailure: A package or a flag is not one, or the temporary caches cannot be made.
        UnsafePath: A cache cannot be entered safely.
        GoMissing: There is no go command.
    """
    question.wanted.check()
    with open_root(question.gocache) as root, _scratch(question, root) as folder:
        modules = {"GOMODCACHE": str(question.modcache)}
        fresh = {"GOMODCACHE": str(folder / "mod"), "GOPROXY": question.proxy}
        present = _build(session, root, question, modules, "with the present cache")
        with open_root(folder / "cache") as empty:
            clean_room = _build(
                session, empty, question, modules, "with an empty cache; this takes as long as it takes"
            )
            mirror = _build(session, empty, question, fresh, "with modules from the mirror", fresh=True)
    return diagnose(present, clean_room, mirror, _modules(session, question))


def rebuild(
    session: Session, question: Question, checks: Callable[[], Sequence[Verdict]], how: How, wait_s: int
) -> Receipt:
    """Move the whole build cache to quarantine and build again; when that fails, everything is put back.

    Raises:
        Held: Policy wants a person to approve it first.
        ProofFailed: The build failed, and everything was put back.
    """
    return _clear(session, question, checks, how, Manner(wait_s=wait_s, prover=_prover(question)))


def restore_instead(
    session: Session,
    question: Question,
    source: Source,
    checks: Callable[[], Sequence[Verdict]],
    how: How,
    *,
    wait_s: int,
) -> tuple[Receipt, Restored]:
    """Move the whole build cache to quarantine, bring a snapshot back, and build with it.

    Raises:
        Held: Policy wants a person to approve it first.
        RestoreProofFailed: The build failed, and what was restored was taken out again.
    """
    receipt = _clear(session, question, checks, how, Manner(wait_s=wait_s, prover=None))
    return receipt, restore(session, source, question.gocache, _prover(question), wait_s=wait_s)


def _clear(
    session: Session,
    question: Question,
    checks: Callable[[], Sequence[Verdict]],
    how: How,
    manner: Manner,
) -> Receipt:
    plan, _ = make_plan(session, question.gocache, Selected(everything=True, words=("rollback", "--all")))
    return clean(session, plan, checks, manner, how.confirm, always_ask=how.always_ask, replaces=how.replaces)


def _prover(question: Question) -> Prover | None:
    return prover_for((Step.CANARY, Step.BUILD), question.wanted)


# ---------------------------------------------------------------- building


@contextmanager
def _scratch(question: Question, like: Root) -> Iterator[Path]:
    """Two empty caches of the owner's, gone at the end.

    Raises:
        UsageFailure: They cannot be made.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="go-cache-safeguard-", dir=question.scratch)
    except OSError as error:
        raise UsageFailure(
            f"the temporary caches cannot be made: {error}",
            not_done="nothing was changed",
            hint="name a directory with room for a whole build with --scratch",
        ) from error
    with made as folder:
        whole = Path(os.path.realpath(folder))
        for path in (whole, whole / "cache", whole / "mod"):
            path.mkdir(exist_ok=True)
            if must_drop(like.uid):
                os.chown(path, like.uid, like.gid, follow_symlinks=False)
        yield whole


def _build(
    session: Session,
    root: Root,
    question: Question,
    environ: Mapping[str, str],
    how: str,
    *,
    fresh: bool = False,
) -> Built:
    packages = Packages(session, root, question.wanted)
    more = {**_OFFLINE, "GOFLAGS": _flags(packages, fresh=fresh), **environ}
    words = " ".join(question.wanted.patterns)
    session.progress.phase(f"building {words} {how}")
    try:
        ran = packages.run(
            "build", *question.wanted.flags, "-o", os.devnull, "--", *question.wanted.patterns, told=None, **more
        )
        if not ran.exit_code and question.tests:
            session.progress.phase(f"testing {words} {how}")
            ran = packages.run("test", *question.wanted.flags, "--", *question.wanted.patterns, told=None, **more)
        archives = None if fresh else _archives(packages, more)
    except GoTimedOut as failure:
        return Built(None, failure.what)
    finally:
        session.progress.phase("")
    return Built(ran.exit_code, _said(ran), archives)


def _flags(packages: Packages, *, fresh: bool) -> str:
    """The person's GOFLAGS without `-mod=mod`, with which a build would write go.sum and believe the mirror.

    Args:
        packages: In which environment.
        fresh: The module cache is ours, and must be removable afterwards.
    """
    flags = [flag for flag in _split(packages.env["GOFLAGS"]) if flag.lstrip("-") != "mod=mod"]
    return " ".join(shlex.quote(flag) for flag in [*flags, *(["-modcacherw"] if fresh else [])])


def _split(flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError:
        return flags.split()


def _said(ran: Ran) -> str:
    return last_lines(ran.stderr, _LINES) if ran.exit_code else ""


def _archives(packages: Packages, environ: Mapping[str, str]) -> dict[str, Archive]:
    wanted = packages.wanted
    ran = packages.run(
        "list", "-e", "-export", "-deps", f"-json={FIELDS}", *wanted.flags, "--", *wanted.patterns, told=None, **environ
    )
    exports = parse_exports(ran.stdout) or {}
    return {path: _archive(packages.root, export) for path, export in exports.items()}


def _archive(root: Root, export: Export) -> Archive:
    name = os.path.basename(export.path).removesuffix("-d")  # noqa: PTH119 - a text of go's, not a path that is followed
    try:
        below = Path(export.path).relative_to(root.path)
        fd = open_below(root.fd, str(below), os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return Archive(export.build_id, name, None)
    try:
        with os.fdopen(fd, "rb") as file:
            return Archive(export.build_id, name, file_digest(file, "sha256").hexdigest())
    except OSError:
        return Archive(export.build_id, name, None)


def _modules(session: Session, question: Question) -> Verdict | None:
    """What the module check says of the build list; None when it cannot be asked, for example outside of a module."""
    try:
        return verify_module(session, session.cwd, question.modcache).verdicts[0]
    except Failure as failure:
        session.progress.say(f"the modules could not be verified: {failure.what}")
        return None
