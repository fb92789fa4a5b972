"""Two builds compared, and how that is written."""

from collections.abc import Mapping
from dataclasses import replace

from go_cache_safeguard.gocache.dimensions import DIMENSIONS
from go_cache_safeguard.gocache.matrix import (
    MARK,
    Letters,
    Ran,
    Row,
    Seen,
    Table,
    cells_of,
    changed_lines,
    compare,
    dimensions_on,
    merged,
    not_measured,
    page,
    seen_in,
)
from go_cache_safeguard.gotool.actiongraph import BuildAction

BEFORE = Seen({"a": ("A1", "C1"), "b": ("A2", "C2"), "c": ("A3", "C3"), "d": ("A4", "C4"), "gone": ("A5", "C5")})
AFTER = Seen(
    {"a": ("A1", "C1"), "b": ("X", "C2"), "c": ("X", "Y"), "d": ("A4", "Y"), "new": ("N", "N")},
    frozenset({"c", "b"}),
    frozenset({"m"}),
    Ran.CACHED,
    5,
)
COLUMNS = {"one": ("a",), "two": ("b",), "three": ("c",), "four": ("d",), "five": ("gone",), "all": ("a", "b", "c")}


def action(mode: str, package: str, build_id: str = "", cmd: tuple[str, ...] = ()) -> BuildAction:
    return BuildAction(0, mode, package, build_id.split("/", maxsplit=1)[0], build_id, True, cmd, 0, 0, "", "")  # noqa: FBT003 - a row


def row() -> Row:
    return compare(DIMENSIONS[0], BEFORE, AFTER, COLUMNS)


def test_letters_tell_key_and_output_apart() -> None:
    letters = {name: cell.letters for name, cell in row().cells.items()}
    assert letters == {
        "one": Letters.SAME,
        "two": Letters.EARLY,
        "three": Letters.CHANGED,
        "four": Letters.IMPURE,
        "five": Letters.ABSENT,
        "all": Letters.CHANGED,
    }
    assert row().cells["all"].text == "AC 2/3"
    assert row().compiled == ("b", "c")
    assert row().linked


def test_of_an_action_graph_the_builds_and_links_count() -> None:
    seen = seen_in(
        [
            action("build", "a", "A/C", ("compile",)),
            action("build", "b", "B/D"),
            action("build", "v", "V/1"),
            action("build", "v [m]", "W/2"),
            action("build", "w [m]", "Y/2"),
            action("build", "w", "Z/1"),
            action("build", "nothing"),
            action("vet", "a", "A/E", ("vet",)),
            action("link", "m", "L/x/y/M", ("link",)),
            action("link-install", "n", "L/x/y/M"),
        ]
    )
    assert seen.packages == {"a": ("A", "C"), "b": ("B", "D"), "v": ("W", "2"), "w": ("Y", "2")}
    assert seen.compiled == {"a"}
    assert seen.linked == {"m"}


def test_toolchains_that_differ_are_told_apart_in_one_cell() -> None:
    one = Table("go1.21.13", "linux/amd64", (row(),))
    other = Table("go1.27.3", "linux/amd64", (replace(row(), test=Ran.RAN, linked=False),))
    ((name, title, cells),) = merged([one, one, other], ("one", "nosuch"))
    assert (name, title) == (DIMENSIONS[0].name, DIMENSIONS[0].title)
    assert cells == ("==", "-", "yes (1.21 1.21), no (1.27)", "cached (1.21 1.21), ran (1.27)")


def test_what_was_not_measured_is_a_question_and_never_an_answer() -> None:
    unknown = not_measured(DIMENSIONS[0], "there is no git")
    assert cells_of(unknown, ("a", "b")) == ("?", "?", "?", "?")
    text = page([Table("go1.27.3", "linux/amd64", (unknown,))], ("a",), what="x", command="y")
    assert "was not measured: there is no git" in text


def test_a_page_names_its_dimensions_and_its_maker() -> None:
    table = Table("go1.27.3", "linux/amd64", (row(),), notes=("a note",))
    text = page([table], ("one",), what="With this.", command="make it")
    assert text.startswith(MARK)
    assert dimensions_on(text) == (DIMENSIONS[0].name,)
    assert "- go1.27.3: a note" in text
    assert text.endswith("\n")
    assert row().as_value()["compiled"] == ["b", "c"]


def test_what_changed_in_a_key_is_told_and_an_import_only_if_nothing_else_did() -> None:
    before = (b"go1.27.3", b"compile\n", b"file a.go X\n", b"import b B1\n")
    edited = (b"go1.27.3", b"compile\n", b"file a.go Y\n", b"import b B2\n")
    echo = (b"go1.27.3", b"compile\n", b"file a.go X\nimport b B2\n")
    assert changed_lines(before, edited) == ("- file a.go X", "+ file a.go Y")
    assert changed_lines(before, echo) == ("- import b B1", "+ import b B2")
    assert changed_lines(before, before) == ()
    quoted = (b"go1.27.3", b'modinfo "path\\tm\\nbuild\\t-race=true\\n"\n')
    assert changed_lines((b"go1.27.3", b'modinfo "path\\tm\\n"\n'), quoted) == ("+ modinfo build -race=true",)
    asked = replace(BEFORE, keys={"b": before, "a": before}), replace(AFTER, keys={"b": edited, "a": before})
    assert dict(compare(DIMENSIONS[0], *asked, COLUMNS).lines) == {
        "two": ("- file a.go X", "+ file a.go Y"),
        "all": ("- file a.go X", "+ file a.go Y"),
    }


def test_a_page_tells_what_changed_in_the_keys_without_what_differs_from_run_to_run() -> None:
    def table(toolchain: str, identity: str, lines: Mapping[str, tuple[str, ...]]) -> Table:
        file = (f"- file a.go {identity}", f"+ file a.go {identity[::-1]}")
        return Table(toolchain, "linux/amd64", (replace(row(), lines={"a": file, **lines}),))

    compiled = {"b": (f"+ compile go1.27.3 {'x' * 200}",)}
    one = table("go1.21.13", "LZDBZ0827xBpgBkDM-ve", {})
    two = table("go1.27.3", "P0gd_L8dHy9V4YHvvB_Q", compiled)
    text = page([one, two], ("one",), what="x", command="y")
    assert f"| {DIMENSIONS[0].name} | a | `~ file a.go ID` |" in text
    assert f"| {DIMENSIONS[0].name} | b (1.27) | `+ compile VERSION xxx" in text
    assert max(len(line) for line in text.splitlines()) < 200
    assert dimensions_on(text) == (DIMENSIONS[0].name,)
