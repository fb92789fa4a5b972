"""One build's conversation with us in the place of go's own cache.

Knows:     in which order a request is tried: this machine's cache, then what other machines share; and that an answer always comes.
Called by: `flows.cacheprog_start`; `flows.trace_prog` listens.
Never:     says `Err`, ends before it is told to, or waits longer than the limit for anything but this machine's own disk.
Source:    cmd/go/internal/cache/prog.go: a child that ends early ends the build, an `Err` to a put fails it with words that
           mislead, and a child that is silent is waited for without end (go1.24 to go1.27).

Loads next to nothing, because `go` waits until we are there; threads come when something has to be waited for.
"""

import os
import time

from go_cache_safeguard.gocache.native import Found, Incoming, Native
from go_cache_safeguard.gocache.progproto import (
    Close,
    End,
    Event,
    Get,
    Piece,
    Put,
    Reader,
    Unclear,
    closed,
    hello,
    hit,
    miss,
    stored,
)

TYPE_CHECKING = False  # see gocache.progproto
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Remote(Protocol):
        """What other machines share."""

        def ready(self) -> bool:
            """Whether it is worth asking now."""

        def fetch(self, action: bytes) -> Found | None:
            """Bring something into this machine's cache. Called in a thread."""

        def offer(self, action: bytes, output: bytes, size: int, path: str) -> None:
            """Give it something, later."""

        def late(self) -> None:
            """It was not waited for any longer."""

        def close(self) -> None:
            """Nothing more comes."""

    class Watch(Protocol):
        """Told of everything."""

        def got(self, action: bytes, found: Found | None, ns: int) -> None:
            """A lookup was answered."""

        def kept(self, action: bytes, put: Put, ns: int) -> None:
            """Something was put."""

        def wrote(self, lines: bytes) -> None:
            """Lookups were answered, as lines of `gocache.traceline`."""


LIMIT_S = 2.0
"""Within this every request is answered."""
_AT_ONCE = 1 << 20
"""bytes: more is proved in a thread."""
_THREADS = 8


class Counts:
    """What happened in one build.

    Attributes:
        gets: Lookups.
        hits: Answered from this machine's cache.
        fetched: Answered by the second level.
        misses: Not answered.
        late: Misses because the limit was reached.
        puts: Contents that came.
        kept: Of them, in this machine's cache now.
        bytes_hit: Sizes of all hits.
        bytes_put: Sizes of all puts.
        errors: Requests at which something went wrong in us; they were answered all the same.
    """

    __slots__ = ("bytes_hit", "bytes_put", "errors", "fetched", "gets", "hits", "kept", "late", "misses", "puts")

    def __init__(self) -> None:
        self.gets = self.hits = self.fetched = self.misses = self.late = 0
        self.puts = self.kept = self.bytes_hit = self.bytes_put = self.errors = 0


