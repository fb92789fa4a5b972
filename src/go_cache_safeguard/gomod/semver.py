"""Which of two module versions is the newer one.

Knows:     the order of versions such as `v1.2.3`, `v2.0.0-rc.1`, `v3.1.0+incompatible` and pseudo-versions.
Called by: `gomod.drift`.
Never:     asks which versions exist.
Source:    Semantic Versioning 2.0.0, section 11; golang.org/x/mod/semver `Compare`: what is no version comes before every version,
           and what follows a `+` does not count.
"""

import re
from typing import TypeAlias

_VERSION = re.compile(r"v(\d{1,18})\.(\d{1,18})\.(\d{1,18})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)

Rank: TypeAlias = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]


def rank(version: str) -> Rank:
    """A key that orders versions from the oldest to the newest."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (), ()
    major, minor, patch, before = found.groups()
    numbers = (int(major), int(minor), int(patch), 0 if before else 1)
    return numbers, tuple(_part(part) for part in before.split(".")) if before else ()


def _part(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdigit() and len(text) <= 18 else (1, 0, text)
