"""What still has to be told, to whom and when: folded from the journal, which is the only queue.

Knows:     which steps of an operation are worth a message, what the notes say of messages on their way, and when to try again.
Called by: `flows.outbox` asks it; `approval.tally` counts with the same words.
Never:     reads a clock; keeps anything that is not in the journal: whoever folds it again gets the same answer.
Source:    Standard Webhooks 1.0.0, "Deliverability and reliability": several attempts over hours or days, exponential back-off with
           jitter, 410 means that nobody wants it any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.record import Record

CLAIMED = "hook-claimed"
"""The note before an attempt: nobody else tries until `until_s`."""
SENT = "hook-sent"
"""The note about a message that arrived."""
FAILED = "hook-failed"
"""The note about an attempt in vain; the operation is as it was. The next one is due at `next_s`; nothing else is tried on the
channel before `away_s`, if it seems to be away."""
GIVEN_UP = "hook-given-up"
"""The note about a message that is tried no more."""
HOOK = "hook"
"""The channel that notes of older versions are about, which do not say it."""

AWAY_S = 300
"""A channel that is away is asked again after so long at the latest, about one message."""

_FIRST_S, _LONGEST_S = 30, 4 * 3600
_DECIDED = {
    State.APPROVED: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
}


class About(StrEnum):
    """What messages are about."""

    HELD = "held"
    EMERGENCIES = "emergencies"
    ALL = "all"


class Event(StrEnum):
    """What happened to an operation."""

    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    EMERGENCY = "break-glass"


@dataclass(frozen=True, slots=True)
class Post:
    """One thing to tell.

    Attributes:
        op: The operation.
        event: What happened.
        since_s: When, seconds since 1970-01-01 UTC.
    """

    op: str
    event: Event
    since_s: int

    @property
    def id(self) -> str:
        """The name of its message, the same in every attempt and for every channel."""
        return f"{self.op}_{self.event}"


@dataclass(slots=True)
class Sending:
    """How far one message has come on one channel.

    Attributes:
        sent: It arrived at least once.
        given_up: It is tried no more.
        attempts: How often it was tried in vain.
        next_s: Not before then.
        until_s: Somebody is at it until then.
        last: Nobody wants it; there is no next attempt.
    """

    sent: bool = False
    given_up: bool = False
    attempts: int = 0
    next_s: int = 0
    until_s: int = 0
    last: bool = False


@dataclass(slots=True)
class Line:
    """What is known of a whole channel.

    Attributes:
        failures: Attempts in vain since the last that did not fail because of the channel.
        next_s: Nothing is tried before then.
        sent_s: When something arrived last; 0 if nothing did.
    """

    failures: int = 0
    next_s: int = 0
    sent_s: int = 0


@dataclass(slots=True)
class _Story:
    """One operation that was held."""

    posts: list[Post]
    held: bool = True
    expires_s: int = 0
    sendings: dict[tuple[str, str], Sending] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is told, and for how long it is tried.

    Attributes:
        about: What messages are about.
        give_up_s: After so long a message is given up.
    """

    about: About
    give_up_s: int


