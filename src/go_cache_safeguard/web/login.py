"""Coming in with a name and a password, and going out.

Knows:     how a password and a code are tried, how often that may fail, and what a session's cookie is like.
Called by: `web.app`; `web.oidc` begins sessions here.
Never:     tells by its words or its time whether it was the name, the password or the code; writes down what was typed;
           keeps anybody out for ever.
Source:    RFC 6238 section 5.2 (a code counts once; one step to either side), RFC 9106 (argon2id),
           RFC 6265bis section 4.1.3.2 (`__Host-`), OWASP "Session Management" (a new id at log-in).
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

import pyotp
from anyio import CapacityLimiter, to_thread
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.web.paper import hidden, notice, page, said
from go_cache_safeguard.web.password import hasher, plain
from go_cache_safeguard.web.people import Person, hashed, place_of
from go_cache_safeguard.web.site import COOKIE, Site, address_of, cookie_name, needs, tenant_of, visitor

WINDOW_S = 900
"""For how long failures count, in seconds."""
OF_PLACE = 6
"""How many times as often an address may fail as one account from it: several people share one."""
OF_ACCOUNT = 20
"""How many times as often an account may fail from anywhere."""
KNOWN_S = 90 * 86_400
"""For how long an address counts as somebody's own after they came in from it, in seconds."""
NOTES = 1_000
"""So many failures are written down in a window; more are counted only, so that nobody can fill the journal."""
STEP_S = 30
_AT_ONCE = 2
"""Passwords tried at once: each takes a lot of memory."""
_MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed.

    Attributes:
        name: The person's.
        password: Theirs.
        code: Of their device; may be empty.
    """

    name: str
    password: str
    code: str

    def __repr__(self) -> str:
        return "Typed(...)"


@dataclass(frozen=True, slots=True)
class Wrong:
    """Somebody is not let in.

    Attributes:
        why: For the journal and the numbers, never for whoever tried.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """Somebody tried too often."""


