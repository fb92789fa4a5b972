"""Which package needs which, which entry of the cache each of them is, and what an edit of one would cost.

Knows:     how a listing and its action graph become a graph; what go compiles and links again after three kinds of edit.
Called by: `flows.graph`.
Never:     asks go or looks at a disk. Never gives the key of a package that go could only guess: see `Found.GUESSED`.
Source:    cmd/go/internal/list/list.go: one step for each listed package with Go files, in the order of the listing; the steps do not
           say for which test a package is compiled. cmd/go/internal/work/exec.go `buildActionID`: a package's key holds the content
           ID of what it imports, and that is of the whole archive, not of what it exports. Measured with go1.21.13, go1.24.11 and
           go1.27.3 by editing and building: see `Edit`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import compress

from go_cache_safeguard.gocache.cost import BUILD, LINK, Cost, Costs, Total, plain
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.packages import Package

_BUILT_IN = "built-in package"


class Found(StrEnum):
    """Whether the cache has a package as it would be built now."""

    HIT = "hit"
    MISSING = "missing"
    GUESSED = "unknown"
    """Its key is not known before something that it needs is compiled; or it is the main package of a test, which `go test` writes
    into another directory than a listing."""
    NONE = "none"
    """There is nothing to compile, as of `unsafe`, or go could not plan it."""


class Edit(StrEnum):
    """What was changed in a package, and with that how far it reaches."""

    COMMENT = "comment"
    """The package comes out as it was: a word in a comment, the last line. Only it is compiled, nothing is linked."""
    BODY = "body"
    """What others see stays: the body of a function that is not inlined, without moving a line that is. The package and whatever
    imports it are compiled; those come out as they were, so it ends there. Programs are linked again."""
    API = "api"
    """What others see changes: an exported type or constant, an inlined function, or a line before one. At most all that depend on
    it are compiled; it ends earlier where one of them comes out as it was."""


ASSUMES: Mapping[Edit, str] = {
    Edit.COMMENT: "the compiler writes the same archive, as after a change of words in a comment: only the package itself",
    Edit.BODY: "only the body of a function changes that is not inlined, and no exported line moves: the package and its importers",
    Edit.API: "each package on the way comes out different, as after a change of an exported type: all dependents, the most there can be",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One package, as it is compiled for itself or for a test.

    Attributes:
        name: Import path; with the test that it is compiled for, such as `p [p.test]`.
        directory: Absolute; empty if it was not found.
        standard: It is part of the toolchain.
        module: Its module and, unless that is the main one, version: `example.org/m@v1.2.3`.
        program: It is a program.
        asked: Somebody asked for it by name or pattern; otherwise it is needed.
        needs: What it imports, compiled in the same graph; sorted.
        found: Whether the cache has it.
        half: First half of the build ID; empty if it is not known.
        output: Its archive; None unless it is a hit.
        cost: What compiling it costs; None if nothing is known.
        link: What linking it costs; None unless it is a program.
        error: Why it cannot be built, in go's words.
    """

    name: str
    directory: str
    standard: bool
    module: str
    program: bool
    asked: bool
    needs: tuple[str, ...]
    found: Found
    half: str
    output: Output | None
    cost: Cost | None
    link: Cost | None
    error: str

    @property
    def size(self) -> int:
        """Bytes of its archive; 0 if it is not there."""
        return 0 if self.output is None else self.output.size


@dataclass(frozen=True, slots=True)
class Reach:
    """What one kind of edit would set off.

    Attributes:
        compiled: Packages that would be compiled again, the edited one among them.
        size: Bytes of their archives as they are now: so much is written anew, while the old ones stay until they are trimmed.
        unsized: How many of them have no archive now.
        cost: Of compiling them.
        unpriced: How many of them have no price.
        links: Programs that would be linked again.
        link_cost: Of linking them.
    """

    compiled: int
    size: int
    unsized: int
    cost: Total
    unpriced: int
    links: int
    link_cost: Total


