"""The API below `/api/v1`: what scripts, and the hosts of a fleet, ask and decide.

Knows:     which call is which action of `site.MATRIX`, what each takes and gives (`web.schema`), and which status a failure has.
Called by: `web.app`.
Never:     enforces what an approval needs (the desk does); gives a traceback or a secret away; changes anything by GET; looks at a body
           before it is known who sends it.
Source:    RFC 9457 (problem details), RFC 9110 (409, 410, 422), RFC 6585 (429), OpenAPI 3.1.
"""

import binascii
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from go_cache_safeguard import __version__
from go_cache_safeguard.approval.ballot import TOLD
from go_cache_safeguard.approval.evidence import Pack, read_pack, schema_of_pack
from go_cache_safeguard.approval.token import Token, parse_token
from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.approve import no_more
from go_cache_safeguard.flows.desk import WAITING, Desk, NotApproved
from go_cache_safeguard.flows.inbox import MOST
from go_cache_safeguard.flows.pack import FILED, pack_of
from go_cache_safeguard.journal.law import TOKEN
from go_cache_safeguard.journal.record import Entry, Record
from go_cache_safeguard.web import schema
from go_cache_safeguard.web.site import MATRIX, Site, Visitor, barred, needs, site_of, visitor

_EVERYBODY = {
    400: "The request cannot be understood.",
    401: "Nobody was let in: no token, or none that counts.",
    403: "Whoever asks may not do this.",
    404: "There is no such operation, or it is somebody else's.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    421: "Nobody of this name is here.",
    422: "A field is missing, unknown or out of its limits.",
    429: "Too many requests; `Retry-After` says when the next one is welcome.",
    503: "The journal cannot be read or written now.",
}
_CHANGING = {
    409: "The operation stands elsewhere by now.",
    410: "It waited too long, or is over for ever.",
    415: "Not JSON.",
}
_TITLES = {
    401: ("not-let-in", "nobody was let in"),
    403: ("not-allowed", "whoever asks may not do this"),
    404: ("not-found", "there is nothing here"),
    405: ("wrong-method", "this is not done to it"),
    413: ("too-large", "the body is too large"),
    422: ("bad-request", "a field is missing, unknown or out of its limits"),
    429: ("too-many-requests", "too many requests"),
}
_WINDOW_S = 60
PAGE_BYTES = 2 << 20
"""A page ends early rather than being larger."""


class Refusal(Failure):
    """A call of the API that is not carried out."""

    id = "api-refused"
    exit_code = ExitCode.REFUSED
    meaning = "the API does not do this for whoever asks, or not with this operation"

    def __init__(self, status: int, what: str, *, hint: str = "") -> None:
        super().__init__(what, not_done="nothing changed", hint=hint)
        self.status = status


class _Asked(BaseModel):
    """What a list of operations is narrowed down to."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[
        list[State], Field(max_length=len(State), description="Only these; by default what waits: HELD and APPROVED.")
    ] = []
    text: Annotated[str, Field(max_length=200, description="Only those that say this somewhere, in either case.")] = ""
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50
    after: Annotated[str, Field(max_length=200, description="What `next` of the page before was.")] = ""


class _Turn(BaseModel):
    """Which records are wanted."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST)] = 100
    after: Annotated[str, Field(max_length=200, description="What `next` of the page before was.")] = ""


Op = Annotated[str, InPath(pattern=schema.OP, examples=["op_01kap0t9zr3x5q7w"])]


class _Answer(JSONResponse):
    """Canonical JSON in ASCII: the same value is always the same bytes, and nothing in it can fail to be encoded."""

    def render(self, content: Any) -> bytes:
        return canonical(content)


@dataclass(slots=True)
class _Meter:
    """How often each visitor asked within this minute; the lock is held while that is looked at or changed."""

    most: int
    now_s: Callable[[], float]
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def wait_s(self, who: str) -> int:
        """Count one more. Returns for how many seconds this is one too many; 0 if it is not."""
        now = int(self.now_s())
        with self.lock:
            if not self.began <= now < self.began + _WINDOW_S:
                self.began, self.counts = now, {}
            self.counts[who] = count = self.counts.get(who, 0) + 1
            return self.began + _WINDOW_S - now if self.most and count > self.most else 0


