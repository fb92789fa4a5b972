"""The pages on which people see what waits, and decide.

Knows:     which page is where, what each one shows, and which decisions are offered to whom.
Called by: `web.app`.
Never:     decides: the desk does, and what is offered here was only judged for show. Changes anything by GET or HEAD.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.approval.ballot import Case, tally
from go_cache_safeguard.approval.evidence import Pack
from go_cache_safeguard.approval.token import digest_matches
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, is_operation_id
from go_cache_safeguard.flows.desk import Desk, NotApproved
from go_cache_safeguard.flows.inbox import Page
from go_cache_safeguard.flows.pack import pack_of
from go_cache_safeguard.web.login import ask_who
from go_cache_safeguard.web.site import Site, Visitor, needs, tenant_of, visitor
from go_cache_safeguard.web.view import render
from go_cache_safeguard.web.wording import NOTES, decision_of, recorded, step_of, view_of

_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

PAGE = 50
FINDINGS = (("justified", "It was justified"), ("not-justified", "It was not justified"))
_BESIDE = "everything about it, its digest too, is on this page"
ANSWERS = (
    ("blast_radius", "Predicted reach"),
    ("dependents", "Who depends on it"),
    ("rebuild_cost", "Making it again"),
    ("undo", "The way back"),
    ("snapshot", "Snapshot"),
    ("failing_traces", "Failing traces"),
    ("prediction", "Simulation"),
)

_KEPT_PACKS = 256
_SHOWS: Mapping[str, tuple[str, frozenset[State], str, str]] = {
    "waiting": (
        "waiting for a decision",
        frozenset({State.HELD}),
        "operation waits for a decision",
        "operations wait for a decision",
    ),
    "approved": (
        "approved, not carried out",
        frozenset({State.APPROVED}),
        "operation is approved and not carried out",
        "operations are approved and not carried out",
    ),
    "reviews": (
        "break-glass to review",
        frozenset(),
        "broken glass waits for a review",
        "broken glasses wait for a review",
    ),
    "unknown": (
        "ended in UNKNOWN",
        frozenset({State.UNKNOWN}),
        "operation ended in UNKNOWN",
        "operations ended in UNKNOWN",
    ),
    "all": ("everything", frozenset(State), "operation", "operations"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done.

    Attributes:
        what: What happened.
        not_done: What was not done.
        hint: What to do next.
        field: Which form it was.
    """

    what: str
    not_done: str
    hint: str
    field: str


def confirmed(typed: str, shown_digest: str, operation: Operation) -> str:
    """What was typed, as the digits of a digest.

    Args:
        typed: The first digits of the digest, or how many items there are.
        shown_digest: Of the plan that the page showed: whoever types a number means that one.
        operation: What is decided about.
    """
    bare = typed.strip().replace(",", "").replace(" ", "")
    number = bare.isascii() and bare.isdecimal() and len(bare) < 19
    if number and int(bare) == operation.data.get("items") and not digest_matches(bare, shown_digest):
        return shown_digest
    return bare


def refused(
    request: Request, status: int, title: str, detail: str, *, hint: str = "", not_done: str = "", headers: Any = None
) -> Response:
    """A page that says why not."""
    values = {"title": title, "detail": detail, "hint": hint, "not_done": not_done}
    return render(request, "error.html", values, status=status, headers=headers)


_TITLES = {401: "Log in first", 403: "Not for you", 404: "There is no such page", 405: "This is not done like that"}


def http_error(request: Request, error: HTTPException) -> Response:
    """The page for a status that somebody raised."""
    title = _TITLES.get(error.status_code, "This did not work")
    return refused(request, error.status_code, title, str(error.detail), headers=error.headers)


