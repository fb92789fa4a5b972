"""What a go.sum file, and the file `.ziphash` beside a zip, say.

Knows:     the lines of go.sum, which of them go passes over, and where a hash was read.
Called by: `gomod.verify`, and `flows.modules`, which reads the files.
Never:     opens a file; decides whether a line is missing.
Source:    cmd/go/internal/modfetch/fetch.go `readGoSum`, `emptyGoModHash`, `isValidSum`; read in go1.21.13 and go1.27.3.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_EMPTY_GO_MOD = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="
"""Written for modules without go.mod by an old fault of Go; go passes such lines over, and so do we."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One hash that a go.sum file demands.

    Attributes:
        h1: `h1:` and base64.
        where: The file, and the line: `/m/go.sum:3`.
    """

    h1: str
    where: str


@dataclass(frozen=True, slots=True)
class SumFile:
    """One go.sum or go.work.sum.

    Attributes:
        path: Where it lies, printable.
        pins: Module path and version (with `/go.mod` for the line of a go.mod file) to what is demanded.
        malformed: Numbers of lines that go would not accept, from 1. Go1.21 overlooks everything from the first of them on;
            go1.26 and go1.27 fail.
    """

    path: str
    pins: Mapping[tuple[str, str], tuple[Pin, ...]]
    malformed: tuple[int, ...]


def parse_sum(data: bytes, path: str) -> SumFile:
    """Read a go.sum file.

    Args:
        data: Its whole content.
        path: For people.
    """
    pins: dict[tuple[str, str], tuple[Pin, ...]] = {}
    malformed = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3:
            malformed.append(number)
            continue
        module, version, h1 = fields
        if h1.startswith("h1:") and h1 != _EMPTY_GO_MOD:
            pins[module, version] = (*pins.get((module, version), ()), Pin(h1, f"{path}:{number}"))
    return SumFile(path, pins, tuple(malformed))


def merge(files: Iterable[SumFile]) -> Mapping[tuple[str, str], tuple[Pin, ...]]:
    """All that several files demand; two that contradict each other are both kept, so that one of them is not met."""
    merged: dict[tuple[str, str], tuple[Pin, ...]] = {}
    for file in files:
        for key, pins in file.pins.items():
            merged[key] = (*merged.get(key, ()), *pins)
    return merged


def parse_ziphash(data: bytes) -> str | None:
    """Read a `.ziphash` file; None if it holds no hash."""
    text = data.strip().decode("ascii", "replace")
    if not text.startswith("h1:"):
        return None
    try:
        return text if len(b64decode(text[3:], validate=True)) == 32 else None
    except (ValueError, binascii.Error):
        return None
