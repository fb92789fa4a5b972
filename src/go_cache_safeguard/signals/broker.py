"""Where messages of gateways come from: a broker of MQTT, topics, and whose spans come by which.

Knows:     the URLs of brokers, filters of topics, and the level of a topic that names a tenant.
Called by: `flows.edge_ingest`.
Never:     takes a tenant out of a message: only the broker knows who may write to a topic.
Source:    OASIS MQTT 5.0, 4.7: `+` is one level, `#` all that follow, and stands last.
"""

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from go_cache_safeguard.core.errors import ExitCode, Failure

TENANT = "{tenant}"
"""In a filter: one level, whose text says whose spans they are."""
_NAME = re.compile(r"[\x20-\x7e]{0,128}")


class BrokerUnclear(Failure):
    """A broker or a topic that nobody can understand."""

    id = "broker-unclear"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "the URL of a broker of MQTT, or a filter of topics, cannot be understood"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker.

    Attributes:
        host: Its name.
        port: Its port.
        user: Who we are to it; empty if it does not ask.
        secure: Whether TLS is spoken.
    """

    host: str
    port: int
    user: str
    secure: bool


def parse_broker(url: str) -> Broker:
    """Read `mqtt://[USER@]HOST[:PORT]` or `mqtts://...`.

    Raises:
        BrokerUnclear: It is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise BrokerUnclear(
            "a broker is mqtt://[USER@]HOST[:PORT] or mqtts://[USER@]HOST[:PORT]", not_done="nothing was started"
        )
    if parts.password is not None:
        raise BrokerUnclear(
            "a password has no place in a URL, where others can read it",
            not_done="nothing was started",
            hint="put it in GO_CACHE_SAFEGUARD_MQTT_PASSWORD",
        )
    secure = parts.scheme == "mqtts"
    return Broker(parts.hostname, port or (8883 if secure else 1883), unquote(parts.username or ""), secure)


@dataclass(frozen=True, slots=True)
class Topics:
    """Which messages are asked for.

    Attributes:
        filter: What the broker is asked.
        level: Which level of a topic, from 0, names the tenant; None if none does.
    """

    filter: str
    level: int | None

    def tenant(self, topic: str) -> str | None:
        """Whose spans come by a topic; empty if topics do not say so, None if what they say is no name of a tenant."""
        if self.level is None:
            return ""
        levels = topic.split("/")
        name = levels[self.level] if self.level < len(levels) else ""
        return name if name and _NAME.fullmatch(name) else None


def parse_topics(text: str) -> Topics:
    """Read a filter of MQTT, in which one level may be `{tenant}`.

    Raises:
        BrokerUnclear: It is none.
    """
    levels = text.split("/")
    wrong = not text or "\0" in text or len(text.encode()) > 1024 or levels.count(TENANT) > 1 or "#" in levels[:-1]
    wrong = wrong or any(level not in {"+", "#", TENANT} and set(level) & set("+#{}") for level in levels)
    if wrong:
        raise BrokerUnclear(
            f"{text!r} is no filter of topics", not_done="nothing was started", hint="for example traces/{tenant}/+"
        )
    level = levels.index(TENANT) if TENANT in levels else None
    return Topics("/".join("+" if one == TENANT else one for one in levels), level)
