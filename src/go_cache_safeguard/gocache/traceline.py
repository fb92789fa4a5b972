"""One lookup as it is written down while go waits.

Knows:     the words of a line: `g` or `p`, action, output or `-`, size in bytes, nanoseconds.
Called by: `flows.trace_prog` writes them, `gocache.trace` reads them.
Never:     loads anything: go waits for it.
Source:    the format is ours; what a get and a put are is in `gocache.progproto`.
"""

NO_OUTPUT = b"-"


def get_line(action: bytes, output: bytes | None, size: int, ns: int) -> bytes:
    """A lookup as it is written down while go waits.

    Args:
        action: 32 bytes.
        output: 32 bytes, or None for a miss.
        size: Of the output.
        ns: What answering took.
    """
    return b"g %b %b %d %d\n" % (action.hex().encode(), output.hex().encode() if output else NO_OUTPUT, size, ns)


def put_line(action: bytes, output: bytes, size: int, ns: int) -> bytes:
    """Likewise, something that was put."""
    return b"p %b %b %d %d\n" % (action.hex().encode(), output.hex().encode(), size, ns)
