"""Empty a part of a cache in waves, each of which the services that depend on it have to bear before the next one goes.

Knows:     what a wave is made of, who is asked while it goes and after it, and how it is put back; what of that outlives this process.
Called by: the command line's `redis purge` and `redis flush --gate`; `flows.redis_call` goes on with one.
Never:     sends a key while the gate has not let the wave before pass; lets telemetry that fails hold up a way back.

It is a removal like any other (`flows.redis_removal`): plan, checks, approval, a copy of every value, undo. Only who says when the next
batches go is another one: `_Purge.run` instead of `Removal.go`. Where it stands is a note in the journal, written before each step.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, Self

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.pattern import PatternError, parse_glob
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows import boost
from go_cache_safeguard.flows.builds import is_builds
from go_cache_safeguard.flows.golden import Source, limits_of, source_of
from go_cache_safeguard.flows.redis_removal import BATCH_KEYS, Account, Executor, Removal, execute, rest
from go_cache_safeguard.flows.redis_undo import PutBack, by_batches, restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import SERVER
from go_cache_safeguard.flows.undo import RestoreFailed
from go_cache_safeguard.redis.keyname import parse_place
from go_cache_safeguard.signals.gate import Limits, Looks, Ruling, Verdict, breach_of, judge_all, together
from go_cache_safeguard.signals.golden import Golden
from go_cache_safeguard.signals.red import SECOND_NS
from go_cache_safeguard.signals.waves import Course, Step, Terms, parse_course
from go_cache_safeguard.telemetry.names import MetricName, SpanName
from go_cache_safeguard.telemetry.recorder import MOST_TRACES, pull
from go_cache_safeguard.telemetry.span import measure, span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

IN_WAVES = "purge"
"""The first word of a plan whose keys go in waves. No other plan of keys begins so."""
NOTE = "purge-wave"
"""The note about each step of a wave."""
_GATE, _DEPENDENT = "--gate=", "--dependent="
_EVERY_S = 0.25
"""From one look at the services to the next: twice as often as would do."""
_JUDGED_S = 1.0
"""From one comparison with before to the next; each costs a part of the chance of a false alarm."""
_TICK_S = 0.05
_WAVE_BATCH = 200


class GateHolds(Failure):
    """The gate did not let a purge go on."""

    id = "gate-holds"
    exit_code = ExitCode.HELD
    meaning = "a purge in waves stopped because the services that depend on the keys are not well, or nobody can tell; a person decides"


@dataclass(frozen=True, slots=True)
class Watched:
    """Who is asked, and about whom: a part of the plan, so that people approve it too.

    Attributes:
        source: `store`, the URL of a Prometheus, or `builds[:PLACE]`; empty for what the settings say.
        services: Those that depend on the keys; of builds, namespaces of the second level.
    """

    source: str
    services: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """As the plan says it."""
        return (f"{_GATE}{self.source}", *(f"{_DEPENDENT}{name}" for name in self.services))


def watched_of(words: Sequence[str]) -> Watched:
    """Read it from a plan."""
    sources = [word.removeprefix(_GATE) for word in words if word.startswith(_GATE)]
    return Watched(sources[-1], tuple(word.removeprefix(_DEPENDENT) for word in words if word.startswith(_DEPENDENT)))


def in_waves(plan: Plan, watched: Watched) -> Plan:
    """The same, to go in waves."""
    return replace(plan, selectors=(IN_WAVES, *plan.selectors, *watched.words))


def executor_of(operation: Operation) -> Executor:
    """What carries an operation of keys out."""
    return execute_waves if list(operation.data.get("selectors", ()))[:1] == [IN_WAVES] else execute


def dependents_of(config: Config, keys: Iterator[bytes]) -> tuple[str, ...]:
    """Services that depend on keys, after the settings.

    Raises:
        ConfigBad: `signals.dependents` cannot be read.
    """
    table = []
    for word in config.text("signals.dependents").split():
        glob, _, names = word.rpartition("=")
        try:
            table.append((parse_glob(glob.encode()), names.split(",")))
        except PatternError as error:
            raise ConfigBad(f"signals.dependents: {word!r}: {error}") from error
        if not glob or not all(names.split(",")):
            raise ConfigBad(f"signals.dependents: {word!r} is not PATTERN=SERVICE,SERVICE")
    found: set[str] = set()
    for key in keys:
        found.update(
            name for pattern, names in table if not found.issuperset(names) and pattern.matches(key) for name in names
        )
    return tuple(sorted(found))


def terms_of(config: Config) -> Terms:
    """How a purge is to go, after the settings."""
    return Terms(
        first=config.count("signals.wave_first"),
        most=config.count("signals.wave_most"),
        rate=config.count("redis.rate"),
        rollbacks=config.count("signals.wave_rollbacks"),
    )


def _limits_of(config: Config, source: str) -> Limits:
    """What a service has to keep while its cache is emptied: whatever is missing there takes longer, which is no fault by itself.

    Builds are there to be compared: that they take longer is what one wants to know.
    """
    limits = limits_of(config, source)
    if is_builds(source):
        return limits
    return replace(limits, p95_ms=config.count("signals.wave_p95_ms"), p95_times=inf, slower=inf)


def execute_waves(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Remove what the plan lists, in waves; see `flows.redis_removal.execute`.

    Raises:
        GateHolds: A person has to decide.
        ConfigBad: Nobody can be asked how services do.
        RestoreFailed: A wave could not be put back.
    """
    watched = watched_of(plan.selectors)
    source = source_of(session.config, watched.source)  # what cannot be asked ends this before anything goes
    purge = _Purge(session, journal, op, plan, watched=watched, source=source)
    return execute(session, journal, op, plan, purge.run)


