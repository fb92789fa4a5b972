"""Delivers what the journal says is to be told: once for each channel, also after crashes, and never by two at the same time.

Knows:     that a message is claimed in the journal before it is sent, that what became of it is written down, and what is due.
Called by: `flows.hooks`: a command that holds something, the proxy, `serve`, `ops watch` and `ops deliver`.
Never:     approves, or changes where an operation stands; sends without a claim; gives up silently; keeps a queue of its own.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from go_cache_safeguard.approval.notify import TRIES, NotSent, Sent
from go_cache_safeguard.approval.outbox import (
    AWAY_S,
    CLAIMED,
    FAILED,
    GIVEN_UP,
    SENT,
    Event,
    Outbox,
    Post,
    Rule,
    event_of,
    gathered,
    pause_s,
    ready_s,
    seconds_of,
)
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, follow
from go_cache_safeguard.journal.record import Entry, Record
from go_cache_safeguard.journal.records import Records
from go_cache_safeguard.telemetry.names import SpanName, ids_of
from go_cache_safeguard.telemetry.span import span

_GONE = 410
_HAPPENED = {
    Event.HELD: "is held",
    Event.EMERGENCY: "went on in an emergency",
    Event.APPROVED: "was approved",
    Event.REJECTED: "was rejected",
    Event.EXPIRED: "has expired",
    Event.CANCELLED: "was cancelled",
}
Pause = Callable[[float], object]
"""Waits between two attempts; what it returns ends them if it is true."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing to tell, with what there is to say.

    Attributes:
        post: Which.
        operation: As it was when that happened, so that every attempt says the same.
        attempts: How often it was tried in vain.
    """

    post: Post
    operation: Operation
    attempts: int = 0


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """In the journal: `hook`, `slack`, `apprise-1`."""

    @property
    def where(self) -> str:
        """For people; without anything secret."""

    @property
    def gather_s(self) -> int:
        """What is held within this time is one message; 0 if each is one."""

    @property
    def lease_s(self) -> int:
        """Longer than sending may ever take."""

    def send(self, letters: Sequence[Letter], pause: Pause) -> Sent | NotSent:
        """Send one message about all of these; there is one if the channel does not gather. Nothing is raised."""


class Courier:
    """Delivers for one process. Use it from one thread at a time; any number of others may deliver as well.

    Attributes:
        channels: Whom to tell.
        rule: What, and for how long it is tried.
        delivered: How many messages were `sent`, `failed` and `given_up` here.
    """

    def __init__(
        self, channels: Sequence[Channel], rule: Rule, say: Callable[[str], object], *, pause: Pause = time.sleep
    ) -> None:
        """Make one; nothing is read or sent yet.

        Args:
            channels: Whom to tell.
            rule: What, and for how long it is tried.
            say: Told of what goes wrong.
            pause: See `Pause`.
        """
        self.channels = tuple(channels)
        self.rule = rule
        self._say = say
        self._pause = pause
        self.delivered: Counter[str] = Counter()
        self._box = Outbox()
        self._seen = 0
        self._behind = False

    def round(self, book: Records, *, stop: Callable[[], bool] = lambda: False) -> int | None:
        """Deliver all that is due.

        Args:
            book: The journal.
            stop: Asked before each message whether to leave the rest for later.

        Returns:
            Seconds until something else may be due; None if nothing waits.

        Raises:
            Failure: The journal cannot be read or written.
        """
        for channel in self.channels:
            self._look(book)
            for post in self._box.lapsed(channel.name, self.rule, _now_s()):
                self._give_up(book, channel, post)
            self._empty(book, channel, stop)
        self._catch_up(book)
        now_s = _now_s()
        self._box.forget(self.rule, now_s)
        times = [at_s for channel in self.channels if (at_s := self._when(channel, now_s)) is not None]
        return max(1, min(times) - now_s) if times else None

    def tell(self, book: Records, op: str, *, again: bool = True) -> list[str]:
        """Tell of one operation now: that it is held, or what was decided.

        Args:
            book: The journal.
            op: The operation.
            again: That it is held, also those who know already, by the same name; not those who get many in one message.

        Returns:
            For each channel that was not told: why. The outbox has it, so whoever delivers next tries again.

        Raises:
            Failure: The journal cannot be read or written.
        """
        trouble: list[str] = []
        for channel in self.channels:
            box = _box_of(book.records(op=op))
            held = box.posts(op)[:1] if again and not channel.gather_s else ()
            for post in dict.fromkeys((*held, *box.due(channel.name, self.rule, _now_s()))):
                if channel.gather_s and post.event is not Event.EMERGENCY and not self._is_quiet(book, channel):
                    continue
                trouble += self._deliver(book, channel, (post,), again=again and not channel.gather_s)
        self._catch_up(book)
        return trouble

    def waiting(self, book: Records) -> dict[str, int]:
        """How many messages wait, by channel."""
        self._look(book)
        return {channel.name: len(self._box.waiting(channel.name, self.rule, _now_s())) for channel in self.channels}

    def _look(self, book: Records) -> None:
        """Read what was written since."""
        for record in book.filed(self._seen):
            self._box.add(record)
            self._seen = record.seq

    def _catch_up(self, book: Records) -> None:
        """Bring the head of the journal up to what was written without it."""
        if self._behind:
            self._behind = False
            book.catch_up()

    def _empty(self, book: Records, channel: Channel, stop: Callable[[], bool]) -> None:
        """Deliver what is due on one channel, until nothing is, or the channel is away."""
        tried: set[str] = set()
        while groups := self._next(channel, tried):
            for posts in groups:
                if stop() or self._box.line(channel.name).next_s > _now_s():
                    return
                tried |= {post.id for post in posts}
                self._deliver(book, channel, posts)
                self._look(book)

    def _next(self, channel: Channel, tried: set[str]) -> list[Sequence[Post]]:
        """What is due and was not tried in this round, each group in one message."""
        now_s = _now_s()
        due = [post for post in self._box.due(channel.name, self.rule, now_s) if post.id not in tried]
        if not channel.gather_s:
            return [(post,) for post in due]
        together = gathered(due, self._box.line(channel.name), gather_s=channel.gather_s, now_s=now_s)
        return [together] if together else []

    def _when(self, channel: Channel, now_s: int) -> int | None:
        due = self._box.due(channel.name, self.rule, now_s)
        if due and channel.gather_s:
            return ready_s(due, self._box.line(channel.name), gather_s=channel.gather_s)
        return self._box.next_s(channel.name, self.rule, now_s)

    def _is_quiet(self, book: Records, channel: Channel) -> bool:
        """Whether a channel that groups was told nothing for a while, so that one more message is not one too many."""
        for record in book.notes(SENT):
            if record.op is not None and record.data.get("channel") == channel.name:
                self._box.line(channel.name).sent_s = max(self._box.line(channel.name).sent_s, seconds_of(record.at))
        return _now_s() >= self._box.line(channel.name).sent_s + channel.gather_s

    def _deliver(self, book: Records, channel: Channel, posts: Sequence[Post], *, again: bool = False) -> list[str]:
        """Claim, send, write down. Returns what went wrong."""
        letters = [letter for post in posts if (letter := self._claim(book, channel, post, again=again))]
        if not letters:
            return []
        with span(SpanName.NOTIFY, op=letters[0].post.op, channel=channel.name) as here:
            for other in {letter.post.op for letter in letters[1:]}:
                here.link(ids_of(other).trace, ids_of(other).root)
            try:
                answer = channel.send(letters, self._pause)
            except Exception as error:  # noqa: BLE001 - what one message does must not keep others back; its text may hold a secret
                answer = NotSent(f"{channel.where}: {type(error).__name__}", 1)
            here.set(outcome="sent" if isinstance(answer, Sent) else "failed")
        return [text for letter in letters for text in self._write_down(book, channel, letter, answer)]

    def _claim(self, book: Records, channel: Channel, post: Post, *, again: bool) -> Letter | None:
        """Say in the journal that we are at it, unless somebody else is, or was."""
        found: list[Letter] = []

        def judge(operation: Operation, records: Sequence[Record], now_s: float) -> Sequence[Entry]:
            found.clear()
            box = _box_of(records)
            sending, is_due = box.sending(post, channel.name), post in box.due(channel.name, self.rule, int(now_s))
            if not (is_due or (again and operation.state is State.HELD)) or sending.until_s > now_s:
                return ()
            found.append(Letter(post, _then(records, post.event), sending.attempts))
            claim: dict[str, Value] = {
                "channel": channel.name,
                "message": post.id,
                "until_s": int(now_s) + channel.lease_s,
            }
            return (Entry(CLAIMED, claim, post.op),)

        book.decide(post.op, judge)
        return found[0] if found else None

    def _write_down(self, book: Records, channel: Channel, letter: Letter, answer: Sent | NotSent) -> list[str]:
        post = letter.post
        about: dict[str, Value] = {"channel": channel.name, "hook": channel.where, "message": post.id}
        if isinstance(answer, Sent):
            step = SENT
            self.delivered["sent"] += 1
            about |= {"tries": answer.tries, "status": answer.status}
            trouble = []
        else:
            step = FAILED
            self.delivered["failed"] += 1
            about |= self._in_vain(channel, letter, answer)
            trouble = [f"{post.op} {_HAPPENED[post.event]}, and its {_kind(channel)} was not told: {answer.why}"]
        try:
            book.write_all([Entry(step, about, post.op)])
            self._behind = True
        except Failure as failure:
            trouble.append(f"what became of the {_kind(channel)} of {post.op} is not in the journal: {failure}")
        for text in trouble:
            self._say(text)
        return trouble

    def _in_vain(self, channel: Channel, letter: Letter, answer: NotSent) -> dict[str, Value]:
        """What the journal says of an attempt in vain: among others, when the next one is."""
        now_s, failures = _now_s(), self._box.line(channel.name).failures
        found: dict[str, Value] = {"tries": answer.tries, "why": answer.why}
        found["next_s"] = now_s + max(answer.again_s, pause_s(1 + letter.attempts, secrets.randbits(32)))
        if answer.away:
            pause = pause_s(1 + failures, secrets.randbits(32), most_s=AWAY_S)
            found["away_s"] = now_s + max(answer.again_s, pause)
        if answer.status == _GONE:
            found["last"] = True
        return found

    def _give_up(self, book: Records, channel: Channel, post: Post) -> None:
        given: list[int] = []

        def judge(_: Operation, records: Sequence[Record], now_s: float) -> Sequence[Entry]:
            given.clear()
            sending = _box_of(records).sending(post, channel.name)
            if sending.sent or sending.given_up or sending.until_s > now_s:
                return ()
            given.append(sending.attempts)
            about: dict[str, Value] = {"channel": channel.name, "hook": channel.where, "message": post.id}
            return (Entry(GIVEN_UP, {**about, "attempts": sending.attempts}, post.op),)

        book.decide(post.op, judge)
        for attempts in given:
            self.delivered["given_up"] += 1
            self._say(
                f"{post.op} {_HAPPENED[post.event]}, and nobody was told: {channel.where} is given up after"
                f" {attempts} attempts; tell people, and see `go-cache-safeguard ops show {post.op}`"
            )


def lease_s(timeout_s: int) -> int:
    """Longer than all attempts of one delivery may take together, with their pauses."""
    return TRIES * 4 * timeout_s + 10


def _box_of(records: Sequence[Record] | Iterator[Record]) -> Outbox:
    box = Outbox()
    for record in records:
        box.add(record)
    return box


def _then(records: Sequence[Record], event: Event) -> Operation:
    """The operation as it was when something happened to it."""
    found: Operation | None = None
    for record in records:
        if record.state is None or record.op is None:
            continue
        found = follow(found, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data)
        if (event is Event.HELD and record.state is State.HELD) or event_of(record) is event:
            break
    assert found is not None  # noqa: S101 - it was there when it was claimed
    return found


def _kind(channel: Channel) -> str:
    return channel.name.partition("-")[0]


def _now_s() -> int:
    return int(time.time())
