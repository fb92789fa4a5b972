"""Which commands of a shell line throw away a cache.

Knows:     how a line is cut into commands, the wrappers in front of them, and what removes a Go or Redis cache whole.
Called by: `cli.shim` for the pre-command hooks of editors, agents and jobs.
Never:     runs or expands anything. It is a net for habits and mistakes, no wall against somebody who wants to get through: who
           wants that is stopped by permissions, and what happened is found afterwards by `doctor`.
Source:    POSIX Shell Command Language 2.3 (token recognition), as `shlex` with punctuation has it; `go help clean`.
"""

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from go_cache_safeguard.gotool.cleanflags import CleanUsageError, parse_clean

_WRAPPERS = frozenset(
    {"sudo", "doas", "env", "command", "exec", "nohup", "time", "nice", "ionice", "builtin", "timeout", "xargs"}
)
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
_IN_FRONT = frozenset({"$", "!", "{", "}", "then", "do", "else", "if", "while", "until"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_ASKS_GO = re.compile(
    r"\$\(\s*(?:\S*/)?go\s+env\s+(GOCACHE|GOMODCACHE)\s*\)|`\s*(?:\S*/)?go\s+env\s+(GOCACHE|GOMODCACHE)\s*`"
)
_SUSPECT = re.compile(
    r"\bclean\b.*-(?:mod|test|fuzz)?cache\b|\brm\b.*(?:GOCACHE|GOMODCACHE|go-build|pkg/mod)|\bflush(?:all|db)\b",
    re.IGNORECASE | re.DOTALL,
)
_REDIS_VALUES = frozenset(
    {"-h", "-p", "-t", "-s", "-a", "-u", "-n", "-r", "-i", "-d", "-D", "-X", "--user", "--pass", "--sni", "--cacert"}
    | {"--cacertdir", "--cert", "--key", "--tls-ciphers", "--tls-ciphersuites"}
)
"""Options of redis-cli that take the next word (redis-cli.c `parseOptions`, 7.0)."""
_MOST_NESTED = 8
_REPLACED = {
    "cache": "go-cache-safeguard clean --all",
    "modcache": "go-cache-safeguard mod gc --all",
    "testcache": "go test -count=1, or go-cache-safeguard shim clean -- clean -testcache",
    "fuzzcache": "go-cache-safeguard shim clean -- clean -fuzzcache",
}


@dataclass(frozen=True, slots=True)
class Places:
    """What is guarded on this machine.

    Attributes:
        gocache: GOCACHE, absolute.
        modcache: GOMODCACHE, absolute.
        home: For `~` and `$HOME`.
        cwd: For relative paths.
    """

    gocache: str
    modcache: str
    home: str
    cwd: str


@dataclass(frozen=True, slots=True)
class Danger:
    """A command that throws away a cache.

    Attributes:
        what: What it would do.
        instead: The command that does it so that it can be undone.
    """

    what: str
    instead: str


def find_danger(line: str, places: Places) -> Danger | None:
    """The first command of a shell line that would throw away a cache; None if there is none.

    A line that cannot be cut into commands, but names what we look for, counts as one.
    """
    return _find(line, places, 0)


def _find(line: str, places: Places, depth: int) -> Danger | None:
    line = _ASKS_GO.sub(lambda match: f"${match[1] or match[2]}", line)
    try:
        commands = list(_commands(line))
    except ValueError:
        commands = []
        if _SUSPECT.search(line):
            return Danger(
                "this line cannot be read, and names a cache and a command that removes it", _REPLACED["cache"]
            )
    for words in commands:
        found = _judge(_unwrapped(words), places, depth)
        if found is not None:
            return found
    return None


def _commands(line: str) -> Iterator[list[str]]:
    """Words of each simple command; what stands in quotes is one word."""
    cutter = shlex.shlex(line.replace("\\\n", " ").replace("\n", ";"), posix=True, punctuation_chars=";&|()<>`")
    cutter.whitespace_split = True
    cutter.commenters = ""
    words: list[str] = []
    for word in cutter:
        if set(word) <= set(";&|()<>`"):
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def _unwrapped(words: Sequence[str]) -> list[str]:
    """Without assignments, `sudo -u x`, `env A=b` and their like in front."""
    rest = list(words)
    wrapped = False
    while rest:
        if _ASSIGNMENT.fullmatch(rest[0]) or rest[0] in _IN_FRONT:
            rest.pop(0)
        elif posixpath.basename(rest[0]) in _WRAPPERS:
            rest.pop(0)
            wrapped = True
        elif wrapped and not _is_known(rest[0]):
            rest.pop(0)  # an option of the wrapper, or its value
        else:
            break
    return rest


def _is_known(word: str) -> bool:
    name = posixpath.basename(word)
    return name in _SHELLS or name in {"go", "rm", "find", "mv", "eval", "redis-cli", "valkey-cli"}


def _judge(words: Sequence[str], places: Places, depth: int) -> Danger | None:
    if not words:
        return None
    name, args = posixpath.basename(words[0]), words[1:]
    if name == "go" or re.fullmatch(r"go1\.[0-9.]+", name):
        return _go(args)
    if name in {"rm", "find", "mv", "shred"}:
        return _removes(name, args, places)
    if name in {"redis-cli", "valkey-cli"}:
        return _redis(args)
    inside = _inside(name, args)
    return _find(inside, places, depth + 1) if inside and depth < _MOST_NESTED else None


def _inside(name: str, args: Sequence[str]) -> str:
    """The line that a shell is given as an argument."""
    if name == "eval":
        return " ".join(args)
    if name in _SHELLS:
        for at, word in enumerate(args):
            if re.fullmatch(r"-[a-z]*c[a-z]*", word) and at + 1 < len(args):
                return args[at + 1]
    return ""


def _go(args: Sequence[str]) -> Danger | None:
    if "clean" not in args[:3]:
        return None
    try:
        asked = parse_clean(args)
    except CleanUsageError:
        suspect = next(
            (word.lstrip("-").partition("=")[0] for word in args if word.startswith("-") and "cache" in word), ""
        )
        return Danger(f"go clean -{suspect}", _REPLACED.get(suspect, _REPLACED["cache"])) if suspect else None
    if not asked.caches or asked.dry_run:
        return None
    return Danger(f"go clean -{asked.caches[0]}", _REPLACED[asked.caches[0]])


def _removes(name: str, args: Sequence[str], places: Places) -> Danger | None:
    if name == "rm" and not any(re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive", word) for word in args):
        return None
    if name == "find" and not {"-delete", "-exec", "-execdir"} & set(args):
        return None
    for word in args:
        if word.startswith("-"):
            continue
        target = _resolve(word, places)
        for path, instead in ((places.gocache, "cache"), (places.modcache, "modcache")):
            if path and target and _touches(target, path):
                return Danger(f"{name} of {path}", _REPLACED[instead])
    return None


def _touches(target: str, guarded: str) -> bool:
    """Whether removing one takes the other, all of it or entries of it."""
    return (
        target == guarded
        or guarded.startswith(target.rstrip("/") + "/")
        or target.startswith(guarded.rstrip("/") + "/")
    )


def _resolve(word: str, places: Places) -> str:
    """The path that a word names, as far as it can be told without expanding patterns."""
    for name, value in (("GOCACHE", places.gocache), ("GOMODCACHE", places.modcache), ("HOME", places.home)):
        word = word.replace(f"${{{name}}}", value).replace(f"${name}", value)
    if word == "~" or word.startswith("~/"):
        word = places.home + word[1:]
    stem = re.split(r"[*?\[]", word, maxsplit=1)[0]
    if stem != word:
        stem = stem.rpartition("/")[0] or stem  # what a pattern may match lies in its folder
    if not stem or "$" in stem:
        return ""
    return posixpath.normpath(posixpath.join(places.cwd, stem))


def _redis(args: Sequence[str]) -> Danger | None:
    rest = list(args)
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in _REDIS_VALUES else 1]
    command = rest[0].upper() if rest else ""
    if command not in {"FLUSHALL", "FLUSHDB"}:
        return None
    return Danger(f"{command} of a Redis server", "go-cache-safeguard redis flush --dry-run")
