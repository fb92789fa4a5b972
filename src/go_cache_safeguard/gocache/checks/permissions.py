"""May the owner of the cache, and nobody else, use all of it?

Knows:     what each kind of wrong owner, mode, link or mount does to builds and to a removal, and the command that mends it.
Called by: `gocache.survey` gathers the facts, `flows` asks for the verdict.
Never:     mends anything itself.
Source:    experiments with go1.21.13 to go1.27.3: a readable cache of somebody else works, but writes are dropped without a word, and
           up to go1.25 a due trim ends the build (`failed to trim cache`); an unreadable entry ends it (`permission denied`); a
           cached program without its x bit makes every `go run` fail.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gocache.checks.tally import Tally

CHECK = Check(
    id="permissions",
    title="owners, modes, links and mounts",
    question="Can the owner read, write and rename every entry, and can nobody else change what lies in the cache?",
    blind_spot="It reads owners and mode bits; access control lists and security modules may allow or forbid more.",
)

_NONE = Tally()
_ORDER = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class PermissionFacts:
    """What the survey saw.

    Attributes:
        path: Root of the cache, absolute.
        owner: `user:group` of the root, by name where it has one.
        uid: Who would act; 0 may rename anything.
        entries: How many files and directories were looked at.
        foreign: Shards and entries of another owner than the root's.
        closed_shards: Shards that could not be listed, so nothing is known of what is in them.
        locked_shards: Shards (or `.`, the root) in which nothing can be renamed.
        closed_entries: Entries that their owner may not read.
        dull_programs: Cached programs that their owner may not execute.
        links: Symbolic links that stand where an entry should.
        linked_shards: Symbolic links that stand where a shard should.
        strange: Names that go does not give; nothing ever touches them.
        mounts: Mount points inside; None if that cannot be told.
        ancestors: Why somebody else could replace the cache by another directory.
        read_only: Whether the file system is mounted read-only.
    """

    path: str
    owner: str
    uid: int
    entries: int = 0
    foreign: Tally = _NONE
    closed_shards: Tally = _NONE
    locked_shards: Tally = _NONE
    closed_entries: Tally = _NONE
    dull_programs: Tally = _NONE
    links: Tally = _NONE
    linked_shards: Tally = _NONE
    strange: Tally = _NONE
    mounts: tuple[str, ...] | None = ()
    ancestors: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class _Problem:
    outcome: Outcome
    evidence: str
    remedy: tuple[str, ...] = field(default=())


def judge(facts: PermissionFacts) -> Verdict:
    """The worst of all that is wrong, with everything as evidence, worst first."""
    problems = sorted(_problems(facts), key=lambda problem: -_ORDER.index(problem.outcome))
    if not problems:
        summary = f"all {facts.entries} entries belong to {facts.owner} and can be read and renamed"
        return Verdict(CHECK.id, Outcome.PASS, summary)
    return Verdict(
        check=CHECK.id,
        outcome=problems[0].outcome,
        summary=problems[0].evidence,
        evidence=tuple(problem.evidence for problem in problems),
        remedy=tuple(dict.fromkeys(line for problem in problems for line in problem.remedy)),
    )


def _problems(facts: PermissionFacts) -> Iterator[_Problem]:
    yield from _dangers(facts)
    yield from _owners(facts)
    path, owner = quote(facts.path), quote(facts.owner)
    if facts.closed_shards:
        yield _Problem(
            Outcome.UNKNOWN,
            facts.closed_shards.line("shards cannot be listed, so what is in them is not known"),
            (f"sudo chown -R --no-dereference {owner} {path}", f"chmod -R u+rwX {path}"),
        )
    if facts.closed_entries:
        line = facts.closed_entries.line("entries cannot be read by their owner: a build that needs one fails")
        yield _Problem(Outcome.BLOCK, line, (f"chmod -R u+rwX {path}",))
    if facts.dull_programs:
        line = facts.dull_programs.line("cached programs have lost their x bit: each `go run` that needs one fails")
        yield _Problem(Outcome.WARN, line, (f"find {path}/?? -path '*-d/*' -type f -exec chmod u+x {{}} +",))
    if facts.links:
        line = facts.links.line("symbolic links stand among the entries; they are neither followed nor touched")
        yield _Problem(Outcome.WARN, line, (f"find {path} -type l -ls",))
    if facts.strange:
        line = facts.strange.line("things in the cache are not go's; they are never touched")
        yield _Problem(Outcome.WARN, line)


def _dangers(facts: PermissionFacts) -> Iterator[_Problem]:
    """What could lead a removal elsewhere, or stop it half way."""
    if facts.mounts is None:
        yield _Problem(Outcome.UNKNOWN, "the list of mounts cannot be read, so something may be mounted in the cache")
    elif facts.mounts:
        line = Tally(len(facts.mounts), facts.mounts[:3]).line("file systems are mounted inside the cache")
        yield _Problem(Outcome.BLOCK, line, tuple(f"sudo umount {quote(point)}" for point in facts.mounts))
    if facts.linked_shards:
        line = facts.linked_shards.line("shards are symbolic links: the entries behind them lie elsewhere")
        yield _Problem(Outcome.BLOCK, line, (f"find {quote(facts.path)} -maxdepth 1 -type l -ls",))
    for problem in facts.ancestors:
        yield _Problem(
            Outcome.BLOCK,
            f"somebody else could replace the cache: {problem}",
            (f"namei --long {quote(facts.path)}", "take the write permission of others away from that directory"),
        )
    if facts.read_only:
        line = "the file system is mounted read-only: go keeps nothing new, and nothing can be renamed"
        yield _Problem(Outcome.BLOCK, line, (f"findmnt --target {quote(facts.path)}",))


def _owners(facts: PermissionFacts) -> Iterator[_Problem]:
    """Entries of somebody else can be moved by root, or out of a shard that is ours; they cannot be marked as used."""
    give_back = (f"sudo chown -R --no-dereference {quote(facts.owner)} {quote(facts.path)}",)
    movable = facts.uid == 0 or not (facts.locked_shards or facts.closed_shards or facts.closed_entries)
    if facts.foreign:
        what = f"shards or entries do not belong to {facts.owner}: the owner cannot mark them as used or rewrite them"
        yield _Problem(Outcome.WARN if movable else Outcome.BLOCK, facts.foreign.line(what), give_back)
    if facts.locked_shards and not facts.read_only:
        line = facts.locked_shards.line(
            "directories of the cache cannot be written: go drops what it makes, without a word"
        )
        yield _Problem(Outcome.BLOCK, line, (*give_back, f"chmod -R u+rwX {quote(facts.path)}"))
