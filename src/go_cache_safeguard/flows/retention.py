"""What is old leaves the shared database: plan, show, execute once, account for it.

Knows:     in which order it goes: the log ends and the next one begins, in one transaction; then the old one is exported and read again;
           only then its rows go.
Called by: the command line's `serve database retain` and `export`; `flows.disposers` for what was approved or killed.
Never:     removes a row that no export was read again for; cuts a chain in its middle; goes on with a plan that is not what was agreed to.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from go_cache_safeguard import __version__
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid, UsageFailure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.audit_export import export_bundle
from go_cache_safeguard.flows.checkpoint import checkpoint
from go_cache_safeguard.flows.clean import How
from go_cache_safeguard.flows.database import journal_at, owner_engine, place_of
from go_cache_safeguard.flows.deletion import Account, begun, finish, time_has_come
from go_cache_safeguard.flows.disposal import dispose as dispose_of
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import LOG
from go_cache_safeguard.journal.chain import Row
from go_cache_safeguard.journal.database import RECORD, RETIRED, turn
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.records import Records
from go_cache_safeguard.journal.retire import CLOSED, Ended, Gathering, digest_of, earlier, over, read_line
from go_cache_safeguard.journal.store import stamp, writer
from go_cache_safeguard.journal.sweep import sweep

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from go_cache_safeguard.journal.shared import SharedJournal
    from go_cache_safeguard.journal.store import Journal

_RECORDS = "records.txt"
_REMOVED = "records-removed"
_WORDS = ("serve", "database", "retain")
_OPEN, _UNFINISHED = "open", "unfinished"
"""Whether the log was still written to when the plan was made."""


class NotRetired(Failure):
    """Nothing, or nothing more, left the database."""

    id = "not-retired"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "the journal was not shortened: it is not whole, or its export cannot be read again as it was written"


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What would leave the database.

    Attributes:
        tenant: Whose.
        log: Its present log; with `unfinished`, an earlier one that is closed and was not removed yet.
        records: How many records that has.
        gone: Operations that ended before the time; they and all notes without an operation are in the export only.
        carried: Operations that stay.
        before: What counts as old, RFC 3339.
        unfinished: Whether the log is closed already: what is left to do is to export and remove it.
    """

    tenant: str
    log: str
    records: int
    gone: tuple[str, ...]
    carried: tuple[str, ...]
    before: str
    unfinished: bool = False

    @property
    def digest(self) -> str:
        """What a person agrees to, 64 hexadecimal digits."""
        return digest_of(self.tenant, self.log, self.gone)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.gone and not self.unfinished

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "tenant": self.tenant,
            "log": self.log,
            "records": self.records,
            "gone": list(self.gone),
            "carried": list(self.carried),
            "before": self.before,
            "unfinished": self.unfinished,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Retired:
    """What was done.

    Attributes:
        plan: As it was agreed to.
        ended: The log that ended.
        next: Id of the log that goes on; empty if the log had ended already.
        folder: Where the export lies.
        signed: Whether a signed checkpoint lies with it.
        removed: How many rows went.
    """

    plan: RetentionPlan
    ended: Ended
    next: str
    folder: Path
    signed: bool
    removed: int

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "plan": self.plan.as_value(),
            "ended": self.ended.as_value(),
            "next": self.next,
            "folder": str(self.folder),
            "signed": self.signed,
            "removed": self.removed,
        }


