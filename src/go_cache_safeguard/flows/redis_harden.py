"""Close the way round the guard with the server's own access control list: look, plan, apply once, prove, undo.

Knows:     what is asked of a server, what is refused, how a change of rules is proved, and how the former rules come back.
Called by: the command line's `redis harden`, `redis resume` and `redis undo`; `flows.recover`.
Never:     touches, keeps or shows a password or its hash; makes or removes a user that is there; locks out the user it works as; sends
           a change twice.

A list of rules belongs to one process: in a cluster, and for replicas, each is done by itself.
"""

import re
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, ResponseError

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State, may_follow
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt, parse_receipt
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import Refused, kept_plan
from go_cache_safeguard.flows.clean import resume as resume_approved
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.recheck import is_strict, void
from go_cache_safeguard.flows.redis_removal import OutcomeUnknown
from go_cache_safeguard.flows.redis_server import connect_node, identity_of
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import ACCESS
from go_cache_safeguard.flows.undo import RestoreFailed
from go_cache_safeguard.redis.acl import TRY, Grant, User, read_commands, read_user
from go_cache_safeguard.redis.address import parse_address
from go_cache_safeguard.redis.bypass import read_peers
from go_cache_safeguard.redis.client import ReplyLost, Server, ServerRefuses, Word
from go_cache_safeguard.redis.client import connect as connect_to
from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.harden import (
    Change,
    Look,
    Terms,
    application,
    denied_names,
    findings,
    guard,
    half_open,
    no_lists,
    not_executed,
    serves_servers,
)
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.keyname import key_of, text_of
from go_cache_safeguard.redis.keyspace import Region, region_of
from go_cache_safeguard.redis.tablefile import load_table
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_DOORS = ("protected-mode", "requirepass", "enable-debug-command", "enable-module-command", "aclfile")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)
_DENIED = "permissions to run the"
_DENIED_KEY = "permissions to access"
_AT_ONCE = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
"""What a server does at once, also after MULTI; these are never tried."""
_SHOWN = 20
_FORBIDS = frozenset({"replication", "own-patterns"})
"""Findings with which nothing is applied."""


