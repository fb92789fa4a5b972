"""Commands whose packages may not be installed.

Knows:     which extra brings them, and how somebody is told.
Called by: `cli.serve`, `cli.people`, `cli.database`, `cli.browse`.
Never:     installs anything.
"""

from typing import ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure


class ExtraMissing(Failure):
    """A part of the program was not installed."""

    id = "extra-missing"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning = "what this command needs was not installed"


def need_extra(part: str = "go_cache_safeguard.web.app", *, command: str = "serve", extra: str = "server") -> None:
    """Say what to install if the extra is missing.

    Args:
        part: The module that needs it.
        command: What was asked for.
        extra: What brings it.

    Raises:
        ExtraMissing: It is.
    """
    from importlib import import_module

    try:
        import_module(part)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("go_cache_safeguard"):
            raise
        raise ExtraMissing(
            f"`{command}` needs the package {error.name}, which is not installed",
            not_done="nothing was started",
            hint=f"pip install go-cache-safeguard[{extra}]",
        ) from error