def plan(session: Session, engine: "Engine", tenant: str, *, keep_s: int) -> RetentionPlan:
    """Look what is old. Nothing is changed.

    Args:
        session: The session.
        engine: Connects as the owner.
        tenant: Whose journal.
        keep_s: What ended so many seconds ago or more is old.

    Raises:
        NotRetired: The journal is not whole, or not lawful.
        JournalUnusable: The database cannot be used.
    """
    before = (datetime.now(UTC) - timedelta(seconds=keep_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    journal = journal_at(engine, session, tenant, read_only=True)
    left = _left(engine, journal)
    if left is not None:
        return RetentionPlan(tenant, left.log, left.records, (), (), before, unfinished=True)
    session.progress.phase("verifying the journal")
    found = audit(session.config, journal)
    session.progress.phase("")
    if found.breaks:
        raise _no(f"the journal of {tenant} is not whole: {found.breaks[0].text}", "see `serve database check`")
    gone = over(journal.records(), before)
    carried = tuple(it.id for it in journal.operations() if it.id not in set(gone))
    return RetentionPlan(tenant, journal.log, journal.last_seq, tuple(gone), carried, before)


def retire(session: Session, engine: "Engine", made: RetentionPlan, folder: Path, how: How) -> Retired:
    """Bring what would leave the database before policy and people, and do it.

    Args:
        session: The session.
        engine: Connects as the owner.
        made: From `plan`.
        folder: A new one for the export.
        how: How it is asked for.

    Raises:
        Held: People decide first; `purge OP` carries it out then.
        Refused: Policy refuses it, or a person.
        PlanVoid, NotRetired, JournalUnusable: As `execute`.
    """
    _refuse_taken(folder)
    done: list[Retired] = []

    def manner(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
        receipt, retired = _dispose(session, engine, journal, op, plan)
        done.extend([retired] if retired else [])
        return receipt

    verdict = time_has_come("operations of the journal", (), len(made.gone))
    dispose_of(session, _desk_plan(session, made, folder), verdict, manner, how)
    return done[0]


def dispose(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Carry out a plan that was approved, or go on with one that was killed; raises as `execute` does."""
    engine = owner_engine(session)
    try:
        return _dispose(session, engine, journal, op, plan)[0]
    finally:
        engine.dispose()


def _dispose(
    session: Session, engine: "Engine", journal: "Journal", op: str, plan: Plan
) -> tuple[Receipt, Retired | None]:
    made, folder = _read_plan(plan)
    again = journal.operation(op).state is State.PURGING
    if again:
        folder = _free(folder)
    _refuse_taken(folder)
    with begun(session, journal, op) as began:
        account = Account(value={"tenant": made.tenant, "log": made.log})
        try:
            now = _as_it_is(session, engine, made) if again else made
            done = None if now is None else execute(session, engine, now, folder)
        except PlanVoid as failure:
            account.changed, account.value["why"] = len(plan.items), failure.what
            finish(journal, op, plan, account, began)
            raise
        account.gone = len(plan.items)
        if done is not None:
            account.value |= {"folder": str(done.folder), "ended": done.ended.as_value(), "removed": done.removed}
        return finish(journal, op, plan, account, began), done


def _as_it_is(session: Session, engine: "Engine", made: RetentionPlan) -> RetentionPlan | None:
    """What is left of a plan that was killed; None if nothing is."""
    journal = journal_at(engine, session, made.tenant, read_only=True)
    left = _left(engine, journal)
    if left is not None and left.log == made.log:
        return replace(made, unfinished=True)
    return made if journal.log == made.log else None


def _desk_plan(session: Session, made: RetentionPlan, folder: Path) -> Plan:
    """The same as people decide about it. Its items have no size: rows do not tell theirs."""
    names = made.gone or (made.log,)
    return Plan(
        kind=LOG,
        target=f"{place_of(session)} {made.tenant}",
        identity=made.log,
        selectors=(*_WORDS, made.tenant, made.before, str(folder), _UNFINISHED if made.unfinished else _OPEN),
        requester=session.actor,
        made_at=now_text(),
        whole=0,
        items=tuple(Item(name, 0, 0, f"over before {made.before[:10]}") for name in sorted(names)),
    )


def _read_plan(plan: Plan) -> tuple[RetentionPlan, Path]:
    *words, tenant, before, folder, how = plan.selectors
    if plan.kind != LOG or tuple(words) != _WORDS:
        raise PlanVoid("this is not a plan of a retention", not_done="nothing was removed")
    unfinished = how == _UNFINISHED
    gone = () if unfinished else tuple(item.name for item in plan.items)
    return RetentionPlan(tenant, plan.identity, 0, gone, (), before, unfinished=unfinished), Path(folder)


def _free(folder: Path) -> Path:
    """A name beside it that is not taken: an export that was killed stays where it is."""
    names = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 100)))
    return next((path for path in names if not os.path.lexists(path)), folder)


def _refuse_taken(folder: Path) -> None:
    if os.path.lexists(folder):
        raise UsageFailure(f"{folder} is there already", not_done="nothing was removed", hint="give a new folder")


def execute(session: Session, engine: "Engine", made: RetentionPlan, folder: Path) -> Retired:
    """Do it.

    Args:
        session: The session.
        engine: Connects as the owner.
        made: What was agreed to.
        folder: A new one for the export.

    Raises:
        PlanVoid: It is not what the journal is like any more; nothing was changed.
        NotRetired: The export is not what it has to be; no row was removed. The next call goes on from there.
        JournalUnusable: The database cannot be used; the next call finds out what was done.
    """
    _refuse_taken(folder)
    with journal_at(engine, session, made.tenant) as journal:
        following = "" if made.unfinished else _succeed(session, journal, made)
        ended = _left(engine, journal)
        if ended is None or ended.log != made.log:
            raise _void(made)
        old = journal_at(engine, session, made.tenant, read_only=True, log=ended.log)
        signed = _export(session, old, folder)
        _read_again(folder / _RECORDS, ended)
        removed = _remove(engine, made.tenant, ended)
        journal.note(_REMOVED, {"log": ended.log, "records": removed, "sha256": ended.sha256})
    return Retired(made, ended, following, folder, signed, removed)


def _succeed(session: Session, journal: "SharedJournal", made: RetentionPlan) -> str:
    """End the log and begin the next one.

    Returns:
        Its id.
    """
    if session.config.choice("audit.checkpoint") != "never":
        checkpoint(session.config, journal)  # so that there is a key, and the log says which
    following = secrets.token_hex(16)
    gathered = Gathering(made.gone)
    before = earlier(next(iter(journal.records()), None))
    session.progress.phase("reading the journal")

    def begin(last: Row) -> list[Row]:
        gathered.add(row for row in journal.rows_from(gathered.size + 1))
        stays = set(made.gone) - set(over(journal.records(), made.before))
        if journal.log != made.log or gathered.size != last.seq - 1 or stays:
            raise _void(made)
        gathered.add([last])
        who = writer(session.actor, __version__)
        return gathered.begin(following, [*before, gathered.ended(made.log)], who, stamp)

    told: dict[str, Value] = {"next": following, "plan": made.digest}
    try:
        # Most of it before anybody has to wait for us.
        gathered.add(journal.rows())
        journal.succeed(Entry(CLOSED, told), following, begin)
    except ValueError as error:
        raise _no(f"the journal of {made.tenant} is not whole: {error}") from error
    session.progress.phase("")
    return following


def _left(engine: "Engine", journal: "SharedJournal") -> Ended | None:
    """The log before the present one, if its rows are still there."""
    ended = next(reversed(earlier(next(iter(journal.records()), None))), None)
    if ended is None:
        return None
    with turn(engine, journal.tenant) as db:
        where = (RECORD.c.tenant == journal.tenant, RECORD.c.log == ended.log)
        found = db.execute(sa.select(RECORD.c.seq).where(*where).limit(1)).first()
    return ended if found else None


def _export(session: Session, old: "SharedJournal", folder: Path) -> bool:
    """Write the whole log, signed if it can be.

    Returns:
        Whether a signed checkpoint lies with it.
    """
    session.progress.phase("exporting the journal")
    signed = session.config.choice("audit.checkpoint") != "never" and checkpoint(session.config, old) is not None
    if signed:
        export_bundle(session.config, old, folder, ())
    else:
        export_plain(old, folder)
    _sync(folder)
    session.progress.phase("")
    return signed


def export_plain(journal: Records, folder: Path) -> int:
    """Write all records into a new folder, without proofs.

    Returns:
        How many there are.

    Raises:
        UsageFailure: The folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700)
        with (folder / _RECORDS).open("xb") as file:
            return journal.export(file.write)
    except OSError as error:
        raise UsageFailure(
            f"{folder} cannot be written: {error.strerror}", not_done="nothing was removed", hint="give a new folder"
        ) from error


def _sync(folder: Path) -> None:
    """Nothing goes before what it was exported to is durable."""
    for path in (*folder.iterdir(), folder, folder.parent):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_again(path: Path, ended: Ended) -> None:
    """Read an export as a stranger would.

    Raises:
        NotRetired: It is not what the database has.
    """
    export = sha256()

    def rows() -> Iterator[Row]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                export.update(line)
                row = read_line(number, line)
                if isinstance(row, str):
                    raise _no(f"{path} cannot be read again: {row}")
                yield row

    run = sweep(rows())
    found = None if run is None else (run.log, run.last, run.hash, export.hexdigest())
    if found != (ended.log, ended.records, ended.hash, ended.sha256):
        raise _no(f"{path} is not the log {ended.log} as it was closed", "run it again with another folder")


def _remove(engine: "Engine", tenant: str, ended: Ended) -> int:
    with turn(engine, tenant) as db:
        db.execute(sa.text("SET LOCAL statement_timeout = 0"))
        where = {"tenant": tenant, "log": ended.log}
        if db.execute(sa.select(RETIRED.c.log).filter_by(**where)).first() is None:
            proof = {"hash": bytes.fromhex(ended.hash), "sha256": bytes.fromhex(ended.sha256)}
            db.execute(sa.insert(RETIRED).values({**where, "records": ended.records, **proof}))
        done = db.execute(sa.delete(RECORD).filter_by(**where))
        return int(done.rowcount)


def _void(made: RetentionPlan) -> PlanVoid:
    return PlanVoid(
        f"the journal of {made.tenant} is not what the plan was made for",
        not_done="nothing was removed",
        hint="run it again, and look at the new plan",
    )


def _no(why: str, hint: str = "") -> NotRetired:
    return NotRetired(why, not_done="nothing was removed", hint=hint)