class Outbox:
    """The records so far, seen as messages."""

    def __init__(self) -> None:
        self._stories: dict[str, _Story] = {}
        self._lines: dict[str, Line] = {}

    def add(self, record: Record) -> None:
        """Fold one record, in the journal's order."""
        if record.op is None:
            return
        if record.state is None:
            self._note(record)
        elif record.state is State.HELD:
            post = Post(record.op, Event.HELD, seconds_of(record.at))
            self._stories[record.op] = _Story([post], expires_s=_number(record.data.get("expires_s")))
        elif (story := self._stories.get(record.op)) is not None:
            story.held = False
            if (event := event_of(record)) is not None:
                story.posts.append(Post(record.op, event, seconds_of(record.at)))

    def line(self, channel: str) -> Line:
        """What is known of a channel."""
        return self._lines.setdefault(channel, Line())

    def posts(self, op: str) -> Sequence[Post]:
        """All that has happened to an operation that was held; the first is that it was."""
        story = self._stories.get(op)
        return () if story is None else tuple(story.posts)

    def sending(self, post: Post, channel: str) -> Sending:
        """How far a message has come."""
        story = self._stories.get(post.op)
        return Sending() if story is None else story.sendings.get((channel, post.id), Sending())

    def waiting(self, channel: str, rule: Rule, now_s: int) -> list[Post]:
        """All that a channel has not been told and is to be told, now or later: first what was tried least.

        Args:
            channel: Its name in the journal.
            rule: What is told.
            now_s: Seconds since 1970-01-01 UTC.
        """
        found = [post for story in self._stories.values() for post in self._wanted(story, channel, rule, now_s)]
        return sorted(found, key=lambda post: (self.sending(post, channel).attempts, post.since_s, post.id))

    def due(self, channel: str, rule: Rule, now_s: int) -> list[Post]:
        """What may be sent now: nobody is at it, and its time has come. What has lapsed is not among it."""
        if self.line(channel).next_s > now_s:
            return []
        return [post for post in self.waiting(channel, rule, now_s) if self._is_due(post, channel, rule, now_s)]

    def lapsed(self, channel: str, rule: Rule, now_s: int) -> list[Post]:
        """What is to be given up: it was tried, or could not be, for as long as the rule says."""
        return [post for post in self.waiting(channel, rule, now_s) if self._has_lapsed(post, channel, rule, now_s)]

    def next_s(self, channel: str, rule: Rule, now_s: int) -> int | None:
        """When there may be something to do again; None if nothing waits."""
        whole = self.line(channel).next_s
        times = [
            max(whole, sending.next_s, sending.until_s)
            for sending in (self.sending(post, channel) for post in self.waiting(channel, rule, now_s))
        ]
        return min(times, default=None)

    def forget(self, rule: Rule, now_s: int) -> None:
        """Let go of operations of which nothing will be told any more."""
        old = [
            op
            for op, story in self._stories.items()
            if not story.held and max(post.since_s for post in story.posts) + 2 * rule.give_up_s < now_s
        ]
        for op in old:
            del self._stories[op]

    def _note(self, record: Record) -> None:
        story = self._stories.get(record.op or "")
        if story is None or record.step not in {CLAIMED, SENT, FAILED, GIVEN_UP}:
            return
        channel, at_s = str(record.data.get("channel", HOOK)), seconds_of(record.at)
        sending = story.sendings.setdefault((channel, str(record.data.get("message", ""))), Sending())
        line = self.line(channel)
        match record.step:
            case "hook-claimed":
                sending.until_s = _number(record.data.get("until_s"))
            case "hook-sent":
                sending.sent, sending.until_s = True, 0
                line.failures, line.next_s, line.sent_s = 0, 0, max(line.sent_s, at_s)
            case "hook-failed":
                _failed(sending, line, record)
            case _:
                sending.given_up = True

    def _wanted(self, story: _Story, channel: str, rule: Rule, now_s: int) -> list[Post]:
        """What of one operation is neither told nor given up. Who was not told of a hold is not told how it ended."""
        told = story.sendings.get((channel, story.posts[0].id), Sending()).sent
        found = []
        for post in story.posts:
            sending = story.sendings.get((channel, post.id), Sending())
            if sending.sent or sending.given_up:
                continue
            if post.event is Event.HELD:
                wanted = story.held and not (story.expires_s and now_s >= story.expires_s)
            elif post.event is Event.EMERGENCY:
                wanted = rule.about is not About.HELD
            else:
                wanted = rule.about is About.ALL and told
            if wanted:
                found.append(post)
        return found

    def _is_due(self, post: Post, channel: str, rule: Rule, now_s: int) -> bool:
        sending = self.sending(post, channel)
        return max(sending.next_s, sending.until_s) <= now_s and not self._has_lapsed(post, channel, rule, now_s)

    def _has_lapsed(self, post: Post, channel: str, rule: Rule, now_s: int) -> bool:
        sending = self.sending(post, channel)
        if sending.until_s > now_s:
            return False
        tried = sending.attempts or self.line(channel).failures
        return sending.last or bool(tried and now_s - post.since_s >= rule.give_up_s)


def event_of(record: Record) -> Event | None:
    """What a move of an operation that was held means to people; None if nothing."""
    if record.state is State.APPROVED and record.data.get("emergency"):
        return Event.EMERGENCY
    return None if record.state not in _DECIDED else Event(_DECIDED[record.state])


def pause_s(failures: int, chance: int, *, most_s: int = _LONGEST_S) -> int:
    """How long to wait after an attempt in vain: twice as long each time, up to hours, and never quite as long as others do.

    Args:
        failures: How many there were, this one included; 1 or more.
        chance: A random number.
        most_s: Never longer.
    """
    longest = min(most_s, _FIRST_S << min(failures - 1, 20))
    return longest // 2 + chance % (longest // 2 + 1)


def gathered(posts: Sequence[Post], line: Line, *, gather_s: int, now_s: int) -> Sequence[Post]:
    """What goes into one message of a channel that groups: all, once the first has waited long enough for others; else nothing.

    Args:
        posts: What is due.
        line: The channel.
        gather_s: What is held within this time is one message, and two messages are never nearer.
        now_s: Seconds since 1970-01-01 UTC.
    """
    if not posts or now_s < ready_s(posts, line, gather_s=gather_s):
        return ()
    return posts


def ready_s(posts: Sequence[Post], line: Line, *, gather_s: int) -> int:
    """When the message about all of these goes. An emergency does not wait for others."""
    urgent = any(post.event is Event.EMERGENCY for post in posts)
    first = min(post.since_s for post in posts) + (0 if urgent else gather_s)
    return max(first, line.sent_s + gather_s if line.sent_s and not urgent else 0)


def seconds_of(at: str) -> int:
    """The time of a record, seconds since 1970-01-01 UTC."""
    return int(datetime.fromisoformat(at).timestamp())


def _failed(sending: Sending, line: Line, record: Record) -> None:
    sending.attempts += 1
    sending.until_s = 0
    sending.next_s = _number(record.data.get("next_s"))
    sending.last = bool(record.data.get("last"))
    if away_s := _number(record.data.get("away_s")):
        line.failures += 1
        line.next_s = away_s


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
