"""The copy that a clean makes of what will go, before it goes.

Knows:     where it is kept (a file or the repository), what the journal says of it, and that a copy which lacks something is none.
Called by: the command line's `clean --snapshot`; `flows.remove` carries it out.
Never:     lets a clean go on without the copy that was asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.flows.remove import Snapshotter
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.tree.root import Root

if TYPE_CHECKING:
    from go_cache_safeguard.snapshot.manifest import Skipped


class CopyIncomplete(Failure):
    """The copy lacks something that would go."""

    id = "copy-incomplete"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "the snapshot before a clean lacks something that the plan would remove, so nothing was removed"


def copy_to_file(session: Session, path: Path, *, key: Path | None = None) -> Snapshotter:
    """Copy into one archive.

    Args:
        session: Who works, with which settings.
        path: A new file; a name that ends in `.zst` is compressed.
        key: File with a private key to sign with.

    Raises:
        UsageFailure: The file exists, or its folder does not.
    """
    target = session.cwd / path
    if target.exists() or not target.parent.is_dir():
        why = "exists already" if target.exists() else f"cannot be made: there is no folder {target.parent}"
        raise UsageFailure(f"{path} {why}", not_done="nothing was done", hint="give the snapshot a new file")

    def copy(session: Session, _root: Root, _op: str, plan: Plan) -> Mapping[str, Value]:
        from go_cache_safeguard.flows.snapshot import create, of_plan  # noqa: PLC0415 - loaded where used

        made = create(session, of_plan(plan), target, compress=target.suffix == ".zst", digest=True, key=key)
        _refuse_holes(str(made.path), made.manifest.skipped)
        return {
            "file": str(made.path),
            "sha256": made.sha256,
            "manifest": made.manifest.root,
            "files": len(made.manifest.entries),
            "bytes": made.manifest.size,
            "signed": made.signed,
        }

    return copy


def copy_to_repository(*, key: Path | None = None) -> Snapshotter:
    """Copy into the repository of the setting `snapshot.repository`, tagged with the operation.

    Args:
        key: File with a private key to sign with.
    """

    def copy(session: Session, _root: Root, op: str, plan: Plan) -> Mapping[str, Value]:
        from go_cache_safeguard.flows.repository import create  # noqa: PLC0415 - brings obstore
        from go_cache_safeguard.flows.snapshot import of_plan  # noqa: PLC0415 - loaded where used

        made = create(session, of_plan(plan), tags=(op,), key=key)
        _refuse_holes(made.record.id, made.skipped)
        return {
            "id": made.record.id,
            "repository": made.repository,
            "manifest": made.record.manifest,
            "files": made.record.files,
            "bytes": made.record.size,
            "signed": key is not None,
        }

    return copy


def _refuse_holes(where: str, skipped: "Sequence[Skipped]") -> None:
    if skipped:
        name, why = skipped[0]
        raise CopyIncomplete(
            f"the snapshot {where} lacks {len(skipped)} of the entries that would go, first {name}: {why}",
            not_done="nothing was removed; the snapshot stays",
            hint="make a new plan: what is used or gone since is not in it",
        )
