"""The terminal browser: walk through a build cache, mark what should go, and leave with a plan.

Knows:     keys, columns and colours.
Called by: `cli.browse`. Needs the extra `tui`.
Never:     touches the cache: leaving with marks makes a plan, and `clean` asks before it does anything.
"""

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, Input, Static

from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.gocache.layout import printable
from go_cache_safeguard.gocache.walk import ORDER, Grid, Place, Row, next_facet
from go_cache_safeguard.gocache.xray import Facet

_BAR = 16
_HELP = """[b]Keys[/b]

  enter, right      go into the part under the cursor
  backspace, left   back
  tab, shift+tab    divide by another side
  1 to 8            that side
  space             mark, or take the mark away
  a                 mark all that is shown
  u                 take all marks away
  /                 only parts whose name has this in it
  s                 sort by size, name, number or age
  p                 make a plan of the marks and leave
  q                 leave without one

Nothing is removed here: `clean PLAN` does it, asks first,
and can be undone."""


_SORTS: Sequence[tuple[str, Callable[[Row], tuple[int, str]]]] = (
    ("size", lambda row: (-row.size, row.name)),
    ("name", lambda row: (0, row.name)),
    ("outputs", lambda row: (-row.files, row.name)),
    ("age", lambda row: (row.used_ns, row.name)),
)


