"""Takes spans of gateways from a broker of MQTT, and puts them where those of `traces receive` go, or sends them on by OTLP.

Knows:     when a message may be acknowledged, what is done with one that comes twice, and with one that nobody can use.
Called by: `cli.traces_edge`.
Never:     acknowledges before the spans are on disk, or before the receiver that they are sent on to has said that it has them. Lets a span
           go on that was not redacted. Follows a redirect, or heeds a proxy of the environment.
Source:    OASIS MQTT 5.0, 4.3.2 and 4.4: what was not acknowledged comes again when the session is resumed, and only then; 3.1.2.11.3
           (receive maximum) bounds what is on the way, 3.1.2.11.4 (maximum packet size) what one message may be.

paho and not aiomqtt, which is made of it: only paho has acknowledgements by hand in what it promises to keep.
"""

import logging
import signal
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import groupby
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.receiver import rules_of, tidier
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.traces import state_of
from go_cache_safeguard.signals.broker import Broker, Topics
from go_cache_safeguard.signals.columns import Columns
from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.otlp import OtlpUnreadable, Taken, encode
from go_cache_safeguard.signals.receive import TENANT, Behind, Desk, Sent
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanstore import SpanStore
from go_cache_safeguard.telemetry.redact import Redactor

LOG = logging.getLogger("go_cache_safeguard.signals")
PASSWORD = "GO_CACHE_SAFEGUARD_MQTT_PASSWORD"  # noqa: S105 - the name of a variable
_MOST_ON_THE_WAY = 1_000
_MOST_PACKET = 1 << 20
_REMEMBERED = 1 << 16
_FOREVER = 0xFFFFFFFF
_KEEP_ALIVE_S, _PATIENCE_S, _LONGEST_PAUSE_S = 30, 20.0, 30.0


class OnwardRefused(Failure):
    """Who spans are sent on to does not take them."""

    id = "onward-refused"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "a receiver of OTLP does not take the spans that are sent on to it; they stay with the broker"


@dataclass(slots=True)
class Came:
    """What came from the broker.

    Attributes:
        messages: Acknowledged, with what they held on disk or sent on.
        spans: In them.
        twice: Messages that came a second time.
        unusable: Messages that are no OTLP, or by a topic without a tenant; acknowledged, and gone.
        rejected: Spans of the others that cannot be used.
    """

    messages: int = 0
    spans: int = 0
    twice: int = 0
    unusable: int = 0
    rejected: int = 0


