"""What many machines share behind the cache of each.

Knows:     how an entry goes there and comes back proved; when to stop asking; that sending never holds up a build.
Called by: `flows.cacheprog`; `flows.cacheprog_start` names the place.
Never:     gives out a content whose SHA-256 is not what the parcel says, or that is larger than the limit; holds more waiting
           parcels than the bound; raises into a build.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Protocol

from go_cache_safeguard.core.breaker import Breaker
from go_cache_safeguard.gocache.native import Found, Native
from go_cache_safeguard.gocache.parcel import HEAD, RAW, ZSTD, Parcel, unwrap, wrap
from go_cache_safeguard.gocache.seals import HEAD as ARCHIVE_HEAD
from go_cache_safeguard.gocache.seals import seal_of

_QUEUE = 4096
"""entries that wait to be sent; their contents stay on the disk."""
_SENDERS = 2
_COMPRESS = 256
"""bytes: less does not get smaller."""
_LEVEL = 3


class Backend(Protocol):
    """A place that holds parcels. Several threads use it."""

    def get(self, name: str, limit: int) -> bytes | None:
        """A parcel, of which more than `limit` bytes need not be read; None if there is none."""

    def put(self, name: str, data: bytes) -> None:
        """Keep a parcel."""

    def tell(self, namespace: str, line: bytes) -> None:
        """Keep what a build did, for whoever removes something here; of the newest builds only."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What goes there, and how.

    Attributes:
        namespace: Before every name: machines that share see the same.
        limit: Largest content, in bytes.
        key: That seals parcels; empty for none.
        upload: Whether anything is sent.
        drain_s: How long the end of a build waits for what is still to be sent, in seconds.
    """

    namespace: str = "default"
    limit: int = 64 << 20
    key: bytes = b""
    upload: bool = True
    drain_s: float = 2.0


@dataclass(slots=True)
class Traffic:
    """What was done in one build.

    Attributes:
        asked: Parcels asked for.
        came: Of them, proved and in this machine's cache.
        refused: Of them, not to be believed: another key, another SHA-256, too large.
        failed: Requests that the place did not answer.
        sent: Parcels that it took.
        dropped: Entries that were not sent: the queue was full, it was not well, or the build was over.
        bytes_in: Sizes of parcels that came.
        bytes_out: Sizes of parcels sent.
    """

    asked: int = 0
    came: int = 0
    refused: int = 0
    failed: int = 0
    sent: int = 0
    dropped: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class _Offer:
    action: bytes
    output: bytes
    size: int
    path: str


class SecondLevel:
    """One shared place, as one build sees it."""

    def __init__(self, connect: Callable[[], Backend], native: Native, terms: Terms) -> None:
        """Prepare; nothing is connected yet.

        Args:
            connect: Makes the connection, in a thread, at the first request.
            native: This machine's cache.
            terms: What goes there, and how.
        """
        self.traffic = Traffic()
        self.trouble = ""
        self._connect = connect
        self._native = native
        self._terms = terms
        self._breaker = Breaker()
        self._lock = Lock()
        self._connecting = Lock()
        self._backend: Backend | None = None
        self._offers: deque[_Offer] = deque()
        self._changed = Condition(self._lock)
        self._sending = 0
        self._senders = 0
        self._over = False

    def ready(self) -> bool:
        """Whether it is worth asking now."""
        with self._lock:
            return self._breaker.allows(time.monotonic())

    def late(self) -> None:
        """It was not waited for any longer."""
        with self._lock:
            self.traffic.failed += 1
            self._breaker.bad(time.monotonic())

    def fetch(self, action: bytes) -> Found | None:
        """Bring an entry into this machine's cache, proved; None if there is none."""
        terms = self._terms
        data = self._request(lambda backend: backend.get(self._name(action), HEAD + terms.limit + 1))
        if data is None:
            return None
        parcel = unwrap(action, data, key=terms.key, limit=terms.limit)
        content = None if parcel is None else _unpack(parcel)
        with self._lock:
            self.traffic.bytes_in += len(data)
            self.traffic.refused += content is None
        if parcel is None or content is None or not _is_of(action, content):
            return None
        incoming = self._native.begin(action, parcel.output, parcel.size)
        incoming.write(content)
        shown = incoming.finish()
        with self._lock:
            self.traffic.came += 1
        return Found(action, parcel.output, parcel.size, parcel.time_ns, path=incoming.path, shown=shown)

    def offer(self, action: bytes, output: bytes, size: int, path: str) -> None:
        """Send an entry when there is time; the content is read from the disk then."""
        terms = self._terms
        if not terms.upload or size > terms.limit:
            return
        with self._lock:
            if len(self._offers) >= _QUEUE or self._breaker.open:
                self.traffic.dropped += 1
                return
            self._offers.append(_Offer(action, output, size, path))
            if self._senders < min(_SENDERS, len(self._offers)):
                self._senders += 1
                Thread(target=self._send_all, daemon=True).start()
            self._changed.notify()

    def close(self) -> None:
        """Wait for what is still to be sent, but not for long; what is left is dropped."""
        until_s = time.monotonic() + self._terms.drain_s
        with self._lock:
            while (self._offers or self._sending) and not self._breaker.open:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            self.traffic.dropped += len(self._offers) + self._sending
            self._offers.clear()
            self._over = True
            self._changed.notify_all()

    @property
    def namespace(self) -> str:
        """Which part of the place."""
        return self._terms.namespace

    @property
    def wants_builds(self) -> bool:
        """Whether a build that is over is to be told: it has asked, it may send, and the place answers."""
        with self._lock:
            return self._terms.upload and self.traffic.asked > 0 and not self._breaker.open

    def tell(self, line: bytes) -> None:
        """Leave behind what this build did. Tried once, each request within its limit; what goes wrong is in `trouble`."""
        try:
            self._connected().tell(self._terms.namespace, line)
        except Exception as error:  # noqa: BLE001 - as below: whatever a client library raises, no build is worth less for it
            self._failed(error)

    def _name(self, action: bytes) -> str:
        return f"{self._terms.namespace}/{action.hex()}"

    def _request(self, ask: Callable[[Backend], bytes | None]) -> bytes | None:
        with self._lock:
            self.traffic.asked += 1
        try:
            answer = ask(self._connected())
        except Exception as error:  # noqa: BLE001 - whatever a client library raises, it is a miss
            self._failed(error)
            return None
        with self._lock:
            self._breaker.good()
        return answer

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self.traffic.failed += 1
            self.trouble = self.trouble or f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]
            self._breaker.bad(time.monotonic())
            self._changed.notify_all()

    def _connected(self) -> Backend:
        with self._connecting:
            if self._backend is None:
                self._backend = self._connect()
            return self._backend

    def _send_all(self) -> None:
        while True:
            with self._lock:
                while not self._offers and not self._over:
                    self._changed.wait()
                if self._over:
                    return
                offer = self._offers.popleft()
                self._sending += 1
                allowed = not self._breaker.open
            sent = self._send(offer) if allowed else 0
            with self._lock:
                if not self._over:
                    self._sending -= 1
                    self.traffic.dropped += sent == 0
                self.traffic.sent += sent > 0
                self.traffic.bytes_out += sent
                self._changed.notify_all()

    def _send(self, offer: _Offer) -> int:
        """Bytes that went out; 0 if the entry is not what it was, or the place did not take it."""
        try:
            content = Path(offer.path).read_bytes()
            if len(content) != offer.size or sha256(content).digest() != offer.output:
                return 0
            data = wrap(offer.action, _pack(offer, content), self._terms.key)
            self._connected().put(self._name(offer.action), data)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return 0
        with self._lock:
            self._breaker.good()
        return len(data)


