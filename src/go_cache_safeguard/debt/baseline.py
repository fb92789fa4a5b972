"""What was known when somebody drew the line, and what came since.

Knows:     the file's form, and that a line that stands twice is known twice.
Called by: `flows.debt`.
Never:     reads or writes the file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeAlias

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.debt.finding import Api, Finding, Known

SCHEMA = "go-cache-safeguard/debt-baseline/1"
Baseline: TypeAlias = Mapping[Known, int]
"""How often each is known."""


class BaselineBad(Failure):
    """A baseline file cannot be understood."""

    id = "baseline-bad"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning = "the baseline of instrumentation by hand is damaged, or of another version"


def baseline_of(findings: Iterable[Finding]) -> Baseline:
    """Everything that is there now."""
    return Counter(one.known_by for one in findings)


def write(baseline: Baseline) -> str:
    """The file: one line for each, in order, so that two versions of it can be compared."""
    rows = [
        json.dumps(
            {"file": known.file, "api": known.api, "symbol": known.symbol, "line": known.line_hash, "count": count}
        )
        for known, count in sorted(baseline.items())
    ]
    body = ",\n".join(f"    {row}" for row in rows)
    return (
        f'{{\n  "schema": "{SCHEMA}",\n  "findings": [\n{body}\n  ]\n}}\n'
        if rows
        else (f'{{\n  "schema": "{SCHEMA}",\n  "findings": []\n}}\n')
    )


def read(text: str) -> Baseline:
    """Read the file.

    Raises:
        BaselineBad: It is none of ours.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise BaselineBad(f"this baseline is {document['schema']!r}, not {SCHEMA}", not_done="nothing was compared")
        rows = [_row(row) for row in document["findings"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BaselineBad(
            f"the baseline cannot be understood: {error}",
            not_done="nothing was compared",
            hint="take it from version control again, or write a new one with --write-baseline",
        ) from error
    baseline: Counter[Known] = Counter()
    for known, count in rows:
        baseline[known] += count
    return baseline


def _row(row: object) -> tuple[Known, int]:
    match row:
        case {"file": str(file), "api": str(api), "symbol": str(symbol), "line": str(line), "count": int(count)} if (
            count > 0
        ):
            return Known(file, Api(api), symbol, line), count
    raise ValueError(f"{row} is not a finding")


def fresh(findings: Iterable[Finding], baseline: Baseline) -> tuple[Finding, ...]:
    """What the baseline does not know; of equal ones, the last in the text."""
    left = Counter(baseline)
    new = []
    for finding in findings:
        if left[finding.known_by] > 0:
            left[finding.known_by] -= 1
        else:
            new.append(finding)
    return tuple(new)
