"""How everything in a directory looks, by one call.

Knows:     when that may be asked of the compiled twin.
Called by: `snapshot.capture`, for directories that hold thousands of files and of which nearly none changed.
Never:     opens or follows anything in the directory.
"""

try:
    from go_cache_safeguard.tree import _looks
except ImportError:  # there was no compiler when this was installed
    COMPILED = False
else:
    COMPILED = True

__all__ = ["COMPILED", "look_at"]


def look_at(fd: int) -> bytes | None:
    """What is in an open directory, as `snapshot.memory.pack_look` writes it: equal only if everything is.

    Returns:
        None when that has to be found out file by file: nothing is compiled, or a name or a time is unusual.

    Raises:
        OSError: The directory cannot be listed, or something went away meanwhile.
    """
    return _looks.look(fd) if COMPILED else None