class Pages:
    """All pages of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._plans = Path(site.config.text("state.dir")) / "plans"
        self._packs: dict[tuple[str, str], Pack] = {}

    # --- looking -------------------------------------------------------------------------------------------------------

    def inbox(self, request: Request) -> Response:
        """What waits."""
        if (who := visitor(request)) is None:
            return _to_login(request)
        needs(request, "inbox")
        query = request.query_params
        show = query.get("show", "waiting") if query.get("show") in _SHOWS else "waiting"
        text, after = query.get("text", "")[:200], query.get("after", "")
        after = after if is_operation_id(after) else ""
        desk, now_s = self._desk(request), int(self._site.now_s())
        seq = desk.last_seq()
        page = self._page(desk, show, text, after)
        heading = _SHOWS[show][2 if page.total == 1 else 3]
        kept = {"show": show, "text": text}
        return render(
            request,
            "inbox.html",
            {
                "views": [view_of(one, page.ballots[one.id], now_s) for one in page.operations],
                "total": page.total,
                "heading": heading,
                "text": text,
                "show": show,
                "shows": [(name, words[0]) for name, words in _SHOWS.items()],
                "after": after,
                "next": page.next,
                "here": _url("/", {**kept, "after": after}),
                "first_url": _url("/", kept),
                "next_url": _url("/", {**kept, "after": page.next}),
                "seq": seq,
                "who": who,
            },
        )

    def _page(self, desk: Desk, show: str, text: str, after: str) -> Page:
        if show == "reviews":
            return desk.reviews()
        return desk.inbox(states=_SHOWS[show][1], after=after, limit=PAGE, text=text)

    def operation(self, request: Request) -> Response:
        """One operation, with its evidence and what may be decided."""
        if visitor(request) is None:
            return _to_login(request)
        return self._operation(request, needs(request, "operation"))

    def _operation(
        self,
        request: Request,
        who: Visitor,
        *,
        problem: Problem | None = None,
        typed: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        desk, op, now_s = self._desk(request), _op(request), int(self._site.now_s())
        seq = desk.last_seq()
        operation, records = desk.operation(op), desk.records(op)
        ballot = tally(operation, records)
        pack = self._pack(request, operation)
        return render(
            request,
            "operation.html",
            {
                "view": view_of(operation, ballot, now_s),
                "pack": pack.value,
                "pack_digest": pack.digest,
                "answers": ANSWERS,
                "decision": decision_of(Case(operation, records, now_s, desk.rules), ballot, who),
                "way": [step for record in records if (step := step_of(record)) is not None],
                "findings": FINDINGS,
                "problem": problem,
                "typed": typed or {},
                "seq": seq,
            },
            status=status,
        )

    def _pack(self, request: Request, operation: Operation) -> Pack:
        """Made once: a pack is of what was known when policy decided. What could not be read may be readable later."""
        place = (tenant_of(request), operation.id)
        pack = self._packs.get(place) or pack_of(self._desk(request), operation.id, self._plans)
        if pack.value["frozen_at"] and pack.value["plan"]["read"]:
            if len(self._packs) >= _KEPT_PACKS:
                self._packs.clear()
            self._packs[place] = pack
        return pack

    def journal(self, request: Request) -> Response:
        """Records, the newest first."""
        if visitor(request) is None:
            return _to_login(request)
        needs(request, "journal")
        query = request.query_params
        op, step = query.get("op", "").strip()[:40], query.get("step", "").strip()[:64]
        before = _whole(query.get("before", ""))
        leaf = self._desk(request).leaf(before=before, limit=PAGE, op=op, step=step)
        kept = {"op": op, "step": step}
        return render(
            request,
            "journal.html",
            {
                "records": [recorded(record) for record in leaf.records],
                "last": leaf.last,
                "older": leaf.older,
                "before": before,
                "op": op,
                "step": step,
                "steps": [*map(str, State), *NOTES],
                "newest_url": _url("/journal", kept),
                "older_url": _url("/journal", {**kept, "before": str(leaf.older)}),
            },
        )

    # --- deciding ------------------------------------------------------------------------------------------------------

    def approve(self, request: Request, form: FormData) -> None:
        """Agree to exactly the plan that was shown."""
        desk, op = self._desk(request), _op(request)
        operation = desk.operation(op)
        typed = confirmed(_field(form, "typed"), _field(form, "digest"), operation)
        seen = _field(form, "evidence")
        if seen and seen != self._pack(request, operation).digest:
            raise NotApproved(
                "the evidence is not what the page had shown", not_done=f"{op} stays as it is", hint="look again"
            )
        desk.approve(op, needs(request, "approve").voter, typed, seen=seen)

    def reject(self, request: Request, form: FormData) -> None:
        """Say no, and why."""
        why = _field(form, "why").strip()
        if not why:
            raise NotApproved(
                "a rejection needs a reason", not_done="nothing changed", hint="say why; it is kept in the journal"
            )
        self._desk(request).reject(_op(request), needs(request, "reject").voter, why)

    def cancel(self, request: Request, form: FormData) -> None:
        """Take it back."""
        self._desk(request).cancel(_op(request), needs(request, "cancel").voter, _field(form, "why"))

    def break_glass(self, request: Request, form: FormData) -> None:
        """Go on alone."""
        voter = needs(request, "break-glass").voter
        self._desk(request).break_glass(_op(request), voter, _field(form, "typed").strip(), _field(form, "reason"))

    def review(self, request: Request, form: FormData) -> None:
        """Judge afterwards."""
        voter = needs(request, "review").voter
        self._desk(request).review(_op(request), voter, _field(form, "finding"), _field(form, "text"))

    def decided(self, name: str, act: Callable[[Request, FormData], None]) -> _Endpoint:
        """An address that takes a form, acts, and shows the operation again; or the operation and why nothing was done."""

        async def endpoint(request: Request) -> Response:
            await run_in_threadpool(needs, request, name)
            form = await request.form()
            return await run_in_threadpool(self._decided, request, name, act, form)

        return endpoint

    def _decided(
        self, request: Request, name: str, act: Callable[[Request, FormData], None], form: FormData
    ) -> Response:
        who = needs(request, name)
        try:
            act(request, form)
        except Failure as failure:
            if failure.exit_code is not ExitCode.REFUSED:
                raise
            hint = _BESIDE if "go-cache-safeguard ops show" in failure.hint else failure.hint
            problem = Problem(failure.what, failure.not_done, hint, name)
            typed = {
                key: text for key, text in form.items() if isinstance(text, str) and key in {"why", "reason", "text"}
            }
            return self._operation(request, who, problem=problem, typed=typed, status=409)
        return RedirectResponse(f"/op/{_op(request)}", 303)

    def _desk(self, request: Request) -> Desk:
        return self._site.desks(tenant_of(request))


def routes(site: Site) -> list[BaseRoute]:
    """The pages."""
    pages = Pages(site)
    looks = [
        Route("/", _guarded(pages.inbox), methods=["GET"]),
        Route("/op/{op}", _guarded(pages.operation), methods=["GET"]),
        Route("/journal", _guarded(pages.journal), methods=["GET"]),
    ]
    acts = {
        "approve": pages.approve,
        "reject": pages.reject,
        "cancel": pages.cancel,
        "break-glass": pages.break_glass,
        "review": pages.review,
    }
    posts = [
        Route(f"/op/{{op}}/{name}", _guarded_post(pages.decided(name, act)), methods=["POST"])
        for name, act in acts.items()
    ]
    return [*looks, *posts]


def _guarded(look: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Failures as pages."""

    def endpoint(request: Request) -> Response:
        try:
            return look(request)
        except Failure as failure:
            return _failed(request, failure)

    return endpoint


