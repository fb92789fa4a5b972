"""Keep what a proof showed, where a rollback does not reach it.

Knows:     where evidence lies and how it is named.
Called by: `flows.remove`, before it puts anything back.
Never:     writes into a cache or over an older file; stands in the way of putting back.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.flows.prove import Proof
from go_cache_safeguard.flows.session import Session, now_text

FOLDER = "evidence"
SCHEMA = "go-cache-safeguard/evidence/1"
_TIMES = 100
"""proofs of one operation that are kept: `recover` may make it again."""


def keep(session: Session, op: str, target: Path, proof: Proof) -> str:
    """Write down all that a proof showed, durably.

    Args:
        session: Whose state directory.
        op: The operation.
        target: The cache.
        proof: What was shown.

    Returns:
        Where it lies, or why it could not be written, in half a sentence.
    """
    value: dict[str, Value] = {
        "schema": SCHEMA,
        "op": op,
        "at": now_text(),
        "target": str(target),
        "passed": proof.passed,
        "evidence": list(proof.evidence),
        "steps": [{**step.verdict.as_value(), "kept": step.kept} for step in proof.steps],
    }
    data = json.dumps(value, indent=2, ensure_ascii=True).encode("ascii") + b"\n"
    try:
        return str(_write(session.state_folder(FOLDER), op, data))
    except OSError as error:
        return f"it could not be kept: {error.strerror or error}"


def _write(folder: Path, op: str, data: bytes) -> Path:
    if not is_operation_id(op):
        raise ValueError(op)
    for path in _names(folder, op):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        _sync(folder)
        return path
    raise FileExistsError(f"{op} has {_TIMES} files of evidence already")


def _names(folder: Path, op: str) -> Iterator[Path]:
    yield folder / f"{op}.json"
    for number in range(2, _TIMES + 1):
        yield folder / f"{op}.{number}.json"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
