"""What the API takes and gives: the shape of every body, with its limits.

Knows:     names, forms and limits of fields; sizes are whole numbers of bytes, times RFC 3339 in UTC; how a failure looks.
Called by: `web.api`.
Never:     decides anything; takes a field that it does not name; gives a secret back, but a new token to whom it is minted for.
Source:    RFC 9457 (problem details), RFC 3339 section 5.6.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core.core_schema import CoreSchema, no_info_plain_validator_function

from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.journal.law import TOKEN
from go_cache_safeguard.journal.record import Record

PROBLEM = "application/problem+json"
MOST = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps exactly."""
EVIDENCE_BYTES = 256 << 10
"""An evidence pack in its canonical form is never larger."""
RECEIPT_BYTES = 64 << 10
OP = r"^op_[0-9a-z]{16}$"
DIGEST = r"^[0-9a-f]{64}$"
PREFIX = "go-cache-safeguard"
_EXAMPLE_OP = "op_01kap0t9zr3x5q7w"
_EXAMPLE_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_DEEP = 24


class _Form:
    """How a value of JSON is judged; what it looks like stands beside."""

    def __init__(self, check: Callable[[object], object], schema: dict[str, Any]) -> None:
        self._check, self._schema = check, schema

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        return no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, Any]:
        return dict(self._schema)


def _text(most: int) -> _Form:
    """Text that may hold bytes of a path which are not UTF-8 (PEP 383), as a plan does."""

    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"text of at most {most} characters is needed")
        return value

    return _Form(check, {"type": "string", "maxLength": most})


def _document(most: int) -> _Form:
    """An object of JSON that has one canonical form, and is not too large or too deep."""

    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, dict) or _depth(value) > _DEEP:
            raise ValueError(f"an object of at most {_DEEP} levels is needed")
        try:
            size = len(canonical(value))
        except TypeError as error:
            raise ValueError(f"it has no canonical form: {error}") from error
        if size > most:
            raise ValueError(f"it is larger than {most} bytes")
        return value

    return _Form(check, {"type": "object", "description": f"At most {most} bytes, no fractions."})


def _depth(value: object) -> int:
    """How many levels a value has, counted no further than matters."""
    level, depth = [value], 0
    while level and depth <= _DEEP:
        depth += 1
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for many in inner for one in many]
    return depth


Line = Annotated[str, _text(300)]
Name = Annotated[str, _text(64)]
Path = Annotated[str, _text(4096)]
Paragraph = Annotated[str, _text(1000)]
Evidence = Annotated[dict[str, Any], _document(EVIDENCE_BYTES)]
Receipt = Annotated[dict[str, Any], _document(RECEIPT_BYTES)]
Count = Annotated[int, Field(ge=0, le=MOST, strict=True)]
OpId = Annotated[str, Field(pattern=OP, examples=[_EXAMPLE_OP])]
Digest = Annotated[str, Field(pattern=DIGEST, examples=[_EXAMPLE_DIGEST])]
Typed = Annotated[
    str,
    Field(pattern=r"^[0-9a-fA-F]{8,64}$", description="The first digits of the plan's digest.", examples=["9f86d081"]),
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-01T00:00:01Z"])]
Requester = Annotated[
    str,
    Field(
        pattern=r"^uid:[0-9]{1,10}(\([^()@\x00-\x20\x7f]{0,64}\))?$",
        description="An account of the host. Which host that is, the API token says.",
        examples=["uid:1000(alice)"],
    ),
]


class _Body(BaseModel):
    """What somebody sends: a field that is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


class Check(_Body):
    """What one check said on the host."""

    check: Name
    outcome: Literal["PASS", "WARN", "UNKNOWN", "BLOCK"]
    summary: Line


class Filing(_Body):
    """An operation that a host holds, for people to decide on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "op": _EXAMPLE_OP,
                    "requester": "uid:1000(alice)",
                    "kind": "go-build-cache",
                    "target": "/home/alice/.cache/go-build",
                    "identity": "64769:1310722",
                    "digest": _EXAMPLE_DIGEST,
                    "items": 1200,
                    "bytes": 734003200,
                    "whole_bytes": 1073741824,
                    "reasons": ["68% of the cache would go"],
                    "expires_in_s": 86400,
                }
            ]
        },
    )

    op: OpId
    requester: Requester
    kind: Name
    target: Path
    identity: Line = ""
    selectors: Annotated[list[Line], Field(max_length=100)] = []
    digest: Digest
    items: Count
    bytes: Count
    whole_bytes: Count
    reasons: Annotated[list[Line], Field(max_length=100)] = []
    verdicts: Annotated[list[Check], Field(max_length=100)] = []
    final: Line = ""
    expires_in_s: Annotated[int, Field(ge=60, le=31_536_000, strict=True)] = 86_400
    evidence: Evidence = {}


