"""What a server's own counters say about commands that did not come through the guard.

Knows:     how INFO commandstats, CLIENT LIST and ACL LOG are read, and what the difference between two readings means.
Called by: `flows.redis_watch`.
Never:     asks a server; calls something fine that it could not read: that is UNKNOWN.
Source:    server.c `genRedisInfoString`, networking.c `catClientInfoString`, acl.c `addACLLogEntry` of Redis 6.2 and 7.0 and Valkey 9.1. A
           command inside of a script counts as any other; one that the access control list refuses counts as rejected, not as a call;
           Redis 6.2 counts `config`, and not its subcommands.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.acl import TRY
from go_cache_safeguard.redis.commands import Class, Command, Table, Treatment
from go_cache_safeguard.redis.harden import can_remove
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.keyname import text_of
from go_cache_safeguard.redis.rules import Rules

GUARD_NAME = "go-cache-safeguard"
"""What the guard calls its connections; anybody can call theirs so, therefore a user's name is the better sign."""
_HEAD = "cmdstat_"
_WRITTEN = {"host_": "host:"}
"""A colon in a name would end it, so INFO writes another character."""
_FIELD = re.compile(r"(calls|failed_calls|rejected_calls)=(\d{1,19})", re.ASCII)
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_REPLICATION = {"PSYNC", "SYNC", "REPLCONF"}
_ORDINARY = {"client"}
"""Containers that every client uses: where subcommands are not told, CLIENT KILL looks like CLIENT SETNAME."""
_MANY = 5


class LetThrough(Protocol):
    """Tells what the guard did itself, or let through."""

    def counts(self) -> Mapping[str, int]:
        """Calls that were done so far, by their names in lower case, `config|set` for a subcommand; these only grow."""


@dataclass(frozen=True, slots=True)
class Count:
    """One line of commandstats."""

    calls: int = 0
    failed: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection.

    Attributes:
        id: The server's number for it.
        addr: From where; of a socket its path.
        user: Who it said it was.
        name: What it calls itself.
        cmd: Its last command.
        flags: As CLIENT LIST tells them.
        idle_s: Seconds since that command.
    """

    id: str
    addr: str
    user: str
    name: str
    cmd: str
    flags: str = ""
    idle_s: int = 0

    @property
    def text(self) -> str:
        """For people."""
        return f"client {self.id} from {self.addr} as {self.user or '?'}{f' ({self.name})' if self.name else ''}: {self.cmd}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Entries of ACL LOG that are alike.

    Attributes:
        reason: command, key, channel or auth.
        context: toplevel, multi, lua ...
        thing: What was refused.
        user: To whom.
    """

    reason: str
    context: str
    thing: str
    user: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server said at one moment.

    Attributes:
        run_id: Of the process; empty if it was not told.
        counts: By the server's names; None if they cannot be read.
        peers: All connections but our own; None if they cannot be read.
        refusals: How often each was refused; None if that cannot be read.
        replica: Whether the process follows another one, whose commands it counts too.
    """

    run_id: str
    counts: Mapping[str, Count] | None
    peers: tuple[Peer, ...] | None
    refusals: Mapping[Refusal, int] | None
    replica: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know.

    Attributes:
        what: `direct-command`, `refused`, `counters-reset`, `restarted`, `direct-connection`, `acl-log-reset`, `subcommands`, `unread`,
            `replica`.
        outcome: BLOCK for what was done, WARN for what was tried or could be, UNKNOWN for what cannot be told.
        text: One sentence.
        evidence: Lines that show why.
        command: The command, where it is about one.
        calls: How many calls, where it is about calls.
    """

    what: str
    outcome: Outcome
    text: str
    evidence: tuple[str, ...] = ()
    command: str = ""
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Ours:
    """How connections of ours are known.

    Attributes:
        user: The guard's user; None if it has none of its own, then its connections are known by their name.
        proxies: Addresses from which the proxy connects: `host`, `host:port`, or the path of a socket.
    """

    user: str | None = None
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """What the judgement goes by.

    Attributes:
        rules: The site's.
        table: All commands that we know.
        ours: How connections of ours are known.
        strict: Report also what can remove or empty a key in one of its forms.
    """

    rules: Rules
    table: Table
    ours: Ours = field(default_factory=Ours)
    strict: bool = False

    def is_destructive(self, name: str) -> bool:
        """Whether a call of this, by the server's name, is one that the guard would not simply let through."""
        row = self.table.rows.get(name.upper().replace("|", " "))
        if row is None:
            return name.upper() not in self.table.containers
        return self._is(row)

    def hides(self, name: str) -> bool:
        """Whether a container may stand for one of its subcommands that is destructive."""
        head = f"{name.upper()} "
        return (
            name not in _ORDINARY
            and name.upper() in self.table.containers
            and any(row.name.startswith(head) and self._is(row) for row in self.table)
        )

    def _is(self, row: Command) -> bool:
        if row.name in _REPLICATION:
            return False
        if row.cls in {Class.READ, Class.SESSION} and row.name not in self.rules.overrides:
            return False
        held = self.rules.of_command(row) in {Treatment.CHECK, Treatment.HOLD, Treatment.REFUSE}
        return held or (self.strict and can_remove(row))