def told_waves(journal: "Journal", op: str) -> list[Mapping[str, Any]]:
    """What became of each wave of an operation, in order; nothing for one that did not go in waves."""
    return [record.data for record in journal.records(op=op) if record.step == NOTE and "verdict" in record.data]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the gate said.

    Attributes:
        asked_s: When it was asked, of the monotonic clock.
        ruling: Its ruling.
        struck: Whether a service does worse than it may: a pause that is more than a want of data.
        failing: Trace ids of failed requests.
        links: Trace and span ids of those of which a span is known.
        full: How full the fullest resource is, as a share of what the gate bears; 0 if nobody measures it.
    """

    asked_s: float
    ruling: Ruling
    struck: bool
    failing: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    full: float = 0.0


class _Sentry:
    """Asks how services do, on a thread of its own, as long as it is entered."""

    def __init__(self, source: Source, services: Sequence[str], limits: Limits, baseline_ns: tuple[int, int]) -> None:
        self._source, self._services, self._limits = source, services, limits
        self._baseline_ns = baseline_ns
        self._baseline: Mapping[str, Golden] = {}
        self._looks: dict[str, Looks] = {}
        self._start_ns = baseline_ns[1]
        self._window = 0
        self._judge_at = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_TICK_S)  # who waits for a Prometheus is not waited for

    @property
    def seen(self) -> _Seen | None:
        """The newest answer about what was begun last; None before there is one."""
        return self._seen

    @property
    def tripped(self) -> bool:
        """Whether a wave that goes is to stop."""
        seen = self._seen
        return seen is not None and (seen.struck or seen.ruling.verdict is Verdict.ROLL_BACK)

    def afresh(self, *, later: bool = False) -> None:
        """Judge what happens from now on: earlier strikes are forgotten, and no earlier answer counts.

        Args:
            later: Leave out the second that has begun; sources count whole ones. Else all of it counts.
        """
        with self._lock:
            second = time.time_ns() // SECOND_NS + later
            self._start_ns = max(self._baseline_ns[1], second * SECOND_NS)
            self._window += 1
            self._looks = {name: Looks(looks.taken) for name, looks in self._looks.items()}
            self._seen = None
            self._judge_at = 0.0

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            with self._lock:
                asked_s, start_ns, looks, window = time.monotonic(), self._start_ns, self._looks, self._window
            if time.time_ns() <= start_ns:
                continue
            try:
                found = self._look(start_ns, judge=asked_s >= self._judge_at)
                if not found:
                    continue
                rulings = judge_all(found, self._baseline, self._services, self._limits, looks)
                looks = {name: one.looks for name, one in rulings.items()}
                struck = any(one.strikes for one in looks.values())
                failing = tuple(dict.fromkeys(trace for one in found.values() for trace in one.failing))
                links = tuple(dict.fromkeys(link for one in found.values() for link in one.links))
                full = max((one.saturation or 0.0) / self._limits.saturation for one in found.values())
                seen = _Seen(asked_s, together(rulings), struck, failing, links, full)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong with a look is no data, which is a pause
                why = f"the gate could not be asked: {type(error).__name__}: {error}"
                seen = _Seen(asked_s, Ruling(Verdict.PAUSE, (why,)), struck=False)
            with self._lock:
                if window == self._window:
                    self._looks, self._judge_at = looks, asked_s + _JUDGED_S
                    self._seen = seen

    def _look(self, start_ns: int, *, judge: bool) -> Mapping[str, Golden]:
        """The signals of now; nothing if they need not be judged yet."""
        if not self._baseline or any(one.doubt for one in self._baseline.values()):
            self._baseline = self._source.look(self._services, *self._baseline_ns)
        found = self._source.look(self._services, start_ns, time.time_ns())
        return found if judge or any(breach_of(one, self._limits) for one in found.values()) else {}


@dataclass(slots=True)
class _Pace:
    """The clock of one wave, for all who take its keys: so many in a second, together."""

    terms: Terms
    began_s: float
    lock: threading.Lock
    sent: int = 0

    def turn(self, keys: int) -> float:
        """Take a place in the row. Returns when these keys may go, of the monotonic clock."""
        with self.lock:
            before, self.sent = self.sent, self.sent + keys
            return self.began_s + self.terms.due_s(before)


@dataclass(slots=True)
class _Shard:
    """The part of a wave that one node has."""

    job: Removal
    items: list[Item]
    pace: _Pace
    stop: Callable[[], bool]
    error: BaseException | None = None

    def run(self) -> None:
        """Take its keys, until somebody asks to stop; those that did not get their turn are left in `items`."""
        batch_keys = self.pace.terms.batch(min(_WAVE_BATCH, BATCH_KEYS))
        left = {item.name: item for item in self.items}
        try:
            for db, batch in self.job.cut(self.items, batch_keys):
                rest(self.pace.turn(len(batch)), self.stop)
                if self.stop():
                    break
                for item in batch.values():
                    del left[item.name]
                self.job.take(db, batch)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the wave was begun
            self.error = error
        self.items = list(left.values())


class _Purge:
    """One plan on its way, in waves."""

    def __init__(
        self, session: Session, journal: "Journal", op: str, plan: Plan, *, watched: Watched, source: Source
    ) -> None:
        config = session.config
        self._session, self._journal, self._op, self._plan = session, journal, op, plan
        self._services, self._source = watched.services, source
        self._terms, self._limits = terms_of(config), _limits_of(config, watched.source)
        before = "signals.build_baseline" if is_builds(watched.source) else "signals.wave_baseline"
        self._length_s = config.seconds(before)
        self._settle_s = config.seconds("signals.wave_settle")
        self._patience_s = config.seconds("signals.wave_patience")
        self._course, self._baseline_s = self._last()
        self._left: list[Item] = []
        self._links: tuple[tuple[str, str], ...] = ()
        self._job: Removal
        self._sentry: _Sentry

    def run(self, job: Removal, items: Sequence[Item]) -> None:
        """Every wave, until nothing is left, somebody asks to stop, or the gate holds."""
        self._job, self._left = job, list(items)
        if self._course.step is Step.READY:
            self._baseline_s = int(time.time()) - self._settle_s
        baseline_ns = (self._baseline_s - self._length_s) * SECOND_NS, self._baseline_s * SECOND_NS
        self._session.progress.phase("removing keys in waves", len(items))
        with self._traced(), _Sentry(self._source, self._services, self._limits, baseline_ns) as self._sentry:
            self._waves()
        self._session.progress.phase("")

    def _waves(self) -> None:
        if self._course.step is Step.ROLLING_BACK:
            self._put_back(None)
        elif self._course.step is Step.WATCHING:
            self._sentry.afresh()
            if not self._judged():
                return
        elif not self._calm():
            return
        while self._left:
            if self._course.is_spent(self._terms):
                raise self._holds(f"{self._course.rollbacks} waves had to be put back")
            if not self._wave():
                return

    def _wave(self) -> bool:
        """One wave, and what the gate says of it. Returns whether it may go on."""
        if self._stopped():
            return False
        self._step(self._course.opened(len(self._left), self._job.trash.size))
        course = self._course
        wave, self._left = self._left[: course.keys], self._left[course.keys :]
        before = self._job.account.moved, self._job.account.size
        with span(SpanName.WAVE, phase="keys", wave=course.wave) as here:
            self._boost(self._patience_s)
            self._sentry.afresh()
            self._left = self._move(wave) + self._left
            gone = self._job.account.moved - before[0]
            measure(MetricName.WAVE_KEYS, gone, kind=SERVER)
            here.set(keys=gone, size=self._job.account.size - before[1])
            self._session.progress.update(len(self._plan.items) - len(self._left), self._job.account.size)
            if self._stopped():
                return False
            self._course = course.moved()
            went_on = self._judged(gone)
            here.set(verdict=self._verdict)
            for trace_id, span_id in self._links:
                here.link(bytes.fromhex(trace_id), bytes.fromhex(span_id))
        return went_on

    def _move(self, items: Sequence[Item]) -> list[Item]:
        """Have the keys of a wave taken, of each node by somebody else. Returns those that did not get their turn."""
        job = self._job
        parts: dict[int, tuple[Any, list[Item]]] = {}
        for item in items:
            node = job.server.owner(parse_place(item.name)[1])
            parts.setdefault(id(node), (node, []))[1].append(item)
        pace = _Pace(self._terms, time.monotonic(), threading.Lock())
        shards: list[_Shard] = []

        def stop() -> bool:
            return self._sentry.tripped or bool(job.why_stop()) or any(shard.error for shard in shards)

        room = job.room // len(parts)
        for node, part in parts.values():
            own = replace(job, server=node, room=room, account=Account(), in_flight=0, pieces={})
            shards.append(_Shard(own, part, pace, stop))
        threads = [threading.Thread(target=shard.run, name="shard", daemon=True) for shard in shards[1:]]
        for thread in threads:
            thread.start()
        shards[0].run()
        for thread in threads:
            thread.join()
        for shard in shards:
            job.account.add(shard.job.account)
            job.in_flight += shard.job.in_flight
            job.room += shard.job.room - room
        for shard in shards:
            if shard.error is not None:
                raise shard.error
        return [item for shard in shards for item in shard.items]

    def _judged(self, gone: int = 0) -> bool:
        """Wait for what the gate says of the newest wave. Returns whether to go on; what it wanted back is back then."""
        self._verdict, self._links = "", ()
        course = self._course if self._course.step is Step.WATCHING else self._course.moved()
        self._course = course
        seen = self._await(lambda seen: seen.ruling.verdict is not Verdict.PAUSE)
        if seen is None:
            return False
        self._verdict, self._links = seen.ruling.verdict.name, seen.links
        if seen.ruling.verdict is Verdict.ROLL_BACK:
            turned_s = time.monotonic() - seen.asked_s
            try:
                self._step(self._course.turning())
            finally:
                self._put_back(seen, turned_s)
            return not self._left or self._course.is_spent(self._terms) or self._calm()
        self._step(self._course.advanced(self._terms, seen.full), self._row(seen, moved=gone))
        self._say(f"wave {course.wave}: {gone:,} keys, advance")
        return True

    def _calm(self) -> bool:
        """Wait until the gate has nothing against a wave. Returns whether to go on."""
        self._sentry.afresh(later=True)
        return self._await(lambda seen: seen.ruling.verdict is Verdict.ADVANCE) is not None

    def _await(self, enough: Callable[[_Seen], bool]) -> _Seen | None:
        """Wait for an answer of the gate; None if somebody asks to stop.

        Raises:
            GateHolds: It paused for too long.
        """
        settled_s = time.monotonic() + self._settle_s
        given_up_s = settled_s + self._patience_s
        under_way = self._course.step is Step.WATCHING
        while not self._stopped():
            seen = self._sentry.seen
            if under_way and seen is not None:
                late = seen.asked_s >= settled_s and seen.ruling.verdict is Verdict.PAUSE
                if (seen.struck or late) and not self._course.paused:
                    self._course = self._course.pausing()
                    self._say(f"wave {self._course.wave}: pause: {'; '.join(seen.ruling.reasons)}")
                if seen.ruling.verdict is Verdict.ROLL_BACK:
                    return seen
            if seen is not None and seen.asked_s >= settled_s and enough(seen):
                return seen
            if not under_way and seen is not None and seen.struck | (seen.ruling.verdict is Verdict.ROLL_BACK):
                self._sentry.afresh(later=True)  # what was bad is over or it is not: a new window tells
                settled_s = time.monotonic() + self._settle_s
            if time.monotonic() > given_up_s:
                reasons = "; ".join(seen.ruling.reasons) if seen is not None else "it did not answer"
                raise self._holds(f"the gate has paused it for {self._patience_s} s: {reasons}")
            time.sleep(_TICK_S)
        return None

    def _put_back(self, seen: _Seen | None, turned_s: float = 0.0) -> None:
        """Put back what went in the newest wave, as far as nobody has made it again."""
        job, course = self._job, self._course
        came, back = [], PutBack(self._op)
        with span(SpanName.ROLLBACK) as here:
            for batch in by_batches(job.trash.values(course.at)):
                came += restore(job.server, batch, back, {}, replace=False, pieces=job.trash.pieces)
            if came:
                job.trash.give_back(came)
            here.set(keys=back.restored, size=back.size)
        measure(MetricName.ROLLBACKS, 1, kind=SERVER)
        places = {(one.db, one.key) for one in came}
        items = [item for item in self._plan.items if parse_place(item.name) in places]
        for place in places:
            job.told.removed.pop(place, None)
        job.account.moved -= len(items)
        job.account.size -= sum(item.size for item in items)
        self._left = items + self._left
        if back.failed:
            raise RestoreFailed(
                "not everything of wave {} of {} is back: {}: {}".format(course.wave, self._op, *back.failed[0]),
                not_done="no other wave was begun; the captured values are still there",
                hint=f"remove the cause, then `go-cache-safeguard redis resume {self._op}` goes on",
            )
        row = self._row(seen, moved=len(came) + back.newer + back.ended, back=back, turned_s=turned_s)
        self._course = course if course.step is Step.ROLLING_BACK else course.turning()
        self._step(self._course.rolled_back(), row)
        self._say(f"wave {course.wave}: roll back: {'; '.join(seen.ruling.reasons) if seen else 'it was begun before'}")

    def _pulled(self) -> dict[str, Value]:
        """Have services export the traces that they dropped a moment ago; nothing of this stops a way back."""
        spans, traces = 0, dict[str, None]()
        for url in self._session.config.text("signals.recorders").split():
            try:
                found = pull(url)
            except ValueError as error:
                self._say(str(error))
            else:
                spans += found.spans
                traces.update(dict.fromkeys(found.traces))
        return {"pulled": spans, "pulled_traces": list(traces)[:MOST_TRACES]}

    def _row(
        self, seen: _Seen | None, *, moved: int, back: PutBack | None = None, turned_s: float = 0.0
    ) -> dict[str, Value]:
        """What became of a wave, for the journal."""
        row: dict[str, Value] = {
            "wave": self._course.wave,
            "keys": self._course.keys,
            "moved": moved,
            "verdict": "ROLL_BACK" if seen is None else seen.ruling.verdict.name,
            "reasons": ["it was to be put back when the process ended"] if seen is None else list(seen.ruling.reasons),
            "traces": [] if seen is None else list(seen.failing),
        }
        if back is None:
            return row
        came = back.restored + back.there
        return {**row, "back": came, "turned_ms": round(turned_s * 1000), **self._pulled()}

    def _last(self) -> tuple[Course, int]:
        """Where it stands, and when the baseline ends, in seconds since 1970."""
        notes = [record.data for record in self._journal.records(op=self._op) if record.step == NOTE]
        if not notes:
            return Course(self._terms.first), 0
        return parse_course(notes[-1]["course"]).taken_up(), int(notes[-1]["baseline_s"])

    def _step(self, course: Course, row: Mapping[str, Value] | None = None) -> None:
        """Write down where it stands, before it is so."""
        self._course = course
        about: dict[str, Value] = {"course": course.as_value(), "baseline_s": self._baseline_s}
        self._journal.note(NOTE, {**about, **(row or {})}, op=self._op)

    def _stopped(self) -> bool:
        self._job.account.paused = self._job.why_stop()
        return bool(self._job.account.paused)

    def _holds(self, why: str) -> GateHolds:
        return GateHolds(
            f"{self._op}: {why}; {len(self._left):,} of {len(self._plan.items):,} keys are still to go",
            not_done="no other wave was begun",
            hint=f"see `go-cache-safeguard signals golden`; then `go-cache-safeguard redis resume {self._op}` goes on,"
            f" `go-cache-safeguard redis undo {self._op}` puts back what went",
        )

    def _say(self, text: str) -> None:
        self._session.progress.say(text)

    @contextmanager
    def _traced(self) -> Iterator[None]:
        """Have every trace of the services kept until some minutes after the last wave, and tell SDKs so if that is wanted."""
        port = self._session.config.count("signals.sampling_port")
        with boost.serving(self._session.config, port) if port else nullcontext():
            try:
                yield
            finally:
                self._boost(0)

    def _boost(self, more_s: float) -> None:
        """Nothing that is about traces may stop a purge, least of all a way back."""
        try:
            boost.boost(self._session, self._services, time.time() + more_s + boost.AFTER_S)
        except OSError as error:
            self._say(f"not every trace of {', '.join(self._services)} is kept: {error}")
