from collections.abc import Callable

def send(
    place: int,
    waiting: Callable[[], int],
    is_closing: Callable[[], bool],
    later: Callable[[bytes], object],
    data: bytes,
    /,
) -> None: ...
