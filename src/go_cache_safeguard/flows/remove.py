"""Execute a plan that may be executed: index entries first, outputs when nobody can need them.

Knows:     the order of the two phases, what is written into the journal before and after each, and the way back.
Called by: `flows.clean` and `flows.recover`.
Never:     removes by itself: `snapshot.quarantine` is the only door. Never decides: the operation is ALLOWED or APPROVED.
Source:    two phases because a running build uses only `-d` paths once it has planned (measured on go1.21 to go1.27:
           deleting `-a` alone never broke a running build, deleting `-d` did).
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan, parse_plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.evidence import keep
from go_cache_safeguard.flows.ghost_list import note_back, note_taken
from go_cache_safeguard.flows.interrupt import at_once, stoppable
from go_cache_safeguard.flows.prove import OfModules, Proof, Prover
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import FUZZ, Site, open_site
from go_cache_safeguard.gocache.disk import named_outputs
from go_cache_safeguard.gocache.layout import output_name
from go_cache_safeguard.gocache.select import split
from go_cache_safeguard.gotool.processes import GoProcess, ProcessScan, scan_go_processes, wait_for
from go_cache_safeguard.journal.store import JournalUnusable
from go_cache_safeguard.snapshot.quarantine import NoOperation
from go_cache_safeguard.snapshot.receipt import PutBack, Taken
from go_cache_safeguard.telemetry.names import MetricName, SpanName
from go_cache_safeguard.telemetry.span import measure, span
from go_cache_safeguard.tree.root import Root

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_TICK_S = 0.2
_LOOK_S = 0.01
"""seconds between two looks for new go commands while outputs are moved; one look takes about as long."""


class ProofFailed(Failure):
    """The toolchain did not work in the cleaned cache."""

    id = "proof-failed"
    exit_code = ExitCode.PROOF_FAILED
    meaning = "the proof after the removal failed; everything was put back"


class Interrupted(Failure):
    """Somebody asked to stop."""

    id = "interrupted"
    exit_code = ExitCode.INTERRUPTED
    meaning = "stopped on request; what had been moved was put back"


class RemovalFailed(Failure):
    """Moving to quarantine failed in the middle."""

    id = "removal-failed"
    exit_code = ExitCode.PARTLY_REMOVED
    meaning = "moving to quarantine failed in the middle, and so did the way back; `recover` goes on"


Snapshotter: TypeAlias = Callable[[Session, Root, str, Plan], Mapping[str, Value]]
"""Copies what a plan lists, before it goes: session, the open cache, operation, plan. Returns what the journal keeps of it."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is executed.

    Attributes:
        wait_s: How long outputs wait for running go commands, in seconds.
        prover: Makes the proof afterwards; None for none.
        snapshotter: Copies what will go, before; None for no copy.
    """

    wait_s: int
    prover: Prover | None
    snapshotter: Snapshotter | None = None


@dataclass(slots=True)
class _Account:
    """What was counted so far."""

    moved: int = 0
    size: int = 0
    changed: int = 0
    missing: int = 0
    named_again: int = 0
    waiting: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    waited_for: tuple[str, ...] = ()
    stopped: bool = False

    def add(self, taken: Taken) -> None:
        self.moved += taken.moved
        self.size += taken.bytes
        self.changed += len(taken.changed)
        self.missing += len(taken.missing)
        self.failed.extend(taken.failed)

    def receipt(self, op: str, plan: Plan, took_ms: int) -> Receipt:
        return Receipt(
            op=op,
            state=State.PROVING,
            digest=plan.digest,
            planned=len(plan.items),
            moved=self.moved,
            size=self.size,
            changed=self.changed,
            missing=self.missing,
            named_again=self.named_again,
            waiting=self.waiting,
            failed=_first(self.failed),
            waited_for=self.waited_for,
            before=plan.whole,
            took_ms=took_ms,
        )


class _Watch:
    """Asked by the door before each entry: whether to stop, because a person said so or because somebody begins to build.

    A go command needs longer from its start to its first look at an output than passes between two looks of ours.
    """

    def __init__(self, cache: Path, stop: Callable[[], bool]) -> None:
        self.came = False
        self._cache = cache
        self._stop = stop
        self._next = 0.0
        self._pid = os.getpid()

    def __call__(self) -> bool:
        if self.came or self._stop():
            return True
        # The door may ask in a child that has the rights of the owner, who cannot see everybody; it asks us as well.
        if time.monotonic() >= self._next and os.getpid() == self._pid:
            self.came = bool(scan_go_processes(self._cache).found)
            self._next = time.monotonic() + _LOOK_S
        return self.came


@dataclass(slots=True)
class _Removal:
    """One plan on its way into quarantine."""

    site: Site
    op: str
    plan: Plan
    stop: Callable[[], bool]
    account: _Account = field(default_factory=_Account)

    def go(self, manner: Manner) -> None:
        """Both phases; all at once where nothing refers to anything: in a module cache, whose locks are held, and of fuzzing inputs."""
        if self.site.of_modules or self.site.kind == FUZZ:
            with self.site.undisturbed(item.name for item in self.plan.items):
                self._take("moving modules to quarantine", self.plan.items, self.stop)
            return
        entries, outputs = split(self.plan.items)
        self._take("moving index entries to quarantine", entries, self.stop)
        if not self.account.stopped:
            self.outputs(outputs, manner.wait_s)

    def outputs(self, outputs: Sequence[Item], wait_s: int) -> None:
        """The second phase: when nobody builds, move what no entry names, until somebody begins to build.

        Waiting only for those who were there before the index entries went is not enough: who began since compiles again what the
        entries stood for, finds the very same output in its place, writes an entry, and relies on an output that we then take.

        Args:
            outputs: What to move. Those that cannot be moved in time are the last ones by name; the account has their number.
            wait_s: Seconds to wait for running go commands, all in all.
        """
        deadline = time.monotonic() + wait_s
        rest = _by_name(outputs)
        while rest and not self.account.stopped and self._quiet(deadline):
            rest = self._move_outputs(rest)
        self.account.waiting = len(rest)

    def _move_outputs(self, outputs: Sequence[Item]) -> Sequence[Item]:
        """Move what no entry names. Returns those at the end that were not looked at, because somebody began to build."""
        named = self._named()
        free = [item for item in outputs if item.name not in named]
        watch = _Watch(self.site.root.path, self.stop)
        done = self._take("moving outputs to quarantine", free, watch)
        end = outputs.index(free[done]) if done < len(free) else len(outputs)
        self.account.named_again += end - done
        self._give_back(free[:done])
        return outputs[end:]

    def _give_back(self, taken: Sequence[Item]) -> None:
        """Whoever began to build in between may have written an entry that names what has just gone."""
        again = self._named().intersection(item.name for item in taken)
        if again:
            back = self.site.quarantine.put_back(self.op, now_ns=time.time_ns(), only=frozenset(again))
            self.account.moved -= back.restored
            self.account.size -= back.bytes
            self.account.named_again += back.restored

    def _take(self, phase: str, items: Sequence[Item], stop: Callable[[], bool]) -> int:
        """Have the door move these. Returns how many it dealt with; it goes through them in the order of their names."""
        progress = self.site.session.progress
        progress.phase(phase, len(items))
        with span(SpanName.WAVE, phase=phase) as here:
            taken = self.site.quarantine.take(self.op, items, progress=progress.update, stop=stop)
            here.set(keys=taken.moved, size=taken.bytes)
            measure(MetricName.WAVE_KEYS, taken.moved, kind=self.plan.kind)
        progress.phase("")
        self.account.add(taken)
        # Only the door hears of a signal while it works: it is what made it stop, unless the watch did.
        self.account.stopped = taken.stopped and not (isinstance(stop, _Watch) and stop.came)
        return taken.moved + len(taken.changed) + len(taken.missing) + len(taken.failed)

    def _named(self) -> set[str]:
        """Names of all outputs that an entry names now."""
        return {output_name(output) for output in named_outputs(self.site.root.fd)}

    def _quiet(self, deadline: float) -> bool:
        """Wait until no go command uses the cache, within bounds."""
        told: set[tuple[int, int]] = set()
        while (seen := scan_go_processes(self.site.root.path)).found:
            self._tell(seen, told)
            left = deadline - time.monotonic()
            if left <= 0 or self.stop():
                self.account.stopped = self.stop()
                self.account.waited_for = tuple(describe(process) for process in seen.found)
                break
            wait_for(seen.found, timeout_s=min(_TICK_S, left), tick=_no_tick)
        self.site.session.progress.phase("")
        return not seen.found

    def _tell(self, scan: ProcessScan, told: set[tuple[int, int]]) -> None:
        """Name each process that is waited for once, and with the first one what we cannot see."""
        progress = self.site.session.progress
        if not told:
            progress.phase("waiting for running go commands")
        for note in () if told else scan.notes:
            progress.say(note)
        for process in scan.found:
            if (process.pid, process.start_ticks) not in told:
                progress.say(f"outputs wait for {describe(process)}")
                told.add((process.pid, process.start_ticks))


def execute(session: Session, journal: "Journal", op: str, plan: Plan, manner: Manner) -> Receipt:
    """Move what the plan lists into quarantine, prove that go still works, and account for it.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: An operation that is ALLOWED or APPROVED for exactly this plan.
        plan: The plan.
        manner: How.

    Returns:
        The receipt, also in the journal. Its state is DONE, or WAITING when outputs wait for running builds.

    Raises:
        ProofFailed: And everything was put back.
        Interrupted: Somebody asked to stop, and everything was put back.
        RemovalFailed: Neither forward nor back worked.
    """
    with open_site(session, journal, plan.target, plan.identity, plan.kind) as site:
        copied = _snapshot(site, op, plan, manner.snapshotter) if manner.snapshotter is not None else {}
        with stoppable(session.progress.say) as stop:
            facts: dict[str, Value] = {"quarantine": str(site.quarantine.place), **copied}
            return _remove(site, op, plan, manner, facts=facts, stop=stop)


def _remove(
    site: Site, op: str, plan: Plan, manner: Manner, *, facts: Mapping[str, Value], stop: Callable[[], bool]
) -> Receipt:
    site.journal.advance(op, State.REMOVING, facts)
    began = time.monotonic_ns()
    removal = _Removal(site, op, plan, stop)
    try:
        site.quarantine.prepare(op, plan.data)
        removal.go(manner)
    except (Failure, OSError) as error:
        put_back(site, op, why=str(error))
        raise
    receipt = removal.account.receipt(op, plan, (time.monotonic_ns() - began) // 10**6)
    if removal.account.stopped:
        put_back(site, op, why="stopped on request")
        raise Interrupted("stopped on request", not_done="everything that had been moved was put back")
    note_taken(site.session, site.root.path, op, (item.name for item in plan.items), time.time_ns())
    if receipt.waiting:
        return _wait(site, receipt)
    return prove(site, receipt, manner.prover)


def _snapshot(site: Site, op: str, plan: Plan, snapshotter: Snapshotter) -> Mapping[str, Value]:
    """Copy first. Without the copy that was asked for, nothing goes.

    Returns:
        What the journal keeps of it.

    Raises:
        Failure: Whatever kept the copy from being made; the operation is CANCELLED then.
    """
    site.journal.advance(op, State.SNAPSHOTTING, {})
    try:
        with span(SpanName.SNAPSHOT, keys=len(plan.items), size=plan.total):
            return {"snapshot": snapshotter(site.session, site.root, op, plan)}
    except (Failure, OSError, KeyboardInterrupt) as error:
        site.journal.advance(op, State.CANCELLED, {"why": f"no snapshot was made: {str(error) or 'interrupted'}"})
        raise


def finish_waiting(site: Site, plan: Plan, receipt: Receipt, prover: Prover | None, wait_s: int) -> Receipt:
    """The second phase of an operation whose outputs had to wait.

    Returns:
        The receipt; its state is still WAITING when somebody still builds.
    """
    account = _Account(
        moved=receipt.moved,
        size=receipt.size,
        changed=receipt.changed,
        missing=receipt.missing,
        named_again=receipt.named_again,
        failed=list(receipt.failed),
    )
    with stoppable(site.session.progress.say) as stop:
        site.journal.advance(receipt.op, State.REMOVING, {})
        removal = _Removal(site, receipt.op, plan, stop, account)
        waiting = _by_name(split(plan.items)[1])[-receipt.waiting :]
        removal.outputs(waiting, wait_s)
    finished = account.receipt(receipt.op, plan, receipt.took_ms)
    if account.waiting or account.stopped:
        return _wait(site, finished)
    return prove(site, finished, prover)


def _wait(site: Site, receipt: Receipt) -> Receipt:
    waiting = replace(receipt, state=State.WAITING)
    _write_or_go_back(site, receipt.op, State.WAITING, {"receipt": waiting.as_value()})
    return waiting


def _write_or_go_back(site: Site, op: str, state: State, data: dict[str, Value]) -> None:
    """Take the next step, or put everything back: nothing stays away that the journal does not account for.

    Raises:
        JournalUnusable: The step could not be written. `recover` writes later that everything is back.
    """
    try:
        site.journal.advance(op, state, data)
    except JournalUnusable as failure:
        back = merge_back(site, op)
        left = f"; {len(back.failed)} entries could not be put back and stay in quarantine" if back.failed else ""
        raise JournalUnusable(
            failure.what,
            not_done=f"what had been moved was put back{left}",
            hint=f"{failure.hint}; then `go-cache-safeguard recover` writes down how {op} ended",
        ) from failure


def _by_name(items: Sequence[Item]) -> Sequence[Item]:
    return sorted(items, key=lambda item: item.name)


def _no_tick(_left: tuple[GoProcess, ...]) -> None:
    """The loop that waits says what there is to say."""


def describe(process: GoProcess) -> str:
    """One line about a running go command."""
    return f"pid {process.pid} ({process.command}), in {process.cwd}, since {process.age_s}s: {process.why}"


def _first(failed: Sequence[tuple[str, str]], limit: int = 20) -> tuple[tuple[str, str], ...]:
    """The first failures by name and the rest as a number, so that a record stays small."""
    more = [("...", f"and {len(failed) - limit} more")] if len(failed) > limit else []
    return (*failed[:limit], *more)


def prove(site: Site, receipt: Receipt, prover: Prover | None) -> Receipt:
    """Show that go still works, or put everything back.

    Raises:
        ProofFailed: And everything was put back.
    """
    if site.journal.operation(receipt.op).state is not State.PROVING:
        _write_or_go_back(site, receipt.op, State.PROVING, {"receipt": receipt.as_value()})
    with span(SpanName.VERIFY, op=receipt.op) as here:
        proof = _proof(site, receipt.op, prover)
        here.set(verdict=Outcome.PASS if proof.passed else Outcome.BLOCK)
    kept = "" if proof.clean else keep(site.session, receipt.op, site.root.path, proof)
    if not proof.passed:
        why = "; ".join(proof.evidence) or "no evidence"
        put_back(site, receipt.op, why=f"the proof failed: {why}", more={"evidence": kept})
        raise ProofFailed(
            f"the proof failed in {site.root.path}: {why}",
            not_done=f"everything was put back as it was; all evidence: {kept}",
            hint=f"`go-cache-safeguard ops show {receipt.op}` has the evidence; --proof none asks for no proof",
        )
    done = replace(receipt, state=State.DONE, proof=(*proof.evidence, *([f"all evidence: {kept}"] if kept else [])))
    try:
        site.journal.advance(receipt.op, State.DONE, {"receipt": done.as_value(), "done_s": int(time.time())})
    except JournalUnusable as failure:
        raise JournalUnusable(
            failure.what,
            not_done=f"{receipt.op} is done, its entries are in quarantine, and only that end could not be written",
            hint=f"{failure.hint}; then `go-cache-safeguard recover` writes it",
        ) from failure
    return done


def _proof(site: Site, op: str, prover: Prover | None) -> Proof:
    """Make the proof. Whoever does not want to wait for it gets everything back.

    Raises:
        Interrupted: Somebody asked to stop.
    """
    if prover is None or (site.of_modules and not isinstance(prover, OfModules)):
        return Proof(passed=True, evidence=())
    try:
        with at_once():
            return prover(site.session, site.root)
    except KeyboardInterrupt:
        put_back(site, op, why="stopped on request during the proof")
        raise Interrupted(
            "stopped on request during the proof", not_done="everything that had been moved was put back"
        ) from None


def put_back(site: Site, op: str, *, why: str, more: Mapping[str, Value] | None = None) -> None:
    """The way back of an operation that did not end well.

    Args:
        site: Where.
        op: The operation.
        why: Why, for the journal.
        more: What else the journal keeps of it.

    Raises:
        RemovalFailed: Something could not be put back; it stays in quarantine.
    """
    with span(SpanName.ROLLBACK, op=op) as here:
        if site.journal.operation(op).state is not State.ROLLING_BACK:
            _write_or_go_back(site, op, State.ROLLING_BACK, {"why": why, **(more or {})})
        back = merge_back(site, op)
        here.set(keys=back.restored, size=back.bytes)
        measure(MetricName.ROLLBACKS, 1, kind=site.kind)
    outcome: dict[str, Value] = {
        "restored": back.restored,
        "newer": back.newer,
        "failed": [list(pair) for pair in _first(back.failed)],
    }
    if back.failed or back.stopped:
        site.journal.advance(op, State.UNKNOWN, outcome)
        raise RemovalFailed(
            f"{len(back.failed)} entries of {op} could not be put back: {back.failed[0] if back.failed else 'stopped'}",
            not_done="they stay in quarantine; nothing is lost",
            hint=f"remove the cause, then `go-cache-safeguard undo {op}`",
        )
    site.journal.advance(op, State.ROLLED_BACK, outcome)
    tidy(site, op, back)


def tidy(site: Site, op: str, back: PutBack) -> None:
    """Drop the directory of an operation of which everything is back."""
    if back.newer:
        return
    try:
        site.quarantine.purge(op, only=())
    except (Failure, OSError) as problem:
        # An empty directory is left: it harms nobody, and must not hide how the operation itself ended.
        site.session.progress.say(f"the empty quarantine of {op} could not be removed: {problem}")


def _planned_modules(site: Site, op: str) -> Sequence[str]:
    """What go must not touch meanwhile. Without a plan that can be read everything goes back all the same."""
    if not site.of_modules:
        return ()
    try:
        return [item.name for item in parse_plan(site.quarantine.plan_data(op)).items]
    except (NoOperation, PlanVoid):
        return ()


def merge_back(site: Site, op: str) -> PutBack:
    """Have the door put everything back; an operation that never got as far as a quarantine has nothing to."""
    progress = site.session.progress
    progress.phase("putting entries back")
    try:
        with site.undisturbed(_planned_modules(site, op)):
            back = site.quarantine.put_back(op, now_ns=time.time_ns(), progress=progress.update)
    except NoOperation:
        # Killed between its record and its directory: nothing had been moved.
        return PutBack()
    finally:
        progress.phase("")
    note_back(site.session, site.root.path, op)
    return back