class Server:
    """Answers one go command."""

    def __init__(
        self,
        native: Native,
        *,
        inlet: int,
        outlet: int,
        remote: "Remote | None" = None,
        watch: "Watch | None" = None,
        limit_s: float = LIMIT_S,
        greeted: bool = False,
        compiled: bool = True,
    ) -> None:
        """Prepare; nothing is said yet.

        Args:
            native: This machine's cache.
            inlet: Descriptor that requests come from.
            outlet: Descriptor that replies go to.
            remote: The second level.
            watch: Told of everything.
            limit_s: How long a request may wait, in seconds.
            greeted: The first line has been said already.
            compiled: Leave sure hits to the compiled twin, if it is there.
        """
        self.counts = Counts()
        self._native = native
        self._inlet = inlet
        self._outlet = outlet
        self._remote = remote
        self._watch = watch
        self._limit_s = limit_s
        self._replies: list[bytes] = []
        self._put: tuple[Put, Incoming | None, int] | None = None
        self._crew: _Crew | None = None
        self._waiting: dict[int, tuple[float, Get, bool, int]] = {}
        self._over = False
        swift = native.swift() if compiled else None
        self._answer_sure = (
            None if swift is None else swift.server(inlet, outlet, misses=remote is None, logs=watch is not None)
        )
        if not greeted:
            self._replies.append(hello(put=not native.read_only))

    def run(self) -> Counts:
        """Answer until there is nothing more to answer."""
        reader = Reader()
        try:
            self._flush()
            while not self._over:
                if self._waiting and not self._await():
                    continue
                swift = self._answer_sure is not None and not self._waiting and self._put is None and reader.idle
                data = self._swift() if swift else os.read(self._inlet, 1 << 16)
                if not data:
                    break
                for event in reader.feed(data):
                    self._answer(event)
                self._flush()
        except OSError:
            pass  # go is gone
        return self.counts

    def _swift(self) -> bytes:
        """Let the compiled twin answer what is sure; what Python has to answer, or nothing at the end."""
        rest, over = b"", 0
        while self._answer_sure is not None and not rest and not over:
            rest, over, gets, hits, size, lines = self._answer_sure(b"")
            self.counts.gets += gets
            self.counts.hits += hits
            self.counts.misses += gets - hits
            self.counts.bytes_hit += size
            if self._watch is not None:
                self._watch.wrote(lines)
        return rest

    def _answer(self, event: Event) -> None:
        try:
            match event:
                case Get():  # nearly all are
                    self._get(event)
                case Piece(data=data):
                    if self._put is not None and self._put[1] is not None:
                        self._put[1].write(data)
                case Put():
                    self._begin(event)
                case End(whole=whole):
                    self._end(whole=whole)
                case Close(id=number):
                    self._close(number)
                case Unclear(id=number):
                    if number is not None:
                        self._replies.append(miss(number))
        except Exception:  # noqa: BLE001 - a build must not fail because of us: whatever went wrong is a miss, and counted
            self.counts.errors += 1
            self._after_error(event)

    def _after_error(self, event: Event) -> None:
        if isinstance(event, Get):
            self._miss(event, 0)
        elif self._put is not None and isinstance(event, Put | Piece):
            self._put = self._put[0], None, self._put[2]
        elif isinstance(event, End) and self._put is not None:
            # go keeps what it made in its own working directory, so a path where nothing is costs it this output only.
            put, self._put = self._put[0], None
            self._replies.append(stored(put.id, b"/dev/null"))
        elif isinstance(event, Close):
            self._replies.append(closed(event.id))
            self._over = True

    def _get(self, get: Get) -> None:
        began_ns = time.perf_counter_ns()
        self.counts.gets += 1
        now_ns = time.time_ns()
        found = self._native.look(get.action, now_ns)
        if found is not None and found.mark is None:
            if found.size > _AT_ONCE:
                self._later(get, self._proving(found, now_ns), began_ns, far=False)
                return
            if not self._native.prove(found, now_ns):
                found = None
        if found is not None:
            self._hit(get, found, now_ns, began_ns)
        else:
            self._ask(get, began_ns)

    def _proving(self, found: Found, now_ns: int) -> "Callable[[], Found | None]":
        return lambda: found if self._native.prove(found, now_ns) else None

    def _ask(self, get: Get, began_ns: int) -> None:
        """Ask the second level, if there is one and it is well."""
        remote = self._remote
        if remote is None or not remote.ready():
            self._miss(get, began_ns)
        else:
            self._later(get, lambda: remote.fetch(get.action), began_ns, far=True)

    def _hit(self, get: Get, found: Found, now_ns: int, began_ns: int) -> None:
        self._native.used(found, now_ns | 1)
        self.counts.hits += 1
        self._reply(get, found, began_ns)

    def _reply(self, get: Get, found: Found, began_ns: int) -> None:
        self.counts.bytes_hit += found.size
        self._replies.append(hit(get.id, found.output, found.size, found.time_ns, found.shown))
        if self._watch is not None:
            self._watch.got(get.action, found, time.perf_counter_ns() - began_ns)

    def _miss(self, get: Get, began_ns: int) -> None:
        self.counts.misses += 1
        self._replies.append(miss(get.id))
        if self._watch is not None:
            self._watch.got(get.action, None, time.perf_counter_ns() - began_ns)

    def _begin(self, put: Put) -> None:
        self._put = put, None, time.perf_counter_ns()
        self.counts.puts += 1
        self.counts.bytes_put += put.size
        self._put = put, self._native.begin(put.action, put.output, put.size), self._put[2]

    def _end(self, *, whole: bool) -> None:
        if self._put is None:
            return
        put, incoming, began_ns = self._put
        if incoming is None:
            raise OSError("the content was not taken")
        shown = incoming.finish(whole=whole)
        self._put = None
        self._replies.append(stored(put.id, shown))
        self.counts.kept += incoming.indexed
        if self._watch is not None:
            self._watch.kept(put.action, put, time.perf_counter_ns() - began_ns)
        if self._remote is not None and whole:
            self._remote.offer(put.action, put.output, put.size, incoming.path)

    def _close(self, number: int) -> None:
        self._flush()
        if self._remote is not None:
            self._remote.close()
        self._replies.append(closed(number))
        self._over = True

    def _later(self, get: Get, work: "Callable[[], Found | None]", began_ns: int, *, far: bool) -> None:
        """Have something done in a thread, and go on."""
        if self._crew is None:
            self._crew = _Crew(self._inlet)
        # Time runs from when go asked, also if the disk was proved in vain before.
        until_s = began_ns / 1e9 + self._limit_s
        self._waiting[get.id] = until_s, get, far, began_ns
        self._crew.do(get.id, work, until_s)

    def _await(self) -> bool:
        """Wait until a request can be read, something is done, or a time is over; say whether a request can be read."""
        if self._crew is None:
            return True
        first_s = min(until_s for until_s, *_rest in self._waiting.values())
        readable, done = self._crew.wait(max(0.0, first_s - time.perf_counter()))
        for number, found in done:
            if number in self._waiting:
                _until_s, get, far, began_ns = self._waiting.pop(number)
                self._done(get, found, began_ns, far=far)
        now_s = time.perf_counter()
        for number in [number for number, (until_s, *_rest) in self._waiting.items() if until_s <= now_s]:
            _until_s, get, far, began_ns = self._waiting.pop(number)
            self.counts.late += 1
            if far and self._remote is not None:
                self._remote.late()
            self._miss(get, began_ns)
        self._flush()
        return readable

    def _done(self, get: Get, found: Found | None, began_ns: int, *, far: bool) -> None:
        if found is None:
            if far:
                self._miss(get, began_ns)
            else:
                self._ask(get, began_ns)
        elif far:
            self.counts.fetched += 1
            self._reply(get, found, began_ns)
        else:
            self._hit(get, found, time.time_ns(), began_ns)

    def _flush(self) -> None:
        if self._replies:
            data, self._replies = b"".join(self._replies), []
            done = os.write(self._outlet, data)
            while done < len(data):
                done += os.write(self._outlet, data[done:])


