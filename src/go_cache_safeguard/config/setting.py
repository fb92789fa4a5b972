"""The one table of everything that can be set.

Knows:     each key with its kind, default, limits and sentence, and whether a project file may set it.
Called by: `config.layer` and `config.resolve` read values with it, `config.document` prints it.
Never:     reads a file or the environment; knows nothing of where a value came from.
Source:    forms of `go.toolchain` after go.dev/doc/toolchain, "Selecting Go toolchains" (go1.21 to go1.27).
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

from go_cache_safeguard.core import duration
from go_cache_safeguard.core.duration import parse_duration
from go_cache_safeguard.core.size import Share, parse_size

Value: TypeAlias = str | int | Share
"""Text, path, choice and toolchain are text; durations are seconds, sizes bytes, counts plain numbers."""

PREFIX = "GO_CACHE_SAFEGUARD_"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOOLCHAIN = re.compile(r"(local|auto|path|go1[0-9A-Za-z.-]*)(\+(auto|path))?", re.ASCII)
_WORDS = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_URL = re.compile(r"(file:///|(s3|gs|az)://[^@/?#\s]+)[!-~]*", re.ASCII)


class Kind(Enum):
    """What a value is made of; the text is what the docs say."""

    CHOICE = "one of a few words"
    SHARE = "a share from 0% to 100%, such as 50%"
    SIZE = "a number of bytes, such as 20GiB, 500MB or 1073741824"
    DURATION = duration.ALLOWED
    COUNT = "a whole number"
    PATH = "an absolute path"
    PLACE = "an absolute path, or a URL such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
    TOOLCHAIN = "what GOTOOLCHAIN may be, such as local, auto or go1.27.3"
    WORDS = "words with white space between them, or nothing"


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set.

    Attributes:
        key: `table.name`, as in a file.
        kind: See `Kind`.
        default: As a person would write it.
        what: One sentence.
        choices: The words allowed; only for `Kind.CHOICE`.
        low: The least number allowed: seconds, bytes or a count.
        high: The greatest, or None.
        project: Whether a project file may set it. A repository one clones is not trusted, so it may set nothing that
            decides what is removed, what is kept, who approves, or which program is started.
    """

    key: str
    kind: Kind
    default: str
    what: str
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int | None = None
    project: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """What a value may be, as half a sentence."""
        words = _one_of(self.choices) if self.kind is Kind.CHOICE else self.kind.value
        if self.kind in {Kind.PATH, Kind.PLACE}:
            words += ", or nothing"
        if self.high is not None:
            words += f", from {self.low} to {self.high}"
        elif self.low and self.kind is Kind.DURATION:
            words += f", at least {duration.format_duration(self.low)}"
        return words

    def read(self, text: str) -> Value:
        """Read a value.

        Raises:
            ValueError: It is not allowed here. Whoever catches this says what is, with `allowed`.
        """
        value = self._read(text)
        if isinstance(value, int) and not (self.low <= value and (self.high is None or value <= self.high)):
            raise ValueError(text)
        return value

    def _read(self, text: str) -> Value:
        match self.kind:
            case Kind.CHOICE:
                return _listed(text, self.choices)
            case Kind.SHARE | Kind.SIZE:
                return _sized(text, Share if self.kind is Kind.SHARE else int)
            case Kind.DURATION:
                return parse_duration(text)
            case Kind.COUNT:
                return int(_matched(text, _DIGITS))
            case Kind.PATH:
                return _path(text)
            case Kind.PLACE:
                return _place(text)
            case Kind.TOOLCHAIN:
                return _matched(text, _TOOLCHAIN)
            case Kind.WORDS:
                return _matched(text, _WORDS).strip()
            case _:
                assert_never(self.kind)


