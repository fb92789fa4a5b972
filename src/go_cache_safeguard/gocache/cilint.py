"""What is wrong with how a CI file keeps Go's caches.

Knows:     the rules of `ci lint`: what each means, why it costs time or space, and what to write instead.
Called by: `flows.ci_lint`.
Never:     reads a file.
Source:    each rule names the reports that it comes from; how keys behave: docs.github.com "Dependency caching reference".
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.gocache.ciworkflow import CacheUse, Workflow

_CHANGES = re.compile(
    r"hashFiles|github\.(sha|run_id|run_number|run_attempt)|CI_(COMMIT_SHA|COMMIT_SHORT_SHA|PIPELINE_I?ID|JOB_ID)|steps\.|date"
)
_EVERY_TIME = re.compile(
    r"github\.(sha|run_id|run_number|run_attempt)|CI_(COMMIT_S|PIPELINE_I|JOB_ID)|hashFiles\([^)]*\.go['\"*,)]"
)
_NAMES_GO = re.compile(
    r"go-version|GO_VERSION|GOVERSION|matrix\.go|matrix\.version|toolchain|\bgo-?1\.\d+|hashFiles\([^)]*go\.mod|setup-go|golang",
    re.IGNORECASE,
)
_TESTS = re.compile(r"\bgo\s+test\b|\bgotestsum\b|\bmake\s+\S*test")
_MTIMES = re.compile(r"restore-mtime|ci\s+unpack|git-restore-mtime|touch\s+-")
_PACKS = re.compile(r"go-cache-safeguard\s+ci\s+(un)?pack")


class Grade(StrEnum):
    """How bad."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for.

    Attributes:
        id: A word.
        grade: How bad it is.
        meaning: What it costs.
        instead: What to write.
        seen: Where people met it.
    """

    id: str
    grade: Grade
    meaning: str
    instead: str
    seen: str


RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            "frozen-key",
            Grade.WARNING,
            "the key never changes, and GitHub never saves a key again that exists: the cache stays as the first run left it",
            "end the key with ${{ github.run_id }}, and put the part before it into restore-keys",
            "livekit/server-sdk-go#972: an entry frozen for nine months",
        ),
        Rule(
            "key-follows-go-sum",
            Grade.WARNING,
            "the build cache is saved only when go.sum changes: what is compiled afterwards is compiled in every run",
            "give the build cache a key of its own that ends with ${{ github.run_id }}, with restore-keys",
            "actions/setup-go#357, #395",
        ),
        Rule(
            "no-go-in-key",
            Grade.WARNING,
            "no version of Go is in the key: after an upgrade nothing of what is restored can be hit, and all of it is kept",
            "put the version of Go into the key of the build cache",
            "livekit/server-sdk-go#972: all entries of dead compilers",
        ),
        Rule(
            "no-restore-keys",
            Grade.WARNING,
            "a key that changes without restore-keys (GitLab: fallback_keys) begins with nothing each time that it changes",
            "add the part of the key that does not change to restore-keys",
            "docs.github.com, Dependency caching reference",
        ),
        Rule(
            "modules-many-times",
            Grade.WARNING,
            "the module cache is the same for every job, and is kept several times: they push each other out of the quota",
            "one key for the modules of all jobs, hashFiles('**/go.sum'), saved by one of them",
            "Wave-RF/WaveHouse#443: five times, 10.5 GB",
        ),
        Rule(
            "restored-twice",
            Grade.WARNING,
            "setup-go restores both caches by itself, and another step restores the same folders: tar fails on files that exist",
            "`cache: false` for setup-go, or leave the other step out",
            "actions/setup-go#314, #403, #722",
        ),
        Rule(
            "one-key-for-both",
            Grade.NOTE,
            "modules and build cache lie under one key, but change at different times: one is saved again because of the other",
            "two caches, each with a key of its own",
            "capnspacehook/cache-go",
        ),
        Rule(
            "grows-only",
            Grade.NOTE,
            "the whole folder is saved on top of what was restored, and trim.txt with it, so that go never trims: it only grows",
            "`go-cache-safeguard ci pack -o parcel` before saving: only what this build used",
            "margince#2846: 8.4 GB, restored in 6 min 35 s of a job of 13 min",
        ),
        Rule(
            "test-times",
            Grade.NOTE,
            "a checkout gives every file the time of now, which is part of a test result's key: results that read files never hit",
            "`go-cache-safeguard ci unpack parcel` gives files their times back, or git-restore-mtime does",
            "golang/go#58571, #71333",
        ),
        Rule(
            "saved-by-pull-requests",
            Grade.NOTE,
            "every pull request saves its own copy, which only it can read: they push the main branch's entries out of the quota",
            "actions/cache/restore for pull requests, actions/cache/save on the main branch",
            "go-gitea/gitea#38730, open-component-model/ocm#999",
        ),
        Rule(
            "outside-project",
            Grade.ERROR,
            "GitLab keeps only what lies below the project's directory: this path is never cached",
            "set GOCACHE and GOMODCACHE below $CI_PROJECT_DIR, and name them relative to it",
            "gitlab-org/container-registry!1186",
        ),
        Rule(
            "cleans-past-guard",
            Grade.WARNING,
            "this line throws a cache away for good, in the middle of a job that may share it",
            "the command that the finding names, which can be undone",
            "fak#10074: agents broke each other's builds",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        rule: Its id in `RULES`.
        line: In the file, from 1.
        job: Whose.
        text: What it is about.
    """

    rule: str
    line: int
    job: str
    text: str


