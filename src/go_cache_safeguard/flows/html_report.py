"""A cache as one page that can be sent to somebody: a treemap, tables, and whatever other pieces add.

Knows:     what stands in the page, how it is put into it so that no name of a package can become markup, and what the page's
           policy lets it do: run its own script, use its own style, and nothing else, above all no network.
Called by: `cli.report_html`, and through it every piece that has a section to add.
Never:     writes over a file that is there, or puts anything into the page that is not escaped.
Source:    html.spec.whatwg.org, "restrictions for contents of script elements": in a data block only `<` must not stand;
           w3.org/TR/CSP3: a policy in a meta element, hashes of inline scripts and styles.

The page has no picture, font or link from anywhere. It names packages, directories and toolchains of this machine.
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import TypeAlias

from go_cache_safeguard import __version__
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.growth import per_day
from go_cache_safeguard.flows.xray import XRay
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gocache.layout import printable
from go_cache_safeguard.gocache.summary import Part
from go_cache_safeguard.gocache.xray import Facet, namer
from go_cache_safeguard.snapshot.outfile import write_text

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_STATIC = Path(__file__).with_name("static")
_MOST_ROWS = 50_000
"""Of the data behind the treemap; what is smaller is put together, because a browser has to take it in."""
_SMALLER = "(many small ones)"
_MOST_POINTS = 120
_TWINS = (
    "The same package, compiled the same way to an object of the same shape. With -trimpath, or with one path for every checkout, "
    "they would be one, if the sources are the same. -trimpath also changes the paths in panics, and those by which a debugger "
    "finds the source."
)
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="$generator">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$about</p>
<dl class="cards" id="cards"></dl>
</header>
<main>
<noscript><p>$plain The treemap and the tables need JavaScript; the page loads nothing from anywhere.</p></noscript>
<div class="row" id="sides" role="group" aria-label="divided by"></div>
<div class="row" id="trail" role="group" aria-label="what is shown"></div>
<div id="map" role="group" aria-label="treemap" tabindex="-1"></div>
<p class="soft" id="keys">Enter or a click goes into a part, Backspace out of it, arrow keys to its neighbours.</p>
<div id="parts"></div>
<div id="sections"></div>
</main>
<footer>Sizes are those of outputs, as files; the disk takes somewhat more. Age is that of the last use, to the hour.</footer>
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="data">$data</script>
<script>$script</script>
</body>
</html>
""")


@dataclass(frozen=True, slots=True)
class Section:
    """Something more that stands in the report, as values without markup.

    Attributes:
        title: Its heading.
        kind: `table`, `tree` or `graph`.
        data: Of a table `{"columns": [{"name", "unit"}], "rows": [[...]]}` with units `text` (or none), `paths` (a list
            of texts), `count`, `bytes`, `seconds` and `share`; of a tree `{"roots": [{"label", "bytes", "note", "open", "children": [...]}]}`; of a graph
            `{"nodes": [{"id", "label", "bytes", "note"}], "edges": [[from, to]]}`, where `from` needs `to`. Each may have a
            `note`, one text or several.
    """

    title: str
    kind: str
    data: Json