class Onward:
    """Sends spans on by OTLP over HTTP; to `Desk` it is what a store is."""

    def __init__(self, url: str) -> None:
        self._url, self._client = url, httpx.Client(trust_env=False, timeout=_PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def put(self, spans: Sequence[Span], *, observe: bool = False) -> int:  # noqa: ARG002 - counting is for who keeps them
        """Send spans, those of each tenant by themselves.

        Returns:
            How many were given.

        Raises:
            OnwardRefused: They were not taken, or not all.
        """
        for tenant, group in groupby(sorted(spans, key=lambda span: span.tenant), key=lambda span: span.tenant):
            headers = {"content-type": "application/x-protobuf", **({TENANT: tenant} if tenant else {})}
            try:
                answer = self._client.post(self._url, content=encode(tuple(group)), headers=headers)
            except httpx.HTTPError as error:
                raise OnwardRefused(f"{self._url} does not answer: {type(error).__name__}") from error
            if answer.status_code != httpx.codes.OK:
                raise OnwardRefused(f"{self._url} answers {answer.status_code}")
        return len(spans)


class Ingester:
    """One connection after the other to a broker, and what comes over them.

    Attributes:
        came: What came.
    """

    def __init__(
        self, broker: Broker, topics: Topics, name: str, desk: Desk[Any], *, password: str, authority: str
    ) -> None:
        """Begin; nothing is connected yet.

        Args:
            broker: Where messages come from.
            topics: Which.
            name: Of the session, which the broker keeps while nobody is connected.
            desk: Redacts and writes.
            password: For the broker.
            authority: File of the certificate that signed the broker's; empty for those of this machine.
        """
        self.came = Came()
        self._broker, self._topics, self._name, self._desk = broker, topics, name, desk
        self._password = password
        self._tls = ssl.create_default_context(cafile=authority or None) if broker.secure else None
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._pending: dict[bytes, list[Callable[[], object]]] = {}
        self._lock = threading.Condition()
        self._news: SimpleQueue[str] = SimpleQueue()  # unlike an Event, a signal's handler may put something in it
        self._stopped = self._ended = False

    def stop(self) -> None:
        """Take nothing more; `run` ends when what has come is acknowledged."""
        self._stopped = True
        self._end("stopped")

    def run(self, ready: Callable[[], None]) -> None:
        """Take messages until somebody stops it; who loses the broker connects again.

        Args:
            ready: Told whenever the broker has granted what it was asked for.
        """
        pause_s = 0.5
        while not self._stopped:
            before = self.came.messages
            why = self._once(ready)
            pause_s = 0.5 if self.came.messages > before else min(2 * pause_s, _LONGEST_PAUSE_S)
            if not self._stopped:
                LOG.warning("no messages for %.1f s: %s", pause_s, why)
                self._rest(pause_s)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < until:
            time.sleep(0.05)

    def _once(self, ready: Callable[[], None]) -> str:
        """One connection, from its beginning to its end. Nothing is on the way when this returns; why it ended."""
        self._ended, self._news = self._stopped, SimpleQueue()
        client = self._client(ready)
        try:
            client.connect(
                self._broker.host, self._broker.port, _KEEP_ALIVE_S, clean_start=False, properties=_session()
            )
        except (OSError, ValueError) as error:
            return f"{self._broker.host}:{self._broker.port} cannot be reached: {error}"
        client.loop_start()
        why = "stopped" if self._stopped else self._news.get()
        # An acknowledgement belongs to the connection by which its message came: none is left for the next one.
        with self._lock:
            self._lock.wait_for(lambda: not self._pending, _PATIENCE_S * 2)
        client.disconnect()
        client.loop_stop()
        return why

    def _client(self, ready: Callable[[], None]) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._password or None)
        if self._tls is not None:
            client.tls_set_context(self._tls)

        def connected(client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _more: Any) -> None:
            if code.is_failure:
                self._end(f"the broker refuses: {code}")
            else:
                client.subscribe(self._topics.filter, options=SubscribeOptions(qos=1, retainHandling=2))

        def granted(_client: mqtt.Client, _data: Any, _number: int, codes: list[ReasonCode], _more: Any) -> None:
            if any(code.is_failure or code.value < 1 for code in codes):
                self._end(f"the broker refuses {self._topics.filter} with QoS 1: {codes[0]}")
            else:
                ready()

        client.on_connect, client.on_subscribe = connected, granted
        client.on_disconnect = lambda *_: self._end("the broker hung up")
        client.on_message = lambda client, _data, message: self._take(client, message)
        return client

    def _end(self, why: str) -> None:
        self._ended = True
        self._news.put(why)

    def _take(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        """What came goes to the desk; nothing is acknowledged here that was not kept before."""
        if self._ended:
            return  # it comes again, with the next connection
        body, tenant = bytes(message.payload), self._topics.tenant(message.topic)
        mark = blake2b(message.topic.encode() + b"\0" + body, digest_size=16).digest()
        acknowledge = partial(client.ack, message.mid, message.qos)
        with self._lock:
            twice = mark in self._seen or mark in self._pending
            self.came.unusable += tenant is None
            self.came.twice += twice
            if mark in self._pending:
                self._pending[mark].append(acknowledge)
                return
            if tenant is not None and not twice:
                self._pending[mark] = [acknowledge]
        if tenant is None or twice:
            acknowledge()
        else:
            sent = Sent(body, packed=body[:2] == b"\x1f\x8b", json=body.lstrip()[:1] == b"{", tenant=tenant)
            self._give(sent).add_done_callback(partial(self._done, mark))

    def _give(self, sent: Sent) -> "Future[Taken]":
        """To the desk, as soon as it has room; meanwhile nothing is read from the broker."""
        for _ in range(int(_PATIENCE_S / 0.05)):
            with suppress(Behind):
                return self._desk.give(sent)
            if self._ended:
                break
            time.sleep(0.05)
        sent.done.set_exception(Behind("too many spans wait"))
        return sent.done

    def _done(self, mark: bytes, done: "Future[Taken]") -> None:
        """The desk has answered; called in its thread."""
        error = done.exception()
        with self._lock:
            if error is None:
                self._count(done.result(), mark)
            elif isinstance(error, OtlpUnreadable):
                self.came.unusable += 1  # and acknowledged: it would come again for ever
            else:
                self._end(error.what if isinstance(error, Failure) else type(error).__name__)
            waiting = self._pending.pop(mark)
            if error is None or isinstance(error, OtlpUnreadable):
                for acknowledge in waiting:
                    acknowledge()
            self._lock.notify()

    def _count(self, taken: Taken, mark: bytes) -> None:
        self.came.messages += 1
        self.came.spans += len(taken.spans)
        self.came.rejected += taken.rejected
        self._seen[mark] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def _session() -> Properties:
    wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves out a type
    wanted.SessionExpiryInterval = _FOREVER
    wanted.ReceiveMaximum = _MOST_ON_THE_WAY
    wanted.MaximumPacketSize = _MOST_PACKET
    return wanted


@dataclass(frozen=True, slots=True)
class Asked:
    """What `traces edge-ingest` is asked.

    Attributes:
        broker: Where messages come from.
        topics: Which.
        name: Of the session with the broker.
        authority: File of a certificate; empty for those of this machine.
        otlp: Where spans are sent on to; empty to keep them here.
    """

    broker: Broker
    topics: Topics
    name: str
    authority: str
    otlp: str


def run_ingest(session: Session, asked: Asked, ready: Callable[[], None]) -> Came:
    """Take spans from a broker until SIGTERM or Ctrl-C; what came before is kept and acknowledged.

    Args:
        session: With settings and state directory.
        asked: What from where to where.
        ready: Told whenever the broker has granted what it was asked for.

    Returns:
        What came.

    Raises:
        SpanStoreUnusable: The store cannot be written.
        RulesBad: The rules cannot be read.
    """
    redaction = rules_of(session).redaction
    cover = coverer(Redactor(redaction, session.environ.get(redaction.key_variable, "").encode()))
    if asked.otlp:
        desk: Desk[Any] = Desk(lambda: Onward(asked.otlp), cover, lambda _: None)
    else:
        path, parts = state_of(session)
        with SpanStore(path):
            pass  # fail here, with words
        desk = Desk(lambda: SpanStore(path), cover, tidier(session, Columns(parts)))
    try:
        ingester = Ingester(
            asked.broker,
            asked.topics,
            asked.name,
            desk,
            password=session.environ.get(PASSWORD, ""),
            authority=asked.authority,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ingester.stop())
        ingester.run(ready)
    finally:
        desk.close()
    return ingester.came
