"""What Slack is told of operations and checkpoints, and which of its clicks count.

Knows:     the blocks of a message, how Slack signs what it sends, and what a click or a typed answer says.
Called by: `flows.chat` and `flows.witness_chat` send messages, `web.slack` takes clicks.
Never:     decides: who may approve what is the desk's to say; puts values, tokens or whole digests where clicks come from; believes
           what a click says of its user before its signature was judged.
Source:    Slack, "Verifying requests from Slack" (v0, HMAC-SHA256 over version, timestamp and body, five minutes), "Reference: blocks"
           (50 blocks, 3000 characters of a text, 150 of a header, 255 of an action id, 2000 of a value; `&`, `<` and `>` are escaped),
           "Handling user interaction" (`payload`, `block_actions`, `view_submission`, answers within three seconds).
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from go_cache_safeguard.approval.eyes import Allowed, Answer, Denied
from go_cache_safeguard.approval.outbox import Event, Post
from go_cache_safeguard.approval.webhook import Secret, deciders
from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.core.operation import Operation, is_operation_id
from go_cache_safeguard.core.size import format_size

TOLERANCE_S = 300
"""How old, or how far ahead, a click may be that is believed."""
LISTED = 20
"""So many operations of one message are named; more are counted."""

_TEXT, _HEADER, _SHORT = 2900, 150, 200
_ID = re.compile(r"[A-Z0-9]{2,32}", re.ASCII)
_WORDS = {
    Event.HELD: "waits for people",
    Event.EMERGENCY: "went on in an emergency",
    Event.APPROVED: "was approved",
    Event.REJECTED: "was rejected",
    Event.EXPIRED: "has expired",
    Event.CANCELLED: "was cancelled",
}


class Buttons(StrEnum):
    """Which buttons a message has beside the link."""

    NONE = "none"
    REJECT = "reject"
    DECIDE = "decide"


class Act(StrEnum):
    """What a click wants."""

    LOOK = "look"
    REJECT = "reject"
    ASK = "ask"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell.

    Attributes:
        post: What happened.
        operation: As it was then.
        page: Where people decide in a browser; empty if nowhere.
    """

    post: Post
    operation: Operation
    page: str


@dataclass(frozen=True, slots=True)
class Click:
    """What somebody did in Slack, once its signature was judged.

    Attributes:
        act: What they want.
        op: The operation.
        user: Who: `slack:TEAM/USER`, as an administrator links it to a person.
        typed: The digits, of `APPROVE`.
        trigger: With which a question can be asked, of `ASK`.
        answer_at: Where Slack wants an answer to be put; empty if nowhere.
    """

    act: Act
    op: str
    user: str
    typed: str = ""
    trigger: str = ""
    answer_at: str = ""


def message(told: Sequence[Told], *, buttons: Buttons, inbox: str = "") -> bytes:
    """One message about all of these, as an incoming webhook takes it.

    Args:
        told: One or more.
        buttons: What there is beside the link.
        inbox: Where all that waits is seen in a browser; empty if nowhere.
    """
    if len(told) == 1:
        head, blocks = _headline(told[0]), _blocks(told[0], buttons)
    else:
        head, blocks = _headline_of(told), _listed(told, inbox)
    header: Value = {"type": "header", "text": {"type": "plain_text", "text": head[:_HEADER]}}
    return canonical({"text": _plain(head), "blocks": [header, *blocks]})


