def serve(
    inlet: int,
    outlet: int,
    root: bytes,
    shown: bytes,
    table: int,
    verify: int,
    misses: int,
    logs: int,
    rest: bytes,
    /,
) -> tuple[bytes, int, int, int, int, bytes]: ...
