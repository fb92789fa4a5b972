"""`graph` as a person or a program uses it, and what the report shows of it."""

import json
from pathlib import Path

from gocaches import GoCache
from safeguard import Safeguard

LIB, MAIN = "example.com/m/lib", "example.com/m"


def test_a_graph_is_shown_as_table_json_and_dot_and_nothing_is_changed(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    before = {path: path.lstat().st_mtime_ns for path in newest_cache.root.rglob("*")}

    table = guard.run("graph", "--top", "1")
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert lines[1].split()[:2] == [LIB, "hit"]
    assert "1 of 2 packages, by what an edit costs at most; --top shows more" in lines
    assert "of the standard library are not in the table; --all shows them" in table.stdout
    assert len(guard.run("graph", "--all", "--top", "1000").stdout.splitlines()) > 40

    document = guard.json("graph", "./...")
    assert document["schema"] == "go-cache-safeguard/graph/1"
    packages = {package["package"]: package for package in document["packages"]}
    lib = packages[LIB]
    assert (lib["entry"], lib["imported_by"], lib["dependents"], lib["program"]) == ("hit", [MAIN], 1, False)
    entry = newest_cache.root / lib["action"][:2] / f"{lib['action']}-a"
    output = newest_cache.root / lib["output"][:2] / f"{lib['output']}-d"
    assert entry.read_bytes()[68:132].decode() == lib["output"]
    assert output.stat().st_size == lib["bytes"]
    assert lib["cpu_seconds"]["measured"] is False
    assert lib["edit"]["api"]["compiled"] == 2
    assert lib["edit"]["api"]["bytes"] == lib["bytes"] + packages[MAIN]["bytes"]
    assert packages["unsafe"]["entry"] == "none"
    assert packages["fmt"]["standard"] is True

    edit = guard.json("graph", "--edit", "./lib")["edit"]
    assert (edit["comment"]["packages"], edit["api"]["packages"], edit["links"]) == ([LIB], [MAIN, LIB], [MAIN])
    reverse = guard.json("graph", "--reverse", "lib")
    assert reverse["dependents"] == [{"package": MAIN, "imports_away": 1}]
    text = guard.run("graph", "--edit", LIB).stdout
    assert "what an edit of example.com/m/lib would set off" in text
    assert "linked again" in text

    dot = guard.run("graph", "--format", "dot").stdout.splitlines()
    assert (dot[0], dot[-1]) == ("digraph packages {", "}")
    assert f'  "{MAIN}" -> "{LIB}";' in dot
    assert not any('"fmt"' in line for line in dot)

    assert {path: path.lstat().st_mtime_ns for path in newest_cache.root.rglob("*")} == before


def test_what_cannot_be_shown_is_said_with_what_to_do(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    nobody = guard.run("graph", "--edit", "example.com/m/lip")
    assert nobody.returncode == 2
    assert "names none of the" in nobody.stderr
    assert f"perhaps {LIB}" in nobody.stderr
    for wrong in (("--json", "--format", "dot"), ("--edit", LIB, "--reverse", LIB)):
        assert guard.run("graph", *wrong).returncode == 2
    assert guard.run("graph", cwd=tmp_path).returncode == 2

    (newest_cache.module / "lib" / "lib.go").write_text('package lib\n\nimport _ "example.com/nowhere"\n')
    broken = guard.run("graph")
    assert broken.returncode == 13
    assert "cannot be built" in broken.stdout


def test_the_report_has_a_table_and_a_drawing_in_a_module_and_neither_without(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    done = guard.run("report", "--html", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text("utf-8")
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    sections = {section["title"]: section["data"] for section in data["sections"]}
    row, _main = sections["What an edit sets off"]["rows"]
    assert row[:2] == [LIB, "hit"]
    assert len(row) == len(sections["What an edit sets off"]["columns"])
    drawing = sections["Packages and what they need"]
    assert drawing["edges"] == [[MAIN, LIB]]
    assert {node["id"] for node in drawing["nodes"]} == {MAIN, LIB}
    assert guard.run("report", "--no-graph", "--html", "-").stdout.count("What an edit sets off") == 0