def _guarded_post(act: _Endpoint) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await act(request)
        except Failure as failure:
            return await run_in_threadpool(_failed, request, failure)

    return endpoint


def _failed(request: Request, failure: Failure) -> Response:
    status = {ExitCode.USAGE: 404, ExitCode.REFUSED: 409, ExitCode.LOCKED: 503, ExitCode.JOURNAL: 503}
    return refused(
        request,
        status.get(failure.exit_code, 500),
        "This did not work",
        failure.what,
        hint=failure.hint,
        not_done=failure.not_done,
    )


def _op(request: Request) -> str:
    op = str(request.path_params["op"])
    if not is_operation_id(op):
        raise HTTPException(404, "there is no such operation")
    return op


def _field(form: FormData, name: str) -> str:
    found = form.get(name, "")
    return found if isinstance(found, str) else ""


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _url(path: str, query: Mapping[str, str]) -> str:
    kept = {name: text for name, text in query.items() if text and (name, text) != ("show", "waiting")}
    return f"{path}?{urlencode(kept)}" if kept else path


def _to_login(request: Request) -> Response:
    """Ask who it is; whoever only asks for the news of a page is not sent elsewhere."""
    if request.headers.get("hx-request") == "true":
        return refused(request, 401, "Log in first", "the session has ended")
    return ask_who(request)
