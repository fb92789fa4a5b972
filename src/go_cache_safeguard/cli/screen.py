"""Text and JSON on stdout.

Knows:     how a table, a heading and a verdict look; that JSON carries a schema name, and integers for bytes.
Called by: the command files.
Never:     prints speech: that goes to stderr.
"""

import json
import sys
from collections.abc import Mapping, Sequence

from go_cache_safeguard.core.verdict import Outcome, Verdict

SCHEMA = "go-cache-safeguard"
_COLOR = {Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.UNKNOWN: "magenta", Outcome.BLOCK: "bold red"}
_WIDEST = 4_000
"""Characters of a row. A name that is cut cannot be copied; a narrow terminal breaks the line itself."""


class Screen:
    """Where results go.

    Attributes:
        as_json: One document instead of text.
    """

    def __init__(self, *, as_json: bool, color: str = "auto") -> None:
        self.as_json = as_json
        self._color = color
        if not as_json:
            from rich.console import Console

            force = {"always": True, "never": False}.get(color)
            self._console = Console(
                force_terminal=force,
                no_color=None if color != "never" else True,
                highlight=False,
                soft_wrap=True,
                width=_WIDEST,
                emoji=False,  # `:100:` in a name is not a picture
            )

    def document(self, schema: str, version: int, value: Mapping[str, object]) -> None:
        """Print one JSON document: `{"schema": "go-cache-safeguard/<schema>/<version>", ...}`."""
        whole = {"schema": f"{SCHEMA}/{schema}/{version}", **value}
        sys.stdout.write(json.dumps(whole, indent=2, ensure_ascii=True) + "\n")

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line as it is."""
        self._console.print(text, style=style or None, markup=False)

    def heading(self, text: str) -> None:
        """Print a heading with an empty line before."""
        self._console.print()
        self._console.print(text, style="bold", markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """Print rows under headings.

        Args:
            columns: The headings.
            rows: Cells as text.
            right: Which columns are aligned to the right.
        """
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for at, name in enumerate(columns):
            table.add_column(name, justify="right" if at in right else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table, crop=False)

    def verdict(self, verdict: Verdict) -> None:
        """Print one check's answer with evidence and remedy."""
        from rich.text import Text

        head = Text(f"{verdict.outcome:<8}", style=_COLOR[verdict.outcome])
        self._console.print(head.append(f"{verdict.check:<16} ", style="bold").append(verdict.summary, style="default"))
        for text in verdict.evidence:
            self.line(f"          {text}")
        if verdict.outcome is not Outcome.PASS:
            for text in verdict.remedy:
                self.line(f"          remedy: {text}")