class _Crew:
    """A few threads that do what may take long. They end with the process, whatever they wait for."""

    def __init__(self, inlet: int) -> None:
        from queue import SimpleQueue  # noqa: PLC0415 - most builds never wait
        from select import POLLIN, poll  # noqa: PLC0415 - likewise

        self._work: SimpleQueue[tuple[int, Callable[[], Found | None], float]] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, Found | None]] = SimpleQueue()
        self._bell, self._rings = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._inlet = inlet
        self._poll = poll()
        self._poll.register(inlet, POLLIN)
        self._poll.register(self._bell, POLLIN)
        self._threads = 0
        self._busy = 0

    def do(self, number: int, work: "Callable[[], Found | None]", until_s: float) -> None:
        """Have something done; what would come too late is not begun."""
        from threading import Thread  # noqa: PLC0415 - see above

        self._busy += 1
        if self._threads < min(_THREADS, self._busy):
            self._threads += 1
            Thread(target=self._serve, daemon=True).start()
        self._work.put((number, work, until_s))

    def wait(self, seconds: float) -> tuple[bool, list[tuple[int, Found | None]]]:
        """Whether a request can be read, and what has been done."""
        ready = [descriptor for descriptor, _event in self._poll.poll(seconds * 1000 + 1)]
        done = []
        if self._bell in ready:
            os.read(self._bell, 4096)
        while not self._results.empty():
            done.append(self._results.get())
            self._busy -= 1
        return self._inlet in ready, done

    def _serve(self) -> None:
        from contextlib import suppress  # noqa: PLC0415 - see above

        while True:
            number, work, until_s = self._work.get()
            found = None
            try:
                if time.perf_counter() < until_s:
                    found = work()
            except Exception:  # noqa: BLE001 - as above: a miss
                found = None
            self._results.put((number, found))
            with suppress(BlockingIOError):  # it rings already
                os.write(self._rings, b"!")
