"""Can the debugger that people use find the functions?

Knows:     what `dlv exec` is told, what it answers, and which answers blame the binary.
Called by: `flows.symbols`, when there is a dlv.
Never:     lets the program run: it is stopped before its first instruction of Go, and ended.
Source:    delve 1.25 and later (`go doc github.com/go-delve/delve/cmd/dlv`, Documentation/cli): commands come from standard input
           when that is no terminal, if `--allow-non-terminal-interactive` says so. Delve 1.27.2 sets a breakpoint in a stripped
           binary too, by the runtime's own table, and only warns: `no debug info found`.
"""

from collections.abc import Iterable

from go_cache_safeguard.core.verdict import Outcome, Verdict

_BLAMES_BINARY = ("no debug info found", "could not open debug info", "decoding dwarf", "error reading debug_info")


def arguments(binary: str) -> tuple[str, ...]:
    """For dlv."""
    return ("exec", "--check-go-version=false", "--allow-non-terminal-interactive=true", binary)


def commands(function: str) -> bytes:
    """What dlv reads: stop at a function, which needs its name, its file and its line; then leave."""
    return f"break {function}\nexit\n".encode()


def judge(function: str, *, exit_code: int | None, said: str) -> Verdict:
    """What dlv's answer means.

    Args:
        function: The function it was to stop at.
        exit_code: None when it did not end in time or could not be started.
        said: All it said, printable.
    """
    lines = tuple(line for line in said.splitlines() if line.strip())[-5:]
    lost = f'location "{function}" not found'
    if lost in said or any(part in said.lower() for part in _BLAMES_BINARY):
        return Verdict("dlv", Outcome.BLOCK, f"dlv does not find {function}, or no debug information", lines)
    place = next((line for line in said.splitlines() if " set at 0x" in line and function in line), "")
    if place and exit_code == 0:
        return Verdict("dlv", Outcome.PASS, f"dlv: {place.removeprefix('(dlv) ').strip()}")
    how = "did not end in time" if exit_code is None else f"ended with exit code {exit_code}"
    return Verdict("dlv", Outcome.WARN, f"dlv could not be asked: it {how}", lines)


def choose(names: Iterable[str]) -> str:
    """A function that dlv understands the name of: no closure, no instance of a generic one. Empty if there is none."""
    plain = [name for name in names if not any(part in name for part in ("[", ".func", ".init", "-"))]
    return next((name for name in plain if name == "main.main"), plain[0] if plain else "")