@dataclass(frozen=True, slots=True)
class Blast:
    """What an edit of one package would set off, by kind of edit.

    Attributes:
        package: Import path.
        reaches: By kind.
    """

    package: str
    reaches: Mapping[Edit, Reach]

    @property
    def saved(self) -> tuple[int, int, float]:
        """What early cut-off saves after an edit of a body, against all dependents: packages, bytes, CPU seconds."""
        most, least = self.reaches[Edit.API], self.reaches[Edit.BODY]
        return (
            most.compiled - least.compiled,
            most.size - least.size,
            max(0.0, most.cost.seconds - least.cost.seconds),
        )


class Graph:
    """Packages and what they need.

    Args:
        nodes: In any order; a need that is not among them is left out. A cycle, which go would never give, is no trouble.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: Mapping[str, Node] = {node.name: node for node in nodes}
        self._names = tuple(self.nodes)
        self._numbers = {name: number for number, name in enumerate(self._names)}

    @cached_property
    def importers(self) -> Mapping[str, tuple[str, ...]]:
        """From each package to those that import it, sorted."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for need in node.needs:
                if need in found:
                    found[need].append(node.name)
        return {name: tuple(sorted(names)) for name, names in found.items()}

    def dependents(self, name: str) -> tuple[str, ...]:
        """All that need a package, at first, second or any hand; sorted, without itself."""
        return tuple(sorted(self._names_of(self._dependents[self._numbers[name]] & ~(1 << self._numbers[name]))))

    def distances(self, name: str) -> Mapping[str, int]:
        """From everything that needs a package to how many imports lie between; 1 for its importers."""
        found, edge = {name: 0}, {name}
        for distance in range(1, len(self._names) + 1):
            edge = {user for one in edge for user in self.importers[one]} - found.keys()
            found |= dict.fromkeys(edge, distance)
        return {user: distance for user, distance in found.items() if user != name}

    def edited(self, name: str) -> tuple[str, ...]:
        """Which packages an edit of one touches: itself, and as it is compiled for tests. None if nothing of it is compiled."""
        return tuple(self._names_of(self._editions.get(plain(name), 0)))

    def compiled(self, name: str, edit: Edit) -> tuple[str, ...]:
        """What would be compiled again after an edit, sorted."""
        return tuple(sorted(self._names_of(self._compiled(name, edit))))

    def linked(self, name: str) -> tuple[str, ...]:
        """Programs that would be linked again after an edit that changes the package, sorted."""
        return tuple(sorted(self._names_of(self._compiled(name, Edit.API) & self._programs)))

    def blast(self, name: str) -> Blast:
        """What an edit of a package would set off."""
        return Blast(plain(name), {edit: self._reach(name, edit) for edit in Edit})

    def ranking(self, *, standard: bool = False) -> tuple[Blast, ...]:
        """The edits of all packages, those first that reach furthest: by CPU seconds, then packages, then name.

        Args:
            standard: Those of the standard library, too.
        """
        names = dict.fromkeys(plain(node.name) for node in self.nodes.values() if standard or not node.standard)
        blasts = (self.blast(name) for name in names if self.edited(name))

        def order(blast: Blast) -> tuple[float, int, str]:
            reach = blast.reaches[Edit.API]
            return -(reach.cost.seconds + reach.link_cost.seconds), -reach.compiled, blast.package

        return tuple(sorted(blasts, key=order))

    def _compiled(self, name: str, edit: Edit) -> int:
        """A set of packages as the bits of a number, see `_names_of`."""
        found = touched = self._editions.get(plain(name), 0)
        for one in () if edit is Edit.COMMENT else self._names_of(touched):
            number = self._numbers[one]
            found |= self._dependents[number] if edit is Edit.API else self._importers[number]
        return found

    def _reach(self, name: str, edit: Edit) -> Reach:
        bits = self._compiled(name, edit) & self._steps
        links = 0 if edit is Edit.COMMENT else self._compiled(name, Edit.API) & self._programs
        cost = self._costs.total(bits)
        return Reach(
            compiled=bits.bit_count(),
            size=sum(compress(self._sizes, _selectors(bits))),
            unsized=(bits & ~self._sized).bit_count(),
            cost=cost,
            unpriced=bits.bit_count() - cost.entries,
            links=links.bit_count(),
            link_cost=self._links.total(links),
        )

    def _names_of(self, bits: int) -> list[str]:
        return list(compress(self._names, _selectors(bits)))

    def _set(self, chosen: Iterable[bool]) -> int:
        """The bits of those packages, in their order, of which something is true."""
        return sum(1 << number for number, one in enumerate(chosen) if one)

    @cached_property
    def _sizes(self) -> list[int]:
        return [node.size for node in self.nodes.values()]

    @cached_property
    def _sized(self) -> int:
        return self._set(node.output is not None for node in self.nodes.values())

    @cached_property
    def _costs(self) -> "_Column":
        return _Column([node.cost for node in self.nodes.values()])

    @cached_property
    def _links(self) -> "_Column":
        return _Column([node.link for node in self.nodes.values()])

    @cached_property
    def _editions(self) -> Mapping[str, int]:
        """From an import path to the packages that are compiled from its files."""
        found: dict[str, int] = {}
        for name, node in self.nodes.items():
            if node.found is not Found.NONE:
                found[plain(name)] = found.get(plain(name), 0) | 1 << self._numbers[name]
        return found

    @cached_property
    def _importers(self) -> list[int]:
        found = [0] * len(self._names)
        for name, users in self.importers.items():
            for user in users:
                found[self._numbers[name]] |= 1 << self._numbers[user]
        return found

    @cached_property
    def _programs(self) -> int:
        return self._set(node.program for node in self.nodes.values())

    @cached_property
    def _steps(self) -> int:
        """Whatever is compiled at all."""
        return self._set(node.found is not Found.NONE for node in self.nodes.values())

    @cached_property
    def _dependents(self) -> list[int]:
        """By number: all dependents, as bits. One pass suffices if a package comes after what it needs, as go lists them."""
        above = [0] * len(self._names)
        changed = True
        while changed:
            changed = False
            for number in reversed(range(len(self._names))):
                reached = above[number] | 1 << number
                for need in self.nodes[self._names[number]].needs:
                    at = self._numbers.get(need)
                    if at is not None and above[at] | reached != above[at]:
                        above[at] |= reached
                        changed = True
        return above