class Locks:
    """Tries passwords and codes. Safe from any thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._hasher = hasher(site.config)
        self._stand_in = self._hasher.hash(secrets.token_urlsafe(32))
        self._each = site.config.count("serve.attempts")

    def judge(self, tenant: str, typed: Typed, address: str) -> Person | Wrong | Later:
        """Let somebody in, or not. A failure is written down, and counted before it is known to be one."""
        site, place, now = self._site, place_of(address), int(self._site.now_s())
        name = typed.name.strip().lower()
        keys = self._limits(tenant, name, place, now)
        over = site.people.attempt(tenant, keys, now, WINDOW_S)
        if over is not None:
            fail(site, tenant, "login-limited", {"address": address, "of": over[0].partition(" ")[0]}, first=over)
            return Later()
        found = self._try(tenant, name, typed, now)
        if isinstance(found, Wrong):
            # What was typed as a name may be a password: it is written down only if it is somebody's name.
            who = "unknown" if found.why == "name" else f"user:{name}"
            fail(site, tenant, "login-failed", {"address": address, "who": who, "why": found.why, "way": "password"})
            return found
        site.people.succeeded(tenant, (key for key, _ in keys))
        site.people.remember(tenant, found.name, place, now)
        return found

    def _limits(self, tenant: str, name: str, place: str, now: int) -> list[tuple[str, int]]:
        """An address, an account from an address, an account from anywhere but where its person came in before.

        The last one would let anybody keep somebody out; so it does not hold where that person is known.
        """
        limits = [(f"address {place}", OF_PLACE * self._each), (f"account-at-address {name} {place}", self._each)]
        if not self._site.people.knows(tenant, name, place, now - KNOWN_S):
            limits.append((f"account {name}", OF_ACCOUNT * self._each))
        return limits

    def _try(self, tenant: str, name: str, typed: Typed, now: int) -> Person | Wrong:
        people = self._site.people
        person, known = people.person(tenant, name), people.secrets(tenant, name)
        # Somebody who is not there, or has no password, costs as much time as somebody who is and has.
        fits = self._fits(known.password or self._stand_in, typed.password)
        if person is None:
            return Wrong("name")
        if known.password is None or not fits:
            return Wrong("password")
        if not person.active:
            return Wrong("not active")
        if known.totp is not None and not self._code_counts(tenant, name, known.totp, typed.code, now):
            return Wrong("code")
        if self._hasher.check_needs_rehash(known.password):
            people.refresh_password(tenant, name, known.password, self._hasher.hash(plain(typed.password)))
        return person

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, plain(password))
        except (VerificationError, InvalidHashError):
            return False

    def _code_counts(self, tenant: str, name: str, secret: str, code: str, now: int) -> bool:
        step = step_of(secret, code, now)
        return step is not None and self._site.people.spend_step(tenant, name, step)


def fail(
    site: Site, tenant: str, step: str, data: Mapping[str, Value], *, first: tuple[str, int] | None = None
) -> None:
    """Write a failure down, unless there were too many.

    Args:
        site: Where.
        tenant: Whose journal.
        step: The note.
        data: What there is to say.
        first: What happened too often: then only the first time of a window is written down.
    """
    now = int(site.now_s())
    if first is not None and site.people.attempt(tenant, [(f"told {first[0]}", 1)], now, WINDOW_S):
        return
    if site.people.attempt(tenant, [("notes", NOTES)], now, WINDOW_S) is None:
        site.note(tenant, step, data)


def step_of(secret: str, code: str, now_s: int) -> int | None:
    """Which step of time a code belongs to: this one or one to either side; None if to none of them."""
    given = "".join(code.split())
    here = now_s // STEP_S
    found = None
    for step in (here - 1, here, here + 1):
        if hmac.compare_digest(pyotp.TOTP(secret).generate_otp(step).encode(), given.encode()):
            found = step
    return found


def begin(site: Site, request: Request, person: Person, reply: Response, *, principal: str, way: str) -> None:
    """Begin a session: a new id, whatever the browser had, and a note in the journal before it counts."""
    tenant, now = tenant_of(request), int(site.now_s())
    lifetime = site.config.seconds("serve.session")
    site.note(tenant, "login", {"who": principal, "person": person.name, "way": way, "address": address_of(request)})
    site.numbers.logins.labels(way, "let in").inc()
    before = request.cookies.get(cookie_name(COOKIE, secure=site.secure), "")
    if before:
        site.people.end(tenant, hashed(before))
    secret = secrets.token_urlsafe(32)
    site.people.begin(tenant, hashed(secret), person, principal, now, lifetime_s=lifetime)
    reply.set_cookie(
        cookie_name(COOKIE, secure=site.secure),
        secret,
        max_age=lifetime,
        path="/",
        secure=site.secure,
        httponly=True,
        samesite="strict",
    )


def local(target: str) -> str:
    """A place of our own to go on to; the inbox if it is none."""
    plain_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain_path and target.isascii() and "\\" not in target and len(target) <= 500 else "/"


def ask_who(request: Request) -> Response:
    """What somebody gets who was not let in, with the way back to what they wanted."""
    onward = local(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    sent = request.headers.get
    if sent("sec-fetch-site") == "cross-site" and sent("sec-fetch-mode") == "navigate":
        # A link elsewhere, in a mail or a chat, led a person here: a session's cookie, which is Strict, was not sent. Whoever has
        # one need not log in again: a page of ours that goes on begins a way on which it is sent. That one is not cross-site any
        # more, so nobody is sent round twice.
        return page("One moment", said("Going on."), onward=onward)
    return RedirectResponse(f"/login?{urlencode({'next': onward})}", 303)


def routes(site: Site) -> list[BaseRoute]:
    """Logging in and out."""
    locks, turns = Locks(site), CapacityLimiter(_AT_ONCE)

    def form(request: Request) -> Response:
        if visitor(request) is not None:
            return RedirectResponse("/", 303)
        return _form(site, local(request.query_params.get("next", "/")))

    async def come_in(request: Request) -> Response:
        fields = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        typed = Typed(fields.get("name", ""), fields.get("password", ""), fields.get("code", ""))
        onward = local(fields.get("next", "/"))
        if turns.statistics().tasks_waiting > _MOST_WAITING:
            return _form(site, onward, "Too many people log in just now. Try again in a minute.", 503)
        # In threads of their own: passwords take long, and pages must not wait for those who guess.
        return await to_thread.run_sync(_come_in, site, locks, request, typed, onward, limiter=turns)

    def go_out(request: Request) -> Response:
        who = needs(request)
        if not who.session:
            raise HTTPException(403, "a token has no session")
        tenant, name = tenant_of(request), cookie_name(COOKIE, secure=site.secure)
        site.people.end(tenant, hashed(request.cookies.get(name, "")))
        site.note(tenant, "logout", {"who": who.voter.principal, "address": address_of(request)})
        reply = RedirectResponse("/login", 303)
        reply.delete_cookie(name, path="/", secure=site.secure, httponly=True, samesite="strict")
        # What the browser still shows of us goes with the session.
        reply.headers["clear-site-data"] = '"cache"'
        return reply

    return [
        Route("/login", form, methods=["GET"]),
        Route("/login", come_in, methods=["POST"]),
        Route("/logout", go_out, methods=["POST"]),
    ]


def _come_in(site: Site, locks: Locks, request: Request, typed: Typed, onward: str) -> Response:
    match locks.judge(tenant_of(request), typed, address_of(request)):
        case Person() as person:
            reply = RedirectResponse(onward, 303)
            begin(site, request, person, reply, principal=person.principal, way="password")
            return reply
        case Later():
            site.numbers.logins.labels("password", "too often").inc()
            refused = _form(site, onward, "This was tried too often. Wait a quarter of an hour.", 429)
            refused.headers["retry-after"] = str(WINDOW_S)
            return refused
        case Wrong():
            site.numbers.logins.labels("password", "failed").inc()
            return _form(site, onward, "Name, password or code is wrong.", 403)


def _form(site: Site, onward: str, problem: str = "", status: int = 200) -> Response:
    after = hidden("next", onward)
    body = (
        f"{notice(problem)}"
        f'<form method="post" action="/login">{after}'
        '<p><label>Name <input name="name" autocomplete="username" required autofocus></label></p>'
        '<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>'
        "<p><label>Code, if you have a device for it "
        '<input name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10"></label></p>'
        "<p><button>Log in</button></p></form>"
    )
    issuer = site.config.text("serve.oidc_issuer")
    if issuer:
        body += f'<form method="post" action="/oidc/start">{after}<p><button>Log in with {escape(issuer)}</button></p></form>'
    return page("Log in", body, status=status)