class Approve(_Body):
    """Yes, to exactly this plan."""

    typed: Typed
    evidence: Annotated[
        str,
        Field(
            pattern=r"^([0-9a-f]{64})?$",
            description="SHA-256 of the canonical form of the evidence pack that you have seen, for the journal; empty for none.",
        ),
    ] = ""


class Mint(_Body):
    """A token is wanted, for exactly this plan."""

    expires_s: Annotated[
        int,
        Field(
            ge=60, le=86_400, strict=True, description="For how long it counts; never longer than the operation waits."
        ),
    ] = 3600


class Redeem(_Body):
    """A token that an approver has minted for exactly this plan."""

    token: Annotated[str, Field(min_length=1, max_length=100, description="Never in a URL; never logged.")]


class Why(_Body):
    """No, or not any more."""

    why: Paragraph = ""


class BreakGlass(_Body):
    """Yes, without those who would have to be asked."""

    typed: Typed
    reason: Annotated[Paragraph, Field(description="At least a sentence; kept in the journal.")]


class Review(_Body):
    """What somebody else found afterwards."""

    finding: Annotated[str, Field(pattern=r"^[a-z-]{1,32}$", examples=["justified"])]
    text: Paragraph = ""


class Consume(_Body):
    """An approval is used, once, for exactly this plan."""

    digest: Digest


class Outcome(_Body):
    """What came of it on the host."""

    state: Literal["DONE", "ROLLED_BACK", "UNKNOWN", "REFUSED", "CANCELLED", "EXPIRED", "PASSED", "WAITING"]
    why: Paragraph = ""
    receipt: Receipt = {}


class OperationOut(BaseModel):
    """One operation."""

    schema_: Annotated[Literal["go-cache-safeguard/operation/1"], Field(alias="schema")]
    op: OpId
    state: State
    requester: str
    host: str
    kind: str
    target: str
    digest: str
    items: int
    bytes: int
    whole_bytes: int
    at: Time
    last_at: Time
    expires_at: Time | None
    reasons: list[str]
    states: list[State]
    approvers: list[str]
    emergency: bool
    consumed_by: str
    outcome: Annotated[State | None, Field(description="What its host says came of it; null in a list.")]
    why: str
    data: dict[str, Any]


class OperationsOut(BaseModel):
    """Some operations, and where the next ones begin."""

    schema_: Annotated[Literal["go-cache-safeguard/operations/1"], Field(alias="schema")]
    operations: list[OperationOut]
    total: int
    next: Annotated[str | None, Field(description="Give it as `after`; null if there are no more.")]


class RecordOut(BaseModel):
    """One record of the journal."""

    seq: int
    at: Time
    actor: str
    host: str
    op: str | None
    step: str
    data: dict[str, Any]


class RecordsOut(BaseModel):
    """Records in order."""

    schema_: Annotated[Literal["go-cache-safeguard/records/1"], Field(alias="schema")]
    records: list[RecordOut]
    next: Annotated[str | None, Field(description="Give it as `after`; null if there are no more.")]