class _Column:
    """The price of each package, to be added up for any set of them: a thousand sets of a thousand packages in a moment."""

    def __init__(self, costs: Sequence[Cost | None]) -> None:
        self._priced = sum(1 << number for number, cost in enumerate(costs) if cost is not None)
        self._measured = sum(1 << number for number, cost in enumerate(costs) if cost is not None and cost.measured)
        self._seconds = [0.0 if cost is None else cost.seconds for cost in costs]
        self._low = [0.0 if cost is None else cost.low for cost in costs]
        self._high = [0.0 if cost is None else cost.high for cost in costs]

    def total(self, bits: int) -> Total:
        which, seen = _selectors(bits), bits & self._measured
        return Total(
            entries=(bits & self._priced).bit_count(),
            measured=seen.bit_count(),
            seconds=sum(compress(self._seconds, which)),
            measured_s=sum(compress(self._seconds, _selectors(seen))),
            low=sum(compress(self._low, which)),
            high=sum(compress(self._high, which)),
        )


_DIGITS = bytes.maketrans(b"01", b"\0\1")


def _selectors(bits: int) -> bytes:
    """A byte for each bit, the lowest first, 0 or 1: what `compress` takes."""
    return f"{bits:b}"[::-1].encode("ascii").translate(_DIGITS)


