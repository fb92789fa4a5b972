from collections.abc import Callable, Mapping
from typing import Self

class Scanner:
    def __new__(
        cls,
        forms: Mapping[bytes, tuple[tuple[int, int, bool, int, int, bytes], ...]],
        plain: bool,
        arguments: int,
        argument_bytes: int,
        request_bytes: int,
        /,
    ) -> Self: ...
    def __call__(self, data: bytes, start: int = 0, /) -> tuple[int, list[bytes]]: ...

class Sender:
    def __new__(
        cls,
        place: int,
        waiting: Callable[[], int],
        is_closing: Callable[[], bool],
        later: Callable[[bytes], object],
        /,
    ) -> Self: ...
    def __call__(self, data: bytes, /) -> object: ...

class Lane:
    quick: bool
    plain: bool
    heard: bool
    traffic: bool
    last: float
    scanner: Callable[[bytes], tuple[int, list[bytes]]] | None
    fine: Callable[[list[bytes]], bool] | None
    to_client: Callable[[bytes], object] | None
    to_server: Callable[[bytes], object] | None
    def __new__(cls, on_client: Callable[[bytes], None], on_server: Callable[[bytes], None], /) -> Self: ...
    def client_sent(self, data: bytes, /) -> None: ...
    def server_sent(self, data: bytes, /) -> None: ...
    def client_ready(self, place: int, ended: Callable[[int], object], /) -> None: ...
    def server_ready(self, place: int, ended: Callable[[int], object], /) -> None: ...