class HardenFailed(Failure):
    """The new rules do not hold."""

    id = "harden-failed"
    exit_code = ExitCode.PROOF_FAILED
    meaning = "the new rules of a server's users did not hold when they were tried, and the former ones were put back"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        users: Applications; none for every user but the guard's, the admins and the one that we work as.
        guard: The guard's user.
        admins: Users that are left alone.
        strict: Deny also what can remove or empty a whole key in one of its forms.
        proxied: Applications come through the proxy.
        retry: What was approved is sent again by the client.
        save: Make the new rules outlive a restart.
    """

    users: tuple[str, ...] = ()
    guard: str = "guard"
    admins: tuple[str, ...] = ()
    strict: bool = False
    proxied: bool = False
    retry: bool = False
    save: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """As it is written into the plan."""
        flags = (("strict", self.strict), ("behind-proxy", self.proxied), ("retry", self.retry), ("save", self.save))
        return (
            "harden",
            f"--guard={_shown(self.guard)}",
            *(f"--user={_shown(name)}" for name in self.users),
            *(f"--admin={_shown(name)}" for name in self.admins),
            *(f"--{name}" for name, given in flags if given),
        )


@dataclass(frozen=True, slots=True)
class Outline:
    """What a server looks like, and what would change.

    Attributes:
        target: The server.
        identity: Its run id.
        version: As people know it.
        me: The user that we work as; empty if the server has no users.
        wish: What was asked for.
        terms: What the rules depend on; None for a server without access control lists.
        users: Everybody.
        changes: Applications, and at the end the guard's user if it lacks something.
        unknown: Applications that were named and are not there; their rules are those of a new user.
        findings: What else stands open.
        saves: The command that makes rules outlive a restart; empty if there is no file for them.
    """

    target: str
    identity: str
    version: str
    me: str
    wish: Wish
    terms: Terms | None
    users: tuple[User, ...]
    changes: tuple[Change, ...]
    unknown: tuple[str, ...]
    findings: tuple[Verdict, ...]
    saves: str

    @property
    def notes(self) -> list[tuple[str, tuple[str, ...]]]:
        """What is to be known beside: a sentence, and the commands that it is about."""
        if self.terms is None:
            return []
        found: list[tuple[str, list[str]]] = []
        if not self.wish.strict:
            found.append(
                (
                    "ordinary commands that can remove a key in one form stay; --strict denies them",
                    half_open(self.terms),
                )
            )
        if self.wish.retry:
            text = "applications keep what a person may approve: their own connections send it again"
            found.append((f"{text}, so let nobody but the proxy reach the server", []))
        elif self.wish.proxied:
            found.append(
                (
                    "what a person approves of these is refused by the server; an administrator does it",
                    not_executed(self.terms),
                )
            )
        return [(text, tuple(names)) for text, names in found]


@dataclass(slots=True)
class RulesBack:
    """What an undo did.

    Attributes:
        op: The operation that was undone.
        restored: Users that have their former rules again.
        there: Users that had them already.
        newer: Users whose rules somebody changed since; they stay as they are.
        gone: Users that are not there any more; they are not made again.
        took_ms: Milliseconds.
    """

    op: str
    restored: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    took_ms: int = 0

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "op": self.op,
            "restored": list(self.restored),
            "there": list(self.there),
            "newer": list(self.newer),
            "gone": list(self.gone),
            "took_ms": self.took_ms,
        }


def outline(session: Session, server: Server, wish: Wish) -> Outline:
    """Look at a server and work out what would change. Changes nothing.

    Raises:
        ServerRefuses: It does not tell what it knows: the rules cannot be worked out.
        ReplyLost: The connection ended.
    """
    info = server.infos()[0]
    version = info.fields.get("valkey_version") or info.fields.get("redis_version", "")
    identity = identity_of([info])
    asked = server.ask_all([("ACL", "WHOAMI")])[0]
    if isinstance(asked, ResponseError) and "unknown command" in str(asked).lower():
        return Outline(server.address.target, identity, version, "", wish, None, (), (), (), (no_lists(version),), "")
    me = _text(server.ask("ACL", "WHOAMI"))
    terms = _terms(session, server, wish)
    users = _users(server)
    settings = _settings(server)
    trusted = frozenset({wish.guard, me, *wish.admins})
    known = {user.name: user for user in users or ()}
    chosen = wish.users or tuple(
        name
        for name, user in known.items()
        if user.on and name not in trusted and not name.startswith(TRY) and not serves_servers(user, terms)
    )
    changes = tuple(_changes(server, terms, known, chosen, wish.guard))
    names = frozenset(change.user.name for change in changes) - {wish.guard}
    look = Look(users, settings, wish.guard, trusted, _servers_users(server), names)
    return Outline(
        target=server.address.target,
        identity=identity,
        version=version,
        me=me,
        wish=wish,
        terms=terms,
        users=tuple(users or ()),
        changes=changes,
        unknown=tuple(name for name in chosen if name not in known),
        findings=tuple(findings(look, terms)),
        saves="ACL SAVE" if settings.get("aclfile") else "CONFIG REWRITE" if info.fields.get("config_file") else "",
    )


def plan_of(session: Session, found: Outline) -> Plan:
    """What would be done, as something that a person can approve.

    Raises:
        Refused: It must not be done; the message says why.
    """
    _refuse(session, found)
    items = (
        Item(
            name=_shown(change.user.name),
            size=0,
            stamp=0,
            reason=_shown(" ".join(change.words)),
            digest=_digest(change.user),
        )
        for change in found.changes
    )
    return Plan(
        kind=ACCESS,
        target=found.target,
        identity=found.identity,
        selectors=found.wish.words,
        requester=session.actor,
        made_at=now_text(),
        whole=0,
        items=tuple(sorted(items)),
    )


def judge(session: Session, found: Outline) -> list[Verdict]:
    """Whether a person decides: as the site's rules treat ACL SETUSER."""
    treatment = load_rules(session.config).of_command(load_table().rows["ACL SETUSER"])
    waits = treatment is Treatment.HOLD
    says = "ACL SETUSER waits for a person, whoever asks" if waits else "the site's rules let ACL SETUSER through"
    evidence = tuple(
        f"user {_shown(change.user.name)}: loses {len(change.lost)}, gains {len(change.gained)} commands"
        for change in found.changes
    )
    return [Verdict("redis-access", Outcome.BLOCK if waits else Outcome.PASS, says, evidence)]