def _pack(offer: _Offer, content: bytes) -> Parcel:
    now_ns = time.time_ns()
    if offer.size >= _COMPRESS:
        from zstandard import ZstdCompressor  # noqa: PLC0415 - in a thread, where nobody waits for it

        packed = ZstdCompressor(level=_LEVEL).compress(content)
        if len(packed) < len(content):
            return Parcel(offer.output, offer.size, now_ns, ZSTD, packed)
    return Parcel(offer.output, offer.size, now_ns, RAW, content)


def _unpack(parcel: Parcel) -> bytes | None:
    """The content; None if it is not what the parcel says, however it is packed."""
    content = parcel.content
    if parcel.packed == ZSTD:
        from zstandard import ZstdDecompressor, ZstdError, frame_content_size  # noqa: PLC0415 - see above

        try:
            # What a frame says of itself comes before any limit that we could give.
            if frame_content_size(content) != parcel.size:
                return None
            content = ZstdDecompressor().decompress(content, max_output_size=parcel.size)
        except ZstdError:
            return None
    return content if len(content) == parcel.size and sha256(content).digest() == parcel.output else None


def _is_of(action: bytes, content: bytes) -> bool:
    seal = None
    with suppress(ValueError):
        seal = seal_of(content[:ARCHIVE_HEAD])
    return seal is None or action.startswith(seal)
