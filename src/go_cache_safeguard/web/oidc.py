"""Coming in at an identity provider: OpenID Connect, code flow with PKCE.

Knows:     what is told to the provider and kept from it, and what must hold of its answer before anybody is let in.
Called by: `web.app`.
Never:     takes an answer in a browser that did not ask; believes a token that is not signed by a key of the provider, by an
           algorithm with a public key; takes a mail address for a person: issuer and subject name one.
Source:    OpenID Connect Core 1.0 section 3.1, Discovery 1.0 section 4, RFC 7636 (PKCE), RFC 9207 (`iss` in the answer),
           RFC 9700 (best practice). Authlib's own client is left aside: it warns that it will not work with httpx for long.
"""

import asyncio
import hmac
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.flows.private_file import secret_in
from go_cache_safeguard.web.fence import LOG, is_loopback, told
from go_cache_safeguard.web.login import WINDOW_S, begin, fail, local
from go_cache_safeguard.web.paper import page, said
from go_cache_safeguard.web.people import Journey, Person, hashed, place_of
from go_cache_safeguard.web.site import Site, address_of, cookie_name, tenant_of

COOKIE = "safeguard-journey"
BACK = "/oidc/back"
LIFETIME_S = 600
JOURNEYS = 30
"""How often one address may set out in a quarter of an hour."""
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
"""With a public key only: neither `none`, nor one where whoever can check a token can make one."""
LEEWAY_S = 60
_FRESH_S = 3_600
_PATIENCE_S = 10
_MOST_BYTES = 1 << 20