def verbatim(head: str, lines: str) -> bytes:
    """A message with lines that come out as they went in when somebody copies them: no markup, no links, no other quotes.

    Args:
        head: One clause for a person.
        lines: Without backticks; Slack refuses more than 3000 characters.
    """
    shown = _plain(lines.strip("\n"))
    block: Value = {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": f"```\n{shown}\n```"}}
    return canonical({"text": _plain(head), "blocks": [_section(_plain(head)), block]})


def question(click: Click, operation: Operation) -> bytes:
    """The modal that asks for the first digits of a plan's digest, as `views.open` takes it.

    Args:
        click: An `ASK`.
        operation: Held.
    """
    about = f"{_plain(operation.id)} removes {_size(operation)} of {_plain(_short(_text(operation, 'target')))}."
    how = f"Look at its plan first: `go-cache-safeguard ops show {operation.id}`, or its page. Then type the first 8 digits of the digest."
    entry: Value = {
        "type": "input",
        "block_id": "digest",
        "label": {"type": "plain_text", "text": "First digits of the plan's digest"},
        "element": {"type": "plain_text_input", "action_id": "typed", "min_length": 8, "max_length": 64},
    }
    view: Value = {
        "type": "modal",
        "callback_id": str(Act.APPROVE),
        "private_metadata": operation.id,
        "title": {"type": "plain_text", "text": "Approve an operation"},
        "submit": {"type": "plain_text", "text": "Approve"},
        "close": {"type": "plain_text", "text": "Leave it"},
        "blocks": [_section(f"{about}\n{how}"), entry],
    }
    return canonical({"trigger_id": click.trigger, "view": view})


def outcome(text: str, *, wrong: bool) -> bytes:
    """What the modal says to what was typed."""
    if wrong:
        return canonical({"response_action": "errors", "errors": {"digest": _short(text)}})
    view: Value = {
        "type": "modal",
        "title": {"type": "plain_text", "text": "Approve an operation"},
        "close": {"type": "plain_text", "text": "Close"},
        "blocks": [_section(_plain(text))],
    }
    return canonical({"response_action": "update", "view": view})


def reply(text: str) -> bytes:
    """What only the person who clicked sees."""
    return canonical({"response_type": "ephemeral", "replace_original": False, "text": _plain(_short(text))})


def sign(secret: Secret, timestamp_s: int, body: bytes) -> str:
    """As Slack signs what it sends."""
    signed = b"v0:%d:" % timestamp_s + body
    return "v0=" + hmac.digest(secret.key, signed, sha256).hex()


def verify(secret: Secret, given: Mapping[str, str], body: bytes, *, now_s: int) -> Answer:
    """Judge whether Slack sent this, and lately. Whether it came before, only who keeps them knows.

    Args:
        secret: The app's signing secret.
        given: Headers, with names in lower case.
        body: As it came.
        now_s: Seconds since 1970-01-01 UTC.
    """
    stamp = given.get("x-slack-request-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        return Denied("it has no time")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        return Denied("it is too old, or of a time to come")
    wanted = sign(secret, int(stamp), body).encode()
    if not hmac.compare_digest(given.get("x-slack-signature", "").encode("utf-8", "replace"), wanted):
        return Denied("it is not signed with this secret")
    return Allowed()


def parse_click(body: bytes) -> Click | Denied:
    """Read what Slack sends when somebody clicks; its signature was judged before."""
    try:
        (payload,) = parse_qs(body.decode("utf-8"), strict_parsing=True, max_num_fields=8)["payload"]
        value = json.loads(payload)
        kind = value["type"]
        user = f"slack:{_id(value['user'].get('team_id') or value['team']['id'])}/{_id(value['user']['id'])}"
        if kind == "view_submission":
            view = value["view"]
            typed = view["state"]["values"]["digest"]["typed"]["value"]
            return _click(view["callback_id"], view["private_metadata"], user, typed=str(typed))
        if kind == "block_actions":
            (action,) = value["actions"]
            return _click(
                action["action_id"],
                action.get("value", ""),
                user,
                trigger=str(value.get("trigger_id", "")),
                answer_at=str(value.get("response_url", "")),
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Denied("it is not what Slack sends when somebody clicks")
    return Denied(f"nothing is done about {_short(str(kind))!r}")


def _click(act: Any, op: Any, user: str, **more: str) -> Click | Denied:
    if act == Act.LOOK:
        return Click(Act.LOOK, "", user)
    if act not in {one.value for one in Act} or not isinstance(op, str) or not is_operation_id(op):
        return Denied("it is about no operation")
    return Click(Act(act), op, user, **more)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(value)
    return value


def _headline(told: Told) -> str:
    return f"{told.operation.id} {_WORDS[told.post.event]}"


def _headline_of(told: Sequence[Told]) -> str:
    held = sum(one.post.event is Event.HELD for one in told)
    other = len(told) - held
    parts = [f"{held} operations wait for people"] if held else []
    return " and ".join([*parts, *([f"{other} were decided"] if other else [])])


def _blocks(told: Told, buttons: Buttons) -> list[Value]:
    operation, event = told.operation, told.post.event
    pairs = (
        ("Target", _text(operation, "target")),
        ("Asked by", operation.requester),
        ("Removes", f"{int(operation.data.get('items', 0)):,} items, {_size(operation)}"),
        ("No way back", _text(operation, "final")),
        ("Why", "; ".join(str(one) for one in list(operation.data.get("reasons", ()))[:3])),
        ("Decided by", ", ".join(deciders(operation))),
        ("Reason", _text(operation, "reason" if event is Event.EMERGENCY else "why")),
    )
    text = "\n".join(f"*{name}:* {_plain(_short(said))}" for name, said in pairs if said)
    blocks: list[Value] = [_section(text), _section(f"`go-cache-safeguard ops show {operation.id}`")]
    elements = _elements(told, buttons)
    return [*blocks, {"type": "actions", "elements": elements}] if elements else blocks


def _elements(told: Told, buttons: Buttons) -> list[Value]:
    found: list[Value] = []
    if told.page:
        found.append({**_button(Act.LOOK, "Look and decide"), "url": told.page})
    if told.post.event is not Event.HELD:
        return found
    if buttons is Buttons.DECIDE:
        found.append({**_button(Act.ASK, "Approve..."), "value": told.operation.id, "style": "primary"})
    if buttons is not Buttons.NONE:
        sure: Value = {
            "title": {"type": "plain_text", "text": "Reject it for ever?"},
            "text": {"type": "plain_text", "text": f"{told.operation.id} will never be done."},
            "confirm": {"type": "plain_text", "text": "Reject"},
            "deny": {"type": "plain_text", "text": "Leave it"},
        }
        found.append({**_button(Act.REJECT, "Reject"), "value": told.operation.id, "style": "danger", "confirm": sure})
    return found


def _button(act: Act, text: str) -> dict[str, Value]:
    return {"type": "button", "action_id": str(act), "text": {"type": "plain_text", "text": text}}


def _listed(told: Sequence[Told], inbox: str) -> list[Value]:
    lines = []
    for one in told[:LISTED]:
        name = f"<{one.page}|{one.operation.id}>" if one.page else f"`{one.operation.id}`"
        what = f"{_size(one.operation)} of {_short(_text(one.operation, 'target'))}, {_short(one.operation.requester)}"
        lines.append(f"• {name} {_WORDS[one.post.event]}: {_plain(what)}")
    blocks: list[Value] = [_section("\n".join(some)) for some in _portions(lines)]
    left = len(told) - LISTED
    more = [f"and {left} more"] if left > 0 else []
    where = f"<{inbox}|all that waits>" if inbox else "`go-cache-safeguard ops list`"
    return [*blocks, _section("; ".join([*more, where]))]


def _portions(lines: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if sum(len(one) + 1 for one in found[-1]) + len(line) > _TEXT:
            found.append([])
        found[-1].append(line)
    return found


def _section(text: str) -> dict[str, Value]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_TEXT]}}


def _size(operation: Operation) -> str:
    return format_size(int(operation.data.get("bytes", 0)))


def _text(operation: Operation, key: str) -> str:
    return str(operation.data.get(key, ""))


def _short(text: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _SHORT else f"{plain[:_SHORT]}..."


def _plain(text: str) -> str:
    """As Slack shows it: no markup, no mention, no link of somebody else's making."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