class BallotOut(BaseModel):
    """Where an approval stands."""

    schema_: Annotated[Literal["go-cache-safeguard/ballot/1"], Field(alias="schema")]
    op: OpId
    state: State
    needed: int
    approvers: list[str]
    left: int
    emergency: bool


class TokenOut(BaseModel):
    """A token that approves one plan once."""

    schema_: Annotated[Literal["go-cache-safeguard/approval-token/1"], Field(alias="schema")]
    op: OpId
    token: Annotated[str, Field(description="It is in this answer and nowhere else: keep it in a file of mode 600.")]
    expires_at: Time


class ProblemOut(BaseModel):
    """Why something was not done."""

    type: Annotated[str, Field(examples=["urn:go-cache-safeguard:not-approved"])]
    title: str
    status: int
    detail: str
    id: Annotated[str, Field(description="The failure's name, for programs.", examples=["not-approved"])]
    hint: str
    not_done: str


def problem(
    status: int, failure_id: str, title: str, detail: str, *, hint: str = "", not_done: str = ""
) -> dict[str, Any]:
    """A failure as RFC 9457 has it."""
    return {
        "type": f"urn:{PREFIX}:{failure_id}",
        "title": title,
        "status": status,
        "detail": detail,
        "id": failure_id,
        "hint": hint,
        "not_done": not_done,
    }


def problem_of(failure: Failure, status: int) -> dict[str, Any]:
    """The same of a failure of ours."""
    return problem(status, failure.id, failure.meaning, failure.what, hint=failure.hint, not_done=failure.not_done)


_SECRETS = frozenset({"token", "also", "filing"})
"""What of a record is for nobody: the digest of a token, a person's other names, what only we compare."""


def operation_out(operation: Operation, outcome: str | None = None) -> dict[str, Any]:
    """An operation as `OperationOut` says.

    Args:
        operation: As it stands.
        outcome: What its host says came of it.
    """
    data = operation.data
    approvers = data.get("approvers") or ([data["approver"]] if data.get("approver") else [])
    return {
        "schema": f"{PREFIX}/operation/1",
        "op": operation.id,
        "state": str(operation.state),
        "requester": operation.requester,
        "host": str(data.get("host", "")),
        "kind": str(data.get("kind", "")),
        "target": str(data.get("target", "")),
        "digest": str(data.get("digest", "")),
        "items": _number(data, "items"),
        "bytes": _number(data, "bytes"),
        "whole_bytes": _number(data, "whole"),
        "at": operation.at,
        "last_at": operation.last_at,
        "expires_at": _moment(data.get("expires_s")),
        "reasons": [str(one) for one in data.get("reasons", ())],
        "states": [str(one) for one in operation.states],
        "approvers": [str(one) for one in approvers],
        "emergency": bool(data.get("emergency", False)),
        "consumed_by": str(data.get("consumed_by", "")),
        "outcome": outcome,
        "why": str(data.get("why", "")),
        "data": without_secrets(data),
    }


def record_out(record: Record) -> dict[str, Any]:
    """A record as `RecordOut` says."""
    return {
        "seq": record.seq,
        "at": record.at,
        "actor": record.actor,
        "host": record.host,
        "op": record.op,
        "step": record.step,
        "data": without_secrets(record.data, also="sha256" if record.step == TOKEN else ""),
    }


def token_out(token: Token, record: Record) -> dict[str, Any]:
    """A token as `TokenOut` says.

    Args:
        token: Just minted.
        record: What the journal says of it.
    """
    return {
        "schema": f"{PREFIX}/approval-token/1",
        "op": record.op,
        "token": token.text,
        "expires_at": _moment(record.data.get("expires_s")),
    }


def without_secrets(data: Mapping[str, Any], *, also: str = "") -> dict[str, Any]:
    """What was said, without what is for nobody."""
    return {key: value for key, value in data.items() if key not in _SECRETS and key != also}


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key, 0)
    return value if isinstance(value, int) else 0


def _moment(seconds: object) -> str | None:
    if not isinstance(seconds, int) or not 0 < seconds < 253_402_300_800:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