def lint(workflow: Workflow, danger: Callable[[str], str]) -> tuple[Finding, ...]:
    """Judge one file.

    Args:
        workflow: What stands in it.
        danger: Says what a shell line would throw away, and what to run instead; empty if nothing.

    Returns:
        Sorted by line.
    """
    packed = any(_PACKS.search(script.text) for script in workflow.scripts)
    found: list[Finding] = []
    for use in workflow.uses:
        found += _of_key(use, github=workflow.system == "github")
        found += _of_paths(use, workflow, packed=packed)
    found += _many_times(workflow.uses)
    found += _twice(workflow.uses)
    found += _of_tests(workflow)
    for script in workflow.scripts:
        if told := danger(script.text):
            found.append(Finding("cleans-past-guard", script.line, script.job, told))
    return tuple(sorted(set(found), key=lambda one: (one.line, one.rule, one.job)))


def _of_key(use: CacheUse, *, github: bool) -> Iterator[Finding]:
    def finding(rule: str) -> Finding:
        return Finding(rule, use.line, use.job, f"{use.kind} {use.key}".strip())

    if not (use.build or use.modules):
        return
    changes = bool(_CHANGES.search(use.key))
    if github and use.saves and not changes:
        yield finding("frozen-key")
    elif github and use.saves and use.build and not _EVERY_TIME.search(use.key):
        yield finding("key-follows-go-sum")
    if use.build and not _NAMES_GO.search(use.key):
        yield finding("no-go-in-key")
    if use.build and changes and not use.restore and use.kind not in {"setup-go", "actions/cache/save"}:
        yield finding("no-restore-keys")


def _of_paths(use: CacheUse, workflow: Workflow, *, packed: bool) -> Iterator[Finding]:
    where = ", ".join(use.paths) or use.kind
    if use.build and use.modules and use.kind != "setup-go":
        yield Finding("one-key-for-both", use.line, use.job, where)
    grows = use.restore or workflow.system == "gitlab"
    if use.build and use.saves and grows and not packed:
        yield Finding("grows-only", use.line, use.job, where)
    if (
        workflow.system == "github"
        and workflow.pull_requests
        and use.saves
        and use.build
        and _EVERY_TIME.search(use.key)
    ):
        yield Finding("saved-by-pull-requests", use.line, use.job, where)
    for path in use.paths if workflow.system == "gitlab" else ():
        if re.match(r"/|~|\$(\{?HOME|\(|\{?GOPATH|\{?GOCACHE|\{?GOMODCACHE)", path):
            yield Finding("outside-project", use.line, use.job, path)


def _many_times(uses: Sequence[CacheUse]) -> Iterator[Finding]:
    """The same modules under keys that tell jobs apart."""
    saving = [use for use in uses if use.modules and use.saves]
    keys = {use.key: use for use in saving}
    copies = sum(use.variants for use in keys.values())
    if copies > 1:
        for use in keys.values():
            if use.variants > 1 or len(keys) > 1:
                yield Finding("modules-many-times", use.line, use.job, f"{copies} copies, one of them: {use.key}")


def _twice(uses: Sequence[CacheUse]) -> Iterator[Finding]:
    own = {use.job for use in uses if use.kind == "setup-go"}
    for use in uses:
        if use.job in own and use.kind in {"actions/cache", "actions/cache/restore"} and (use.build or use.modules):
            yield Finding("restored-twice", use.line, use.job, ", ".join(use.paths))


def _of_tests(workflow: Workflow) -> Iterator[Finding]:
    cached = {use.job for use in workflow.uses if use.build}
    careful = {script.job for script in workflow.scripts if _MTIMES.search(script.text)}
    told: set[str] = set()
    for script in workflow.scripts:
        if script.job in cached - careful - told and _TESTS.search(script.text):
            told.add(script.job)
            yield Finding("test-times", script.line, script.job, script.text)
