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
_WITNESSES = re.compile(r"\s*(((file|git|safeguard|syslog):/[!-~]+|syslog|slack)(\s+|$))*", re.ASCII)
_HOOK = re.compile(r"(cli-interactive|https?://[!-~]{1,2000})?", re.ASCII)
_LINK = re.compile(r"(https?://[!-~]{1,2000})?", re.ASCII)
_SERVER = re.compile(r"(rediss?|unix)://[!-~]+", re.ASCII)
_DATABASE = re.compile(r"(postgres(ql)?://[^@:/?#\s]+@[!-~]*)?", re.ASCII)
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
    TRASH = (
        "an absolute path, file:///path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, redis://user@host:port/db,"
        " rediss://... or unix:///path?db=N"
    )
    LINK = "a URL such as https://host/path, or nothing"
    DATABASE = "postgresql://USER@HOST/DATABASE without a password, or nothing"
    HOOK = "cli-interactive, a URL such as https://host/path, or nothing, which is cli-interactive"
    TOOLCHAIN = "what GOTOOLCHAIN may be, such as local, auto or go1.27.3"
    WORDS = "words with white space between them, or nothing"
    WITNESSES = (
        "file:/path, git:/path/of/a/repository, safeguard:/path/of/a/state/directory, syslog or syslog:/path/where/its/lines/are,"
        " slack (the channel of approval.slack_file), with white space between them, or nothing"
    )


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
        if self.kind in {Kind.PATH, Kind.PLACE, Kind.TRASH}:
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
            case Kind.TRASH:
                return _matched(text, _SERVER) if text.startswith(("redis", "unix:")) else _place(text)
            case Kind.TOOLCHAIN:
                return _matched(text, _TOOLCHAIN)
            case Kind.WORDS | Kind.WITNESSES | Kind.HOOK | Kind.LINK | Kind.DATABASE:
                return _matched(text, _FORMS[self.kind]).strip()
            case _:
                assert_never(self.kind)