def render(seen: XRay, *, go: str = "", host: str = "", sections: Sequence[Section] = ()) -> str:
    """The page.

    Args:
        seen: The cache.
        go: Version of the go command; empty when there is none.
        host: Name of this machine.
        sections: What else stands in it, after our own.
    """
    style, script = _static("report.css"), _static("report.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seen.now_ns // 10**9))
    about = ", ".join(word for word in (made, printable(host), go, f"go-cache-safeguard {__version__}") if word)
    data = {
        "first": Facet.PROJECT.value,
        **_facets(seen),
        "cards": _cards(seen),
        "sections": [_section(one) for one in (*_own(seen), *sections)],
    }
    inventory = seen.inventory
    return _PAGE.substitute(
        policy=policy,
        generator=f"go-cache-safeguard {__version__}",
        title=escape(f"Build cache {inventory.root}"),
        style=style,
        about=escape(about),
        plain=f"{len(inventory.outputs):,} outputs, {format_size(inventory.size)}.",
        data=_data_block(data),
        script=script,
    )


def _section(section: Section) -> Json:
    return {"title": section.title, "kind": section.kind, "data": section.data}


def _static(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _data_block(value: object) -> str:
    """JSON that cannot end the element in which it stands."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facets(seen: XRay) -> dict[str, object]:
    """All outputs as rows of numbers: for each side that of a name, then files and bytes."""
    sides = tuple(Facet)
    names: list[dict[str, int]] = [{} for _side in sides]
    namers = [namer(side, now_ns=seen.now_ns, projects=seen.projects) for side in sides]
    rows = _rows(seen.inventory.outputs.values(), namers, names)
    if len(rows) > _MOST_ROWS:
        rows = _fold(rows, sides, names)
    facets: list[dict[str, object]] = []
    for side, known in zip(sides, names, strict=True):
        facets.append({"name": side.value, "names": [printable(name) for name in known]})
        if side is Facet.PROJECT:
            facets[-1]["gone"] = [number for name, number in known.items() if name in seen.projects.gone]
    return {"facets": facets, "rows": [[*key, *amount] for key, amount in rows.items()]}


_Rows: TypeAlias = dict[tuple[int, ...], list[int]]


def _rows(outputs: Iterable[Output], namers: Sequence[Callable[[Output], str]], names: list[dict[str, int]]) -> _Rows:
    rows: _Rows = {}
    for output in outputs:
        key = tuple(known.setdefault(name(output), len(known)) for name, known in zip(namers, names, strict=True))
        amount = rows.setdefault(key, [0, 0])
        amount[0] += 1
        amount[1] += output.size
    return rows


def _fold(rows: _Rows, sides: Sequence[Facet], names: list[dict[str, int]]) -> _Rows:
    """Put the smallest rows together: their packages are not named."""
    ordered = sorted(rows.items(), key=lambda row: -row[1][1])
    package = sides.index(Facet.PACKAGE)
    other = names[package].setdefault(_SMALLER, len(names[package]))
    folded = dict(ordered[:_MOST_ROWS])
    for key, amount in ordered[_MOST_ROWS:]:
        into = folded.setdefault((*key[:package], other, *key[package + 1 :]), [0, 0])
        into[0] += amount[0]
        into[1] += amount[1]
    return folded


def _cards(seen: XRay) -> list[Json]:
    inventory = seen.inventory
    cards: list[Json] = [
        _card("outputs and entries", format_size(inventory.size), f"{len(inventory.outputs):,} outputs"),
        _card("on the disk", format_size(inventory.disk)),
    ]
    if seen.dead is not None:
        cards.append(_sum("of a Go not installed", seen.dead))
    cards.append(_sum("directory is gone", seen.gone))
    saved = sum(one.saved for one in seen.duplicates)
    cards.append(
        _card("only because of the directory", format_size(saved), f"at most; packages: {len(seen.duplicates):,}")
    )
    cards.append(_card("test results", f"{seen.tests.results:,}", format_size(seen.tests.amount.size)))
    if len(seen.points) > 1:
        rate = per_day(seen.points)
        value = "not known yet" if rate is None else f"{'-' if rate < 0 else '+'}{format_size(int(abs(rate)))} a day"
        points = [[point.at_ns // 10**9, point.size] for point in seen.points[-_MOST_POINTS:]]
        cards.append({"label": "growth", "value": value, "points": points})
    return cards


def _card(label: str, value: str, note: str = "") -> Json:
    return {"label": label, "value": value, "note": note}


def _sum(label: str, parts: Sequence[Part]) -> Json:
    files, size = sum(part.amount.files for part in parts), sum(part.amount.size for part in parts)
    return _card(label, format_size(size), f"{files:,} outputs")


def _own(seen: XRay) -> list[Section]:
    """Our own sections: what is there for nothing. Those that would be empty are left out."""
    found = []
    if seen.dead:
        found.append(Section("Made by a Go that is not installed", "table", _table("toolchain", seen.dead)))
    if seen.gone:
        note = "Nobody will hit these again, unless the directory comes back."
        found.append(
            Section("Made of a directory that is gone", "table", {"note": note, **_table("project", seen.gone)})
        )
    if seen.duplicates:
        found.append(_duplicates(seen))
    return found


def _table(first: str, parts: Sequence[Part]) -> dict[str, Json]:
    columns: Json = [{"name": first}, {"name": "outputs", "unit": "count"}, {"name": "size", "unit": "bytes"}]
    return {"columns": columns, "rows": [[printable(one.name), one.amount.files, one.amount.size] for one in parts]}


def _duplicates(seen: XRay) -> Section:
    columns: Json = [
        {"name": "package"},
        {"name": "toolchain"},
        {"name": "flags"},
        {"name": "directories", "unit": "paths"},
        {"name": "copies", "unit": "count"},
        {"name": "size", "unit": "bytes"},
        {"name": "to save at most", "unit": "bytes"},
    ]
    rows: Json = [
        [
            printable(one.name),
            f"{one.toolchain} {one.target}",
            " ".join(one.flags),
            [printable(directory) for directory in one.directories],
            len(one.outputs),
            one.size,
            one.saved,
        ]
        for one in seen.duplicates[:2000]
    ]
    return Section("Compiled in several directories", "table", {"note": _TWINS, "columns": columns, "rows": rows})


def write_report(path: Path, text: str) -> None:
    """Write the page to a file that is not there yet; it has its name when all of it is written.

    Raises:
        UsageFailure: There is such a file, or it cannot be written.
    """
    write_text(path, text, what="report")