def build(site: Site) -> FastAPI:
    """The API of a site, to be mounted at `/api/v1`."""
    meter = _Meter(site.config.count("serve.api_rate"), site.now_s)
    app = FastAPI(
        title="go-cache-safeguard",
        version=__version__,
        description="Decisions about removals that are held. See docs/api.md.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_routes(app.router, meter)
    app.router.routes.append(Route("/openapi.json", _document, methods=["GET"]))
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Failure, _failed)
    return app


def _add_routes(router: APIRouter, meter: _Meter) -> None:
    class Guarded(APIRoute):
        """Who asks is known, and may, before anything of a body is looked at."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle, action = super().get_route_handler(), str((self.openapi_extra or {})["x-action"])

            async def guarded(request: Request) -> Response:
                await run_in_threadpool(_admit, request, action, meter)
                return await handle(request)

            return guarded

    router.route_class = Guarded
    for path, method, action, endpoint, model in ROUTES:
        changes = MATRIX[action].changes
        errors = {**_EVERYBODY, **(_CHANGING if changes else {})}
        made = _MADE.get(endpoint, (200,))
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            operation_id=endpoint.__name__,
            summary=(endpoint.__doc__ or "").partition("\n")[0].rstrip("."),
            description=_description(endpoint, action),
            response_class=_Answer,
            status_code=made[0],
            responses={**{status: {"model": model} for status in made}, **_problems(errors)},
            openapi_extra={"x-action": action, "security": [{"token": []}, {"session": []}]},
            tags=["decisions" if changes else "questions"],
        )


def _admit(request: Request, action: str, meter: _Meter) -> None:
    who = needs(request, action)
    wait_s = meter.wait_s(f"{who.voter.tenant}/{who.voter.principal}")
    if wait_s:
        raise HTTPException(429, "too many requests within a minute", {"Retry-After": str(wait_s)})


# --- questions ---------------------------------------------------------------------------------------------------------


def list_operations(request: Request, asked: Annotated[_Asked, Query()]) -> Response:
    """What waits, the oldest first."""
    page = _desk(request).inbox(
        states=frozenset(asked.state) or WAITING, after=_bare(asked.after), limit=asked.limit, text=asked.text
    )
    shown, cut = _fitting([schema.operation_out(one) for one in page.operations])
    following = str(shown[-1]["op"]) if cut else page.next
    return _Answer(
        {
            "schema": f"{schema.PREFIX}/operations/1",
            "operations": shown,
            "total": page.total,
            "next": _cursor(following),
        }
    )


def get_operation(request: Request, op: Op) -> Response:
    """One operation: where it stands, who approved it, what came of it."""
    return _operation(_desk(request), op)


def get_evidence(request: Request, op: Op) -> Response:
    """What people look at before they decide: the evidence pack."""
    return _Answer(pack_of(_desk(request), op, _plans(request)).as_value())


def get_records(request: Request, op: Op, turn: Annotated[_Turn, Query()]) -> Response:
    """All that the journal says of one operation."""
    desk, since = _desk(request), _number(turn.after)
    desk.operation(op)
    records = [one for one in desk.records(op) if one.seq > since]
    return _records(records[: turn.limit], more=len(records) > turn.limit)


def get_journal(request: Request, turn: Annotated[_Turn, Query()]) -> Response:
    """Every record of the journal, in order."""
    records = _desk(request).journal(_number(turn.after), turn.limit + 1)
    return _records(records[: turn.limit], more=len(records) > turn.limit)


# --- decisions ---------------------------------------------------------------------------------------------------------


def file_operation(request: Request, body: schema.Filing) -> Response:
    """File an operation that a host of a fleet holds. The same one again changes nothing and is answered with 200."""
    who, desk = _visitor(request), _desk(request)
    told = body.model_dump(exclude={"evidence"})
    pack = read_pack(body.evidence) if body.evidence else None
    if isinstance(pack, str):
        raise Refusal(
            422, f"the evidence cannot be used: {pack}", hint="send what `ops show --evidence` gives, or none"
        )
    new = _known(desk, body.op) is None
    requester = f"{body.requester}@{who.name}"
    operation = desk.file(
        body.op, requester, _entries(body, who, pack, digest(canonical(told)), _ends(request, desk, body))
    )
    if operation.data.get("filed_by") != who.voter.principal:
        raise Refusal(409, f"{body.op} was filed by somebody else", hint="ask under a new id")
    answer = _operation(desk, body.op)
    answer.status_code = 201 if new else 200
    return answer


def approve(request: Request, op: Op, body: schema.Approve) -> Response:
    """Approve exactly this plan; the last one of those that it takes makes it APPROVED."""
    desk = _desk(request)
    if body.evidence and body.evidence != pack_of(desk, op, _plans(request)).digest:
        raise NotApproved(
            "the evidence is not what you say you have seen",
            not_done=f"{op} stays as it is",
            hint=f"look again: GET /operations/{op}/evidence",
        )
    return _ballot(desk.approve(op, _visitor(request).voter, body.typed, seen=body.evidence))


def mint(request: Request, op: Op, body: schema.Mint) -> Response:
    """Mint a token that approves exactly this plan, once, in the name of who asks; only this answer has it."""
    desk = _desk(request)
    token = desk.mint(op, _visitor(request).voter, body.expires_s)
    record = _minted(desk, op, token)
    assert record is not None  # noqa: S101 - it was written just now, and nothing is ever removed
    return _Answer(schema.token_out(token, record), 201)


def redeem(request: Request, op: Op, body: schema.Redeem) -> Response:
    """Approve with a token that an approver has minted; it counts once."""
    token, desk = parse_token(body.token), _desk(request)
    if token is None:
        raise Refusal(422, "this is no token", hint="an approver mints one: POST /operations/{op}/token")
    record = _minted(desk, op, token)
    if record is not None and _is_of_nobody(request, record):
        raise no_more(op, record)
    return _ballot(desk.redeem(op, token, _visitor(request).voter.principal))


def reject(request: Request, op: Op, body: schema.Why) -> Response:
    """Say no, for ever."""
    desk = _desk(request)
    desk.reject(op, _visitor(request).voter, body.why)
    return _operation(desk, op)


def cancel(request: Request, op: Op, body: schema.Why) -> Response:
    """Take it back: who asked, or the host that filed it for them."""
    who, desk = _visitor(request), _desk(request)
    operation = desk.operation(op)
    voter = replace(who.voter, principal=operation.requester) if _filed_by(operation, who) else who.voter
    desk.cancel(op, voter, body.why)
    return _operation(desk, op)


def break_glass(request: Request, op: Op, body: schema.BreakGlass) -> Response:
    """Go on alone, in an emergency; somebody else reviews it."""
    return _ballot(_desk(request).break_glass(op, _visitor(request).voter, body.typed, body.reason))


def review(request: Request, op: Op, body: schema.Review) -> Response:
    """Say afterwards whether the glass was broken for a good reason."""
    desk = _desk(request)
    desk.review(op, _visitor(request).voter, body.finding, body.text)
    return _operation(desk, op)


def consume(request: Request, op: Op, body: schema.Consume) -> Response:
    """Use an approval, exactly once, for this plan; only the host that filed it."""
    desk, who = _desk(request), _visitor(request)
    _own(desk, op, who)
    desk.consume(op, who.voter.principal, body.digest)
    return _operation(desk, op)


def tell_outcome(request: Request, op: Op, body: schema.Outcome) -> Response:
    """Say what came of it; only the host that filed it, once."""
    desk, who = _desk(request), _visitor(request)
    _own(desk, op, who)
    before = _outcome(desk, op)
    if before not in {None, body.state}:
        raise Refusal(409, f"it was told already that {op} is {before}")
    if before is None:
        desk.tell(op, {"state": body.state, "why": body.why, "receipt": body.receipt, "by": who.voter.principal})
    return _operation(desk, op)


Endpoint = Callable[..., Response]

ROUTES: tuple[tuple[str, str, str, Endpoint, type[BaseModel] | None], ...] = (
    ("/operations", "GET", "inbox", list_operations, schema.OperationsOut),
    ("/operations", "POST", "request", file_operation, schema.OperationOut),
    ("/operations/{op}", "GET", "operation", get_operation, schema.OperationOut),
    ("/operations/{op}/evidence", "GET", "evidence", get_evidence, None),
    ("/operations/{op}/records", "GET", "records", get_records, schema.RecordsOut),
    ("/operations/{op}/approve", "POST", "approve", approve, schema.BallotOut),
    ("/operations/{op}/token", "POST", "mint", mint, schema.TokenOut),
    ("/operations/{op}/redeem", "POST", "redeem", redeem, schema.BallotOut),
    ("/operations/{op}/reject", "POST", "reject", reject, schema.OperationOut),
    ("/operations/{op}/cancel", "POST", "cancel", cancel, schema.OperationOut),
    ("/operations/{op}/break-glass", "POST", "break-glass", break_glass, schema.BallotOut),
    ("/operations/{op}/review", "POST", "review", review, schema.OperationOut),
    ("/operations/{op}/consume", "POST", "consume", consume, schema.OperationOut),
    ("/operations/{op}/outcome", "POST", "outcome", tell_outcome, schema.OperationOut),
    ("/journal", "GET", "journal", get_journal, schema.RecordsOut),
)
"""Path, method, action of the matrix, what answers, and what it answers with."""
_MADE: Mapping[Endpoint, tuple[int, ...]] = {file_operation: (201, 200), mint: (201,)}
"""With which statuses calls are answered that make something."""


# --- inside ------------------------------------------------------------------------------------------------------------


def _visitor(request: Request) -> Visitor:
    found = visitor(request)
    assert found is not None  # noqa: S101 - the route let nobody else in
    return found


def _desk(request: Request) -> Desk:
    return site_of(request).desks(_visitor(request).voter.tenant)


def _known(desk: Desk, op: str) -> Operation | None:
    try:
        return desk.operation(op)
    except Failure as failure:
        if _status_of(failure) == HTTPStatus.NOT_FOUND:
            return None
        raise


def _plans(request: Request) -> Path:
    return Path(site_of(request).config.text("state.dir")) / "plans"


def _minted(desk: Desk, op: str, token: Token) -> Record | None:
    """What the journal says of a token; None if it was not given out for this operation."""
    return next((it for it in desk.records(op) if it.step == TOKEN and it.data.get("sha256") == token.stored), None)


def _is_of_nobody(request: Request, minted: Record) -> bool:
    """Whether the person who minted a token is known here, and may not approve any more."""
    return barred(site_of(request).people, _visitor(request).voter.tenant, minted)


def _filed_by(operation: Operation, who: Visitor) -> bool:
    return bool(operation.data.get("filed_by")) and operation.data["filed_by"] == who.voter.principal


def _own(desk: Desk, op: str, who: Visitor) -> None:
    if not _filed_by(desk.operation(op), who):
        raise Refusal(
            403, f"{op} was not filed by {who.name}", hint="only the host that holds an operation carries it out"
        )


def _ends(request: Request, desk: Desk, body: schema.Filing) -> int:
    """When it waits no more: whichever comes first, of the host's time and of ours."""
    return int(site_of(request).now_s()) + min(body.expires_in_s, desk.rules.expires_s)


