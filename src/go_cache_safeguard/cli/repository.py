"""`snapshot` with a repository: list, show, diff, prune, and what `create` and `verify` do without a file.

Knows:     arguments, how snapshots are listed and compared, and how a prune is confirmed.
Called by: `cli.snapshot`.
Never:     decides what is kept or removed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import act, options
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.plan import Plan
    from go_cache_safeguard.flows.repository import Created, Listing
    from go_cache_safeguard.flows.repository_prune import Pruned, PrunePlan
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.flows.snapshot import Subject
    from go_cache_safeguard.snapshot.difference import Difference
    from go_cache_safeguard.snapshot.keep import Rules
    from go_cache_safeguard.snapshot.manifest import Entry
    from go_cache_safeguard.snapshot.record import Record
    from go_cache_safeguard.snapshot.repository import Snapshot

Repo = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="PLACE",
        help="The repository: a folder, s3://bucket/prefix, gs://... or az://...; default: the setting snapshot.repository.",
    ),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="A word to find it by. Repeatable.")]
_NAMES_SHOWN = 40
_SHORT = 10


def complete_snapshot(incomplete: str) -> list[str]:
    """Ids of snapshots, for the shell's completion; only of a local repository, where looking costs nothing."""
    from go_cache_safeguard.flows.repository import local_ids

    return [id_[:_SHORT] for id_ in local_ids(options.session(quiet=True)) if id_.startswith(incomplete)]


Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The beginning of a snapshot's id, or `latest`.", autocompletion=complete_snapshot
    ),
]