class NotLetIn(Exception):  # noqa: N818 - an answer, not an error
    """Somebody came back and is not let in.

    Attributes:
        why: For the journal.
        who: Which principal it was, once that is proved.
    """

    def __init__(self, why: str, who: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.who = who


@dataclass
class Provider:
    """An identity provider, as its discovery document describes it.

    Attributes:
        issuer: Its URL, which is its name.
        client_id: Our name there.
        secret: What we show; empty for a public client.
    """

    issuer: str
    client_id: str
    secret: str = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)
    _metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _keys: KeySet | None = field(default=None, repr=False)
    _until: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def metadata(self) -> Mapping[str, Any]:
        """What the provider says of itself.

        Raises:
            NotLetIn: It cannot be asked, or speaks for somebody else.
        """
        async with self._turn:
            if time.monotonic() >= self._until:
                found = await self._json("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self.issuer:
                    raise NotLetIn("the provider's document is another one's")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _demand_secure(str(found.get(name, "")))
                self._metadata, self._keys, self._until = found, None, time.monotonic() + _FRESH_S
            return self._metadata

    async def keys(self, *, anew: bool = False) -> KeySet:
        """With what the provider signs.

        Args:
            anew: A token names a key that is not among them: providers change theirs.
        """
        metadata = await self.metadata()
        async with self._turn:
            if self._keys is None or anew:
                self._keys = KeySet.import_key_set(_key_set(await self._json("GET", str(metadata["jwks_uri"]))))
            return self._keys

    async def id_token(self, code: str, verifier: str, back: str) -> str:
        """Exchange the code for what says who it is."""
        metadata = await self.metadata()
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth = None
        if not self.secret:
            fields["client_id"] = self.client_id
        elif "client_secret_basic" in ways:
            auth = httpx.BasicAuth(_quoted(self.client_id), _quoted(self.secret))
        else:
            fields |= {"client_id": self.client_id, "client_secret": self.secret}
        answer = await self._json("POST", str(metadata["token_endpoint"]), data=fields, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotLetIn("the provider gave no token")
        return token

    async def claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What a token says, once it is believed.

        Raises:
            NotLetIn: It is not signed by the provider, not for us, not for this log-in, or over.
        """
        offered = (await self.metadata()).get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = sorted(ALGORITHMS & set(offered))
        try:
            try:
                decoded = jwt.decode(token, await self.keys(), algorithms)
            except (JoseError, ValueError):
                decoded = jwt.decode(token, await self.keys(anew=True), algorithms)
        except (JoseError, ValueError) as error:
            raise NotLetIn("the token is not signed by the provider") from error
        self.judge(decoded.claims, decoded.header, nonce, int(time.time()))
        return decoded.claims

    def judge(self, claims: Mapping[str, Any], header: Mapping[str, Any], nonce: str, now_s: int) -> None:
        """Whether what a token says is for us, for this log-in and for now.

        Raises:
            NotLetIn: It is not.
        """
        options = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
            "sub": {"essential": True},
        }
        token = CodeIDToken(dict(claims), dict(header), options, {"nonce": nonce, "client_id": self.client_id})
        try:
            token.validate(now=now_s, leeway=LEEWAY_S)
        except JoseError as error:
            raise NotLetIn(
                f"the token is not for this log-in: {getattr(error, 'claim', None) or error.error}"
            ) from error
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise NotLetIn("the token is not for this log-in: nonce")

    async def _json(
        self, method: str, url: str, *, data: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
    ) -> dict[str, Any]:
        _demand_secure(url)
        async with (
            asyncio.timeout(2 * _PATIENCE_S),
            httpx.AsyncClient(verify=self.tls, timeout=_PATIENCE_S, follow_redirects=False, trust_env=False) as client,
            client.stream(method, url, data=data, auth=auth, headers={"Accept": "application/json"}) as answer,
        ):
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MOST_BYTES:
                    raise NotLetIn("the provider's answer is too long")
        if answer.status_code != 200:
            raise NotLetIn(f"the provider answers {answer.status_code}")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise NotLetIn("the provider's answer is no object")
        return value


def provider_of(config: Config) -> Provider | None:
    """The identity provider that the settings name; None if they name none.

    Raises:
        ConfigBad: They do not fit together.
    """
    issuer, client_id = config.text("serve.oidc_issuer"), config.text("serve.oidc_client_id")
    if not issuer:
        return None
    found = urlsplit(issuer)
    if found.scheme != "https" and not (found.scheme == "http" and is_loopback(found.hostname or "")):
        raise ConfigBad(f"serve.oidc_issuer = {issuer!r} is not https://...")
    if found.query or found.fragment or not found.hostname or "#" in issuer:
        raise ConfigBad(f"serve.oidc_issuer = {issuer!r} is not the URL of an issuer")
    if not client_id:
        raise ConfigBad("serve.oidc_client_id is missing", hint="the identity provider gives one")
    authority = config.text("serve.oidc_ca")
    try:
        tls = ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigBad(f"serve.oidc_ca {authority} cannot be used") from error
    return Provider(issuer, client_id, secret_in(config, "serve.oidc_client_secret_file"), tls)


def principal_of(issuer: str, subject: str) -> str:
    """Who somebody is, for ever: the issuer without its scheme, and the subject."""
    return f"oidc:{issuer.partition('://')[2].rstrip('/')}#{subject}"


def routes(site: Site) -> list[BaseRoute]:
    """Setting out and coming back; nothing without a provider."""
    provider = provider_of(site.config)
    if provider is None:
        return []

    async def start(request: Request) -> Response:
        onward = local(str((await request.form()).get("next", "/")))
        try:
            return await _start(site, provider, request, onward)
        except Exception as error:  # noqa: BLE001 - whatever a provider does: nobody is let in
            return await _refuse(site, request, error)

    async def back(request: Request) -> Response:
        if request.method != "GET":
            return PlainTextResponse("405 this is asked once, by a browser\n", 405)
        try:
            return await _back(site, provider, request)
        except Exception as error:  # noqa: BLE001 - whatever a provider or a stranger sends: nobody is let in
            return await _refuse(site, request, error)

    return [Route("/oidc/start", start, methods=["POST"]), Route(BACK, back, methods=["GET"])]


async def _start(site: Site, provider: Provider, request: Request, onward: str) -> Response:
    tenant, now = tenant_of(request), int(site.now_s())
    limit = [(f"journey {place_of(address_of(request))}", JOURNEYS)]
    if await run_in_threadpool(site.people.attempt, tenant, limit, now, WINDOW_S) is not None:
        reply = page("Not now", said("This was tried too often. Wait a quarter of an hour."), status=429)
        reply.headers["retry-after"] = str(WINDOW_S)
        return reply
    metadata = await provider.metadata()
    state, nonce, verifier, cookie = (secrets.token_urlsafe(32) for _ in range(4))
    target = prepare_grant_uri(
        str(metadata["authorization_endpoint"]),
        client_id=provider.client_id,
        response_type="code",
        redirect_uri=_back_url(request),
        scope="openid",
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
    )
    journey = Journey(hashed(state), nonce, verifier, onward)
    await run_in_threadpool(site.people.set_out, tenant, hashed(cookie), journey, now, LIFETIME_S)
    # A page that goes on, not a redirect: some browsers hold `form-action 'self'` against where a form's reply leads.
    reply = page("Log in", said(f"You are being sent to {provider.issuer}."), onward=target)
    _set_cookie(site, reply, cookie, LIFETIME_S)
    return reply


async def _back(site: Site, provider: Provider, request: Request) -> Response:
    """Let somebody in who comes back, in the browser in which they set out."""
    tenant, now, given = tenant_of(request), int(site.now_s()), request.query_params
    cookie = request.cookies.get(cookie_name(COOKIE, secure=site.secure), "")
    journey = await run_in_threadpool(site.people.come_back, tenant, hashed(cookie), now) if cookie else None
    if journey is None:
        raise NotLetIn("this browser did not set out, or too long ago")
    if not hmac.compare_digest(hashed(given.get("state", "")), journey.state):
        raise NotLetIn("the state is another one")
    metadata = await provider.metadata()
    issuer = given.get("iss")
    if issuer != provider.issuer and (issuer or metadata.get("authorization_response_iss_parameter_supported")):
        raise NotLetIn("the answer is of another issuer")
    if "code" not in given:
        raise NotLetIn("the provider said no")
    token = await provider.id_token(given["code"], journey.verifier, _back_url(request))
    claims = await provider.claims(token, journey.nonce)
    return await run_in_threadpool(_let_in, site, provider, request, str(claims["sub"]), journey.next)


def _let_in(site: Site, provider: Provider, request: Request, subject: str, onward: str) -> Response:
    principal = principal_of(provider.issuer, subject)
    if not 0 < len(subject) <= 255 or not subject.isprintable() or not subject.isascii() or " " in subject:
        raise NotLetIn("the provider's subject cannot be written down")
    person: Person | None = site.people.linked(tenant_of(request), principal)
    if person is None or not person.active:
        raise NotLetIn("nobody is linked to this account" if person is None else "not active", principal)
    reply = page("Logged in", said(f"You are {person.name}."), onward=onward)
    begin(site, request, person, reply, principal=principal, way="oidc")
    _set_cookie(site, reply, "", 0)
    return reply


async def _refuse(site: Site, request: Request, error: Exception) -> Response:
    why = error if isinstance(error, NotLetIn) else NotLetIn("the provider cannot be asked, or its answer not be read")
    if why is not error:
        LOG.warning("log-in at the identity provider failed: %s", told(error))
    site.numbers.logins.labels("oidc", "failed").inc()
    data: dict[str, Value] = {
        "address": address_of(request),
        "who": why.who or "unknown",
        "why": why.why,
        "way": "oidc",
    }
    await run_in_threadpool(fail, site, tenant_of(request), "login-failed", data)
    text = "You were not let in. Try again, or ask who runs this."
    if why.who:
        text = f"You are {why.who}, whom nobody has let in here. Ask who runs this to link that account."
    reply = page("Not let in", said(text) + '<p><a href="/login">Log in</a></p>', status=403)
    _set_cookie(site, reply, "", 0)
    return reply


def _set_cookie(site: Site, reply: Response, value: str, lifetime_s: int) -> None:
    # The way back begins at the provider's page. A cookie that is SameSite=Strict is not sent on such a way, so this one is Lax:
    # it comes along when a person is led here, never with what a page of somebody else loads or posts. It lets nobody in: it only
    # shows that this browser is the one that set out. The session's cookie stays Strict.
    name = cookie_name(COOKIE, secure=site.secure)
    reply.set_cookie(name, value, max_age=lifetime_s, path="/", secure=site.secure, httponly=True, samesite="lax")


def _back_url(request: Request) -> str:
    return f"{request.scope['safeguard.front'].origin}{BACK}"


def _demand_secure(url: str) -> None:
    found = urlsplit(url)
    if found.scheme != "https" and not (found.scheme == "http" and is_loopback(found.hostname or "")):
        raise NotLetIn("the provider is not asked without TLS")


def _key_set(value: dict[str, Any]) -> Any:
    """A set of keys; what is no such thing fails where it is read."""
    return value


def _quoted(text: str) -> str:
    """RFC 6749 section 2.3.1: name and secret are encoded as in a form before they are sent as Basic."""
    return httpx.QueryParams({"": text}).__str__()[1:]
