"""The report file of a fault of ours.

Knows:     what somebody needs who wants to find the fault: versions, command line, traceback.
Called by: `cli.app`, when something came up that nobody expected.
Never:     holds values of the environment: they may be secrets.
"""

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from go_cache_safeguard import __version__


def write_report(error: BaseException, arguments: Sequence[str]) -> None:
    """Write the report beside other temporary files and tell where.

    Args:
        error: What came up.
        arguments: The command line, without the program's name.
    """
    lines = [
        f"go-cache-safeguard {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"arguments: {list(arguments)!r}",
        "",
        *traceback.format_exception(error),
    ]
    sys.stderr.write(f"error: {type(error).__name__}: {error} [bug]\n")
    try:
        handle, path = tempfile.mkstemp(prefix="go-cache-safeguard-", suffix=".report.txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines))
    except OSError as problem:
        sys.stderr.write(f"  no report could be written ({problem}):\n" + "\n".join(lines) + "\n")
        return
    sys.stderr.write(
        f"  this is a fault in go-cache-safeguard; a report is in {path}\n"
        "\nhint: `go-cache-safeguard recover` finishes or undoes whatever was under way\n"
    )
