"""What every page and every call of the API is given: where things are, who asks, and what they may do.

Knows:     the table of actions with the roles and scopes that they need, and how a request is turned into a visitor.
Called by: all of `web`.
Never:     enforces what an approval needs (the desk does); changes anything; tells whether it was the password or the name.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from go_cache_safeguard.approval.voter import Channel, Role, Voter, is_one_of
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.web.numbers import Numbers
from go_cache_safeguard.web.people import ApiToken, People, Person, hashed

if TYPE_CHECKING:
    from go_cache_safeguard.flows.desk import Desk
    from go_cache_safeguard.journal.records import Records

COOKIE = "safeguard-session"
PREFIX = "gcs_"
"""What an API token begins with, so that scanners for lost secrets know one."""


class Scope(StrEnum):
    """What an API token may be used for, at most."""

    READ = "read"
    REQUEST = "request"
    APPROVE = "approve"
    AUDIT = "audit"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class May:
    """Who may do something.

    Attributes:
        roles: A person needs one of them.
        scope: With an API token, the token needs this as well.
        changes: Whether it changes anything, and so is never done by GET or HEAD.
    """

    roles: frozenset[Role]
    scope: Scope
    changes: bool = False


_ALL = frozenset(Role)
_DECIDE = frozenset({Role.APPROVER})
_ASK = frozenset({Role.REQUESTER})

MATRIX: Mapping[str, May] = {
    "inbox": May(_ALL, Scope.READ),
    "operation": May(_ALL, Scope.READ),
    "records": May(_ALL, Scope.READ),
    "evidence": May(_ALL, Scope.READ),
    "live": May(_ALL, Scope.READ),
    "journal": May(frozenset({Role.AUDITOR}), Scope.AUDIT),
    "metrics": May(_ALL, Scope.METRICS),
    "request": May(_ASK, Scope.REQUEST, changes=True),
    "cancel": May(_ASK, Scope.REQUEST, changes=True),
    "redeem": May(_ASK | _DECIDE, Scope.REQUEST, changes=True),
    "consume": May(_ASK, Scope.REQUEST, changes=True),
    "outcome": May(_ASK, Scope.REQUEST, changes=True),
    "approve": May(_DECIDE, Scope.APPROVE, changes=True),
    "mint": May(_DECIDE, Scope.APPROVE, changes=True),
    "reject": May(_DECIDE, Scope.APPROVE, changes=True),
    "break-glass": May(_DECIDE, Scope.APPROVE, changes=True),
    "review": May(frozenset({Role.APPROVER, Role.AUDITOR}), Scope.APPROVE, changes=True),
}
"""Action to who may do it: the one truth for pages, API and the test of all combinations."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in.

    Attributes:
        voter: Who it is, for the desk.
        name: The person's short name.
        scopes: What this way in is good for: everything for a session, what the token says for a token.
        csrf: What a form must send back as `csrf` (or a script in the header X-CSRF-Token); empty for a token.
        expires_s: When this way in ends, seconds since 1970.
        session: By a cookie; else by an API token.
    """

    voter: Voter
    name: str
    scopes: frozenset[str]
    csrf: str
    expires_s: int
    session: bool


@dataclass
class Site:
    """Everything that a running server has.

    Attributes:
        config: Settings with their origins.
        people: Who there is, their sessions and tokens.
        desks: Gives the desk of a tenant.
        note: Writes a note into the journal of a tenant: tenant, step, data.
        now_s: The clock, seconds since 1970.
        urls: From the hosts (`name:port`, as browsers send it) at which people come, to their origin and tenant.
        secure: Whether browsers come by TLS, ours or a proxy's.
        numbers: What is counted.
        journals: Gives what opens the journal of a tenant, for its numbers.
        closing: Set when the server stops: whoever listens for news is sent away.
    """

    config: Config
    people: People
    desks: "Callable[[str], Desk]"
    note: Callable[[str, str, Mapping[str, Value]], None]
    now_s: Callable[[], float]
    urls: Mapping[str, "Front"]
    secure: bool
    numbers: Numbers = field(default_factory=Numbers)
    journals: "Callable[[str], Callable[..., Records]] | None" = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Front:
    """One name under which people come.

    Attributes:
        origin: Such as `https://safeguard.example.org`.
        tenant: Whose people and operations are seen there.
    """

    origin: str
    tenant: str = ""


def site_of(request: HTTPConnection) -> Site:
    """The site that a request came to."""
    found = request.scope["safeguard.site"]
    assert isinstance(found, Site)  # noqa: S101 - the fence puts it there
    return found


def tenant_of(request: HTTPConnection) -> str:
    """Whose people and operations a request is about: the name of the host says so."""
    return str(request.scope["safeguard.front"].tenant)


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from; of a trusted proxy, where that says it comes from."""
    return str(request.scope["safeguard.address"])