def _one_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _listed(text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ValueError(text)
    return text


def _sized(text: str, kind: type[int | Share]) -> int | Share:
    value = parse_size(text)
    if not isinstance(value, kind):
        raise ValueError(text)  # noqa: TRY004 - the text is wrong, not its type
    return value


def _matched(text: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _path(text: str) -> str:
    if text and (not text.startswith("/") or _CONTROL.search(text) or ".." in text.split("/")):
        raise ValueError(text)
    return text


def _place(text: str) -> str:
    return _matched(text, _URL) if "://" in text else _path(text)


_THEN = ("allow", "hold", "refuse")
_TREATED = ("pass", "protect", "check", "hold", "refuse")
_FOUND = ("pass", "warn", "block")

SETTINGS = (
    Setting("policy.on_block", Kind.CHOICE, "hold", "What happens to a removal when a check says BLOCK.", _THEN),
    Setting(
        "policy.on_unknown",
        Kind.CHOICE,
        "hold",
        "What happens to a removal when a check says UNKNOWN: something could not be read.",
        _THEN,
    ),
    Setting("policy.on_warn", Kind.CHOICE, "allow", "What happens to a removal when a check says WARN.", _THEN),
    Setting(
        "policy.hold_share",
        Kind.SHARE,
        "50%",
        "A removal of more than this share of the cache's bytes is held.",
    ),
    Setting(
        "policy.hold_bytes",
        Kind.SIZE,
        "0",
        "A removal of more than this many bytes is held; 0 means that only the share counts.",
    ),
    Setting(
        "approval.self",
        Kind.CHOICE,
        "single-user",
        "Whether the requester may approve alone: never, always, or only when nobody but them and root can log in here.",
        ("never", "single-user", "always"),
    ),
    Setting(
        "approval.expires",
        Kind.DURATION,
        "24h",
        "How long a held operation waits before it expires.",
        low=60,
    ),
    Setting(
        "drift.verdict",
        Kind.CHOICE,
        "warn",
        "What `mod drift` says when dependencies changed, or when a version in use was retracted or deprecated. Another hash in"
        " go.sum always blocks.",
        ("warn", "block"),
    ),
    Setting("go.command", Kind.PATH, "", "The go command to start; nothing means the first `go` on PATH."),
    Setting(
        "go.timeout",
        Kind.DURATION,
        "10m",
        "How long a go command may run before it is stopped and its answer counts as UNKNOWN.",
        low=1,
        project=True,
    ),
    Setting(
        "go.toolchain",
        Kind.TOOLCHAIN,
        "local",
        "GOTOOLCHAIN for the go commands that we start; local means that none is ever downloaded.",
    ),
    Setting(
        "fsck.threads",
        Kind.COUNT,
        "0",
        "How many files are hashed at once; 0 means as many as the machine has processors.",
        high=256,
        project=True,
    ),
    Setting(
        "clean.wait",
        Kind.DURATION,
        "30s",
        "How long outputs wait for running builds after their index entries were moved away; by default not at all where CI is set.",
    ),
    Setting(
        "clean.proof",
        Kind.CHOICE,
        "canary",
        "What shows after a removal that builds still work: a canary build, or none.",
        ("canary", "none"),
    ),
    Setting(
        "quarantine.dir",
        Kind.PATH,
        "",
        "Where removed entries wait; nothing means beside the cache. It must be on the cache's own file system.",
    ),
    Setting(
        "quarantine.retention",
        Kind.DURATION,
        "7d",
        "How long removed entries can be put back before `purge` may delete them.",
    ),
    Setting(
        "quarantine.purge_rate",
        Kind.COUNT,
        "0",
        "How many files per second `purge` deletes at most; 0 means as many as the disk allows.",
    ),
    Setting(
        "redis.on_writes",
        Kind.CHOICE,
        "pass",
        "What happens to a command that adds, or changes a value in place; protect makes protected keys read-only.",
        _TREATED,
    ),
    Setting(
        "redis.on_expires",
        Kind.CHOICE,
        "protect",
        "What happens to a command that sets or takes away the time at which a key ends.",
        _TREATED,
    ),
    Setting(
        "redis.on_empties",
        Kind.CHOICE,
        "protect",
        "What happens to a command that takes elements out of a key, which goes with its last one.",
        _TREATED,
    ),
    Setting(
        "redis.on_overwrites",
        Kind.CHOICE,
        "protect",
        "What happens to a command that puts another value in the place of a whole one.",
        _TREATED,
    ),
    Setting(
        "redis.on_removes", Kind.CHOICE, "check", "What happens to a command that takes whole keys away.", _TREATED
    ),
    Setting(
        "redis.on_flushes",
        Kind.CHOICE,
        "hold",
        "What happens to a command that takes away all keys of a database, a slot or an index, or all code.",
        _TREATED,
    ),
    Setting(
        "redis.on_script",
        Kind.CHOICE,
        "hold",
        "What happens to a script that is not on the list `redis.scripts`.",
        _TREATED,
    ),
    Setting(
        "redis.on_server",
        Kind.CHOICE,
        "hold",
        "What happens to a command that changes the server, its role, its files or who may use it.",
        _TREATED,
    ),
    Setting(
        "redis.on_unknown",
        Kind.CHOICE,
        "hold",
        "What happens to a command that is not in the table of commands.",
        ("hold", "refuse"),
    ),
    Setting(
        "redis.commands",
        Kind.WORDS,
        "",
        "What happens to single commands whatever their class, such as `KEYS=hold CONFIG|SET=check`.",
    ),
    Setting(
        "redis.scripts",
        Kind.WORDS,
        "",
        "SHA-1 digests of scripts that were looked at; they run unless they name a protected key.",
    ),
    Setting(
        "redis.protect",
        Kind.WORDS,
        "",
        "Keys that nothing may be lost of: patterns such as `session:*`, or regular expressions of the whole key after `re:`.",
    ),
    Setting(
        "redis.allow",
        Kind.WORDS,
        "",
        "Patterns as in `redis.protect`; if there are any, only such keys may lose something.",
    ),
    Setting(
        "redis.namespaces",
        Kind.WORDS,
        "",
        "What may stand before the first colon of a key that loses something; nothing means anything.",
    ),
    Setting(
        "redis.pattern_depth",
        Kind.COUNT,
        "2",
        "How many parts, with colons between them, a pattern must tell before its first wildcard; fewer is a whole key space.",
        high=100,
    ),
    Setting(
        "redis.block_ttl_threshold",
        Kind.DURATION,
        "5m",
        "A key that ends by itself sooner than this is not removed by hand.",
    ),
    Setting(
        "redis.on_no_expiry",
        Kind.CHOICE,
        "warn",
        "What the check of expiries says of a key that never ends by itself.",
        _FOUND,
    ),
    Setting(
        "redis.on_missing", Kind.CHOICE, "pass", "What the check of expiries says of a key that is not there.", _FOUND
    ),
    Setting(
        "redis.expire_soon",
        Kind.DURATION,
        "1s",
        "An expiry that is no farther away than this counts as a removal.",
        high=86_400,
    ),
    Setting("redis.max_keys", Kind.COUNT, "1000", "A command may remove at most so many keys; 0 means any number."),
    Setting("redis.max_bytes", Kind.SIZE, "1GiB", "A command may remove at most so many bytes; 0 means any number."),
    Setting("redis.max_share", Kind.SHARE, "10%", "A command may remove at most this share of a database's keys."),
    Setting(
        "redis.max_rate",
        Kind.COUNT,
        "10000",
        "A client may remove at most so many keys in a minute; 0 means any number.",
    ),
    Setting(
        "redis.hit_rate_lookups",
        Kind.COUNT,
        "100",
        "How many look-ups a window of five seconds needs before its hit rate means anything.",
        low=1,
        high=1_000_000,
    ),
    Setting(
        "redis.url",
        Kind.WORDS,
        "redis://127.0.0.1:6379/0",
        "The server that `redis check`, `del`, `unlink` and `flush` work on: redis://user@host:port/db, rediss:// with TLS, or"
        " unix:///path?db=N. Never with a password.",
    ),
    Setting(
        "redis.password_file",
        Kind.PATH,
        "",
        "File with the server's password, readable by its owner only; nothing means the variable REDISCLI_AUTH, or none.",
    ),
    Setting("redis.timeout", Kind.DURATION, "30s", "How long a connection to a server, or its reply, may take.", low=1),
    Setting(
        "redis.rate",
        Kind.COUNT,
        "0",
        "How many keys are removed in a second at most; 0 means as many as the server and the disk allow.",
    ),
    Setting(
        "redis.on_no_history",
        Kind.CHOICE,
        "unknown",
        "What the check of the hit rate says on the command line, where nobody has watched the server before.",
        ("pass", "warn", "unknown"),
    ),
    Setting(
        "redis.trash_max_bytes",
        Kind.SIZE,
        "10GiB",
        "How many bytes of captured values may lie in the trash; 0 means as many as the disk holds.",
    ),
    Setting(
        "redis.trash_max_time",
        Kind.DURATION,
        "1h",
        "How long one removal, with the capture of its values, may take; after that the rest of the keys stay.",
        low=1,
    ),
    Setting(
        "redis.trash_beyond",
        Kind.CHOICE,
        "stay",
        "What happens to keys for whose values the trash has no room: they stay, or they are removed and cannot be put back.",
        ("stay", "remove"),
    ),
    Setting(
        "redis.trash_retention",
        Kind.DURATION,
        "7d",
        "How long captured values can be put back before `redis trash purge` may delete them.",
    ),
    Setting(
        "snapshot.repository",
        Kind.PLACE,
        "",
        "Where snapshots go; nothing means the folder `repository` in the state directory.",
    ),
    Setting(
        "snapshot.key",
        Kind.PATH,
        "",
        "File with the public key that must have signed a snapshot before anything is restored from it; nothing means that"
        " signatures are not asked for.",
    ),
    Setting(
        "snapshot.compression",
        Kind.CHOICE,
        "fast",
        "How hard zstd tries to make what a snapshot stores smaller. Small takes many times as long as fast.",
        ("none", "fast", "good", "small"),
    ),
    Setting(
        "snapshot.grace",
        Kind.DURATION,
        "24h",
        "How long `snapshot prune` leaves objects alone that no snapshot needs: a writer may be about to.",
    ),
    Setting(
        "snapshot.timeout",
        Kind.DURATION,
        "3m",
        "How long one object may take on its way to or from the repository, all attempts together.",
        low=1,
    ),
    Setting(
        "state.dir",
        Kind.PATH,
        "",
        "Where the journal lives; nothing means /var/lib/go-cache-safeguard for root, and for others"
        " $XDG_STATE_HOME/go-cache-safeguard or ~/.local/state/go-cache-safeguard.",
    ),
    Setting(
        "output.color",
        Kind.CHOICE,
        "auto",
        "Whether text is coloured; auto means on a terminal and when NO_COLOR is not set.",
        ("auto", "always", "never"),
        project=True,
    ),
)
"""In the order of the docs. Who adds a setting adds it here and runs `make docs`."""

BY_KEY = {setting.key: setting for setting in SETTINGS}
