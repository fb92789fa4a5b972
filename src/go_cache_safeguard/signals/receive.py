"""Receives spans by OTLP, over HTTP and gRPC, and acknowledges what is on disk.

Knows:     both protocols, their limits and answers, and how much may wait.
Called by: `flows.receiver`.
Never:     lets a span reach the disk before it was redacted, acknowledges one that is not committed, or takes more than it can hold:
           who sends too fast is told to come again.
Source:    opentelemetry.io/docs/specs/otlp: 400 is final, 429 and 503 with Retry-After are to be tried again, gRPC's UNAVAILABLE too;
           an error's body is a google.rpc.Status; the method is opentelemetry.proto.collector.trace.v1.TraceService/Export.

One thread decodes, redacts and writes: what waits meanwhile goes in one transaction with it.
"""

import asyncio
import logging
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import grpc
import orjson
from google.rpc.status_pb2 import Status as RpcStatus
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.otlp import OtlpUnreadable, Taken, answer, answer_json, take, take_json
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanstore import SpanStoreUnusable

MOST_BODY = 16 << 20
"""Bytes of a request, after unpacking."""
MOST_WAITING = 64 << 20
"""Bytes of requests that wait for the disk."""
TENANT = "x-tenant-id"
_LONGEST_TENANT = 128
_AT_ONCE = 64
_TIDY_S = 30.0
_ANSWER_S = 30.0
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
LOG = logging.getLogger("go_cache_safeguard.signals")
_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_THREADS = 8


class NotReceiving(Failure):
    """Nobody can send anything there."""

    id = "traces-not-receiving"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "`traces receive` cannot listen where it was told to"