def _entries(body: schema.Filing, who: Visitor, pack: Pack | None, filing: str, expires_s: int) -> list[Entry]:
    """The first records of an operation, as the host tells them. HELD gets the terms of this desk."""
    asked: dict[str, Value] = {
        "kind": body.kind,
        "target": body.target,
        "identity": body.identity,
        "selectors": list(body.selectors),
        "digest": body.digest,
        "items": body.items,
        "bytes": body.bytes,
        "whole": body.whole_bytes,
        "host": who.name,
        "filed_by": who.voter.principal,
        "filing": filing,
        **({"final": body.final} if body.final else {}),
    }
    verdicts: list[Value] = [{**one.model_dump(), "evidence": [], "remedy": []} for one in body.verdicts]
    evidence = [] if pack is None else [Entry(FILED, {"evidence": pack.as_value()}, body.op)]
    return [
        Entry(str(State.REQUESTED), asked, body.op),
        Entry(str(State.CHECKED), {"verdicts": verdicts}, body.op),
        *evidence,
        Entry(str(State.HELD), {"reasons": list(body.reasons), "expires_s": expires_s}, body.op),
    ]


def _operation(desk: Desk, op: str) -> _Answer:
    return _Answer(schema.operation_out(desk.operation(op), _outcome(desk, op)))


