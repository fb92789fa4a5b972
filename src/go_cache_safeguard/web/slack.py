"""Clicks in Slack: who clicked, whether Slack says so, and what the desk makes of it.

Knows:     the way of a click: signature, never twice, linked person, role, desk; and that Slack waits three seconds for an answer.
Called by: `web.app`.
Never:     decides: the desk does, with the same rules as for a page; believes a name in a click that no administrator linked;
           approves by a click alone: the first digits of the plan's digest are typed.
Source:    Slack, "Verifying requests from Slack" and "Handling user interaction in your Slack apps".
"""

from collections.abc import Callable
from dataclasses import replace

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.approval import chat
from go_cache_safeguard.approval.chat import Act, Buttons, Click
from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.voter import Channel, Voter
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.chat import answer_click, ask_for_digits, signing_secret
from go_cache_safeguard.web.site import MATRIX, Site, tenant_of, voter_of

KEPT_S = 900
"""So long a click is remembered: longer than a signature counts, before and after its time."""
_JSON = "application/json"
_ALLOWED = {Act.REJECT: {Buttons.REJECT, Buttons.DECIDE}, Act.ASK: {Buttons.DECIDE}, Act.APPROVE: {Buttons.DECIDE}}


class _NotLet(Exception):  # noqa: N818 - an answer, not an error
    """This click does nothing; its text is for the person who clicked."""


def routes(site: Site) -> list[BaseRoute]:
    """Where Slack sends clicks."""

    async def actions(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_take, site, request, body)

    return [Route("/slack/actions", actions, methods=["POST"])]


def _take(site: Site, request: Request, body: bytes) -> Response:
    """Judge one click, and answer within three seconds."""
    secret = signing_secret(site.config)
    if secret is None:
        raise HTTPException(404, "no buttons of Slack are taken here")
    now_s, tenant = int(site.now_s()), tenant_of(request)
    verdict = chat.verify(secret, {key.lower(): value for key, value in request.headers.items()}, body, now_s=now_s)
    if isinstance(verdict, Denied):
        raise HTTPException(401, verdict.reason)
    signature = request.headers["x-slack-signature"]
    if site.people.attempt(tenant, [(f"slack {signature}", 1)], now_s, KEPT_S) is not None:
        raise HTTPException(409, "this came before")
    click = chat.parse_click(body)
    if isinstance(click, Denied):
        raise HTTPException(400, click.reason)
    if click.act is Act.LOOK:
        return Response()
    try:
        return _answered(site, tenant, click)
    except (_NotLet, Failure) as no:
        text = " - ".join(part for part in (str(no), getattr(no, "hint", "")) if part)
        if click.act is Act.APPROVE:
            return Response(chat.outcome(text, wrong=True), media_type=_JSON)
        return _later(lambda: answer_click(site.config, click, text))


def _answered(site: Site, tenant: str, click: Click) -> Response:
    """Do what a click wants.

    Raises:
        _NotLet: It counts for nothing.
        Failure: The desk refuses.
    """
    voter = _voter(site, tenant, click)
    desk = site.desks(tenant)
    if click.act is Act.ASK:
        operation = desk.operation(click.op)
        if operation.state is not State.HELD:
            raise _NotLet(f"{click.op} is {operation.state}, not HELD")
        return _later(lambda: _ask(site, click, operation))
    if click.act is Act.APPROVE:
        ballot = desk.approve(click.op, voter, click.typed)
        more = f"; {ballot.left} more must approve" if ballot.left else ""
        return Response(chat.outcome(f"{click.op} is {ballot.state}{more}.", wrong=False), media_type=_JSON)
    rejected = desk.reject(click.op, voter, "rejected in Slack")
    return _later(lambda: answer_click(site.config, click, f"{click.op} is {rejected.state}."))


def _voter(site: Site, tenant: str, click: Click) -> Voter:
    """Who clicked, as the desk knows them.

    Raises:
        _NotLet: Nobody whom an administrator linked, or the wrong role, or there is no such button.
    """
    if Buttons(site.config.choice("approval.slack_buttons")) not in _ALLOWED[click.act]:
        raise _NotLet("this is not decided in Slack; follow the link to the page")
    person = site.people.linked(tenant, click.user)
    if person is None or not person.active:
        raise _NotLet(
            f"nobody here is known as {click.user}; an administrator links people: serve people link NAME {click.user}"
        )
    action = "reject" if click.act is Act.REJECT else "approve"
    if not MATRIX[action].roles & person.roles:
        raise _NotLet(f"{person.name} may not do this: {action}")
    return replace(voter_of(person, tenant), channel=Channel.SLACK)


def _ask(site: Site, click: Click, operation: Operation) -> None:
    """Have Slack ask for digits; who cannot be asked is told why."""
    try:
        why = ask_for_digits(site.config, click, operation)
    except Failure as failure:
        why = failure.what
    if why:
        answer_click(site.config, click, f"you cannot be asked for the digits here: {why}; follow the link to the page")


def _later(act: Callable[[], None]) -> Response:
    """An answer at once; the rest when Slack has it."""
    return Response(background=BackgroundTask(act))
