"""Tell why packages are not in the cache: which input of their keys changed, and where that began.

Knows:     where the facts come from: go's own log of hashes from a dry run, the cache, records of runs, ghosts, git.
Called by: the command line's `why`.
Never:     compiles, runs a test, or changes the cache: see `flows.looking`. Reports as proved only what a key in the cache proves.
Source:    `go build -n` with GODEBUG=gocachehash=1 prints every key it makes; measured with go1.21.13, go1.24.11 and go1.27.3.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.looking import Cache, Planner, Under, cannot, planner, read_cache
from go_cache_safeguard.flows.oldfiles import history
from go_cache_safeguard.flows.runs import record_of, runs
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.shelf import Shelf, directory_of, is_program, package_of
from go_cache_safeguard.flows.testkeys import TestRow, look_at_tests
from go_cache_safeguard.gocache.hashlog import HashLog, parse_hash_log
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.keyproof import Clues, Prover
from go_cache_safeguard.gocache.keyrecord import Record, Recorded, imports_of, keys_of, recorded
from go_cache_safeguard.gocache.why import Facts, Group, Proof, Row, explain, gather
from go_cache_safeguard.gotool.buildplan import STEERING
from go_cache_safeguard.gotool.run import OUTPUT_LIMIT, Ran

VERBS = frozenset({"build", "install", "vet", "test"})
_TRIES = 200_000
"""Keys that are made at most to find old ones; a second or so."""
_EACH = 5_000
"""Likewise for one package."""
_NOT_THERE = 10
"""Lines for which a package counts that was not in a run."""
_SILENT = frozenset({"-n", "-x", "-work", "--n", "--x", "--work"})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about.

    Attributes:
        verb: `build`, `install`, `vet` or `test`.
        args: What follows it.
        go: The go command that was named; None for the usual one.
    """

    verb: str
    args: tuple[str, ...]
    go: Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """As a person would type it."""
        return ("go", self.verb, *self.args)


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        gocache: The cache.
        toolchain: Such as `go1.27.3`.
        project: Directory of the module or workspace.
        command: What was asked about.
        packages: How many packages go looked for.
        found: How many of them are in the cache.
        rows: Those that are missed, and those that are not what they were in the recorded run.
        groups: First causes.
        tests: What becomes of tests.
        compared: When the runs were recorded that were compared with, in nanoseconds since 1970-01-01 UTC, the newest first.
        record: The record of now.
        notes: What a person should know besides.
    """

    gocache: Path
    toolchain: str
    project: Path
    command: tuple[str, ...]
    packages: int
    found: int
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    tests: tuple[TestRow, ...]
    compared: tuple[int, ...]
    record: Record
    notes: tuple[str, ...] = field(default=())


def question_of(words: Sequence[str]) -> Question:
    """Read what a person asks: packages, `test` and packages, or a whole go command.

    Raises:
        UsageFailure: It is no command that looks into the cache.
    """
    if words and Path(words[0]).name == "go":
        if len(words) < 2 or words[1] not in VERBS:
            raise UsageFailure(
                f"`{' '.join(words)}` is not a command that `why` can ask about",
                not_done="go was asked nothing",
                hint="it can ask about go build, go install, go vet and go test",
            )
        go = Path(words[0]) if "/" in words[0] else None
        return Question(words[1], tuple(words[2:]), go)
    if words and words[0] == "test":
        return Question("test", tuple(words[1:]))
    return Question("build", tuple(words))


def report_why(
    session: Session, gocache: Path, question: Question, *, against: Record | None = None, remembered: bool = True
) -> Report:
    """Ask go what it would look for, and say why it would not find it.

    Args:
        session: Who asks.
        gocache: The cache.
        question: About what.
        against: A record to compare with, and with no other.
        remembered: Compare with records of runs here.

    Raises:
        CannotPlan: Go could not say.
        NotAGoCache: The directory is something else.
        UsageFailure: There is no module here.
    """
    cache = read_cache(session, gocache)
    with planner(session, session.cwd, cache, Under(go=question.go, vet=question.verb == "vet")) as (asked, notes):
        session.progress.phase("asking go")
        args = question.args or asked.patterns(())
        log = ask(session, asked, question.verb, args)
        session.progress.phase("")
        project = project_of(asked.env, session.cwd)
        past = (against,) if against is not None else runs(session, project) if remembered else ()
        here = _Here(session, cache, asked.version, project, past)
        keys = tuple(key for key in keys_of(log) if _is_asked(key.name, question.verb))
        keys = here.really_built(keys)
        rows = here.explain(log, keys)
        tests = look_at_tests(here.shelf, asked, log, args, rows=rows, past=past) if question.verb == "test" else ()
        record = record_of(
            log,
            project=project,
            directory=session.cwd,
            command=("go", question.verb, *args),
            toolchain=asked.version,
            at_ns=time.time_ns(),
            environment={name: asked.env.get(name, "") for name in STEERING},
            tests=tuple(key for test in tests for key in test.keys),
            held=here.found,
        )
    built = [key for key in keys if key.name.startswith("build ")]
    return Report(
        gocache,
        asked.version,
        project,
        ("go", question.verb, *args),
        len(built),
        sum(key.sum in here.found for key in built),
        rows,
        gather(rows),
        tests,
        tuple(record.at_ns for record in past),
        record,
        (*notes, *_notes(args)),
    )


def ask(session: Session, asked: Planner, verb: str, args: Sequence[str]) -> HashLog:
    """What go says about its hashes when it plans this.

    Raises:
        CannotPlan: Go could not say, or said more than we keep.
    """
    words = [word for word in args if word not in _SILENT]
    words = ["-mod=readonly" if word.removeprefix("-") in {"-mod=mod", "mod=mod"} else word for word in words]
    at = 0 if not words or not words[0].startswith(("-C", "--C")) else 1 if "=" in words[0] else 2
    debug = ",".join(word for word in (session.environ.get("GODEBUG", ""), "gocachehash=1", "gocachetest=1") if word)
    ran = asked.run(verb, *words[:at], "-n", *words[at:], extra={"GODEBUG": debug})
    if len(ran.stderr) >= OUTPUT_LIMIT:
        raise cannot(ran, f"{verb} -n")
    log = parse_hash_log(ran.stderr)
    if ran.exit_code:
        raise cannot(_said(ran, log), f"{verb} -n")
    return log


def _is_asked(name: str, verb: str) -> bool:
    """Whether a key is a package's. The main package of a test is not whole in a dry run: see `flows.testkeys`."""
    if name.startswith("vet "):
        return verb == "vet"
    return name.startswith("build ") and not name.endswith(".test")


