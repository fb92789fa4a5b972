"""One place of instrumentation by hand.

Knows:     what a finding is, what makes two of them the same one, and what is asked to be gone.
Called by: `debt.calls`, `debt.baseline`, `debt.sarif`, `flows.debt`.
Never:     reads a file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Api(StrEnum):
    """Whose calls they are."""

    OPENTRACING = "opentracing"
    OPENTELEMETRY = "opentelemetry"


@unique
class Kind(StrEnum):
    """What the code does there."""

    IMPORT = "import"
    BUILD = "build-span"
    START = "start-span"
    FINISH = "finish"
    CARRY = "inject-extract"
    GLOBAL = "global-tracer"


@unique
class Forbid(StrEnum):
    """What is not to be written any more."""

    OPENTRACING = "opentracing"
    MANUAL = "manual"
    ALL = "all"


@dataclass(frozen=True, slots=True, order=True)
class Known:
    """What a finding is known by; its line's number is not part of it, so code may move.

    Attributes:
        file: As in `Finding`.
        api: Whose call.
        symbol: What is named there.
        line_hash: Of the line's text without the space around and between its words, 16 hex digits.
    """

    file: str
    api: Api
    symbol: str
    line_hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One place.

    Attributes:
        file: Relative to where the check was started, with slashes.
        line: From 1.
        column: In characters, from 1.
        api: Whose call.
        kind: What it does.
        symbol: What is named there: `io.opentracing.Span`, `tracer.buildSpan`.
        line_hash: See `Known`.
    """

    file: str
    line: int
    column: int
    api: Api
    kind: Kind
    symbol: str
    line_hash: str

    @property
    def known_by(self) -> Known:
        """What makes it the same one in another version of the file."""
        return Known(self.file, self.api, self.symbol, self.line_hash)

    def as_value(self) -> Mapping[str, str | int]:
        """For `--json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "api": self.api.value,
            "kind": self.kind.value,
            "symbol": self.symbol,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file holds.

    Attributes:
        findings: In the order of the text.
        damage: The first line that is not of its language, from 1; 0 if all of it was understood.
    """

    findings: tuple[Finding, ...] = ()
    damage: int = 0


def line_hash(line: bytes) -> str:
    """What stands for a line: reindenting it changes nothing."""
    return hashlib.sha256(b" ".join(line.split())).hexdigest()[:16]


def is_forbidden(finding: Finding, forbid: Forbid) -> bool:
    """Whether it is debt. By OpenTelemetry's API only what makes spans by hand is, not an import alone."""
    if finding.api is Api.OPENTRACING:
        return forbid is not Forbid.MANUAL
    return forbid is not Forbid.OPENTRACING and finding.kind is not Kind.IMPORT