def execute(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Change the rules of the plan's users, as far as they are still what was approved, and see that they hold.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: An operation that is ALLOWED or APPROVED for exactly this plan.
        plan: The plan.

    Raises:
        PlanVoid: The server is another one, was started again, or has other rules than people approved to change; nothing was changed.
        Refused: It would lock us out; nothing was changed.
        HardenFailed: The rules did not hold; the former ones are back.
        OutcomeUnknown: The reply was lost.
    """
    began = time.monotonic_ns()
    with connect_node(session, parse_address(plan.target)) as server:
        users = _admitted(journal, op, plan, server)
        same = [item for item in plan.items if (user := users.get(_name(item))) and _digest(user) == item.digest]
        operation, changed = journal.operation(op), len(plan.items) - len(same)
        if changed and operation.state is State.APPROVED and is_strict(session):
            raise void(
                session, journal, operation, f"the rules of {changed:,} of {len(plan.items):,} users changed since"
            )
        former = {item.name: _shown(" ".join(users[_name(item)].back)) for item in same}
        calls: dict[str, Value] = {"acl|setuser": len(same)}
        journal.advance(op, State.REMOVING, {"former": dict(former), "calls": calls})
        receipt = Receipt(op, State.PROVING, plan.digest, len(plan.items), changed=changed)
        try:
            wrong = _set(server, [(_name(item), _words(item.reason)) for item in same])
        except ReplyLost as lost:
            raise _unknown(journal, receipt, lost) from lost
        receipt = replace(receipt, moved=len(same), took_ms=(time.monotonic_ns() - began) // 10**6)
        if wrong:
            raise _roll_back(journal, op, server, former, wrong)
        after: dict[str, Value] = {_shown(user.name): _digest(user) for user in _users(server) or ()}
        journal.advance(
            op,
            State.PROVING,
            {"receipt": receipt.as_value(), "after": {name: after[name] for name in former if name in after}},
        )
        return _prove(session, journal, server, plan, receipt)


def resume(session: Session, op: str, *, account: Path | None = None) -> Receipt:
    """Execute an operation that was held and is approved now; raises as `execute` and `flows.clean.resume` do."""
    return resume_approved(session, op, execute, account=account)


def is_about_rules(session: Session, op: str) -> bool:
    """Whether an operation changes the rules of a server's users."""
    with session.journal(read_only=True) as journal:
        return journal.operation(op).data.get("kind") == ACCESS


def undo(session: Session, op: str, *, replace_newer: bool = False) -> RulesBack:
    """Give every user of an operation its former rules again.

    Args:
        session: Who works.
        op: The operation.
        replace_newer: Also those whose rules somebody changed since.

    Raises:
        IllegalTransition: There is nothing to undo (any more).
        RestoreFailed: The server refuses; running it again goes on.
    """
    with span(SpanName.UNDO, op=op, actor=session.actor), session.journal() as journal:
        operation = journal.operation(op)
        if operation.data.get("kind") != ACCESS or not may_follow(operation.state, State.UNDOING):
            raise IllegalTransition(
                f"{op} is {operation.state}: there are no rules to put back", not_done="nothing was changed"
            )
        with connect_node(session, parse_address(str(operation.data["target"]))) as server:
            calls: dict[str, Value] = {"acl|setuser": len(operation.data["former"])}
            journal.advance(op, State.UNDOING, {"replace": replace_newer, "undo_calls": calls})
            return _undo(journal, op, server)


def recover(session: Session, journal: "Journal", op: str) -> None:
    """Bring an operation to an end that was killed: go on with the proof, or with the undo."""
    operation = journal.operation(op)
    plan = kept_plan(session, operation)
    with connect_node(session, parse_address(plan.target)) as server:
        match operation.state:
            case State.UNDOING:
                _undo(journal, op, server)
            case State.REMOVING | State.ROLLING_BACK:
                # All users were to change at once: nothing or everything was done, and nobody saw which.
                _roll_back(journal, op, server, operation.data["former"], ["killed while the rules changed"])
            case State.PROVING:
                _prove(session, journal, server, plan, parse_receipt(operation.data["receipt"]))
            case _:
                return


def _refuse(session: Session, found: Outline) -> None:
    """Say no to what must not be done."""
    why = ""
    names = {change.user.name for change in found.changes}
    account = next((user for user in found.users if user.name == found.wish.guard), None)
    if found.terms is None:
        why = f"{found.target} has no access control lists"
    elif account is None or not account.on:
        why = f"there is no user {_shown(found.wish.guard)} that can log in: nobody could execute what people approve"
    elif found.me in names - {found.wish.guard} or found.me in found.wish.users:
        why = f"you work as {_shown(found.me)}, and would lock yourself out"
    elif found.wish.guard in found.wish.users:
        why = f"{_shown(found.wish.guard)} is the guard's user, not an application"
    elif standing := [one for one in found.findings if one.check in _FORBIDS and one.outcome is Outcome.BLOCK]:
        why = standing[0].summary
    elif found.unknown:
        why = f"there is no user {', '.join(map(_shown, found.unknown))}; a new user needs a password, which is yours to give"
    elif found.wish.save and not found.saves:
        why = "the server has neither an ACL file nor a configuration file to save rules in"
    elif load_rules(session.config).of_command(load_table().rows["ACL SETUSER"]) is Treatment.REFUSE:
        why = "ACL SETUSER is refused by the rules of this site"
    if why:
        raise Refused(
            why, not_done="nothing was changed", hint="look at the findings of `go-cache-safeguard redis harden`"
        )


def _admitted(journal: "Journal", op: str, plan: Plan, server: Server) -> dict[str, User]:
    """All users, if the server is still the one that was looked at and nobody is locked out."""
    why = ""
    users = {user.name: user for user in _users(server) or ()}
    me = _text(server.ask("ACL", "WHOAMI"))
    account = users.get(
        next((_bytes(word.removeprefix("--guard=")) for word in plan.selectors if word.startswith("--guard=")), "")
    )
    names = [_name(item) for item in plan.items]
    if identity_of(server.infos()) != plan.identity:
        why = f"{plan.target} was started again, or is another server, since the plan was made"
    elif account is None or not account.on:
        why = "the guard's user is not there any more"
    elif me in names and me != account.name:
        why = f"you work as {_shown(me)}, and would lock yourself out"
    if why:
        journal.advance(op, State.REFUSED, {"why": why})
        raise PlanVoid(why, not_done="nothing was changed", hint="make a new plan")
    return users


def _set(server: Server, changes: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Change all users at once. Returns what the server did not take."""
    if not changes:
        return []
    server.ask("MULTI")
    words: list[tuple[Word, ...]] = [
        ("ACL", "SETUSER", *(word.encode("latin-1") for word in (name, *rules))) for name, rules in changes
    ]
    *_, done = server.ask_all([*words, ("EXEC",)])
    answers = done if isinstance(done, list) else [done]
    return [str(answer) for answer in answers if isinstance(answer, ResponseError)]


def _prove(session: Session, journal: "Journal", server: Server, plan: Plan, receipt: Receipt) -> Receipt:
    """Try, without doing any of it, what must not be possible any more."""
    former = journal.operation(receipt.op).data["former"]
    try:
        evidence, wrong, rejected = _tried(session, server, plan, list(former))
        lines = [*evidence, *(_saved(server, plan) if not wrong else ())]
    except ReplyLost as lost:
        raise _unknown(journal, receipt, lost) from lost
    if wrong:
        raise _roll_back(journal, receipt.op, server, former, wrong)
    done = replace(receipt, state=State.DONE, proof=tuple(lines))
    told: dict[str, Value] = {"receipt": done.as_value(), "done_s": int(time.time()), "rejected": dict(rejected)}
    journal.advance(receipt.op, State.DONE, told)
    return done


def _tried(
    session: Session, server: Server, plan: Plan, names: Sequence[str]
) -> tuple[list[str], list[str], Mapping[str, int]]:
    """Evidence, what is still possible although it must not be, and what the server counts as rejected because of us."""
    wish = wish_of(plan)
    terms = _terms(session, server, wish)
    users = {user.name: user for user in _users(server) or ()}
    evidence, wrong, rejected = [], [], Counter[str]()
    for shown in names:
        name = _bytes(shown)
        if name == wish.guard or name not in users:
            continue
        denied = [one for one in denied_names(terms) if one not in _AT_ONCE]
        left = _can(server, name, denied, terms) if terms.modern else _can_as(server, users[name], denied, terms)
        rejected.update(() if terms.modern else set(denied) - set(left))
        wrong += [f"user {shown} can still do {one}" for one in left]
        evidence.append(f"user {shown}: {len(denied) - len(left)} of {len(denied)} commands are refused by the server")
        samples = _samples(terms) if terms.modern else []
        open_keys = [text_of(key) for key in samples if _can_write(server, name, key)]
        wrong += [f"user {shown} can still overwrite {key}" for key in open_keys]
        if samples:
            evidence.append(
                f"user {shown}: {len(samples) - len(open_keys)} of {len(samples)} protected names cannot be overwritten"
            )
    return evidence, wrong, rejected


def _terms(session: Session, server: Server, wish: Wish) -> Terms:
    commands = read_commands(server.ask("COMMAND"))
    return Terms(
        load_rules(session.config), load_table(), commands, _number(server.infos()[0]), wish.strict, wish.retry
    )


def _number(info: Info) -> tuple[int, int]:
    """Of the version that a server counts as; 0.0 if it does not say."""
    found = _VERSION.match(info.fields.get("redis_version", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _users(server: Server) -> list[User] | None:
    """Everybody; None if that cannot be read."""
    answer = server.ask_all([("ACL", "LIST")])[0]
    if not isinstance(answer, list):
        return None
    try:
        return [read_user(line) for line in answer]
    except ValueError:
        return None


def _servers_users(server: Server) -> frozenset[str] | None:
    """As whom replicas and sentinels are logged in; None if that cannot be read."""
    answer = server.ask_all([("CLIENT", "LIST")])[0]
    if not isinstance(answer, bytes):
        return None
    return frozenset(
        _bytes(peer.user) for peer in read_peers(answer, "") if "S" in peer.flags or peer.name[:9] == "sentinel-"
    )


def _settings(server: Server) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key, answer in zip(_DOORS, server.ask_all([("CONFIG", "GET", key) for key in _DOORS]), strict=True):
        if isinstance(answer, ResponseError):
            found[key] = None
        elif len(answer) > 1:
            found[key] = "set" if key == "requirepass" and answer[1] else _text(answer[1])
    return found


def _changes(
    server: Server, terms: Terms, known: Mapping[str, User], chosen: Iterable[str], guard_name: str
) -> Iterator[Change]:
    for name in chosen:
        user = known.get(name)
        really = frozenset(_can(server, name, terms.commands, terms)) if user is not None and terms.modern else None
        change = application(user or User(name, root=Grant(("~*",), ("+@all",))), terms, really)
        if change is not None:
            yield change
    account = known.get(guard_name)
    gains = guard(account, terms) if account is not None else None
    if gains is not None:
        yield gains


def _can(server: Server, name: str, commands: Iterable[str], terms: Terms) -> list[str]:
    """Which of these the server says that a user may do; of a command that it does not want to judge, yes."""
    asked = list(commands)
    user = name.encode("latin-1")
    answers = server.ask_all([("ACL", "DRYRUN", user, *_call(one, terms)) for one in asked])
    return [one for one, answer in zip(asked, answers, strict=True) if _DENIED not in _text(answer)]


def _can_write(server: Server, name: str, key: bytes) -> bool:
    answer = server.ask_all([("ACL", "DRYRUN", name.encode("latin-1"), "SET", key, "x")])[0]
    return _DENIED not in _text(answer) and _DENIED_KEY not in _text(answer)


def _can_as(server: Server, user: User, commands: Sequence[str], terms: Terms) -> list[str]:
    """Which of these a new user with the same rules can do: each is tried after MULTI, and nothing is ever executed."""
    with _scratch(server, user) as other:
        answers = other.ask_all([("MULTI",), *(_call(one, terms) for one in commands), ("DISCARD",)])
    if not _text(answers[0]) == "OK" == _text(answers[-1]):
        return list(commands)
    return [
        one for one, answer in zip(commands, answers[1:-1], strict=True) if not isinstance(answer, NoPermissionError)
    ]


@contextmanager
def _scratch(server: Server, like: User) -> Iterator[Server]:
    """Log in as a new user with somebody's rules, and remove it again. Its password is known to nobody else."""
    name, password = f"{TRY}{secrets.token_hex(8)}", secrets.token_hex(32)
    rules = [word.encode("latin-1") for word in like.back]
    server.ask("ACL", "SETUSER", name, "on", f">{password}", *rules, "+multi", "+discard")
    try:
        with connect_to(replace(server.address, user=name), password=password) as other:
            yield other
    finally:
        server.ask("ACL", "DELUSER", name)


def _call(name: str, terms: Terms) -> tuple[str, ...]:
    """A call of a command with as many words as it needs; what they say does not matter."""
    words = name.split("|")
    known = terms.commands.get(name) or terms.commands.get(words[0])
    return (*words, *["x"] * max(0, abs(known.arity if known else 1) - len(words)))


def _samples(terms: Terms) -> list[bytes]:
    """A protected key of each pattern that can be written as a rule."""
    if Treatment.PROTECT is not terms.rules.of_command(terms.table.rows["SET"]) and not terms.strict:
        return []
    regions = [region_of(pattern.text) for pattern in terms.rules.protect]
    return [one.head + (b"x" if one.whole else b"") for one in regions if isinstance(one, Region)]


def _saved(server: Server, plan: Plan) -> list[str]:
    """Make rules outlive a restart, if that was asked for."""
    if "--save" not in plan.selectors:
        return ["the rules are not saved: a restart brings the former ones back"]
    return [_save(server)]


def _save(server: Server) -> str:
    file = server.ask_all([("CONFIG", "GET", "aclfile")])[0]
    words = ("ACL", "SAVE") if isinstance(file, list) and len(file) > 1 and file[1] else ("CONFIG", "REWRITE")
    try:
        server.ask(*words)
    except ServerRefuses as error:
        return f"NOT SAVED: {error}"
    return f"saved with {' '.join(words)}"


def _roll_back(
    journal: "Journal", op: str, server: Server, former: Mapping[str, str], wrong: Sequence[str]
) -> HardenFailed:
    """Put the former rules back. Returns what is to be raised."""
    if journal.operation(op).state is not State.ROLLING_BACK:
        journal.advance(op, State.ROLLING_BACK, {"evidence": "; ".join(wrong[:_SHOWN])})
    back = RulesBack(op)
    left = _put_back(server, former, back, {}, newer=True)
    state = State.UNKNOWN if left else State.ROLLED_BACK
    journal.advance(op, state, {"undo": back.as_value()})
    return HardenFailed(
        f"{op}: {wrong[0]}{f', and {len(wrong) - 1} more' if len(wrong) > 1 else ''}",
        not_done=f"the former rules could not be put back: {left[0]}" if left else "the former rules are back",
        hint=f"`go-cache-safeguard redis undo {op}` tries again" if left else "",
    )


def _undo(journal: "Journal", op: str, server: Server) -> RulesBack:
    began = time.monotonic_ns()
    data = journal.operation(op).data
    back = RulesBack(op)
    try:
        left = _put_back(server, data["former"], back, data.get("after", {}), newer=bool(data.get("replace")))
        saved = {"saved": _save(server)} if not left and "--save" in data.get("selectors", ()) else {}
    except ReplyLost as lost:
        left, saved = [str(lost)], {}
    back.took_ms = (time.monotonic_ns() - began) // 10**6
    if left:
        journal.advance(op, State.UNKNOWN, {"undo": back.as_value(), "evidence": left[0]})
        raise RestoreFailed(
            f"not all rules of {op} are back: {left[0]}",
            not_done=f"{len(back.restored)} users have their former rules",
            hint=f"remove the cause, then `go-cache-safeguard redis undo {op}` goes on",
        )
    journal.advance(op, State.UNDONE, {"undo": back.as_value(), "done_s": int(time.time()), **saved})
    return back


def _put_back(
    server: Server, former: Mapping[str, str], back: RulesBack, after: Mapping[str, str], *, newer: bool
) -> list[str]:
    """Give users their former rules, but for those that somebody changed since. Returns what the server did not take."""
    now = {user.name: user for user in _users(server) or ()}
    due = []
    for shown, words in former.items():
        user = now.get(_bytes(shown))
        if user is None:
            back.gone += (shown,)
        elif _shown(" ".join(user.back)) == words:
            back.there += (shown,)
        elif not newer and after.get(shown, "") not in {"", _digest(user)}:
            back.newer += (shown,)
        else:
            due.append(
                (shown, f"clearselectors {words}" if user.selectors and not words.startswith("clear") else words)
            )
    wrong = _set(server, [(_bytes(shown), _words(words)) for shown, words in due])
    if not wrong:
        back.restored = tuple(shown for shown, _ in due)
    return wrong


def _unknown(journal: "Journal", receipt: Receipt, lost: Failure) -> OutcomeUnknown:
    evidence = f"the reply to a change of rules was lost: {lost}"
    if journal.operation(receipt.op).state is State.REMOVING:
        journal.advance(receipt.op, State.PROVING, {"receipt": receipt.as_value()})
    journal.advance(receipt.op, State.UNKNOWN, {"evidence": evidence})
    return OutcomeUnknown(
        f"{receipt.op}: {evidence}",
        not_done="it was not sent again",
        hint=f"`go-cache-safeguard redis undo {receipt.op}` puts the former rules back",
    )


def wish_of(plan: Plan) -> Wish:
    """What a person asked for, out of the plan."""
    words = plan.selectors

    def named(option: str) -> tuple[str, ...]:
        head = f"--{option}="
        return tuple(_bytes(word.removeprefix(head)) for word in words if word.startswith(head))

    given = {"--strict", "--behind-proxy", "--retry", "--save"} & set(words)
    return Wish(
        named("user"),
        named("guard")[0],
        named("admin"),
        strict="--strict" in given,
        proxied="--behind-proxy" in given,
        retry="--retry" in given,
        save="--save" in given,
    )


def _digest(user: User) -> str:
    return sha256(user.text.encode("latin-1")).hexdigest()


def _name(item: Item) -> str:
    return _bytes(item.name)


def _words(shown: str) -> list[str]:
    """Words for ACL SETUSER out of a plan; what stands in brackets is one word."""
    found: list[str] = []
    inside: list[str] = []
    for word in _bytes(shown).split(" "):
        if inside or word.startswith("("):
            inside.append(word)
            if word.endswith(")"):
                found.append(" ".join(inside))
                inside = []
        else:
            found.append(word)
    return found


def _shown(text: str) -> str:
    """Words of an access control list, in which each character is a byte, as plans write them."""
    return text_of(text.encode("latin-1"))


def _bytes(shown: str) -> str:
    return key_of(shown).decode("latin-1")


def _text(answer: object) -> str:
    return answer.decode("latin-1") if isinstance(answer, bytes) else str(answer)