class Helper(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,question_mark,q,enter", "dismiss", "close")]
    CSS = "Helper { align: center middle; } #help { width: 64; height: auto; border: round $accent; padding: 1 2; background: $surface; }"

    def compose(self) -> ComposeResult:
        """Make the box."""
        yield Static(_HELP, id="help")


class Browser(App[bool]):
    """The program. Its result is whether a plan is wanted.

    Args:
        grid: What is in the cache, with the marks.
        title: Where the cache is.
        size: Bytes in all of it.
    """

    TITLE = "go-cache-safeguard"
    CSS = """
    #place { padding: 0 1; color: $text; background: $panel; }
    #sides { padding: 0 1; color: $text-muted; }
    #marks { padding: 0 1; background: $panel; }
    #filter { display: none; }
    #filter.shown { display: block; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "into", "open"),
        ("right", "into", ""),
        ("backspace", "outward", "back"),
        ("left", "outward", ""),
        ("space", "mark", "mark"),
        ("a", "mark_all", "mark all"),
        ("u", "unmark", "unmark all"),
        ("tab", "side(1)", "side"),
        ("shift+tab", "side(-1)", ""),
        ("slash", "filter", "filter"),
        ("s", "sort", "sort"),
        ("p", "plan", "plan"),
        ("question_mark", "help", "help"),
        ("q", "quit_without", "quit"),
        ("escape", "escape", ""),
        *((str(number), f"choose({number - 1})", "") for number in range(1, len(ORDER) + 1)),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, grid: Grid, *, title: str, size: int) -> None:
        super().__init__()
        self.grid = grid
        self.sub_title = printable(title)
        self.place: Place = ()
        self.facet = ORDER[0]
        self.order = 0
        self.like = ""
        self._shown: list[Row] = []
        self._all = max(1, size)
        self._behind: list[tuple[Facet, str]] = []

    def compose(self) -> ComposeResult:
        """Make the screen."""
        yield Header(icon="")
        with Vertical():
            yield Static(id="place", markup=False)
            yield Static(id="sides")
            yield Input(placeholder="part of a name", id="filter")
            yield DataTable(cursor_type="row", zebra_stripes=True)
            yield Static(id="marks", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Show the top."""
        self._show()
        self._table.focus()

    @property
    def _table(self) -> "DataTable[str | Text]":
        return self.query_one(DataTable)

    def _show(self, *, at: str = "") -> None:
        rows = self.grid.rows(self.place, self.facet, like=self.like)
        self._shown = sorted(rows, key=_SORTS[self.order][1])
        table = self._table
        table.clear(columns=True)
        table.add_columns("", self.facet.value, "outputs", "size", "share", "last used")
        now = time.time_ns()
        largest = max((row.size for row in self._shown), default=1)
        for row in self._shown:
            table.add_row(*_cells(row, largest, now))
        cursor = next((number for number, row in enumerate(self._shown) if row.name == at), 0)
        table.move_cursor(row=cursor)
        self._tell()

    def _tell(self) -> None:
        size = sum(row.size for row in self._shown)
        files = sum(row.files for row in self._shown)
        way = "".join(f" > {facet.value} {printable(word)}" for facet, word in self.place)
        share = size * 100 / self._all
        self.query_one("#place", Static).update(f"all{way}   {files:,} outputs, {format_size(size)}, {share:.1f}%")
        sides = "  ".join(
            f"[reverse] {number} {facet.value} [/reverse]" if facet is self.facet else f"{number} {facet.value}"
            for number, facet in enumerate(ORDER, 1)
        )
        narrowed = f"   only names with {self.like!r}" if self.like else ""
        self.query_one("#sides", Static).update(f"{sides}   sorted by {_SORTS[self.order][0]}{_escaped(narrowed)}")
        marked, bytes_marked = self.grid.marked()
        text = (
            f"{marked:,} outputs marked, {format_size(bytes_marked)}: p makes a plan" if marked else "nothing is marked"
        )
        self.query_one("#marks", Static).update(text)

    def _row(self) -> Row | None:
        number = self._table.cursor_row
        return self._shown[number] if 0 <= number < len(self._shown) else None

    def _dividing(self, place: Place) -> Facet | None:
        """The next side on which there is more than one part; the next one at all if there is none such."""
        used = {facet for facet, _word in place}
        divides = (facet for facet in ORDER if facet not in used and len(self.grid.rows(place, facet)) > 1)
        return next(divides, next_facet(place))

    # What keys do.

    def on_data_table_row_selected(self, _event: "DataTable.RowSelected") -> None:
        """Enter, or a click on the row under the cursor."""
        self.action_into()

    def action_into(self) -> None:
        """Go into the part under the cursor."""
        row = self._row()
        if row is None:
            return
        place = (*self.place, (self.facet, row.name))
        facet = self._dividing(place)
        if facet is None:
            return
        self._behind.append((self.facet, self.like))
        self.place, self.facet, self.like = place, facet, ""
        self._show()

    def action_outward(self) -> None:
        """Back to where one came from."""
        if not self.place:
            return
        at = self.place[-1][1]
        self.place = self.place[:-1]
        self.facet, self.like = self._behind.pop()
        self._show(at=at)

    def action_side(self, step: int) -> None:
        """Divide by the next side that is not used yet."""
        used = {facet for facet, _word in self.place}
        free = [facet for facet in ORDER if facet not in used]
        self.facet = free[(free.index(self.facet) + step) % len(free)]
        self.like = ""
        self._show()

    def action_choose(self, number: int) -> None:
        """Divide by a side that was named."""
        if ORDER[number] not in {facet for facet, _word in self.place}:
            self.facet, self.like = ORDER[number], ""
            self._show()

    def action_mark(self) -> None:
        """Mark the part under the cursor, and go on to the next."""
        row = self._row()
        if row is not None:
            self.grid.toggle(self.grid.ids((*self.place, (self.facet, row.name))))
            self._again(down=True)

    def action_mark_all(self) -> None:
        """Mark all that is shown."""
        for row in self._shown:
            ids = self.grid.ids((*self.place, (self.facet, row.name)))
            self.grid.marks.update(ids)
        self._again()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.grid.marks.clear()
        self._again()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self.order = (self.order + 1) % len(_SORTS)
        self._again()

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.value = self.like
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow while somebody types."""
        self.like = event.value
        self._show()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Back to the table."""
        self.query_one("#filter", Input).remove_class("shown")
        self._table.focus()

    def action_escape(self) -> None:
        """Out of the filter, else back."""
        field = self.query_one("#filter", Input)
        if field.has_class("shown"):
            field.value = ""
            field.remove_class("shown")
            self._table.focus()
        elif self.like:
            self.like = ""
            self._show()
        else:
            self.action_outward()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Helper())

    def action_plan(self) -> None:
        """Leave, and make a plan of the marks."""
        if self.grid.marks:
            self.exit(result=True)
        else:
            self.notify("nothing is marked yet: space marks the part under the cursor", severity="warning")

    def action_quit_without(self) -> None:
        """Leave."""
        self.exit(result=False)

    def _again(self, *, down: bool = False) -> None:
        number = self._table.cursor_row
        self._show()
        self._table.move_cursor(row=min(len(self._shown) - 1, number + down))


def _cells(row: Row, largest: int, now_ns: int) -> tuple[str | Text, ...]:
    mark = "" if not row.marked else "●" if row.marked == row.files else "◐"
    filled = round(row.size * _BAR / max(1, largest))
    age = max(0, now_ns - row.used_ns) // 10**9
    return (
        Text(mark, style="bold red"),
        Text(printable(row.name), style="bold red" if row.marked else "", overflow="ellipsis", no_wrap=True),
        Text(f"{row.files:,}", justify="right"),
        Text(format_size(row.size), justify="right"),
        Text("█" * filled + "·" * (_BAR - filled), style="cyan"),
        Text(f"{format_duration(age - age % _step(age))} ago", justify="right"),
    )


def _step(seconds: int) -> int:
    """So that ages have one unit or two, not four."""
    return 86_400 if seconds >= 86_400 else 3600 if seconds >= 3600 else 60 if seconds >= 60 else 1


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
