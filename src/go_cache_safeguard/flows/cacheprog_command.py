"""What GOCACHEPROG has to be for `cacheprog` to start in half the time.

Knows:     how Python starts without what it does not need, and how go splits the words of GOCACHEPROG.
Called by: `cli.cacheprog` for `--command`, and `flows.trace`.
Never:     starts anything.
Source:    cmd/internal/quoted.Split, go1.24 to go1.27: words may stand in quotation marks of one kind, and there are no escapes.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure

_HELLO = r"import os; os.write(1, b'{\x22ID\x22:0,\x22KnownCommands\x22:[\x22get\x22,\x22put\x22,\x22close\x22]}\n');"
"""The first line, which go waits for, before anything is loaded: that of `gocache.progproto.hello`, without a quotation mark that
GOCACHEPROG could not hold."""
_START = " import sys; sys.path[:0] = [sys.argv.pop(1)]; import go_cache_safeguard.__main__ as it; it.main()"


def command_line(words: Sequence[str]) -> str:
    """What GOCACHEPROG has to be. With -I and -S Python loads no .pth files, and nothing of the user's.

    Args:
        words: Options of `cacheprog`.

    Raises:
        UsageFailure: A word has both kinds of quotation marks.
    """
    sources = str(Path(__file__).resolve().parents[2])
    greeted = "--read-only" not in words
    start = _HELLO + _START if greeted else _START.strip()
    whole = (sys.executable, "-I", "-S", "-c", start, sources, "cacheprog", *(["--greeted"] if greeted else []), *words)
    return " ".join(_quoted(word) for word in whole)


def _quoted(word: str) -> str:
    if word and not re.search(r"[\s'\"]", word):
        return word
    mark = '"' if "'" in word else "'"
    if mark in word:
        raise UsageFailure(
            f"{word!r} has both kinds of quotation marks, which GOCACHEPROG cannot hold", not_done="nothing was started"
        )
    return f"{mark}{word}{mark}"
