"""The message that tells somebody elsewhere of an operation, its signature, and where it may be sent.

Knows:     what stands in the message, how it is signed, and which addresses a hook may have.
Called by: `flows.hooks` makes messages with it, `approval.notify` sends them.
Never:     puts a value, a word of a command or a token into a message; shows a secret in a `repr`; takes an answer for an approval.
Source:    Standard Webhooks 1.0.0 (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is
           `v1,` and base64 of HMAC-SHA256 over id, timestamp and body joined by dots; an id has no dot; secrets of 24 to 64 bytes,
           written as `whsec_` and base64; five minutes of tolerance. RFC 6052, 3056 and 4380: IPv6 addresses that hold an IPv4 one.
"""

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from go_cache_safeguard.approval.eyes import Allowed, Answer, Denied
from go_cache_safeguard.approval.outbox import Event
from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation

SCHEMA = "go-cache-safeguard/hook/1"
TOLERANCE_S = 300
"""How old, or how far ahead, a message may be that is believed."""
BODY_BYTES = 64 << 10
"""A message is never larger."""

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
_REASONS, _CHARS = 10, 300
_HOST = re.compile(r"[0-9a-z]([0-9a-z.-]{0,251}[0-9a-z])?|[0-9a-f:.]{2,45}", re.ASCII)
_PATH = re.compile(r"/[!-~]*", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What messages are signed with, wrapped so that logs and tracebacks do not show it.

    Attributes:
        key: 24 to 64 bytes.
    """

    key: bytes

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where messages go.

    Attributes:
        tls: Whether it is https.
        host: Lower case, an IPv6 address without brackets.
        port: 1 to 65535.
        path: With the query; begins with a slash. It may itself be a secret, so it is not written down anywhere.
        listed: Whether the site names the host as allowed.
        inside: Whether plain http may go to addresses that are not public: nothing secret is sent there.
    """

    tls: bool
    host: str
    port: int
    path: str
    listed: bool
    inside: bool = False

    def __repr__(self) -> str:
        return f"Target({self.name})"

    @property
    def name(self) -> str:
        """For people: without the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """What stands in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, the same in every attempt to send it.

    Attributes:
        id: By which a receiver knows that it has it already: the operation and its state.
        body: Canonical JSON.
    """

    id: str
    body: bytes


def parse_secret(text: str) -> Secret | None:
    """Read a secret: `whsec_` and base64, or the bytes themselves; None if it is not one. Space around it is forgiven."""
    bare = text.strip()
    try:
        key = b64decode(bare.removeprefix(_PREFIX), validate=True) if bare.startswith(_PREFIX) else bare.encode("ascii")
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
    return Secret(key) if _LEAST <= len(key) <= _MOST else None


def parse_target(url: str, allow: tuple[str, ...]) -> Target | Denied:
    """Read where messages are to go, and say whether the site allows it.

    Args:
        url: As a person wrote it.
        allow: Hosts, or host:port, that the site allows; empty for every host at a public address, over https.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Denied("it is not a URL")
    host = (parts.hostname or "").lower()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in {"https", "http"} or not _HOST.fullmatch(host) or not _PATH.fullmatch(path) or port == 0:
        return Denied("it is not an https URL")
    if parts.username is not None or parts.password is not None or parts.fragment or "#" in url:
        return Denied("a user, a password or a fragment has no place in it")
    tls = parts.scheme == "https"
    target = Target(tls, host, port or (443 if tls else 80), path, listed=False)
    listed = bool({host, f"{host}:{target.port}", target.authority} & {one.lower() for one in allow})
    if allow and not listed:
        return Denied(f"{host} is not among the hosts of approval.hook_allow")
    if not tls and not listed:
        return Denied("it is not https; plain http is for hosts of the loopback in approval.hook_allow")
    return Target(tls, target.host, target.port, path, listed)


def judge_address(target: Target, address: str) -> Answer:
    """Judge one address that a target's name stands for, before anything is connected to it.

    Args:
        target: What was asked for.
        address: What the resolver said.
    """
    try:
        bare = _inner(ip_address(address))
    except ValueError:
        return Denied(f"{target.host} stands for {address}, which is no address")
    if bare.is_link_local or bare.is_multicast or bare.is_unspecified or (bare.is_reserved and not bare.is_loopback):
        return Denied(f"{target.host} stands for {address}, to which no hook goes")
    if not target.tls and not (bare.is_loopback or (target.inside and not bare.is_global)):
        return Denied(f"{target.host} stands for {address}; without TLS a hook goes to the loopback only")
    if not bare.is_global and not target.listed:
        return Denied(
            f"{target.host} stands for {address}, which is not public; approval.hook_allow may allow the host"
        )
    return Allowed()


def message_of(
    operation: Operation, *, event: Event = Event.HELD, execute: str = "", page: str = "", here: bool = True
) -> Message:
    """Write what is told of an operation.

    Args:
        operation: As it was when that happened: the same in every attempt.
        event: What happened.
        execute: The command that carries it out once it is approved; empty if none does.
        page: Where people decide in a browser; empty if nowhere.
        here: Whether an approval on this machine counts; else people decide at a server.
    """
    data = operation.data
    by = {key: _short(str(data[key])) for key in ("command", "client", "user") if "call" in data and data.get(key)}
    value: dict[str, Value] = {
        "schema": SCHEMA,
        "type": f"operation.{event}",
        "timestamp": operation.last_at,
        "data": {
            "op": operation.id,
            "state": str(operation.state),
            "kind": _short(str(data.get("kind", ""))),
            "target": _short(str(data.get("target", ""))),
            "requester": _short(operation.requester),
            "digest": str(data.get("digest", "")),
            "items": int(data.get("items", 0)),
            "bytes": int(data.get("bytes", 0)),
            "whole_bytes": int(data.get("whole", 0)),
            "reasons": [_short(str(one)) for one in list(data.get("reasons", ()))[:_REASONS]],
            "final": _short(str(data.get("final", ""))),
            "expires_s": int(data.get("expires_s", 0)),
            "asked": by,
            "decided_by": [_short(one) for one in deciders(operation)],
            "why": _short(str(data.get("reason" if event is Event.EMERGENCY else "why", ""))),
            "page": page,
            "show": f"go-cache-safeguard ops show {operation.id}",
            "approve": f"go-cache-safeguard ops approve {operation.id}" if here and event is Event.HELD else "",
            "execute": execute if event in {Event.HELD, Event.APPROVED, Event.EMERGENCY} else "",
        },
    }
    return Message(f"{operation.id}_{event}", canonical(value))


def deciders(operation: Operation) -> tuple[str, ...]:
    """Principals of those who have decided; empty if nobody has, or time alone did."""
    data = operation.data
    if State.APPROVED in operation.states and operation.state is not State.CANCELLED:
        some = data.get("approvers")
        return tuple(str(one) for one in some) if isinstance(some, list) else (str(data.get("approver", "")),)
    named = data.get("rejected_by") or data.get("cancelled_by")
    return (str(named),) if named else ()


def headers(secret: Secret, message: Message, *, now_s: int) -> dict[str, str]:
    """The three headers of one attempt.

    Args:
        secret: What to sign with.
        message: What is sent.
        now_s: Seconds since 1970-01-01 UTC.
    """
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign(secret, message.id, now_s, message.body),
    }


def sign(secret: Secret, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Sign one attempt: `v1,` and base64."""
    signed = f"{message_id}.{timestamp_s}.".encode("ascii") + body
    return "v1," + b64encode(hmac.digest(secret.key, signed, sha256)).decode("ascii")


def verify(secret: Secret, given: Mapping[str, str], body: bytes, *, now_s: int) -> Answer:
    """Judge a message as a receiver has to. Whether the id came before, only the receiver knows.

    Args:
        secret: What both sides know.
        given: Headers, with names in lower case.
        body: As it came.
        now_s: Seconds since 1970-01-01 UTC.
    """
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not message_id.isascii() or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        return Denied("it has no id or no time")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        return Denied("it is too old, or of a time to come")
    wanted = sign(secret, message_id, int(stamp), body).encode()
    signatures = given.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(one.encode("utf-8", "replace"), wanted) for one in signatures):
        return Denied("it is not signed with this secret")
    return Allowed()


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for; otherwise the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def _short(text: str) -> str:
    return text if len(text) <= _CHARS else f"{text[:_CHARS]}..."
