"""Chats that are told of operations: Slack, and whatever Apprise knows.

Knows:     which settings name them, and that what is held at about the same time is one message.
Called by: `flows.hooks` for messages; `web.slack` asks for digits and answers clicks.
Never:     decides; shows a URL or a token, which are secrets, to a log, to the journal or to a child.
Source:    Slack, "Sending messages using incoming webhooks" and "Rate limits" (about one message a second; 429 with Retry-After).
           Apprise's wiki, "Development API": `Apprise.add` and `notify`, false if something went wrong.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from go_cache_safeguard.approval import chat
from go_cache_safeguard.approval.chat import Buttons, Click, Told
from go_cache_safeguard.approval.notify import NotSent, Sent, post
from go_cache_safeguard.approval.outbox import Event
from go_cache_safeguard.approval.webhook import Secret, Target, deciders
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.outbox import Channel, Letter, Pause, lease_s
from go_cache_safeguard.flows.page_links import page_of, pages_at
from go_cache_safeguard.flows.private_file import secret_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.slack_hook import slack_hook, slack_target

_APPRISE_LEASE_S = 180
_TRIGGER_S = 2.5
"""A question must be asked within three seconds of the click."""
_ANSWER_BYTES = 4096
_FILE_BYTES = 64 << 10
_LISTED = 20
_WORDS = {
    Event.HELD: "waits for people",
    Event.EMERGENCY: "went on in an emergency",
    Event.APPROVED: "was approved",
    Event.REJECTED: "was rejected",
    Event.EXPIRED: "has expired",
    Event.CANCELLED: "was cancelled",
}


@dataclass(frozen=True, slots=True, repr=False)
class Slack:
    """An incoming webhook of Slack.

    Attributes:
        target: Where messages go; its path is a secret.
        buttons: What there is beside the link.
        pages: Where people decide in a browser.
        timeout_s: How long connecting, the handshake and the answer may each take.
        gather_s: See `Channel`.
    """

    target: Target
    buttons: Buttons
    pages: str
    timeout_s: int
    gather_s: int

    @property
    def name(self) -> str:
        """See `Channel`."""
        return "slack"

    @property
    def where(self) -> str:
        """See `Channel`."""
        return self.target.name

    @property
    def lease_s(self) -> int:
        """See `Channel`."""
        return lease_s(self.timeout_s)

    def send(self, letters: Sequence[Letter], pause: Pause) -> Sent | NotSent:
        """See `Channel`."""
        told = [Told(one.post, one.operation, page_of(self.pages, one.operation.id)) for one in letters]
        body = chat.message(told, buttons=self.buttons, inbox=self.pages and f"{self.pages}/")
        return post(self.target, body, timeout_s=self.timeout_s, pause=pause)


@dataclass(frozen=True, slots=True, repr=False)
class Apprised:
    """One URL of Apprise.

    Attributes:
        url: A secret.
        number: Its line, from 1 on.
        pages: Where people decide in a browser.
        gather_s: See `Channel`.
    """

    url: str
    number: int
    pages: str
    gather_s: int

    @property
    def name(self) -> str:
        """See `Channel`."""
        return f"apprise-{self.number}"

    @property
    def where(self) -> str:
        """See `Channel`."""
        return f"{self.url.partition('://')[0]} of line {self.number}"

    @property
    def lease_s(self) -> int:
        """See `Channel`."""
        return _APPRISE_LEASE_S

    def send(self, letters: Sequence[Letter], pause: Pause) -> Sent | NotSent:
        """See `Channel`."""
        import apprise  # noqa: PLC0415 - large, and wanted by few

        del pause
        log = logging.getLogger("apprise")
        log.propagate, log.disabled = False, True  # it names URLs
        box = apprise.Apprise()
        if not box.add(self.url):
            return NotSent(f"{self.where} is no URL that Apprise knows", 0, 400)
        title, body = _in_words(letters, self.pages)
        if box.notify(body=body, title=title):
            return Sent(200, 1)
        return NotSent(f"{self.where} did not take it", 1)


def chats_of(session: Session, tenant: str = "") -> list[Channel]:
    """The chats that the settings name; messages link to the pages of a tenant.

    Raises:
        ConfigBad: One of them cannot be used.
    """
    config = session.config
    found: list[Channel] = []
    if config.text("approval.slack_file"):
        found.append(_slack(config, pages_at(config, tenant)))
    if config.text("approval.apprise_file"):
        found += _apprised(config, pages_at(config, tenant))
    return found


def signing_secret(config: Config) -> Secret | None:
    """With which Slack signs clicks; None if there is none, and so no click counts.

    Raises:
        ConfigBad: The file cannot be used.
    """
    key = secret_in(config, "approval.slack_secret_file").strip().encode()
    return Secret(key) if key else None


def ask_for_digits(config: Config, click: Click, operation: Operation) -> str:
    """Have Slack ask the person who clicked for the first digits of the plan's digest.

    Returns:
        Why that could not be done; empty if it was.
    """
    token = secret_in(config, "approval.slack_token_file").strip()
    if not token:
        return "there is no bot token (approval.slack_token_file)"
    target = slack_target(config, f"{config.text('approval.slack_api').rstrip('/')}/views.open", "approval.slack_api")
    answer = post(
        target,
        chat.question(click, operation),
        lambda: {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"},
        timeout_s=_TRIGGER_S,
        pause=lambda _: True,
        read=_ANSWER_BYTES,
    )
    if isinstance(answer, NotSent):
        return answer.why
    try:
        said = json.loads(answer.body)
        return "" if said["ok"] is True else f"Slack says {str(said.get('error', ''))[:100]!r}"
    except (ValueError, KeyError, TypeError):
        return "Slack answered what cannot be understood"


def answer_click(config: Config, click: Click, text: str) -> None:
    """Tell only the person who clicked. Nothing is raised: who is not told looks at the page."""
    try:
        target = slack_target(config, click.answer_at, "response_url")
    except ConfigBad:
        return
    post(target, chat.reply(text), timeout_s=_TRIGGER_S, pause=lambda _: True)


def _slack(config: Config, pages: str) -> Slack:
    target = slack_hook(config)
    buttons = Buttons(config.choice("approval.slack_buttons"))
    timeout_s, gather_s = config.seconds("approval.hook_timeout"), config.seconds("approval.chat_group")
    return Slack(target, buttons, pages, timeout_s, gather_s)


def _apprised(config: Config, pages: str) -> list[Apprised]:
    if find_spec("apprise") is None:
        raise ConfigBad("approval.apprise_file needs Apprise", hint="pip install 'go-cache-safeguard[server]'")
    lines = secret_in(config, "approval.apprise_file", most=_FILE_BYTES).splitlines()
    urls = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"]
    if bad := [number for number, url in urls if "://" not in url]:
        raise ConfigBad(f"line {bad[0]} of approval.apprise_file is no URL")
    return [Apprised(url, number, pages, config.seconds("approval.chat_group")) for number, url in urls]


def _in_words(letters: Sequence[Letter], pages: str) -> tuple[str, str]:
    """A title and a text."""
    lines = [_line(one, pages) for one in letters[:_LISTED]]
    if len(letters) > _LISTED:
        lines.append(f"and {len(letters) - _LISTED} more")
    title = f"{letters[0].operation.id} {_WORDS[letters[0].post.event]}"
    if len(letters) > 1:
        title = f"{len(letters)} operations: go-cache-safeguard"
    return title, "\n\n".join([*lines, "go-cache-safeguard ops list"])


def _line(letter: Letter, pages: str) -> str:
    operation = letter.operation
    data = operation.data
    parts = [
        f"{operation.id} {_WORDS[letter.post.event]}: {format_size(int(data.get('bytes', 0)))} of {data.get('target', '')}",
        f"asked by {operation.requester}",
        "; ".join(str(one) for one in list(data.get("reasons", ()))[:3]),
        ", ".join(deciders(operation)),
        page_of(pages, operation.id) or f"go-cache-safeguard ops show {operation.id}",
    ]
    return "\n".join(part for part in parts if part)
