"""Which Go caches a CI file keeps, under which keys.

Knows:     the parts of GitHub Actions workflows, composite actions and GitLab CI files that have to do with caches.
Called by: `gocache.cilint` judges what is found here; `flows.ci_lint` reads the files.
Never:     evaluates an expression, or follows an include to another place.
Source:    docs.github.com "Workflow syntax", "Dependency caching" (a key that exists is never saved again); actions/setup-go README
           (`cache`, on by default since v4, key made of platform, version and hash of go.sum, no restore keys); docs.gitlab.com
           "CI/CD YAML syntax" (`cache:key`, `cache:paths` relative to the project directory, `policy`, `fallback_keys`, `extends`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import yaml

MOST = 1 << 20
"""bytes: no CI file that people keep is longer."""
_MOST_NODES = 200_000
_DEEPEST = 40
_MATRIX = re.compile(r"\$\{\{\s*matrix\.([A-Za-z_][\w-]*)")
_SETUP_GO = re.compile(r"actions/setup-go@v?(\d+)?")
_CACHE = re.compile(r"actions/cache(?P<half>/restore|/save)?@")
_GITLAB_WORDS = frozenset(
    {
        "default",
        "include",
        "stages",
        "variables",
        "workflow",
        "image",
        "services",
        "cache",
        "before_script",
        "after_script",
    }
    | {"pages", "spec", "types"}
)

Tree: TypeAlias = "yaml.Node"


class NotReadable(StrEnum):
    """Why a file is not looked at."""

    YAML = "it is no YAML that can be read"
    SHAPE = "it is no workflow: there are no jobs in it"
    SIZE = "it is too large"


@dataclass(frozen=True, slots=True)
class CacheUse:
    """One place where a cache is kept.

    Attributes:
        line: In the file, from 1.
        job: Whose.
        kind: `actions/cache`, `actions/cache/restore`, `actions/cache/save`, `setup-go` or `gitlab`.
        key: As written; of setup-go's own cache, what it is made of.
        restore: Restore keys, or GitLab's fallback keys.
        paths: As written; with GitLab's variables GOCACHE and GOPATH put in.
        saves: Whether it is written as well as read.
        variants: How many jobs a matrix makes of it, as far as the key tells them apart; 1 without one.
    """

    line: int
    job: str
    kind: str
    key: str
    restore: tuple[str, ...]
    paths: tuple[str, ...]
    saves: bool
    variants: int = 1

    @property
    def build(self) -> bool:
        """It holds the build cache."""
        return self.kind == "setup-go" or any(_is_build(path) for path in self.paths)

    @property
    def modules(self) -> bool:
        """It holds the module cache."""
        return self.kind == "setup-go" or any(_is_modules(path) for path in self.paths)


@dataclass(frozen=True, slots=True)
class Script:
    """One line that a job runs.

    Attributes:
        line: In the file, from 1.
        job: Whose.
        text: The shell line.
    """

    line: int
    job: str
    text: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """What a CI file has to do with Go caches.

    Attributes:
        system: `github` or `gitlab`.
        uses: Where caches are kept.
        scripts: What is run.
        pull_requests: It also runs for pull requests.
        variables: Those that concern go, of the whole file and of its jobs; later ones win.
    """

    system: str
    uses: tuple[CacheUse, ...]
    scripts: tuple[Script, ...]
    pull_requests: bool
    variables: Mapping[str, str]


def read_workflow(data: bytes, *, gitlab: bool) -> Workflow | NotReadable:
    """Read a CI file.

    Args:
        data: Its content.
        gitlab: It is GitLab's; else it is a workflow or a composite action of GitHub.
    """
    if len(data) > MOST:
        return NotReadable.SIZE
    try:
        root = yaml.compose(data, Loader=yaml.SafeLoader)
        if root is None or _size(root) > _MOST_NODES:
            return NotReadable.SHAPE if root is None else NotReadable.SIZE
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError):
        return NotReadable.YAML
    if not isinstance(root, yaml.MappingNode):
        return NotReadable.SHAPE
    return _read_gitlab(root) if gitlab else _read_github(root)


def _size(root: Tree) -> int:
    """Nodes as a walk meets them, so that aliases of aliases count each time; stops when there are too many."""
    count, waiting = 0, [(root, 0)]
    while waiting and count <= _MOST_NODES:
        node, depth = waiting.pop()
        count += 1 if depth < _DEEPEST else _MOST_NODES
        if isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in node.value]
    return count


# ---------------------------------------------------------------- GitHub


def _read_github(root: Tree) -> Workflow | NotReadable:
    jobs = dict(_items(_get(root, "jobs")))
    steps_of_action = _get(_get(root, "runs"), "steps")
    if not jobs and steps_of_action is None:
        return NotReadable.SHAPE
    uses: list[CacheUse] = []
    scripts: list[Script] = []
    variables = dict(_texts(_get(root, "env")))
    for name, job in jobs.items():
        variables |= dict(_texts(_get(job, "env")))
        matrix = {axis: len(_list(values)) for axis, values in _items(_get(_get(job, "strategy"), "matrix"))}
        for step in _list(_get(job, "steps")):
            uses += _uses_of(step, name, matrix)
            scripts += _scripts(_get(step, "run"), name)
    for step in _list(steps_of_action):
        uses += _uses_of(step, "(action)", {})
        scripts += _scripts(_get(step, "run"), "(action)")
    return Workflow("github", tuple(uses), tuple(scripts), _for_pull_requests(root), variables)


def _uses_of(step: Tree, job: str, matrix: Mapping[str, int]) -> Iterator[CacheUse]:
    action, given = _text(_get(step, "uses")), _get(step, "with")
    line = _line(_get(step, "uses"))
    if found := _CACHE.match(action):
        key = _text(_get(given, "key"))
        yield CacheUse(
            line,
            job,
            f"actions/cache{found['half'] or ''}",
            key,
            _lines(_get(given, "restore-keys")),
            _lines(_get(given, "path")),
            saves=found["half"] != "/restore",
            variants=_variants(key, matrix),
        )
    elif found := _SETUP_GO.match(action):
        version = int(found[1]) if found[1] else 5  # a commit: as people pin the newer ones
        wanted = _text(_get(given, "cache")).lower()
        if wanted == "true" or (version >= 4 and wanted != "false"):
            asked = _text(_get(given, "go-version")) or _text(_get(given, "go-version-file"))
            key = f"setup-go ${{{{ runner.os }}}} {asked} hashFiles(go.sum)"
            yield CacheUse(line, job, "setup-go", key, (), (), saves=True, variants=_variants(key, matrix))


def _variants(key: str, matrix: Mapping[str, int]) -> int:
    count = 1
    for axis in set(_MATRIX.findall(key)):
        count *= max(1, matrix.get(axis, 1))
    return count


def _for_pull_requests(root: Tree) -> bool:
    on = _get(root, "on")
    if on is None:
        return False
    names = {_text(one) for one in _list(on)} | {name for name, _ in _items(on)} | {_text(on)}
    return bool(names & {"pull_request", "pull_request_target"})


# ---------------------------------------------------------------- GitLab


def _read_gitlab(root: Tree) -> Workflow | NotReadable:
    tops = dict(_items(root))
    jobs = {name: job for name, job in tops.items() if name not in _GITLAB_WORDS and isinstance(job, yaml.MappingNode)}
    if not jobs and "cache" not in tops:
        return NotReadable.SHAPE
    variables = dict(_texts(tops.get("variables")))
    default = tops.get("cache") or _get(tops.get("default"), "cache")
    uses: list[CacheUse] = []
    scripts: list[Script] = []
    for name, job in jobs.items():
        own = variables | dict(_texts(_inherited(job, "variables", jobs)))
        if not name.startswith("."):
            kept = _inherited(job, "cache", jobs) or default
            uses += [_gitlab_use(one, name, own) for one in _list(kept) if isinstance(one, yaml.MappingNode)]
        for word in ("before_script", "script", "after_script"):
            scripts += [line for part in _list(_get(job, word)) for line in _scripts(part, name)]
        variables |= {key: value for key, value in own.items() if key.startswith("GO")}
    return Workflow("gitlab", tuple(uses), tuple(scripts), pull_requests=True, variables=variables)


def _inherited(job: Tree, word: str, jobs: Mapping[str, Tree], depth: int = 0) -> "Tree | None":
    """What a job has itself, or the last of those that it extends."""
    own = _get(job, word)
    if own is not None or depth > 11:  # GitLab's own limit is eleven
        return own
    for name in reversed([_text(one) for one in _list(_get(job, "extends"))]):
        if name in jobs and (found := _inherited(jobs[name], word, jobs, depth + 1)) is not None:
            return found
    return None


def _gitlab_use(node: Tree, job: str, variables: Mapping[str, str]) -> CacheUse:
    key = _get(node, "key")
    files = [_text(one) for one in _list(_get(key, "files"))]
    text = f"{_text(_get(key, 'prefix'))} hashFiles({', '.join(files)})".strip() if files else _text(key) or "default"
    return CacheUse(
        _line(node),
        job,
        "gitlab",
        text,
        tuple(_text(one) for one in _list(_get(node, "fallback_keys"))),
        tuple(_put_in(_text(one), variables) for one in _list(_get(node, "paths"))),
        saves=_text(_get(node, "policy")) != "pull",
    )


def _put_in(path: str, variables: Mapping[str, str]) -> str:
    for name in ("GOCACHE", "GOMODCACHE", "GOPATH"):
        if name in variables:
            value = variables[name]
            for word in (f"${{{name}}}", f"${name}"):
                path = path.replace(word, value)
            if name != "GOPATH" and _relative(path) == _relative(value):
                path = f"{path} ({name})"
    return path


def _relative(path: str) -> str:
    return re.sub(r"^(\$\{?CI_PROJECT_DIR\}?/|\./)", "", path).rstrip("/*")


# ---------------------------------------------------------------- paths, and nodes of YAML


def _is_build(path: str) -> bool:
    return bool(re.search(r"go-build|GOCACHE", path)) or path.rstrip("/*") in {"~/.cache", "~/Library/Caches", ".cache"}


def _is_modules(path: str) -> bool:
    return bool(re.search(r"pkg/mod|GOMODCACHE|GOPATH|go/pkg", path)) or path.rstrip("/*") in {"~/go", ".go", "go"}


def _get(node: "Tree | None", key: str) -> "Tree | None":
    return next((value for name, value in _items(node) if name == key), None)


def _items(node: "Tree | None", depth: int = 0) -> Iterator[tuple[str, Tree]]:
    """Keys and values; those of `<<` after the node's own, as YAML 1.1 has it."""
    if not isinstance(node, yaml.MappingNode) or depth > _DEEPEST:
        return
    merged: list[Tree] = []
    for key, value in node.value:
        if _text(key) == "<<":
            merged += _list(value) if isinstance(value, yaml.SequenceNode) else [value]
        else:
            yield _text(key), value
    for one in merged:
        yield from _items(one, depth + 1)


def _texts(node: "Tree | None") -> Iterator[tuple[str, str]]:
    for name, value in _items(node):
        yield name, _text(value) or _text(_get(value, "value"))


def _list(node: "Tree | None") -> list[Tree]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    return [] if node is None else [node]


def _text(node: "Tree | None") -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _lines(node: "Tree | None") -> tuple[str, ...]:
    return tuple(line.strip() for line in _text(node).split("\n") if line.strip())


def _line(node: "Tree | None") -> int:
    return 1 if node is None else int(node.start_mark.line) + 1


def _scripts(node: "Tree | None", job: str) -> Iterator[Script]:
    text, first = _text(node), _line(node)
    block = isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            yield Script(first + number + block, job, line.strip())