def _outcome(desk: Desk, op: str) -> str | None:
    told = (str(one.data.get("state")) for one in desk.records(op) if one.step == TOLD)
    return next((state for state in told if state in State.__members__), None)


def _ballot(ballot: Any) -> _Answer:
    return _Answer(
        {
            "schema": f"{schema.PREFIX}/ballot/1",
            "op": ballot.op,
            "state": str(ballot.state),
            "needed": ballot.needed,
            "approvers": list(ballot.approvers),
            "left": ballot.left,
            "emergency": ballot.emergency,
        }
    )


def _fitting(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """As many as fit into one page, one at least; and whether some do not."""
    size, shown = 0, list[dict[str, Any]]()
    for one in found:
        size += len(canonical(one))
        if shown and size > PAGE_BYTES:
            return shown, True
        shown.append(one)
    return shown, False


def _records(records: Iterable[Record], *, more: bool) -> _Answer:
    shown, cut = _fitting([schema.record_out(one) for one in records])
    following = _cursor(str(shown[-1]["seq"])) if more or cut else None
    return _Answer({"schema": f"{schema.PREFIX}/records/1", "records": shown, "next": following})


def _cursor(after: str) -> str | None:
    return urlsafe_b64encode(f"1:{after}".encode()).rstrip(b"=").decode("ascii") if after else None


def _bare(cursor: str) -> str:
    """What stands in a cursor.

    Raises:
        Refusal: It is none of ours.
    """
    if not cursor:
        return ""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    if not text.startswith("1:"):
        raise Refusal(422, "`after` is not what `next` of a page was")
    return text[2:]


def _number(cursor: str) -> int:
    text = _bare(cursor) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refusal(422, "`after` is not what `next` of a page was")
    return int(text)


# --- failures ----------------------------------------------------------------------------------------------------------


class _Problem(Response):
    media_type = schema.PROBLEM

    def render(self, content: Any) -> bytes:
        return canonical(content)


async def refused(_request: Request, error: Exception) -> Response:
    """What Starlette or the matrix refuses, as a problem."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these alone
    failure_id, title = _TITLES.get(error.status_code, ("bad-request", "the request cannot be understood"))
    value = schema.problem(error.status_code, failure_id, title, str(error.detail), not_done="nothing changed")
    return _Problem(value, error.status_code, dict(error.headers or {}))


async def _invalid(_request: Request, error: Exception) -> Response:
    """Which fields, and why; never what stood in them."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these alone
    faults = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:10]]
    value = schema.problem(422, *_TITLES[422], "; ".join(faults), hint="see openapi.json", not_done="nothing changed")
    return _Problem(value, 422)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, Failure)  # noqa: S101 - registered for these alone
    status = await run_in_threadpool(_settled_status, request, error)
    return _Problem(schema.problem_of(error, status), status)