@dataclass(frozen=True, slots=True)
class Through:
    """What the guard did itself, or let through, up to one moment.

    Attributes:
        counts: Calls by their names in lower case, `config|set` for a subcommand.
        pending: Commands that it does right now, so that nobody can count them yet.
        rejected: Calls that it made to see that the server rejects them.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    rejected: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Calls of a command, those of its subcommands too."""
        return _sum(self.counts, name)

    def rejected_of(self, name: str) -> int:
        """Rejected calls of a command, those of its subcommands too."""
        return _sum(self.rejected, name)


def _sum(counts: Mapping[str, int], name: str) -> int:
    return sum(calls for one, calls in counts.items() if one == name or one.startswith(f"{name}|"))


@dataclass(frozen=True, slots=True)
class Base:
    """What a reading is compared with.

    Attributes:
        first: Counters when counting began: at the first reading, or none after a restart or a reset.
        last: The newest reading.
        ours: What was let through until counting began.
        before: What was let through until the newest reading.
        told: How much of each command was told already.
        refused: How many rejected calls of each command were told already.
        seen: Ids of connections and words for what cannot be read, which were told already.
    """

    first: Mapping[str, Count]
    last: Reading
    ours: Through
    before: Through
    told: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()


def begin(reading: Reading, ours: Through, watch: Watch) -> tuple[Base, list[Finding]]:
    """Start from what is there now: what happened before is nobody's business. Connections count from the beginning."""
    base = Base(reading.counts or {}, reading, ours, ours)
    found = [*_unread(base, reading), *_peers(base, reading, watch)]
    return replace(base, seen=_seen(base, reading, found)), found


def compare(base: Base, now: Reading, ours: Through, watch: Watch) -> tuple[Base, list[Finding]]:
    """Say what happened since, apart from what we did.

    Args:
        base: From `begin`, or the last comparison.
        now: The new reading.
        ours: What was let through so far, read *after* the server's counters.
        watch: What the judgement goes by.

    Returns:
        What the next reading is compared with, and findings; each thing is told once.
    """
    found: list[Finding] = []
    if now.run_id != base.last.run_id:
        found.append(
            Finding(
                "restarted",
                Outcome.UNKNOWN,
                "the server is another process now; what it did before that ended is not known",
            )
        )
        base = Base({}, now, base.before, base.before, seen=frozenset())
    elif _fell(base.last.counts, now.counts):
        text = "the counters went down: somebody reset them, and what was counted since the last look is lost"
        found.append(Finding("counters-reset", Outcome.BLOCK, text, _suspects(now, "config|resetstat", "config")))
        base = replace(base, first={}, ours=base.before, told={}, refused={})
    found += _unread(base, now)
    told, refused = dict(base.told), dict(base.refused)
    if now.counts is not None and not now.replica:
        found += _calls(base, now, ours, watch, told)
        found += _rejected(base, now, ours, watch, refused)
    found += [*_refusals(base.last.refusals, now.refusals), *_peers(base, now, watch)]
    return Base(base.first, now, base.ours, ours, told, refused, _seen(base, now, found)), found