class Behind(Failure):
    """More comes in than can be written."""

    id = "traces-behind"
    exit_code: ClassVar[ExitCode] = ExitCode.LOCKED
    meaning = "spans come faster than they can be written, or the receiver is about to end"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request.

    Attributes:
        body: As it came.
        packed: Whether it is gzip.
        json: Whether it is JSON; else protobuf.
        tenant: Whose spans they are.
        done: Gets what was taken, after it is on disk, or why nothing was.
    """

    body: bytes
    packed: bool
    json: bool
    tenant: str
    done: "Future[Taken]" = field(default_factory=Future)


@dataclass(slots=True)
class Tally:
    """What came in.

    Attributes:
        spans: Kept.
        rejected: Unusable.
        requests: Answered with what was kept.
        refused: Told to come again, or never.
    """

    spans: int = 0
    rejected: int = 0
    requests: int = 0
    refused: int = 0


class Keeper(Protocol):
    """Where spans go: a store, or who they are sent on to."""

    def put(self, spans: Sequence[Span], *, observe: bool = False) -> int:
        """Keep spans for good, and count them if they are to be; or raise, and have kept none of which that is known."""
        ...


KeeperT = TypeVar("KeeperT", bound=Keeper)


class Desk(Generic[KeeperT]):
    """Takes requests from both servers and writes them, in a thread of its own.

    Attributes:
        tally: What came in so far.
    """

    def __init__(
        self,
        open_store: Callable[[], AbstractContextManager[KeeperT]],
        cover: Callable[[Sequence[Span]], Sequence[Span]],
        tidy: Callable[[KeeperT], None],
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Begin.

        Args:
            open_store: Opens the store, in the thread that writes.
            cover: Redacts.
            tidy: Moves and removes what is old; called now and then when nothing waits for long.
            most_waiting: Bytes of requests that may wait.
        """
        self.tally = Tally()
        self._open_store, self._cover, self._tidy, self._most = open_store, cover, tidy, most_waiting
        self._queue: queue.SimpleQueue[Sent | None] = queue.SimpleQueue()
        self._lock, self._waiting, self._open = threading.Lock(), 0, True
        self._thread = threading.Thread(target=self._work, name="spans")
        self._thread.start()

    def give(self, sent: Sent) -> "Future[Taken]":
        """Put a request in the queue; the answer comes when it is on disk.

        Raises:
            Behind: Too much waits, or it is about to end.
        """
        with self._lock:
            if not self._open or self._waiting + len(sent.body) > self._most:
                self.tally.refused += 1
                raise Behind(
                    "too many spans wait for the disk", not_done="no span was taken", hint="send them again later"
                )
            self._waiting += len(sent.body)
            self._queue.put(sent)
        return sent.done

    def close(self) -> None:
        """Take nothing more, write what waits, end."""
        with self._lock:
            self._open = False
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            with self._open_store() as store:
                self._serve(store)
        except Failure as failure:
            LOG.error("nothing is received any more: %s", failure.what)  # noqa: TRY400 - it says what it is by itself
        finally:
            self._send_away()

    def _serve(self, store: KeeperT) -> None:
        due = time.monotonic()
        while batch := self._next():
            self._write(store, [sent for sent in batch if sent is not None])
            if batch[-1] is None:
                return
            if time.monotonic() >= due:
                try:
                    self._tidy(store)
                except Failure as failure:
                    LOG.warning("older spans stay where they are: %s", failure.what)
                due = time.monotonic() + _TIDY_S

    def _send_away(self) -> None:
        """Nobody writes any more, whyever: who still waits is told, and nobody else is let in."""
        with self._lock:
            self._open = False
        while not self._queue.empty():
            sent = self._queue.get()
            if sent is not None:
                sent.done.set_exception(_behind())

    def _next(self) -> list[Sent | None]:
        """What waits, in one go; ends with None when nothing comes any more."""
        batch = [self._queue.get()]
        while batch[-1] is not None and len(batch) < _AT_ONCE:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, store: KeeperT, batch: Sequence[Sent]) -> None:
        taken: list[tuple[Sent, Taken]] = []
        try:
            for sent in batch:
                try:
                    taken.append((sent, _unpacked(sent)))
                except OtlpUnreadable as error:
                    self.tally.refused += 1
                    sent.done.set_exception(error)
            spans = self._cover([span for _sent, one in taken for span in one.spans])
            store.put(spans, observe=True)
        except Exception as error:  # noqa: BLE001 - who waits for an answer gets one, whatever happened, and the next batch its chance
            self.tally.refused += len(taken)
            for sent in batch:
                if not sent.done.done():
                    sent.done.set_exception(error)
        else:
            for sent, one in taken:
                self.tally.requests += 1
                self.tally.spans += len(one.spans)
                self.tally.rejected += one.rejected
                sent.done.set_result(one)
        finally:
            with self._lock:
                self._waiting -= sum(len(sent.body) for sent in batch)


def _behind() -> Behind:
    return Behind("too many spans wait for the disk", not_done="no span was taken", hint="send them again later")


def _unpacked(sent: Sent) -> Taken:
    body = _gunzip(sent.body) if sent.packed else sent.body
    return take_json(body, tenant=sent.tenant) if sent.json else take(body, tenant=sent.tenant)


def _gunzip(body: bytes) -> bytes:
    unpacking = zlib.decompressobj(31)
    try:
        found = unpacking.decompress(body, MOST_BODY + 1)
    except zlib.error as error:
        raise OtlpUnreadable("the request is not gzip", not_done="no span was taken") from error
    if len(found) > MOST_BODY or not unpacking.eof:
        raise OtlpUnreadable("the request is cut off, or too large when unpacked", not_done="no span was taken")
    return found


def _tenant(text: str) -> str:
    """Whose spans they are.

    Raises:
        OtlpUnreadable: It is no name.
    """
    if len(text) > _LONGEST_TENANT or not text.isascii() or not text.isprintable():
        raise OtlpUnreadable(f"{TENANT} is no name of a tenant", not_done="no span was taken")
    return text


# --- HTTP --------------------------------------------------------------------------------------------------------------