def _settled_status(request: Request, failure: Failure) -> int:
    """The status of a failure; of a decision that came too late, the one that tells so."""
    status, op = _status_of(failure), request.path_params.get("op", "")
    if failure.id != "not-approved":
        return status
    operation = _known(_desk(request), op) if op else None
    if operation is None:
        return 409
    if operation.state is State.EXPIRED:
        return 410
    return 409 if operation.state is not State.HELD or request.url.path.endswith("/consume") else 403


_STATUS = {"no-such-operation": 404, "not-approved": 403, "illegal-transition": 409, "plan-void": 409, "usage": 422}


def _status_of(failure: Failure) -> int:
    return failure.status if isinstance(failure, Refusal) else _STATUS.get(failure.id, 503)


# --- the document ------------------------------------------------------------------------------------------------------


def _description(endpoint: Endpoint, action: str) -> str:
    rule = MATRIX[action]
    roles = ", ".join(sorted(rule.roles))
    return f"{(endpoint.__doc__ or '').strip()}\n\nRole: one of {roles}. Scope of a token: {rule.scope}."


def _problems(errors: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    content = {schema.PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    return {status: {"description": text, "content": content} for status, text in errors.items()}


def _document(request: Request) -> Response:
    return JSONResponse(document(request.scope.get("root_path", "") or "/api/v1"))


@cache
def document(at: str = "/api/v1") -> dict[str, Any]:
    """The whole API, as OpenAPI 3.1 describes it.

    Args:
        at: Below which path it is found.
    """
    router = APIRouter()
    _add_routes(router, _Meter(0, lambda: 0.0))
    value = get_openapi(
        title="go-cache-safeguard",
        version=__version__,
        openapi_version="3.1.0",
        description="Decisions about removals that are held. Sizes are whole numbers of bytes, times RFC 3339 in UTC.",
        routes=router.routes,
        servers=[{"url": at}],
    )
    parts = value.setdefault("components", {})
    schemas = {
        name: one for name, one in parts["schemas"].items() if name not in {"HTTPValidationError", "ValidationError"}
    }
    schemas["ProblemOut"] = schema.ProblemOut.model_json_schema()
    schemas["EvidencePack"] = schema_of_pack()
    evidence = value["paths"]["/operations/{op}/evidence"]["get"]["responses"]["200"]
    evidence["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/EvidencePack"}}}
    parts["schemas"] = schemas
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`serve token add` mints one."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-safeguard-session",
            "description": "Of somebody who logged in. What changes anything needs the header X-CSRF-Token as well.",
        },
    }
    return value