_FORMS = {Kind.WORDS: _WORDS, Kind.WITNESSES: _WITNESSES, Kind.HOOK: _HOOK, Kind.LINK: _LINK, Kind.DATABASE: _DATABASE}


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
        "approval.needed",
        Kind.COUNT,
        "1",
        "How many different people must approve what is held. What waits already keeps the number that it was held with.",
        low=1,
        high=9,
    ),
    Setting(
        "approval.approvers",
        Kind.WORDS,
        "",
        "The only people who may approve, such as uid:1000(alice) or user:bob; nothing means everybody who is let in as an approver.",
    ),
    Setting(
        "approval.break_glass",
        Kind.WORDS,
        "",
        "Who may go on alone in an emergency, with a reason, which somebody else reviews afterwards; nothing means nobody.",
    ),
    Setting(
        "approval.review",
        Kind.DURATION,
        "7d",
        "Within which time somebody else is to review that; `ops list` and `audit verify` remind of it.",
        low=3600,
    ),
    Setting(
        "approval.on_change",
        Kind.CHOICE,
        "void",
        "What becomes of an approval when something of its plan changed since it was asked for: it is void and somebody asks"
        " again, or what changed stays and the rest goes.",
        ("void", "skip"),
    ),
    Setting(
        "approval.purge",
        Kind.CHOICE,
        "allow",
        "Whether `purge`, `snapshot prune`, `redis trash purge` and `serve database retain` delete for good what policy allows, also"
        " by schedule, or ask: then each is held until people approve it, and `purge OP` carries it out.",
        ("allow", "ask"),
    ),
    Setting(
        "approval.expires",
        Kind.DURATION,
        "24h",
        "How long a held operation waits before it expires.",
        low=60,
    ),
    Setting(
        "approval.hook",
        Kind.HOOK,
        "",
        "Who is told of a held operation: the person at the terminal, or a URL that gets a signed message (docs/approvals.md)."
        " An answer of the URL approves nothing.",
    ),
    Setting(
        "approval.hook_secret_file",
        Kind.PATH,
        "",
        "File with the secret that messages are signed with, readable by its owner only: whsec_ and base64, or 24 to 64 bytes.",
    ),
    Setting(
        "approval.hook_allow",
        Kind.WORDS,
        "",
        "The only hosts, or host:port, that a hook may have. They may be at private addresses, and at the loopback without TLS."
        " Nothing means any host at a public address.",
    ),
    Setting(
        "approval.hook_timeout",
        Kind.DURATION,
        "5s",
        "How long a hook may take to connect, and to answer. It is tried three times.",
        low=1,
        high=60,
    ),
    Setting(
        "approval.wait",
        Kind.DURATION,
        "0s",
        "How long a command waits for the approval after its hook was told; then it ends, and the operation stays held.",
        high=86_400,
    ),
    Setting(
        "approval.detach",
        Kind.CHOICE,
        "no",
        "Whether a command that holds something ends at once with exit code 11 when people were told, instead of asking at the"
        " terminal or waiting.",
        ("no", "yes"),
    ),
    Setting(
        "approval.server",
        Kind.WORDS,
        "",
        "The approval server of the fleet, such as https://safeguard.example.org: what is held here, people decide there, and only"
        " there (docs/fleet.md). Nothing means that people decide on this machine.",
    ),
    Setting(
        "approval.server_token_file",
        Kind.PATH,
        "",
        "File with the API token of this host, readable by its owner only.",
    ),
    Setting(
        "approval.server_ca",
        Kind.PATH,
        "",
        "File with the certificates of which one must have signed the server's; nothing means those of the system.",
    ),
    Setting(
        "approval.server_timeout",
        Kind.DURATION,
        "10s",
        "How long the server may take to connect, and to answer.",
        low=1,
        high=60,
    ),
    Setting(
        "approval.tell",
        Kind.CHOICE,
        "emergencies",
        "What messages are about: operations that are held; also those that went on in an emergency; or also every decision about"
        " an operation of which it was told that it is held.",
        ("held", "emergencies", "all"),
    ),
    Setting(
        "approval.give_up",
        Kind.DURATION,
        "24h",
        "For how long a message that does not arrive is tried again, with growing pauses; then that is told loudly.",
        low=60,
        high=30 * 86_400,
    ),
    Setting(
        "approval.page",
        Kind.LINK,
        "",
        "Where people decide in a browser, for links in messages; nothing means what serve.url or approval.server say.",
    ),
    Setting(
        "approval.slack_file",
        Kind.PATH,
        "",
        "File with the URL of an incoming webhook of Slack, readable by its owner only; nothing means that Slack is not told.",
    ),
    Setting(
        "approval.chat_group",
        Kind.DURATION,
        "1m",
        "What is held within this time is one message in Slack and of Apprise, and two messages are never nearer; 0s means one for each.",
        high=3_600,
    ),
    Setting(
        "approval.slack_buttons",
        Kind.CHOICE,
        "none",
        "Which buttons a message in Slack has beside the link to the page: none, one that rejects, or also one that asks for the first"
        " digits of the plan's digest and approves.",
        ("none", "reject", "decide"),
    ),
    Setting(
        "approval.slack_secret_file",
        Kind.PATH,
        "",
        "File with the signing secret of the Slack app, readable by its owner only; without it no button counts.",
    ),
    Setting(
        "approval.slack_token_file",
        Kind.PATH,
        "",
        "File with the bot token of the Slack app, readable by its owner only; the button that approves needs it to ask for digits.",
    ),
    Setting(
        "approval.slack_api",
        Kind.LINK,
        "https://slack.com/api",
        "Where the Web API of Slack is.",
    ),
    Setting(
        "approval.apprise_file",
        Kind.PATH,
        "",
        "File with URLs of Apprise, one in each line, readable by its owner only: mail, chats and pagers that are told as well.",
    ),
    Setting(
        "alerts.alertmanager",
        Kind.LINK,
        "",
        "Where an Alertmanager is, such as http://127.0.0.1:9093, that is told what waits and what went wrong; nothing means nowhere.",
    ),
    Setting(
        "metrics.textfile",
        Kind.PATH,
        "",
        "A file that gets the metrics of the journal when a command has written to it, for the textfile collector of node_exporter.",
    ),
    Setting(
        "telemetry.endpoint",
        Kind.LINK,
        "",
        "Where traces and metrics of operations go, by OTLP over HTTP, such as http://127.0.0.1:4318; nothing means what"
        " OTEL_EXPORTER_OTLP_ENDPOINT says, or nowhere. See docs/telemetry.md.",
    ),
    Setting(
        "telemetry.headers_file",
        Kind.PATH,
        "",
        "File with headers for that, one `Name: value` in each line, readable by its owner only.",
    ),
    Setting(
        "telemetry.rules",
        Kind.PATH,
        "",
        "File with rules that say which traces are kept and what must not leave, see docs/sampling.md; nothing keeps every operation.",
    ),
    Setting("telemetry.tenant", Kind.WORDS, "", "Whose telemetry it is: the attribute `tenant` of all of it."),
    Setting(
        "telemetry.finish",
        Kind.DURATION,
        "2s",
        "How long a command may take at its end to send what is left.",
        low=1,
        high=60,
    ),
    Setting(
        "log.format",
        Kind.CHOICE,
        "text",
        "How `serve`, `redis proxy` and `cacheprog` say on stderr what happens: as text, or as one JSON document in each line.",
        ("text", "json"),
    ),
    Setting(
        "signals.new",
        Kind.DURATION,
        "6h",
        "How long received spans lie where single ones are found fastest; older ones move to Parquet, which takes less room.",
        low=60,
    ),
    Setting("signals.keep", Kind.DURATION, "7d", "How long received spans are kept.", low=3600),
    Setting(
        "signals.size",
        Kind.SIZE,
        "4GiB",
        "What received spans may take on the disk; when that is too little, the oldest days go first.",
        low=16 << 20,
    ),
    Setting(
        "signals.prometheus",
        Kind.LINK,
        "",
        "The Prometheus that knows how services do, such as http://127.0.0.1:9090; nothing means our own store of spans.",
    ),
    Setting(
        "signals.prometheus_token_file",
        Kind.PATH,
        "",
        "File with the token that this Prometheus wants, readable by its owner only; nothing means that it wants none.",
    ),
    Setting(
        "signals.metrics",
        Kind.WORDS,
        "semconv",
        "What metrics are called there: semconv (OpenTelemetry) or classic (http_requests_total), then what differs:"
        ' requests=NAME, durations=NAME, failed=status=~"5..", service=LABEL.',
    ),
    Setting(
        "signals.saturation_query",
        Kind.WORDS,
        "",
        "What Prometheus is asked for the fullest resource of services, from 0 to 1, each sample with the label of its service;"
        " nothing means that nobody measures it.",
    ),
    Setting(
        "signals.capacity",
        Kind.WORDS,
        "",
        "How many requests services can work on at a time, such as `pay=12 cart=40`: what our own store of spans tells the saturation by.",
    ),
    Setting(
        "signals.error_rate",
        Kind.SHARE,
        "0.5%",
        "The share of requests of a service that may fail: the gate pauses above it, and the board is red.",
    ),
    Setting(
        "signals.worst_second",
        Kind.SHARE,
        "10%",
        "If more than this share of a second's requests fail, the gate says roll back at once.",
    ),
    Setting(
        "signals.saturation",
        Kind.SHARE,
        "90%",
        "How full the fullest resource of a service may be before the gate pauses.",
    ),
    Setting(
        "signals.alpha",
        Kind.SHARE,
        "5%",
        "How often the gate may pause for a service that does as well as before, all looks at it together.",
    ),
    Setting(
        "signals.requests",
        Kind.COUNT,
        "50",
        "A window with fewer requests than these is no data, and no data is a pause.",
        low=1,
        high=1_000_000,
    ),
    Setting(
        "signals.stale",
        Kind.DURATION,
        "15s",
        "Data that are older than this at the time of a look are no data.",
        low=1,
        high=3_600,
    ),
    Setting(
        "signals.dependents",
        Kind.WORDS,
        "",
        "Which services depend on which keys, such as `page:*=shop,search session:*=login`: whom a purge in waves watches.",
    ),
    Setting(
        "signals.wave_first",
        Kind.COUNT,
        "20",
        "How many keys the first wave of a purge takes; each that does no harm is followed by one of 1.6 times its size.",
        low=1,
    ),
    Setting("signals.wave_most", Kind.COUNT, "5000", "How many keys a wave of a purge takes at most.", low=1),
    Setting(
        "signals.wave_settle",
        Kind.DURATION,
        "5s",
        "How long a wave of a purge is watched before the next one, at least.",
        low=1,
    ),
    Setting(
        "signals.wave_p95_ms",
        Kind.COUNT,
        "1000",
        "A wave of a purge is paused, and put back, if one in twenty requests of a service takes longer, in milliseconds."
        " Latencies are not compared with before: whatever is missing from a cache takes longer.",
        low=1,
    ),
    Setting(
        "signals.wave_patience",
        Kind.DURATION,
        "5m",
        "If the gate has paused a purge for so long, also for want of data, it stops and waits for a person.",
        low=1,
    ),
    Setting(
        "signals.wave_rollbacks",
        Kind.COUNT,
        "3",
        "After so many waves in a row that had to be put back a purge stops and waits for a person.",
        low=1,
    ),
    Setting(
        "signals.sampling_port",
        Kind.COUNT,
        "0",
        "On which port of the loopback address a purge answers `/sampling?service=NAME` to SDKs while it goes; 0 for none."
        " `serve` answers it as well.",
        high=65_535,
    ),
    Setting(
        "signals.recorders",
        Kind.WORDS,
        "",
        "Where services listen that export what they have dropped, such as http://127.0.0.1:9464: asked when a wave is put back.",
    ),
    Setting(
        "signals.wave_baseline",
        Kind.DURATION,
        "5m",
        "The length of the window before a purge with which its waves are compared.",
        low=1,
    ),
    Setting(
        "signals.builds",
        Kind.COUNT,
        "5",
        "Fewer builds than these that ended in a window are no data for `--gate builds`, and no data is a pause.",
        low=2,
        high=1_000,
    ),
    Setting(
        "signals.build_misses",
        Kind.SHARE,
        "10%",
        "By how much the share of lookups of builds that miss has to rise before `--gate builds` asks whether that is chance.",
    ),
    Setting(
        "signals.build_baseline",
        Kind.DURATION,
        "1d",
        "The length of the window before a purge with whose builds those during its waves are compared.",
        low=1,
    ),
    Setting(
        "signals.board",
        Kind.WORDS,
        "",
        "Services with a board in a repository: SERVICE=REPOSITORY[,branch=NAME][,red=SHARE], with white space between them; the branch is"
        " main and red begins at signals.error_rate, unless they say otherwise.",
    ),
    Setting(
        "signals.board_window",
        Kind.DURATION,
        "1m",
        "How far back a board looks.",
        low=5,
        high=86_400,
    ),
    Setting(
        "signals.trace_url",
        Kind.LINK,
        "",
        "Where people see a trace, with {trace} for its id, such as https://jaeger.example.org/trace/{trace}; nothing means ids without links.",
    ),
    Setting(
        "signals.hook_listen",
        Kind.WORDS,
        "127.0.0.1:9098",
        "Where `signals board --serve-hook` lets an Alertmanager in: host:port or [address]:port.",
    ),
    Setting(
        "signals.hook_token_file",
        Kind.PATH,
        "",
        "File with the secret that the Alertmanager has to show, as a bearer token or as the password of any user; readable by its owner only.",
    ),
    Setting("signals.hook_tls_cert", Kind.PATH, "", "File with the certificate that it sees, and those above it."),
    Setting(
        "signals.hook_tls_key", Kind.PATH, "", "File with the key of that certificate, readable by its owner only."
    ),
    Setting(
        "signals.hook_tls_client_ca",
        Kind.PATH,
        "",
        "File with the certificates of which one must have signed the Alertmanager's own; nothing means that it needs none.",
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
    Setting(
        "redis.ca",
        Kind.PATH,
        "",
        "File with the certificates of which one must have signed the server's; nothing means those that this machine believes.",
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
        "warn",
        "What the check of the hit rate says of a server that nobody has watched for long enough, or that is asked too little to"
        " judge. One that cannot be read is always UNKNOWN.",
        ("pass", "warn", "unknown"),
    ),
    Setting(
        "redis.trash",
        Kind.TRASH,
        "",
        "Where captured values go: nothing means the folder `trash` in the state directory. Another folder, an object store, or"
        " another Redis or Valkey server that keeps an append-only file.",
    ),
    Setting(
        "redis.trash_password_file",
        Kind.PATH,
        "",
        "File with the password of the server in `redis.trash`, readable by its owner only; nothing means no password.",
    ),
    Setting(
        "redis.trash_volatile",
        Kind.CHOICE,
        "no",
        "Whether the server in `redis.trash` may hold captured values though it would lose them when it stops.",
        ("no", "yes"),
    ),
    Setting(
        "redis.big_value",
        Kind.SIZE,
        "16MiB",
        "How many bytes of values are held in memory at once; what is larger goes to the trash and back in pieces.",
    ),
    Setting(
        "redis.execute",
        Kind.CHOICE,
        "guard",
        "Who does a client's call that a person has approved: the guard, with a copy of every key, or the client that sends it again."
        " Transactions, scripts and commands about the server itself are always sent again.",
        ("guard", "retry"),
    ),
    Setting(
        "redis.capture",
        Kind.CHOICE,
        "held",
        "Which calls of clients can be undone: those that a person has approved, those that the checks allow as well, or none.",
        ("held", "checked", "never"),
    ),
    Setting(
        "redis.wait",
        Kind.DURATION,
        "0s",
        "How long a client's call waits for the approval of a person before the client is told that it is held.",
        high=86_400,
    ),
    Setting(
        "redis.max_held",
        Kind.COUNT,
        "20",
        "How many calls of one client may wait for a person; more are refused.",
        low=1,
        high=10_000,
    ),
    Setting(
        "redis.least_reply",
        Kind.SIZE,
        "1MiB",
        "How many bytes of values are asked for at once even from a server whose memory is used up, and at least 1 MiB: it may evict"
        " as much of other keys to answer.",
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
        "redis_proxy.listen",
        Kind.WORDS,
        "127.0.0.1:6380",
        "Where `redis proxy` lets clients in: host:port, [address]:port or unix:///path, with white space between them.",
    ),
    Setting(
        "redis_proxy.upstream",
        Kind.WORDS,
        "",
        "The server that stands behind: redis://, rediss://, unix://, or sentinel://host:port,host:port/name; nothing means `redis.url`.",
    ),
    Setting(
        "redis_proxy.nodes",
        Kind.WORDS,
        "",
        "For a cluster, instead of the two above: `listen=upstream` for each node, with white space between them.",
    ),
    Setting(
        "redis_proxy.sentinel_password_file",
        Kind.PATH,
        "",
        "File with the password of the Sentinels, readable by its owner only; nothing means that they want none.",
    ),
    Setting(
        "redis_proxy.workers",
        Kind.COUNT,
        "1",
        "How many processes share the work; a second one helps where there are processors to spare.",
        low=1,
        high=64,
    ),
    Setting(
        "redis_proxy.connections",
        Kind.COUNT,
        "10000",
        "How many clients each worker lets in at once.",
        low=1,
        high=1_000_000,
    ),
    Setting(
        "redis_proxy.connect",
        Kind.DURATION,
        "10s",
        "How long the server may take to accept a connection.",
        low=1,
    ),
    Setting(
        "redis_proxy.idle",
        Kind.DURATION,
        "0s",
        "A connection without any traffic for so long is closed; 0s means never.",
    ),
    Setting(
        "redis_proxy.stall",
        Kind.DURATION,
        "1m",
        "How long a client may take for the next piece of a request that it has begun, or of a reply that waits for it; 0s for ever.",
    ),
    Setting(
        "redis_proxy.drain",
        Kind.DURATION,
        "30s",
        "How long connections may end what they do when the proxy is stopped.",
    ),
    Setting(
        "redis_proxy.deciding",
        Kind.COUNT,
        "32",
        "How many calls each worker thinks about, or lets wait for a person, at once.",
        low=1,
        high=1_000,
    ),
    Setting(
        "redis_proxy.max_arguments",
        Kind.COUNT,
        "1048576",
        "How many words a command may have.",
        low=1,
        high=100_000_000,
    ),
    Setting(
        "redis_proxy.max_argument", Kind.SIZE, "512MiB", "How large one word of a command may be.", low=1, high=1 << 32
    ),
    Setting(
        "redis_proxy.max_request",
        Kind.SIZE,
        "1GiB",
        "How large all words of a command may be together.",
        low=1,
        high=1 << 32,
    ),
    Setting(
        "redis_proxy.max_memory",
        Kind.SIZE,
        "1GiB",
        "How large all requests may be together that a worker has not sent on yet; the client with the largest is closed then.",
        low=1,
        high=1 << 40,
    ),
    Setting(
        "redis_proxy.max_transaction",
        Kind.SIZE,
        "64MiB",
        "How large all commands between MULTI and EXEC may be together.",
        low=1,
        high=1 << 32,
    ),
    Setting(
        "redis_proxy.inline",
        Kind.CHOICE,
        "refuse",
        "What happens to commands that come as a line of text instead of an array.",
        ("refuse", "allow"),
    ),
    Setting(
        "redis_proxy.reply_off",
        Kind.CHOICE,
        "refuse",
        "What happens to CLIENT REPLY OFF and SKIP. Where they are allowed, a call that needs an answer then ends the connection.",
        ("refuse", "allow"),
    ),
    Setting(
        "redis_proxy.header",
        Kind.CHOICE,
        "none",
        "Whether every connection begins with a PROXY protocol header (version 1 or 2) of the load balancer in front.",
        ("none", "proxy"),
    ),
    Setting(
        "redis_proxy.metrics",
        Kind.WORDS,
        "",
        "Where Prometheus may ask for metrics: host:port, such as 127.0.0.1:9121; nothing means nowhere.",
    ),
    Setting("redis_proxy.tls_cert", Kind.PATH, "", "File with the certificate that clients see, and those above it."),
    Setting("redis_proxy.tls_key", Kind.PATH, "", "File with the key of that certificate, readable by its owner only."),
    Setting(
        "redis_proxy.tls_client_ca",
        Kind.PATH,
        "",
        "File with the certificates of which one must have signed a client's; nothing means that clients need none.",
    ),
    Setting(
        "redis_proxy.unix_mode",
        Kind.CHOICE,
        "600",
        "Who may connect to a Unix socket of the proxy: its owner, its group as well, or everybody on this machine.",
        ("600", "660", "666"),
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
        "serve.listen",
        Kind.WORDS,
        "127.0.0.1:8443",
        "Where `serve` lets people in: host:port or [address]:port.",
    ),
    Setting(
        "serve.url",
        Kind.WORDS,
        "",
        "Under which URL people come, such as https://safeguard.example.org; for several tenants `URL=tenant`, with white space"
        " between them. Nothing means the place it listens at.",
    ),
    Setting("serve.tls_cert", Kind.PATH, "", "File with the certificate that people see, and those above it."),
    Setting("serve.tls_key", Kind.PATH, "", "File with the key of that certificate, readable by its owner only."),
    Setting(
        "serve.trusted_proxies",
        Kind.WORDS,
        "",
        "Addresses and networks of proxies that end TLS in front of `serve`. Only they may say where somebody comes from, and"
        " without a certificate of our own only they are let in.",
    ),
    Setting(
        "serve.session",
        Kind.DURATION,
        "8h",
        "How long somebody stays logged in.",
        low=60,
        high=30 * 86_400,
    ),
    Setting(
        "serve.idle",
        Kind.DURATION,
        "60m",
        "After how long without a request a session ends, by the clock of the database; that it is used is written down at most once"
        " a minute, and a page that is only open does not count.",
        low=60,
        high=30 * 86_400,
    ),
    Setting(
        "serve.attempts",
        Kind.COUNT,
        "5",
        "How many log-ins may fail in a quarter of an hour for one account from one address. An address may fail 6 times as often,"
        " an account 20 times, and then still gets in from where it did before.",
        low=1,
        high=1_000,
    ),
    Setting(
        "serve.password_memory",
        Kind.SIZE,
        "64MiB",
        "How much memory it takes to try one password (argon2id).",
        low=1 << 16,
        high=1 << 31,
    ),
    Setting(
        "serve.password_passes",
        Kind.COUNT,
        "3",
        "How often that memory is gone through.",
        low=1,
        high=100,
    ),
    Setting(
        "serve.oidc_issuer",
        Kind.WORDS,
        "",
        "The identity provider people log in with, such as https://id.example.org/realms/x; nothing means local passwords only.",
    ),
    Setting("serve.oidc_client_id", Kind.WORDS, "", "Under which name the identity provider knows us."),
    Setting(
        "serve.oidc_client_secret_file",
        Kind.PATH,
        "",
        "File with the secret that the identity provider gave us, readable by its owner only; nothing means a public client.",
    ),
    Setting(
        "serve.oidc_ca",
        Kind.PATH,
        "",
        "File with the certificates of which one must have signed the identity provider's; nothing means those of the system.",
    ),
    Setting(
        "serve.connections",
        Kind.COUNT,
        "4096",
        "How many connections are open at once.",
        low=16,
        high=100_000,
    ),
    Setting(
        "serve.header_timeout",
        Kind.DURATION,
        "10s",
        "How long a client may take for the head of a request, and how long a connection without one is kept.",
        low=1,
        high=60,
    ),
    Setting(
        "serve.body_timeout",
        Kind.DURATION,
        "20s",
        "How long a client may take for the whole body of a request.",
        low=1,
        high=3_600,
    ),
    Setting(
        "serve.reply_timeout",
        Kind.DURATION,
        "20s",
        "How long a client may take nothing of a reply that waits for it.",
        low=1,
        high=3_600,
    ),
    Setting(
        "serve.max_body",
        Kind.SIZE,
        "8MiB",
        "How large the body of a request may be.",
        low=1 << 16,
        high=1 << 30,
    ),
    Setting(
        "serve.api_rate",
        Kind.COUNT,
        "1200",
        "How many calls of the API one person, or one host, may make in a minute; 0 for any number.",
    ),
    Setting(
        "serve.drain",
        Kind.DURATION,
        "20s",
        "How long requests may end what they do when `serve` is stopped.",
        high=3_600,
    ),
    Setting(
        "serve.database",
        Kind.DATABASE,
        "",
        "The Postgres database that holds journals and people of a fleet, such as"
        " postgresql://safeguard@db.example.org/safeguard; nothing means this machine's own journal.",
    ),
    Setting(
        "serve.database_password_file",
        Kind.PATH,
        "",
        "File with the password of that user, readable by its owner only; read again for each new connection.",
    ),
    Setting(
        "serve.database_connections",
        Kind.COUNT,
        "10",
        "How many connections to the database there may be at once; who comes then waits for one.",
        low=2,
        high=1_000,
    ),
    Setting(
        "serve.database_owner",
        Kind.WORDS,
        "",
        "The user that owns the tables; only `serve database upgrade`, `downgrade`, `check` and `retain` connect as that one.",
    ),
    Setting(
        "serve.database_owner_password_file",
        Kind.PATH,
        "",
        "File with the password of the owner, readable by its owner only. `serve` itself never reads it.",
    ),
    Setting(
        "serve.database_keep",
        Kind.DURATION,
        "365d",
        "What ended longer ago than this leaves the database with `serve database retain`, which exports it first.",
        low=3_600,
    ),
    Setting(
        "cacheprog.remote",
        Kind.TRASH,
        "",
        "What `cacheprog` asks when this machine's cache has nothing, and where it sends what was built; nothing means no second level.",
    ),
    Setting(
        "cacheprog.remote_password_file",
        Kind.PATH,
        "",
        "File with the password of the Redis server in `cacheprog.remote`, readable by its owner only; nothing means no password.",
    ),
    Setting(
        "cacheprog.key_file",
        Kind.PATH,
        "",
        "File with a secret that all machines of a second level share, readable by its owner only: what was not sealed with it is a"
        " miss. Nothing means that whoever may write there is trusted.",
    ),
    Setting(
        "cacheprog.namespace",
        Kind.WORDS,
        "default",
        "Which part of the second level is used: 1 to 64 letters, digits, dots, dashes or underscores.",
    ),
    Setting(
        "cacheprog.upload",
        Kind.CHOICE,
        "yes",
        "Whether what was built here is sent to the second level.",
        ("yes", "no"),
    ),
    Setting(
        "cacheprog.verify",
        Kind.CHOICE,
        "marks",
        "When a content of this machine's cache is hashed before it is used: when it was not hashed since it last changed, or always.",
        ("marks", "always"),
    ),
    Setting(
        "cacheprog.timeout",
        Kind.DURATION,
        "1s",
        "How long the second level may take for one request; no build waits longer than 2s for an answer in any case.",
        low=1,
        high=2,
    ),
    Setting(
        "cacheprog.drain",
        Kind.DURATION,
        "2s",
        "How long the end of a build waits for what is still to be sent to the second level; the rest is dropped.",
        high=60,
    ),
    Setting(
        "cacheprog.max_size",
        Kind.SIZE,
        "64MiB",
        "The largest output that goes to the second level or is taken from there.",
    ),
    Setting(
        "cacheprog.ttl",
        Kind.DURATION,
        "7d",
        "How long a Redis server of the second level keeps an output after it was sent; 0 means as long as it likes.",
    ),
    Setting(
        "cacheprog.summary_file",
        Kind.PATH,
        "",
        "File to which `cacheprog` appends a line of JSON for each build; nothing means none.",
    ),
    Setting(
        "cacheprog.metrics",
        Kind.PATH,
        "",
        "File for node_exporter's textfile collector in which `cacheprog` counts over all builds; nothing means none.",
    ),
    Setting(
        "gc.uses",
        Kind.COUNT,
        "3",
        "How many runs of one command in one place `trace` remembers.",
        low=1,
        high=100,
    ),
    Setting(
        "gc.traces",
        Kind.DURATION,
        "14d",
        "How long `gc` keeps what a traced command used; 0s means that only registered roots count.",
    ),
    Setting(
        "gc.grace",
        Kind.DURATION,
        "65m",
        "How long ago an entry must have been used before `gc` may take it: go marks a use at most once an hour, and a running build"
        " has just written what nobody needs yet.",
    ),
    Setting(
        "gc.unknown",
        Kind.CHOICE,
        "keep",
        "What `gc` does when go cannot say what a root needs: keep everything that could be its, or refuse to collect anything.",
        ("keep", "refuse"),
    ),
    Setting(
        "why.runs",
        Kind.COUNT,
        "10",
        "How many recorded runs of a project `why` compares with; older ones are forgotten.",
        low=1,
        high=1_000,
    ),
    Setting(
        "why.ghosts",
        Kind.COUNT,
        "100000",
        "How many entries that left a cache are remembered, so that `why` can tell an evicted entry from a changed key.",
        low=0,
        high=10_000_000,
    ),
    Setting(
        "why.commits",
        Kind.COUNT,
        "50",
        "From how many commits `why` takes old files, to find the old key of a package of which no run is recorded.",
        low=0,
        high=10_000,
    ),
    Setting(
        "state.dir",
        Kind.PATH,
        "",
        "Where the journal lives; nothing means /var/lib/go-cache-safeguard for root, and for others"
        " $XDG_STATE_HOME/go-cache-safeguard or ~/.local/state/go-cache-safeguard.",
    ),
    Setting(
        "audit.checkpoint",
        Kind.CHOICE,
        "operations",
        "When a signed checkpoint of the journal is made: at the end of each operation that removed or put back something, or never.",
        ("operations", "never"),
    ),
    Setting(
        "audit.every",
        Kind.COUNT,
        "1000",
        "A signed checkpoint is also made when so many records were added since the last one; 0 means never.",
    ),
    Setting(
        "audit.key",
        Kind.PATH,
        "",
        "File with the private key that signs checkpoints, readable by its owner only; nothing means beside the journal. Made when there is none.",
    ),
    Setting(
        "audit.keys",
        Kind.WORDS,
        "",
        "Public keys as `audit key show` prints them, one of which must be the journal's; nothing means that the journal is believed.",
    ),
    Setting(
        "audit.witnesses",
        Kind.WITNESSES,
        "",
        "Who keeps a copy of each checkpoint, so that a journal that was cut, rewritten or put back to an older state does not fit it.",
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