class Http:
    """`POST /v1/traces`."""

    def __init__(self, desk: Desk[Any]) -> None:
        self._desk = desk
        self.app = Starlette(routes=[Route("/v1/traces", self._export, methods=["POST"])])

    async def _export(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        packing = request.headers.get("content-encoding", "identity").strip().lower()
        if kind not in {_PROTOBUF, _JSON} or packing not in {"gzip", "identity", ""}:
            return _refusal(415, f"send {_PROTOBUF} or {_JSON}, plain or gzip", json=True)
        json = kind == _JSON
        try:
            body = await _body(request)
            if body is None:
                return _refusal(413, f"a request may have {MOST_BODY} bytes", json=json)
            tenant = _tenant(request.headers.get(TENANT, ""))
            taken = await asyncio.wrap_future(self._desk.give(Sent(body, packing == "gzip", json, tenant)))
        except OtlpUnreadable as error:
            return _refusal(400, error.what, json=json)
        except Behind as error:
            return _refusal(429, error.what, json=json, after_s=1)
        except SpanStoreUnusable as error:
            return _refusal(503, error.meaning, json=json, after_s=5)
        return Response(answer_json(taken) if json else answer(taken), media_type=kind)


async def _body(request: Request) -> bytes | None:
    """The body; None if it is too large."""
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > MOST_BODY:
                return None
            pieces.append(piece)
    except ClientDisconnect as error:
        raise OtlpUnreadable("the request is cut off", not_done="no span was taken") from error
    return b"".join(pieces)


def _refusal(status: int, why: str, *, json: bool, after_s: int = 0) -> Response:
    headers = {"Retry-After": str(after_s)} if after_s else None
    if json:
        return Response(orjson.dumps({"message": why}), status, headers, _JSON)
    return Response(RpcStatus(message=why).SerializeToString(), status, headers, _PROTOBUF)


# --- gRPC --------------------------------------------------------------------------------------------------------------


def _grpc_server(desk: Desk[Any]) -> grpc.Server:
    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        told = dict(context.invocation_metadata())
        try:
            tenant = _tenant(str(told.get(TENANT, "")))
            return answer(desk.give(Sent(body, packed=False, json=False, tenant=tenant)).result(_ANSWER_S))
        except OtlpUnreadable as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.what)
        except (Behind, SpanStoreUnusable, TimeoutError) as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, getattr(error, "meaning", "not written in time"))
        raise AssertionError("abort raises")

    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="otlp"),
        options=(("grpc.max_receive_message_length", MOST_BODY), ("grpc.so_reuseport", 0)),
    )
    method = grpc.unary_unary_rpc_method_handler(export)  # no codec: bytes in, bytes out, decoded where all are
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": method}),))
    return server


# --- both --------------------------------------------------------------------------------------------------------------


async def receive(
    desk: Desk[Any], host: str, http_port: int, grpc_port: int, *, stop: asyncio.Event, ready: Callable[[int], None]
) -> None:
    """Receive until somebody stops it; then answer what came in before.

    Args:
        desk: Writes.
        host: Where to listen.
        http_port: For HTTP.
        grpc_port: For gRPC; 0 for any.
        stop: Set when it is to end.
        ready: Told gRPC's port when both listen.

    Raises:
        NotReceiving: A place cannot be had.
    """
    grpcs = _grpc_server(desk)
    try:
        port = grpcs.add_insecure_port(f"{host}:{grpc_port}")
    except RuntimeError as error:
        raise _taken(host, grpc_port) from error
    server = Server(
        Http(desk).app,
        address=host,
        port=http_port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    await _listening(host, http_port, serving)
    grpcs.start()
    ready(port)
    await stop.wait()
    # Nothing new; what is being done may end.
    ended = grpcs.stop(_ANSWER_S)
    server.stop()  # type: ignore[no-untyped-call] # granian leaves out a type
    await serving
    await asyncio.to_thread(ended.wait)


async def _listening(host: str, port: int, serving: "asyncio.Task[None]") -> None:
    for _ in range(200):
        if serving.done():
            break
        try:
            _reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    serving.cancel()
    raise _taken(host, port)


def _taken(host: str, port: int) -> NotReceiving:
    return NotReceiving(
        f"{host}:{port} cannot be had", not_done="nothing was started", hint="name another with --http or --grpc"
    )