@dataclass(frozen=True)
class Keep:
    """Which snapshots a prune keeps."""

    last: Annotated[int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the newest N.")] = 0
    hourly: Annotated[int, typer.Option("--keep-hourly", metavar="N", min=0, help="Newest of each of N hours.")] = 0
    daily: Annotated[int, typer.Option("--keep-daily", metavar="N", min=0, help="Newest of each of N days.")] = 0
    weekly: Annotated[int, typer.Option("--keep-weekly", metavar="N", min=0, help="Newest of each of N weeks.")] = 0
    monthly: Annotated[int, typer.Option("--keep-monthly", metavar="N", min=0, help="Newest of each of N months.")] = 0
    yearly: Annotated[int, typer.Option("--keep-yearly", metavar="N", min=0, help="Newest of each of N years.")] = 0
    within: Annotated[
        str | None,
        typer.Option("--keep-within", metavar="TIME", help="Keep what is at most so much older than the newest."),
    ] = None
    keep_tag: Annotated[
        list[str] | None, typer.Option("--keep-tag", metavar="WORD", help="Keep what has this tag. Repeatable.")
    ] = None

    def rules(self) -> "Rules":
        """Read them."""
        from go_cache_safeguard.snapshot.keep import Rules

        return Rules(
            last=self.last,
            hourly=self.hourly,
            daily=self.daily,
            weekly=self.weekly,
            monthly=self.monthly,
            yearly=self.yearly,
            within_s=options.duration(self.within, "--keep-within"),
            tags=tuple(self.keep_tag or ()),
        )


def register(app: typer.Typer) -> None:
    """Add the commands that only a repository has."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(diff)
    app.command()(prune)


def create(
    session: "Session",
    subject: "Subject",
    *,
    repo: str | None,
    tags: list[str] | None,
    append_only: bool,
    key: Path | None,
    json: bool,
) -> None:
    """What `snapshot create` does without a file."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import repository

    created = repository.create(session, subject, place=repo, tags=tags or (), append_only=append_only, key=key)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("snapshot-stored", 1, created.as_value())
    else:
        _show_created(screen, created)


def verify(
    session: "Session",
    name: str | None,
    *,
    repo: str | None,
    read_data: bool,
    sample: str | None,
    seed: int | None,
    key: Path | None,
    json: bool,
) -> None:
    """What `snapshot verify` does with an id or `--all`."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import repository

    share = 1.0 if read_data else options.share(sample, "--sample")
    verified = repository.verify(session, name, repo, share=share, seed=seed, key=key)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("snapshot-repository-verify", 1, verified.as_value())
    else:
        for verdict in verified.verdicts:
            screen.verdict(verdict)
        if verified.unneeded:
            screen.line(f"{verified.unneeded:,} objects are needed by no snapshot; `snapshot prune` removes them")
    raise typer.Exit(exit_code(list(verified.verdicts)))


@options.grouped
def list_(
    *,
    repo: Repo = None,
    tags: Tags = None,
    common: options.Common,
) -> None:
    """List the snapshots of a repository, oldest first."""
    from go_cache_safeguard.flows.repository import list_all

    session = common.session()
    listing = list_all(session, repo)
    records = [record for record in listing.records if not tags or set(tags) & set(record.tags)]
    screen = common.screen(session)
    if common.json:
        screen.document("snapshot-list", 1, _listing_value(listing, records))
        return
    for cells in [_HEADINGS, *map(_row, records)] if records else []:
        screen.line(_columns(cells))
    for id_, why in listing.bad:
        screen.line(f"{id_[:_SHORT]}  {why}", "bold red")
    only = ", append-only" if listing.append_only else ""
    screen.line(
        f"{len(records):,} snapshots; {listing.repository} holds {listing.objects:,} objects, {format_size(listing.size)}{only}"
    )


@options.grouped
def show(
    id_: Id,
    *,
    files: Annotated[bool, typer.Option("--files", help="Every file, too.")] = False,
    repo: Repo = None,
    common: options.Common,
) -> None:
    """Show one snapshot of a repository."""
    from go_cache_safeguard.flows.repository import show as look

    session = common.session()
    snapshot = look(session, id_, repo)
    screen = common.screen(session)
    if common.json:
        screen.document("snapshot", 1, _snapshot_value(snapshot, files=files))
    else:
        _show(screen, snapshot, files=files)


@options.grouped
def diff(
    first: Id,
    second: Id,
    *,
    repo: Repo = None,
    common: options.Common,
) -> None:
    """Show what changed from one snapshot to another."""
    from go_cache_safeguard.flows.repository import diff as compare

    session = common.session()
    one, two, found = compare(session, first, second, repo)
    screen = common.screen(session)
    if common.json:
        screen.document("snapshot-diff", 1, _difference_value(one, two, found))
    else:
        _show_difference(screen, one, two, found)


@options.grouped
def prune(
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN|OP]",
            help="Execute this plan, which `-o` wrote, instead of a new one; or a prune that was held.",
        ),
    ] = None,
    *,
    keep: Keep,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="TIME", help="Leave younger objects alone; default: the setting snapshot.grace."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan to this new file instead.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    asking: options.Asking,
    token_file: options.TokenFile = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait for snapshots that are being written.")
    ] = "30s",
    repo: Repo = None,
    common: options.Common,
) -> None:
    """Forget snapshots that no rule keeps, and remove what no snapshot needs. Without rules no snapshot is forgotten.

    Rules count for each cache and host apart. The plan is shown before anything goes, and executed once.
    """
    from go_cache_safeguard.flows import repository_prune as flow

    session = common.session(*asking.settings)
    screen = common.screen(session)
    if plan is not None and is_operation_id(str(plan)):
        act.carry_out(session, screen, str(plan), token_file)
        return
    options.refuse_token(token_file)
    rules, wait_s = keep.rules(), options.duration(wait, "--wait") or 0
    if plan is not None:
        _refuse_both(rules, dry_run=dry_run, output=output)
        made = flow.read_plan(_read(session.cwd / plan))
    else:
        given = options.duration(grace, "--grace")
        grace_s = session.config.seconds("snapshot.grace") if given is None else given
        planned = flow.plan(session, rules, repo, grace_s=grace_s)
        made = planned.plan
        _tell_plan(screen, planned, whole=dry_run or output is not None or not made.items)
        if output is not None:
            _keep_plan(made, session.cwd / output)
        if dry_run or output is not None or not made.items:
            return

    def question() -> None:
        _confirm(made)

    how = act.how_to_dispose(session, screen, asking, options.no_question if yes or plan is not None else question)
    _tell_pruned(screen, flow.execute(session, made, repo, wait_s=wait_s, how=how))


def _tell_plan(screen: "Screen", planned: "PrunePlan", *, whole: bool) -> None:
    """Show what would go; as a document only if that is all there is to say."""
    if not screen.as_json:
        _show_plan(screen, planned)
    elif whole:
        screen.document("snapshot-prune-plan", 1, planned.as_value())


def _tell_pruned(screen: "Screen", done: "Pruned") -> None:
    if screen.as_json:
        screen.document("snapshot-prune", 1, done.as_value())
        return
    screen.line(
        f"removed {done.removed:,} objects, {format_size(done.size)}; {done.snapshots:,} snapshots are forgotten"
    )
    stayed = [(done.needed, "are needed by now"), (done.changed, "changed since"), (done.missing, "were gone already")]
    for count, why in stayed:
        if count:
            screen.line(f"  {count:,} objects of the plan {why}")


def _refuse_both(rules: "Rules", *, dry_run: bool, output: Path | None) -> None:
    if dry_run or output is not None or not rules.empty:
        raise UsageFailure(
            "a plan says already what goes", not_done="nothing was removed", hint="give the plan alone, or only rules"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageFailure(f"{path} cannot be read: {error.strerror}", not_done="nothing was removed") from error


def _keep_plan(made: "Plan", path: Path) -> None:
    from go_cache_safeguard.flows.repository_prune import write_plan

    try:
        write_plan(made, path)
    except OSError as error:
        raise UsageFailure(f"{path} cannot be written: {error.strerror}", not_done="nothing was removed") from error
    typer.echo(f"the plan is in {path}; `go-cache-safeguard snapshot prune {path}` executes it", err=True)


def _confirm(made: "Plan") -> None:
    if not sys.stdin.isatty():
        raise UsageFailure(
            "a prune asks a person, and stdin is not a terminal",
            not_done="nothing was removed",
            hint="give --yes, write the plan with -o and execute it later, or name a URL with --confirm-hook",
        )
    if not typer.confirm(f"Remove {len(made.items):,} objects for good?", err=True):
        raise UsageFailure("not confirmed", not_done="nothing was removed")


def _show_created(screen: "Screen", created: "Created") -> None:
    record = created.record
    screen.line(f"snapshot {record.id[:_SHORT]}: {record.files:,} files, {format_size(record.size)}")
    screen.line(
        f"  read {created.read:,} files, stored {created.objects:,} objects, {format_size(record.added)}, in {created.repository}"
    )
    for one in created.skipped[:_NAMES_SHOWN]:
        screen.line(f"  left out: {one.name}: {one.why}")
    if record.skipped > _NAMES_SHOWN:
        screen.line(f"  and {record.skipped - _NAMES_SHOWN:,} more; `snapshot show {record.id[:_SHORT]}` names all")


def _listing_value(listing: "Listing", records: "Sequence[Record]") -> dict[str, object]:
    return {
        "repository": listing.repository,
        "id": listing.id,
        "append_only": listing.append_only,
        "objects": listing.objects,
        "bytes": listing.size,
        "snapshots": [record.as_value() for record in records],
        "damaged": [{"id": id_, "why": why} for id_, why in listing.bad],
    }


_HEADINGS = ("id", "made", "files", "bytes", "stored", "of")


def _row(record: "Record") -> tuple[str, ...]:
    return (
        record.id[:_SHORT],
        f"{record.made_at[:19]}Z",
        f"{record.files:,}",
        format_size(record.size),
        format_size(record.added),
        "  ".join(
            (
                f"{record.host}:{record.target}",
                *(() if record.whole else ("(part)",)),
                *(f"#{tag}" for tag in record.tags),
            )
        ),
    )


def _columns(cells: "Sequence[str]") -> str:
    """One line; the last cell is never cut, because it holds a path."""
    id_, made, files, size, stored, of = cells
    return f"{id_:<{_SHORT}}  {made:<20}  {files:>9}  {size:>9}  {stored:>9}  {of}"


def _snapshot_value(snapshot: "Snapshot", *, files: bool) -> dict[str, object]:
    manifest = snapshot.manifest
    listed = {"entries": [_entry_value(entry) for entry in manifest.entries]} if files else {}
    return {
        **snapshot.record.as_value(),
        "content": manifest.content,
        "packs": len(snapshot.places.packs),
        "left_out": [list(one) for one in manifest.skipped],
        **listed,
    }


def _entry_value(entry: "Entry") -> dict[str, object]:
    from go_cache_safeguard.snapshot.manifest import format_time

    mode, made = f"{entry.mode:04o}", format_time(entry.mtime_ns)
    return {"name": entry.name, "size": entry.size, "mode": mode, "mtime": made, "sha256": entry.sha256}


def _show(screen: "Screen", snapshot: "Snapshot", *, files: bool) -> None:
    record = snapshot.record
    screen.line(f"snapshot {record.id}", "bold")
    for label, text in (
        ("of", f"{record.target} ({record.kind}{'' if record.whole else ', only the entries of a plan'})"),
        ("made", f"{record.made_at} by {record.user} on {record.host}"),
        ("holds", f"{record.files:,} files, {format_size(record.size)}"),
        ("stored", f"{format_size(record.added)} that were not there before"),
        ("tags", " ".join(record.tags)),
        ("follows", record.parent[:_SHORT]),
        ("manifest", record.manifest),
        ("content", snapshot.manifest.content),
    ):
        if text:
            screen.line(f"  {label:<9} {text}")
    for one in snapshot.manifest.skipped:
        screen.line(f"  left out  {one.name}: {one.why}")
    for entry in snapshot.manifest.entries if files else ():
        screen.line(f"{entry.sha256}  {entry.mode:04o}  {entry.size:>12}  {entry.name}")


def _difference_value(one: "Record", two: "Record", found: "Difference") -> dict[str, object]:
    return {
        "first": one.id,
        "second": two.id,
        "added": [_entry_value(entry) for entry in found.added],
        "removed": [_entry_value(entry) for entry in found.removed],
        "changed": [{"before": _entry_value(before), "after": _entry_value(after)} for before, after in found.changed],
        "touched": list(found.touched),
        "same": found.same,
    }


def _show_difference(screen: "Screen", one: "Record", two: "Record", found: "Difference") -> None:
    screen.line(f"{one.id[:_SHORT]} ({one.made_at[:19]}Z) -> {two.id[:_SHORT]} ({two.made_at[:19]}Z)", "bold")
    rows = [("+", entry.name, entry.size) for entry in found.added]
    rows += [("-", entry.name, entry.size) for entry in found.removed]
    rows += [("~", after.name, after.size) for _, after in found.changed]
    for sign, name, size in sorted(rows, key=lambda row: row[1])[:_NAMES_SHOWN]:
        screen.line(f"{sign} {name}  {format_size(size)}")
    if len(rows) > _NAMES_SHOWN:
        screen.line(f"and {len(rows) - _NAMES_SHOWN:,} more; --json names all")
    added, removed = (format_size(sum(entry.size for entry in part)) for part in (found.added, found.removed))
    screen.line(
        f"{len(found.added):,} added ({added}), {len(found.removed):,} removed ({removed}), {len(found.changed):,} changed,"
        f" {len(found.touched):,} only touched, {found.same:,} the same"
    )


def _show_plan(screen: "Screen", planned: "PrunePlan") -> None:
    made = planned.plan
    rows = [("forget", record, "no rule keeps it") for record in planned.forgotten]
    rows += [("keep", record, ", ".join(reasons)) for record, reasons in planned.kept]
    for verb, record, why in sorted(rows, key=lambda row: (row[1].made_ns, row[1].id)):
        id_, made_at, *_, of = _row(record)
        screen.line(f"{verb:<6}  {id_}  {made_at}  {of}  ({why})")
    screen.line(
        f"{len(made.items):,} of the objects would go, {format_size(made.total)} of {format_size(made.whole)};"
        f" {planned.young:,} that no snapshot needs are too young"
    )
    if made.items:
        screen.line(f"plan {made.digest}")
