"""Which newer versions there are, and whether anybody who could know was really asked.

Knows:     the answer of `go list -m -u -versions -retracted -e -json`, and what in it proves that the question was answered.
Called by: `flows.drift`; `gomod.checks.updates` judges.
Never:     takes silence for "up to date".
Source:    cmd/go/internal/modload/build.go: `addUpdate` passes over "not found", which is also how GOPROXY=off and an empty file
           proxy answer: without `-versions` go then names no newer version and exits 0; `addVersions` reports each
           error. An untagged module has no versions: there only `path@latest` answers or fails (`path@upgrade` gives back the
           version in use when nobody knows any). Tried with both.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gomod.drift import Change, Kind
from go_cache_safeguard.gomod.semver import rank
from go_cache_safeguard.gomod.state import Module
from go_cache_safeguard.gomod.verify import show
from go_cache_safeguard.gotool.environment import without_passwords

OPTIONS = ("-u", "-versions", "-retracted", "-e", "-json")
"""For `go list -m`, before the module paths. Not `all`: that would ask the proxy for one's own module by name."""
_EDGES = (Kind.EDGE_ADDED, Kind.EDGE_REMOVED)
_OF_MODULES = {
    Kind.ADDED: "added",
    Kind.REMOVED: "removed",
    Kind.RAISED: "moved up",
    Kind.LOWERED: "moved down",
    Kind.REPLACEMENT: "replaced otherwise",
}
_ONE_BY_ONE = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about newer versions of one module.

    Attributes:
        path: Module path, of a replaced module that of the replacement.
        version: The one in use.
        direct: Whether a main module requires it directly.
        newer: The version to move up to; empty if there is none.
        retracted: Why the version in use was withdrawn, one text per reason.
        is_retracted: Whether it was; there may be no reason.
        deprecated: Why the whole module should not be used any more; empty if it is not so.
        asked: Whether an answer came.
        trouble: Why none came, in go's own words.
    """

    path: str
    version: str
    direct: bool = False
    newer: str = ""
    retracted: tuple[str, ...] = ()
    is_retracted: bool = False
    deprecated: str = ""
    asked: bool = False
    trouble: str = ""

    def line(self) -> str:
        """What there is to say, for a person."""
        parts = []
        if self.is_retracted:
            parts.append(f"retracted ({'; '.join(self.retracted)})" if any(self.retracted) else "retracted")
        if self.deprecated:
            parts.append(f"deprecated ({self.deprecated})")
        if self.newer:
            parts.append(f"newer: {self.newer}")
        yours = " (required directly)" if self.direct else ""
        return f"{self.path} {self.version}{yours}: {', '.join(parts) or 'no newer version'}"

    def as_value(self) -> dict[str, Value]:
        """For `--json`; what was not answered is null."""
        return {
            "path": self.path,
            "version": self.version,
            "direct": self.direct,
            "asked": self.asked,
            "newer": self.newer or None,
            "retracted": (list(self.retracted) if self.is_retracted else False) if self.asked else None,
            "deprecated": (self.deprecated or False) if self.asked else None,
            "trouble": self.trouble or None,
        }


@dataclass(frozen=True, slots=True)
class Simulated:
    """What taking one newer version would change.

    Attributes:
        path: Module path.
        version: The newer version.
        changes: All but the module itself.
        trouble: Why it could not be tried; then there are no changes.
    """

    path: str
    version: str
    changes: tuple[Change, ...] = ()
    trouble: str = ""

    def line(self) -> str:
        """For a person."""
        name = f"taking {self.path} {self.version}"
        if self.trouble:
            return f"{name} could not be tried: {self.trouble}"
        if not self.changes:
            return f"{name} changes nothing else"
        return f"{name} changes: {'; '.join(self._told())}"

    def _told(self) -> Iterator[str]:
        """Few changes one by one, many as numbers; the go line of one's own module in any case."""
        of_modules = [change for change in self.changes if change.kind in _OF_MODULES]
        if len(of_modules) > _ONE_BY_ONE:
            counts = {word: sum(change.kind is kind for change in of_modules) for kind, word in _OF_MODULES.items()}
            yield f"other modules {', '.join(f'{word}: {count}' for word, count in counts.items() if count)}"
        else:
            yield from (change.line() for change in of_modules)
        yield from (change.line() for change in self.changes if change.kind not in {*_OF_MODULES, *_EDGES})
        added, removed = (sum(change.kind is kind for change in self.changes) for kind in _EDGES)
        if added or removed:
            yield f"requirements added: {added}, removed: {removed}"

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "path": self.path,
            "version": self.version,
            "changes": None if self.trouble else [change.as_value() for change in self.changes],
            "trouble": self.trouble or None,
        }