def _said(ran: Ran, log: HashLog) -> Ran:
    """The same without the log of hashes."""
    return replace(ran, stderr=log.rest)


def project_of(env: Mapping[str, str], cwd: Path) -> Path:
    """Directory of the workspace or module, or where go was started if there is none."""
    for name in ("GOWORK", "GOMOD"):
        if env.get(name, "") not in {"", "off", os.devnull}:
            return Path(env[name]).parent
    return cwd


def _notes(args: Sequence[str]) -> Iterable[str]:
    if any(word.lstrip("-") in {"a", "a=true"} and word.startswith("-") for word in args):
        yield "with -a go does not ask the cache: it compiles everything, whatever is said here"


class _Here:
    """What is known on this machine."""

    def __init__(self, session: Session, cache: Cache, version: str, project: Path, past: Sequence[Record]) -> None:
        self.shelf = Shelf(session, cache)
        self._session, self._version, self._project, self._past = session, version, project, past

    @property
    def found(self) -> AbstractSet[bytes]:
        return self.shelf.found

    def explain(self, log: HashLog, keys: Sequence[Recorded]) -> tuple[Row, ...]:
        """Rows for all keys."""
        self._past = sorted(self._past, key=lambda record: _distance(record, keys))
        missed = [key for key in keys if key.sum not in self.found]
        facts = Facts(self.found, self.baseline)
        if missed:
            gone = self.shelf.ghosts
            facts = Facts(self.found, self.baseline, gone, self._seen(log, missed), self._proofs(log, missed))
        return explain(keys, facts)

    def really_built(self, keys: Sequence[Recorded]) -> tuple[Recorded, ...]:
        """Vet reads the sources of a package that it is to look at: if nobody imports it, it is only compiled if somebody did before."""
        if not any(key.name.startswith("vet ") for key in keys):
            return tuple(keys)
        needed = {path for key in keys for path in imports_of(key.lines)}
        return tuple(key for key in keys if not self._is_only_read(key, needed))

    def _is_only_read(self, key: Recorded, needed: AbstractSet[str]) -> bool:
        before = self.baseline(key)
        lone = key.name.startswith("build ") and package_of(key.name) not in needed and key.sum not in self.found
        return lone and (before is None or before.sum == key.sum)

    def baseline(self, key: Recorded) -> Recorded | None:
        """What a key was: the same, or in the run that all in all differs least."""
        names = [key.name]
        if not key.name.endswith(".test]"):
            names.append(key.name.partition(" [")[0])  # with a profile, the same package as without
        known = [record.by_name[name] for name in names for record in self._past if name in record.by_name]
        same = next((before for before in known if before.sum == key.sum), None)
        return same or next(iter(known), None)

    def _seen(self, log: HashLog, missed: Sequence[Recorded]) -> frozenset[str]:
        """Of these, packages of which the cache holds or held anything."""
        blocks = {recorded(block).name: block for block in log.blocks}
        asked = {key.name: blocks[key.name] for key in missed if key.name in blocks}
        return frozenset(
            package_of(name) for name, block in asked.items() if self.shelf.holds(package_of(name), block, log)
        )

    def _is_new(self, key: Recorded) -> bool:
        """Whether no record tells what became of it."""
        before = self.baseline(key)
        return before is None or (before.sum == key.sum and not before.held)

    def _proofs(self, log: HashLog, missed: Sequence[Recorded]) -> dict[str, Proof]:
        """Old keys of packages of which no run is recorded."""
        without = {key.name for key in missed if key.name.startswith("build ") and self._is_new(key)}
        named = {recorded(block).name: block for block in log.blocks if block.sum not in self.shelf.ghosts}
        blocks = {name: block for name, block in named.items() if name in without}
        if not blocks:
            return {}
        self._session.progress.phase("looking for old keys", len(blocks))
        standing = {id_half(key.sum) for key in missed}
        folders = {name: directory_of(block, log) for name, block in blocks.items()}
        known = history(self._session, self._project, folders.values(), self._session.config.count("why.commits"))
        prover = Prover(self.shelf.was, self.shelf.packages, 0)
        left, proofs = _TRIES, {}
        for done, (name, block) in enumerate(blocks.items()):
            waits = {path for path, content in imports_of(recorded(block).lines).items() if content in standing}
            held = self.shelf.of(package_of(name), folders[name], program=is_program(block.writes))
            clues = Clues(held, known.files.get(folders[name], ()), known.go_lines, known.stamps)
            prover.tries = min(_EACH, left)
            before = prover.tries
            proof = prover.prove(block, waits, clues) if held else None
            left -= before - prover.tries
            if proof is not None:
                proofs[name] = proof
            self._session.progress.update(done)
        self._session.progress.phase("")
        return proofs


def _distance(record: Record, keys: Iterable[Recorded]) -> int:
    """How much a run differs from that of now, in lines; what it imports is told by the keys of what it imports."""
    count = 0
    for key in keys:
        before = record.by_name.get(key.name)
        if before is None:
            count += _NOT_THERE
        elif before.sum != key.sum:
            count += len(_without_imports(before) ^ _without_imports(key))
    return count


def _without_imports(key: Recorded) -> set[str]:
    return {line for line in key.lines if not line.startswith("import ")}