def surplus(base: Base, now: Reading, ours: Through, watch: Watch) -> bool:
    """Whether more was done than we know of, or all of it may be new; ask what was let through before believing it."""
    if now.run_id != base.last.run_id or _fell(base.last.counts, now.counts):
        return True
    told, refused = dict(base.told), dict(base.refused)
    unknown = [*_calls(base, now, ours, watch, told), *_rejected(base, now, ours, watch, refused)]
    return now.counts is not None and bool(unknown)


def _calls(base: Base, now: Reading, ours: Through, watch: Watch, told: dict[str, int]) -> Iterator[Finding]:
    """Calls that succeeded and were not ours."""
    hidden: dict[str, int] = {}
    for name, count in sorted((now.counts or {}).items()):
        was = base.first.get(name, Count())
        done = count.calls - count.failed - was.calls + was.failed
        direct = done - max(0, ours.of(name) - base.ours.of(name))
        new = direct - told.get(name, 0)
        if new <= 0 or name in ours.pending:
            continue
        if watch.is_destructive(name):
            told[name] = direct
            yield _direct(name, new, now, watch)
        elif watch.hides(name):
            told[name] = direct
            hidden[name] = new
    if hidden:
        names = ", ".join(f"{name} ({calls})" for name, calls in hidden.items())
        yield Finding(
            "subcommands", Outcome.UNKNOWN, f"this server does not tell which subcommands were called: {names}"
        )


def _direct(name: str, calls: int, now: Reading, watch: Watch) -> Finding:
    shown, times = text_of(name.encode("utf-8", "surrogateescape")), f"{calls} call{'' if calls == 1 else 's'}"
    peers = _suspects(now, name, name.partition("|")[0])
    if name == "evalsha" and watch.rules.scripts:
        text = f"{shown}: {times} that did not come through the guard; whether of a script in redis.scripts is not told"
        return Finding("direct-command", Outcome.UNKNOWN, text, peers, shown, calls)
    return Finding(
        "direct-command", Outcome.BLOCK, f"{shown}: {times} that did not come through the guard", peers, shown, calls
    )


def _suspects(now: Reading, *names: str) -> tuple[str, ...]:
    """Connections whose last command it was."""
    return tuple(peer.text for peer in now.peers or () if peer.cmd in names)[:_MANY]


def _rejected(base: Base, now: Reading, ours: Through, watch: Watch, refused: dict[str, int]) -> Iterator[Finding]:
    """Calls that the server did not do, but for those that we made to see that."""
    for name, count in sorted((now.counts or {}).items()):
        tried = max(0, ours.rejected_of(name) - base.ours.rejected_of(name))
        new = count.rejected - base.first.get(name, Count()).rejected - tried - refused.get(name, 0)
        if new > 0 and (watch.is_destructive(name) or watch.hides(name)):
            refused[name] = refused.get(name, 0) + new
            shown = text_of(name.encode("utf-8", "surrogateescape"))
            text = f"{shown}: the server rejected {new} call{'' if new == 1 else 's'}"
            yield Finding("refused", Outcome.WARN, text, _suspects(now, name), shown, new)


def _refusals(before: Mapping[Refusal, int] | None, now: Mapping[Refusal, int] | None) -> Iterator[Finding]:
    """New entries of ACL LOG."""
    if before is None or now is None:
        return
    if before and not now:
        yield Finding("acl-log-reset", Outcome.WARN, "ACL LOG is empty now: somebody reset it")
    for one, times in now.items():
        new = times - before.get(one, 0)
        if new > 0:
            text = f"user {one.user} was refused the {one.reason} {one.thing} ({one.context}), {new} time{'' if new == 1 else 's'}"
            yield Finding("refused", Outcome.WARN, text, (), one.thing if one.reason == "command" else "", new)


def _peers(base: Base, now: Reading, watch: Watch) -> Iterator[Finding]:
    """Connections that do not come from the proxy. Without its address there is no telling them apart."""
    if not watch.ours.proxies:
        return
    before = {peer.id: peer for peer in base.last.peers or ()}
    for peer in now.peers or ():
        if _is_ours(peer, watch.ours):
            continue
        did = now is not base.last and watch.is_destructive(peer.cmd) and _is_new(peer, before.get(peer.id))
        if did or peer.id not in base.seen:
            outcome = Outcome.BLOCK if did else Outcome.WARN
            yield Finding("direct-connection", outcome, f"not through the proxy: {peer.text}", (), peer.cmd)