def to_ask(modules: Iterable[Module]) -> tuple[Module, ...]:
    """Of which modules somebody can know newer versions: not of those that are replaced by a directory."""
    return tuple(module for module in modules if not module.replacement or "@" in module.replacement)


def unanswered(modules: Iterable[Module], trouble: str) -> tuple[Answer, ...]:
    """Nobody could be asked about any of these."""
    return tuple(Answer(*_used(module), module.direct, trouble=trouble) for module in modules)


def read_answers(listed: Iterable[Mapping[str, Any]], modules: Sequence[Module]) -> tuple[Answer, ...]:
    """What go says about each module.

    Args:
        listed: The objects that go printed.
        modules: Those that were asked about; one that is not in the answer was not answered.
    """
    found = {str(one.get("Path", "")): one for one in listed}
    return tuple(_answer(module, found.get(module.path)) for module in modules)


def _answer(module: Module, one: Mapping[str, Any] | None) -> Answer:
    path, version = _used(module)
    if one is None:
        return Answer(path, version, module.direct, trouble="go says nothing about it")
    used = one.get("Replace") or one
    update, retracted = used.get("Update") or {}, used.get("Retracted") or ()
    trouble = _error(used) or _error(one)
    return Answer(
        path=path,
        version=version,
        direct=module.direct,
        newer=_shown(update.get("Version", "")),
        retracted=tuple(_shown(reason) for reason in retracted),
        is_retracted=bool(retracted),
        deprecated=_shown(used.get("Deprecated", "")),
        asked=not trouble and bool(used.get("Versions") or update),
        trouble=trouble,
    )


def _used(module: Module) -> tuple[str, str]:
    if module.replacement:
        path, _, version = module.replacement.rpartition("@")
        return path, version
    return module.path, module.version


def silent(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Modules about which go named neither a version nor an error: to be asked as `path@latest`."""
    return tuple(answer for answer in answers if not answer.asked and not answer.trouble)


def confirm(answers: Iterable[Answer], listed: Iterable[Mapping[str, Any]]) -> tuple[Answer, ...]:
    """Join the answers to `path@latest`, which come for those that `silent` names only.

    Args:
        answers: All.
        listed: The objects that go printed.
    """
    found = {str(one.get("Path", "")): one for one in listed}
    return tuple(_confirmed(one, found.get(one.path)) if silent([one]) else one for one in answers)


def _confirmed(answer: Answer, one: Mapping[str, Any] | None) -> Answer:
    if one is None or _error(one) or not one.get("Version"):
        said = "" if one is None else _error(one)
        return replace(answer, trouble=said or "nobody named any version of it")
    newest = _shown(one["Version"])
    return replace(answer, asked=True, newer=newest if rank(newest) > rank(answer.version) else "")


def hint_for(trouble: str) -> str:
    """What a person may do so that the question can be answered; empty when we know nothing better than go's words."""
    return next((hint for pattern, hint in _HINTS if re.search(pattern, trouble, re.IGNORECASE)), "")


_HINTS = (
    (
        "GOPROXY=off|GOPROXY list is (not )?the empty",
        "GOPROXY forbids asking anybody: set it to the address of a module proxy for this run",
    ),
    (
        "connection refused|no such host|i/o timeout|deadline|reset by peer|unreachable|TLS|x509|proxyconnect|EOF|50[0-9] ",
        "the module proxy cannot be reached; see `go env GOPROXY`, then run it again",
    ),
    (
        "40[0-9] |410 |not found|no such file|unrecognized import path|terminal prompts disabled|exit status 128",
        "the proxy does not have this module; if it is private, name it in GOPRIVATE",
    ),
    (
        "checksum mismatch|SECURITY ERROR",
        "run `go-cache-safeguard mod verify`: content differs from what go.sum demands",
    ),
    ("requires go >=|go.mod requires go", "go is older than a go.mod asks for: see the setting go.toolchain"),
)


def _error(one: Mapping[str, Any]) -> str:
    error = one.get("Error")
    if not isinstance(error, Mapping):
        return ""
    return without_passwords(_shown(error.get("Err", ""))) or "an error without words"


def _shown(text: object) -> str:
    return show(" ".join(text.split()).encode("utf-8", "surrogateescape")) if isinstance(text, str) else ""