def cookie_name(name: str, *, secure: bool) -> str:
    """With TLS, a name that browsers let nobody but this very host set (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{name}" if secure else name


def csrf_of(secret: str) -> str:
    """What forms of a session must send back: a page of somebody else cannot know it."""
    return hashed(f"csrf:{secret}")


def visitor(request: HTTPConnection) -> Visitor | None:
    """Who asks; None if nobody was let in. Asked once per request."""
    if "safeguard.visitor" not in request.scope:
        request.scope["safeguard.visitor"] = _visitor(request)
    found: Visitor | None = request.scope["safeguard.visitor"]
    return found


def may(who: Visitor, action: str) -> bool:
    """Whether the matrix lets somebody do something."""
    rule = MATRIX[action]
    return bool(rule.roles & who.voter.roles) and (who.session or rule.scope in who.scopes)


def needs(request: HTTPConnection, *wanted: str | Role) -> Visitor:
    """Let somebody pass, or refuse.

    Args:
        request: What was asked.
        wanted: Actions of `MATRIX`, scopes of tokens, or roles: all of them are needed. None means: anybody who was let in.

    Raises:
        HTTPException: 401 if nobody was let in, 403 if this one may not.
    """
    who = visitor(request)
    if who is None:
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})
    for one in wanted:
        if not _has(who, one):
            raise HTTPException(403, f"{who.name} may not do this: {one}")
    return who


def _has(who: Visitor, wanted: str | Role) -> bool:
    if isinstance(wanted, Role):
        return wanted in who.voter.roles
    return may(who, wanted) if wanted in MATRIX else who.session or wanted in who.scopes


def _visitor(request: HTTPConnection) -> Visitor | None:
    site, tenant = site_of(request), tenant_of(request)
    now = int(site.now_s())
    authorization = request.headers.get("authorization")
    if authorization is not None:
        # Whoever sends a token is judged by it alone: a cookie beside it counts for nothing.
        scheme, _, secret = authorization.partition(" ")
        token = site.people.token(tenant, hashed(secret.strip()), now) if scheme.lower() == "bearer" else None
        return None if token is None else _by_token(*token, tenant)
    secret = request.cookies.get(cookie_name(COOKIE, secure=site.secure), "")
    # A page that is only open, and hears of news, is not used.
    used, idle_s = request.url.path != "/live", site.config.seconds("serve.idle")
    found = site.people.session(tenant, hashed(secret), now, idle_s=idle_s, used=used) if secret else None
    if found is None:
        return None
    person, session = found
    voter = replace(voter_of(person, tenant, session.principal), channel=Channel.PAGE)
    return Visitor(voter, person.name, frozenset(Scope), csrf_of(secret), session.expires_s, session=True)


def _by_token(person: Person, token: ApiToken, tenant: str) -> Visitor:
    voter = replace(voter_of(person, tenant), channel=Channel.API)
    return Visitor(voter, person.name, token.scopes, "", token.expires_s, session=False)


def barred(people: People, tenant: str, vote: Record) -> bool:
    """Whether the person whose record this is, an approval or a token, is known here and may not approve any more."""
    also = vote.data.get("also")
    names = [str(vote.data.get("approver")), *(map(str, also) if isinstance(also, list) else ())]
    return any(
        not person.active or Role.APPROVER not in person.roles
        for person in people.everybody(tenant)
        if is_one_of(voter_of(person, tenant), names)
    )


def voter_of(person: Person, tenant: str, principal: str = "") -> Voter:
    """A person as the desk knows them.

    Args:
        person: With links.
        tenant: Theirs.
        principal: By which of their names they came in; nothing means the first one.
    """
    first = principal or person.principal
    # A name in a chat is a way in, not a principal.
    also = tuple(it for it in (person.principal, *person.links) if it != first and not it.startswith("slack:"))
    return Voter(first, person.roles, Channel.PAGE, also, tenant)
