"""Measure what is in the cache key: build, change one thing, build again, put it back.

Knows:     how each dimension is carried out in a scratch place, and in which order, so that one warm cache serves all.
Called by: the command line's `matrix`.
Never:     touches the person's module or cache: everything happens in a `flows.lab`.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.lab import (
    Broken,
    CannotMeasure,
    How,
    Lab,
    Source,
    copy_lab,
    every_go,
    sample_lab,
)
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.dimensions import DIMENSIONS, PLAIN, Deed, Dimension, Edit, Need, Setting, named
from go_cache_safeguard.gocache.hashlog import parse_hash_log
from go_cache_safeguard.gocache.matrix import MARK, Ran, Row, Seen, Table, compare, not_measured, page, seen_in


@dataclass(frozen=True, slots=True)
class Question:
    """What to measure.

    Attributes:
        gos: Go commands; empty for the usual one.
        dimensions: Names; empty for all.
        module: Somebody's module, to be copied; None for ours.
        start: A cache to begin with a copy of, which spares compiling the standard library; None for an empty one.
        goflags: Words that every build gets in GOFLAGS.
        tests: Whether tests are run.
        cgo: Whether our module has its package with C.
        keys: Whether go is asked what it hashes.
    """

    gos: tuple[Path, ...] = ()
    dimensions: tuple[str, ...] = ()
    module: Path | None = None
    start: Path | None = None
    goflags: str = ""
    tests: bool = True
    cgo: bool = True
    keys: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """What came out.

    Attributes:
        tables: One for each toolchain.
        columns: Names of the columns, those that all have.
        what: What was measured, for a person.
    """

    tables: tuple[Table, ...]
    columns: tuple[str, ...]
    what: str


def run_matrix(session: Session, question: Question) -> Matrix:
    """Measure.

    Raises:
        CannotMeasure: The module does not build.
        UsageFailure: A dimension, or a module, is none.
    """
    chosen = named(question.dimensions)
    if isinstance(chosen, str):
        raise UsageFailure(
            f"{chosen!r} is not a dimension", hint=f"dimensions: {', '.join(one.name for one in DIMENSIONS)}"
        )
    tables: list[Table] = []
    columns: tuple[str, ...] = ()
    what = ""
    for go in every_go(session, question.gos):
        with ExitStack() as stack:
            place = (
                sample_lab(session, go, question.goflags, cgo=question.cgo)
                if question.module is None
                else copy_lab(session, go, session.cwd / question.module, question.goflags)
            )
            lab, source = stack.enter_context(place)
            lab.copy_into(question.start, lab.cache)
            table = _Bench(session, lab, source, question).measure(_wanted(chosen, source))
        tables.append(table)
        columns = tuple(source.columns)
        what = _what(source)
    session.progress.phase("")
    return Matrix(tuple(tables), columns, what)


def write_page(matrix: Matrix, path: Path, command: str) -> None:
    """Write the page of documentation, into a new file or over an older one of ours.

    Raises:
        UsageFailure: There is another file, or it cannot be written.
    """
    try:
        if path.exists() and not path.read_bytes().startswith(MARK.encode()):
            raise UsageFailure(
                f"{str(path)!r} was not written by this command",
                not_done="no page was written",
                hint="name another file, or remove that one",
            )
        path.write_text(page(matrix.tables, matrix.columns, what=matrix.what, command=command), encoding="utf-8")
    except OSError as error:
        raise UsageFailure(
            f"{str(path)!r} cannot be written: {error.strerror}", not_done="no page was written"
        ) from error


def _wanted(chosen: Sequence[Dimension], source: Source) -> tuple[Dimension, ...]:
    """Of a copied module, the dimensions that need no file of ours."""
    return tuple(one for one in chosen if source.ours or Need.SAMPLE not in one.needs)


def _what(source: Source) -> str:
    if source.ours:
        return (
            "The module: `a` <- `b` <- `c` (embeds a file) <- `main`, which needs `std` (strconv) and `ext` (another module), too; `cg` "
            "is a cgo package, built beside. The test is that of `a`; for headers it is that of `cg`."
        )
    return f"The module: a copy of {source.name}. Edited is `a`, {source.columns['a'][0]}; `b` imports it. No test was run."


class _Bench:
    """One toolchain, one module, one cache."""

    def __init__(self, session: Session, lab: Lab, source: Source, question: Question) -> None:
        self._session, self._lab, self._source = session, lab, source
        self._tests, self._keys = question.tests and source.ours, question.keys
        self._out, self._kept = lab.make(lab.folder / "out"), lab.folder / "kept"
        self._root = lab.lay_out(source, lab.folder / "m" / "module")
        self._pristine = {name: (self._root / name).read_bytes() for name in source.files}
        self._cpu_ns = 0

    def measure(self, dimensions: Sequence[Dimension]) -> Table:
        """All rows.

        Raises:
            CannotMeasure: The module does not build as it is.
        """
        self._session.progress.phase(f"{self._lab.version}: building everything once")
        plain = self._build(self._root, PLAIN, None)
        if isinstance(plain, Broken):
            raise CannotMeasure(
                f"the module does not build: {plain.why}",
                not_done="nothing was measured",
                hint="see that `go build ./...` works here offline, and that cgo finds its headers in the packages",
            )
        shutil.copytree(self._out, self._kept)
        for package in sorted({one.test for one in dimensions if one.test} if self._tests else ()):
            self._test(self._root, package, How())
        rows = []
        for at, dimension in enumerate(dimensions, 1):
            self._session.progress.phase(f"{self._lab.version}: {at} of {len(dimensions)}: {dimension.name}")
            rows.append(self._row(dimension, plain))
        notes = () if self._lab.cgo else ("CGO_ENABLED is 0, so cgo was left out",)
        return Table(self._lab.version, self._lab.target, tuple(rows), self._cpu_ns, notes)

    def _row(self, dimension: Dimension, plain: Seen) -> Row:
        lacking = self._lacking(dimension)
        if lacking:
            return not_measured(dimension, f"it needs {lacking}")
        try:
            before, after = self._own(dimension) if dimension.own else self._shared(dimension, plain)
        except CannotMeasure as failure:
            return not_measured(dimension, failure.what)
        if isinstance(before, Broken):
            return not_measured(dimension, before.why)
        if isinstance(after, Broken):
            return not_measured(dimension, after.why)
        return compare(dimension, before, after, self._source.columns)

    def _lacking(self, dimension: Dimension) -> str:
        there = {
            Need.SAMPLE: self._source.ours,
            Need.CGO: self._lab.cgo,
            Need.GIT: shutil.which("git") is not None,
            Need.AMD64: self._lab.target.endswith("/amd64"),
        }
        return next((str(need) for need in dimension.needs if not there[need]), "")

    def _shared(self, dimension: Dimension, plain: Seen) -> tuple[Seen | Broken, Seen | Broken]:
        """In the module that all share, which is put back afterwards."""
        shutil.copytree(self._kept, self._out, dirs_exist_ok=True)
        before: Seen | Broken = plain
        if dimension.base != PLAIN:
            with self._edited(dimension.base):
                before = self._build(self._root, dimension.base, dimension)
        with self._edited(dimension.change):
            return before, self._build(self._moved(dimension), dimension.change, dimension)

    def _own(self, dimension: Dimension) -> tuple[Seen | Broken, Seen | Broken]:
        """In a copy of its own, where new files may stay."""
        root = self._lab.lay_out(self._source, self._lab.folder / "own" / dimension.name / "module")
        self._apply(root, dimension.base)
        before = self._build(root, dimension.base, dimension)
        self._apply(root, dimension.change)
        return before, self._build(root, dimension.change, dimension)

    def _moved(self, dimension: Dimension) -> Path:
        if Deed.MOVE not in dimension.change.deeds:
            return self._root
        return self._lab.lay_out(self._source, self._lab.folder / dimension.name / "module")

    @contextmanager
    def _edited(self, setting: Setting) -> Iterator[None]:
        try:
            self._apply(self._root, setting)
            yield
        finally:
            for edit in setting.edits:
                name = self._source.place(edit.file)
                self._lab.write(self._root / name, self._pristine[name])

    def _apply(self, root: Path, setting: Setting) -> None:
        for edit in setting.edits:
            self._edit(root / self._source.place(edit.file), edit)
        if Deed.VENDOR in setting.deeds:
            self._lab.run("mod", "vendor", cwd=root).or_fail()
        if Deed.REPOSITORY in setting.deeds:
            for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=first")):
                self._lab.git(*words, cwd=root)
        if Deed.COMMIT in setting.deeds:
            self._lab.git("commit", "--quiet", "--allow-empty", "--message=second", cwd=root)

    def _edit(self, path: Path, edit: Edit) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if edit.old and edit.old not in text:
            raise CannotMeasure(f"{path.name} does not hold {edit.old!r}")
        new = text.replace(edit.old, edit.new, 1) if edit.old else text + edit.new
        time_ns = path.stat().st_mtime_ns if edit.keep_time else None
        self._lab.write(path, new.encode(), time_ns)

    def _build(self, root: Path, setting: Setting, dimension: Dimension | None) -> Seen | Broken:
        how = self._how(setting)
        without = dimension is not None and dimension.without_cgo
        source = replace(self._source, libraries=()) if without and self._source.ours else self._source
        built = self._lab.build(root, source, self._out, _hashing(how) if self._keys else how)
        if isinstance(built, Broken):
            return built
        test = Ran.NOT_ASKED
        if dimension is not None and dimension.test and self._tests:
            test = self._test(root, dimension.test, how)
        self._cpu_ns += built.cpu_ns
        seen = seen_in(built.actions, test=test, cpu_ns=built.cpu_ns)
        return replace(seen, keys=_keys_in(built.said, str(self._lab.folder))) if self._keys else seen

    def _test(self, root: Path, package: str, how: How) -> Ran:
        return self._lab.test(root, f"./{self._source.roles[package]}", how)

    def _how(self, setting: Setting) -> How:
        more = dict(setting.environment)
        folder = self._lab.folder
        if Deed.TEMPORARY in setting.deeds:
            more["GOTMPDIR"] = str(self._lab.make(folder / "other-tmp"))
        if Deed.COPY_CACHE in setting.deeds:
            more["GOCACHE"] = str(self._lab.copy_into(self._lab.cache, folder / "copied-cache"))
        return How(setting.flags, setting.goflags, more)


def _hashing(how: How) -> How:
    """The same build, which also says what it hashes. For go build that changes no key."""
    words = ",".join(word for word in ("gocachehash=1", how.environment.get("GODEBUG", "")) if word)
    return replace(how, environment={**how.environment, "GODEBUG": words})


def _keys_in(said: bytes, folder: str) -> dict[str, tuple[bytes, ...]]:
    """What was hashed into the keys of packages; our place, which has another name each time, is called PLACE."""
    blocks = parse_hash_log(said).blocks
    return {
        block.name.removeprefix("build "): tuple(piece.replace(folder.encode(), b"PLACE") for piece in block.writes)
        for block in blocks
        if block.name.startswith("build ")
    }