def make_graph(
    packages: Sequence[Package],
    actions: Sequence[BuildAction],
    archives: Mapping[str, Output],
    costs: Costs,
    *,
    toolchain: str,
    target: str,
    flags: tuple[str, ...] = (),
) -> Graph:
    """Put a graph together.

    Args:
        packages: What `go list -deps` says.
        actions: The action graph of the same listing.
        archives: The cache's archives by the first half of their build IDs.
        costs: Prices.
        toolchain: Such as `go1.27.3`.
        target: Such as `linux/amd64`.
        flags: Compiler flags of all packages, such as `-race`: for the price of what the cache does not have.
    """
    steps = {action.id: action for action in actions}
    built = _steps_of(packages, actions)
    names = {step.id: name for name, step in built.items()}
    nodes = []
    for package in packages:
        step = built.get(package.path)
        needs = tuple(sorted({names[at] for at in step.deps if at in names})) if step else ()
        found = _found(step, steps, archives)
        if found is Found.MISSING and package.name == "main" and package.path.endswith(".test"):
            found = Found.GUESSED
        output = archives.get(step.action_id) if step is not None and found is Found.HIT else None
        cost = costs.of(output) if output is not None else None
        if output is None and step is not None and found is not Found.NONE:
            exact = costs.of_step(step.action_id) if found is Found.MISSING else None
            cost = exact or costs.of_package(plain(package.path), toolchain, target, flags)
        about = f"{package.module}@{package.version}" if package.version else package.module
        program = package.name == "main" and step is not None
        half = step.action_id if step is not None and found is not Found.GUESSED else ""
        # The price of a link follows, when it is known what goes into it.
        place = (package.directory, package.standard, about, program, not package.only_needed)
        nodes.append(Node(package.path, *place, needs, found, half, output, cost, None, package.error))
    return Graph(_with_links(nodes, actions, costs, toolchain))


def _steps_of(packages: Sequence[Package], actions: Sequence[BuildAction]) -> Mapping[str, BuildAction]:
    """From each package to the step that compiles it."""
    steps = {action.id: action for action in actions}
    root = next((action for action in actions if not action.mode and not action.package), None)
    listed = [package for package in packages if package.has_go]
    found: dict[str, BuildAction] = {}
    if root is not None and len(root.deps) == len(listed):
        for package, number in zip(listed, root.deps, strict=True):
            step = _compiling(steps.get(number), steps)
            if step is not None and step.package == plain(package.path):
                found[package.path] = step
    for action in actions if len(found) < len(listed) else ():
        # Something is not as we know it: names tell apart all but what is compiled for tests.
        if action.mode in {BUILD, _BUILT_IN}:
            found.setdefault(action.package, action)
    return found


def _compiling(step: BuildAction | None, steps: Mapping[int, BuildAction]) -> BuildAction | None:
    """The step that compiles: of a program, the first that linking it waits for."""
    for _ in range(3):
        if step is None or step.mode in {BUILD, _BUILT_IN}:
            return step
        own = (steps[number] for number in step.deps if number in steps and steps[number].package == step.package)
        step = next((one for one in own if one.mode in {BUILD, LINK, "link-install"}), None)
    return None


def _found(step: BuildAction | None, steps: Mapping[int, BuildAction], archives: Mapping[str, Output]) -> Found:
    if step is None or not step.action_id:
        return Found.NONE
    if step.action_id in archives and step.build_id:
        return Found.HIT
    needed = (steps[number] for number in step.deps if number in steps)
    sure = all(one.build_id for one in needed if one.mode == BUILD)
    return Found.MISSING if sure else Found.GUESSED


def _with_links(nodes: Sequence[Node], actions: Sequence[BuildAction], costs: Costs, toolchain: str) -> Iterable[Node]:
    halves = {action.package: action.action_id for action in actions if action.mode == LINK}
    known = {node.name: node for node in nodes}
    for node in nodes:
        if not node.program:
            yield node
            continue
        size = sum(known[name].size for name in _closure(node.name, known))
        link = costs.of_link(halves.get(plain(node.name), ""), plain(node.name), toolchain, size)
        told = (node.needs, node.found, node.half, node.output, node.cost, link, node.error)
        yield Node(node.name, node.directory, node.standard, node.module, node.program, node.asked, *told)


def _closure(name: str, known: Mapping[str, Node]) -> set[str]:
    found, todo = {name}, [name]
    while todo:
        for need in known[todo.pop()].needs:
            if need not in found and need in known:
                found.add(need)
                todo.append(need)
    return found
