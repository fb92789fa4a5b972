"""`ops show --evidence`: the evidence pack of an operation.

Knows:     how a pack is printed.
Called by: `cli.operations`.
Never:     leaves out what is unknown.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from go_cache_safeguard.approval.evidence import Pack
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.session import Session

_ANSWERS = (
    ("blast_radius", "predicted reach"),
    ("dependents", "who depends on it"),
    ("rebuild_cost", "making it again"),
    ("undo", "the way back"),
    ("snapshot", "snapshot"),
    ("failing_traces", "failing traces"),
    ("prediction", "simulation"),
)


def show_evidence(session: "Session", screen: "Screen", op: str, *, json: bool) -> str:
    """Print a pack as text, or as JSON. Returns its digest.

    Args:
        session: Whose journal and plans.
        screen: Where it is printed.
        op: The operation.
        json: Whether as JSON.
    """
    from go_cache_safeguard.flows.pack import JournalRecords, pack_of

    with session.journal(read_only=True) as journal:
        pack = pack_of(JournalRecords(journal), op, session.state_dir / "plans")
    if json:
        screen.document("evidence-pack", 1, pack.as_value())
    else:
        _show(screen, pack)
    return pack.digest


def _show(screen: "Screen", pack: "Pack") -> None:
    value = pack.value
    screen.line(f"evidence of {value['op']}, {value['state']}", "bold")
    for label, text in (
        ("target", value["target"]),
        ("plan digest", value["plan"]["digest"]),
        ("evidence", pack.digest),
        ("frozen", value["frozen_at"] or "not yet: policy has not decided"),
        ("plan", value["plan"]["why"]),
    ):
        if text:
            screen.line(f"  {label:<17} {text}")
    for name, label in _ANSWERS:
        part = value[name]
        screen.line(f"  {label:<17} {part['state']}: {part['text']}")
        for line in part["lines"]:
            screen.line(f"  {'':<17} {line}")
    for counted in value["counts"]:
        screen.heading(f"by {counted['by']}")
        screen.table((counted["by"], "items", "size", "share"), _rows(counted, value["plan"]["bytes"]), right=(1, 2, 3))
    if value["history"]:
        screen.heading("before, on the same target")
        rows = [(one["op"], one["state"], one["requester"], one["at"]) for one in value["history"]]
        screen.table(("operation", "state", "requester", "since"), rows)


def _rows(counted: dict[str, Any], whole: int | None) -> list[tuple[str, str, str, str]]:
    from go_cache_safeguard.core.size import format_size

    groups, others = [(one["name"], one) for one in counted["groups"]], counted["others"]
    if others["groups"]:
        groups.append((f"{others['groups']:,} others", others))
    return [
        (_plain(name), f"{one['items']:,}", format_size(one["bytes"]), f"{one['bytes'] / whole:.1%}" if whole else "")
        for name, one in groups
    ]


def _plain(name: str) -> str:
    """A name of somebody else, which cannot steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in name)