def _is_new(peer: Peer, before: Peer | None) -> bool:
    """Whether a connection did its last command since the last look."""
    return before is None or before.cmd != peer.cmd or peer.idle_s < before.idle_s


def _is_ours(peer: Peer, ours: Ours) -> bool:
    if set(peer.flags) & set("SM"):
        return True  # a replica, or the master of this one
    if peer.user == ours.user if ours.user is not None else peer.name == GUARD_NAME:
        return True
    host = peer.addr.rpartition(":")[0]
    return any(one in {peer.addr, host, host.strip("[]")} for one in ours.proxies)


def _seen(base: Base, now: Reading, found: Sequence[Finding]) -> frozenset[str]:
    """What need not be told again."""
    told = {finding.text for finding in found if finding.what in {"unread", "replica"}}
    here = {peer.id for peer in now.peers or ()}
    return frozenset(told | here | {one for one in base.seen if not one.isdecimal()})


def _unread(base: Base, now: Reading) -> Iterator[Finding]:
    """What cannot be read, once."""
    parts = (("INFO commandstats", now.counts), ("CLIENT LIST", now.peers), ("ACL LOG", now.refusals))
    texts = [("unread", f"{name} cannot be read, so nothing can be told by it") for name, part in parts if part is None]
    if now.replica:
        texts.append(("replica", "this server is a replica: it counts what its master sends, so watch the master"))
    for what, text in texts:
        if text not in base.seen:
            yield Finding(what, Outcome.UNKNOWN, text)


def _fell(before: Mapping[str, Count] | None, now: Mapping[str, Count] | None) -> bool:
    """Whether a counter went down, or is not there any more."""
    return (
        before is not None
        and now is not None
        and any(
            now.get(name, Count()).calls < count.calls or now.get(name, Count()).rejected < count.rejected
            for name, count in before.items()
        )
    )


# Reading.


def read_counts(info: Info) -> dict[str, Count]:
    """INFO commandstats."""
    found = {}
    for name, text in info.fields.items():
        if name.startswith(_HEAD):
            numbers = {key: int(number) for key, number in _FIELD.findall(text)}
            failed, rejected = numbers.get("failed_calls", 0), numbers.get("rejected_calls", 0)
            called = name.removeprefix(_HEAD).lower()
            found[_WRITTEN.get(called, called)] = Count(numbers.get("calls", 0), failed, rejected)
    return found


def read_peers(text: bytes, own: str) -> tuple[Peer, ...]:
    """CLIENT LIST, without the connection that asked."""
    found = []
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        part = dict(word.partition("=")[::2] for word in line.split(" "))
        if part.get("id", "") != own and "id" in part:
            user, name = (_printable(part.get(key, "")) for key in ("user", "name"))
            idle = int(part["idle"]) if _NUMBER.fullmatch(part.get("idle", "")) else 0
            addr = _printable(_address(part.get("addr", "")))
            found.append(
                Peer(part["id"], addr, user, name, _printable(part.get("cmd", "")), part.get("flags", ""), idle)
            )
    return tuple(found)


def read_refusals(reply: Sequence[Sequence[Any]]) -> dict[Refusal, int]:
    """ACL LOG."""
    found: dict[Refusal, int] = {}
    for entry in reply:
        part = {_text(key): value for key, value in zip(entry[::2], entry[1::2], strict=False)}
        words = (_printable(_text(part.get(key, b""))) for key in ("reason", "context", "object", "username"))
        one, count = Refusal(*words), part.get("count", 1)
        if one.user.startswith(TRY):
            continue
        found[one] = found.get(one, 0) + (count if isinstance(count, int) else 1)
    return found


def _address(text: str) -> str:
    """Valkey writes a socket as `[/path:0]:0`."""
    found = re.fullmatch(r"\[(/.*:\d+)\]:\d+", text)
    return found[1] if found else text


def _text(word: object) -> str:
    return word.decode("utf-8", "backslashreplace") if isinstance(word, bytes) else str(word)


def _printable(text: str) -> str:
    return text_of(text.encode("utf-8", "surrogateescape"))
