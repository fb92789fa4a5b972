from collections.abc import Mapping

def scan(
    forms: Mapping[bytes, tuple[tuple[int, int, bool, int, int, bytes], ...]],
    plain: bool,
    arguments: int,
    argument_bytes: int,
    request_bytes: int,
    data: bytes,
    start: int = 0,
    /,
) -> tuple[int, list[bytes]]: ...
