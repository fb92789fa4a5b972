"""docs/benchmarks.md: one section for each benchmark, written by the benchmark itself.

Knows:     where a section begins and ends, and what every section says about the machine.
Called by: every benchmark.
Never:     measures.
"""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def write_section(name: str, text: str) -> None:
    """Replace one section of the page; it must be there, between its markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = PAGE.read_text("utf-8")
    if begin not in page:
        raise SystemExit(f"{PAGE} has no section {name}")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    section = f"{begin}\n{text.strip()}\n{end}"
    PAGE.write_text(pattern.sub(lambda _match: section, page), "utf-8")
    print(text)


def machine() -> str:
    """One line about where and when."""
    load = os.getloadavg()[0]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{day}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, load {load:.1f} at the end."


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def verdict(ratio: float, goal: float) -> str:
    """Whether a goal was reached, in a word or two."""
    return f"met ({goal:g})" if ratio >= goal else f"**not met** ({goal:g})"
