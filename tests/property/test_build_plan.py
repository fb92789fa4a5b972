"""Scripts of any build: numbers, places and the order of packages do not matter, and no line makes reading fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gotool.buildplan import NoPlan, Plan, Unit, read_plan, write_plan
from go_cache_safeguard.gotool.instructions import Places, Step, parse_instructions
from go_cache_safeguard.gotool.plandiff import compare

NAMES = st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6}){0,2}", fullmatch=True)
ROOTS = st.from_regex(r"/[a-z]{1,5}(/[a-z0-9]{1,5}){1,3}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_-]{20}", fullmatch=True)


@dataclass(frozen=True)
class Machine:
    """Where and how a build is planned: everything that must not matter."""

    root: str
    module: str
    numbers: Sequence[int]
    build_id: str
    threads: int

    @property
    def places(self) -> Places:
        return Places(
            f"{self.root}/{self.module}", {f"{self.root}/{self.module}": "$(m)", f"{self.root}/go": "$GOROOT"}
        )

    def script(self, build: Mapping[str, Sequence[str]]) -> str:
        number = {name: f"b{at:03d}" for name, at in zip(build, self.numbers, strict=False)}
        order = sorted(build, key=number.__getitem__)
        return "".join(self._section(name, build[name], number) for name in order)

    def _section(self, name: str, imports: Sequence[str], number: Mapping[str, str]) -> str:
        own = f"$WORK/{number[name]}"
        config = "".join(f"packagefile {each}=$WORK/{number[each]}/_pkg_.a\n" for each in imports)
        source = f"{self.root}/{self.module}/{name}"
        return (
            f"mkdir -p {own}/\n\n#\n# {name}\n#\n\n"
            f"cat >{own}/importcfg << 'EOF' # internal\n# import config\n{config}EOF\ncd {source}\n"
            f'{self.root}/go/pkg/tool/linux_amd64/compile -o {own}/_pkg_.a -trimpath "{own}=>" -p {name} -complete '
            f"-buildid {self.build_id}/{self.build_id} -c={self.threads} -importcfg {own}/importcfg -pack ./a.go {source}/b.go\n"
            f"go tool buildid -w {own}/_pkg_.a # internal\n"
        )


@st.composite
def builds(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    chosen = {}
    for at, name in enumerate(names):
        chosen[name] = tuple(draw(st.lists(st.sampled_from(names[:at]), unique=True))) if at else ()
    return chosen


MACHINES = st.builds(
    Machine,
    root=ROOTS,
    module=st.sampled_from(("m", "module", "x1")),
    numbers=st.permutations(range(1, 7)),
    build_id=IDS,
    threads=st.integers(1, 64),
)


@given(builds(), MACHINES, MACHINES)
def test_the_same_build_on_two_machines_reads_the_same(
    build: Mapping[str, Sequence[str]], one: Machine, two: Machine
) -> None:
    here = parse_instructions(one.script(build), one.places)
    assert here == parse_instructions(two.script(build), two.places)
    assert here.keys() == build.keys()
    text = repr(here)
    assert one.build_id not in text
    assert one.root not in text


@given(builds(), MACHINES)
def test_naming_places_twice_changes_nothing_more(build: Mapping[str, Sequence[str]], machine: Machine) -> None:
    named = machine.places.name(machine.script(build))
    assert machine.places.name(named) == named


@given(st.text(alphabet="ab#\n $/'\"\\-=>EOFW0", max_size=80), MACHINES)
def test_any_text_can_be_read(text: str, machine: Machine) -> None:
    parse_instructions(text, machine.places)
    parse_instructions(machine.script({"a": (), "b": ("a",)}) + text, machine.places)


TEXT = st.text(max_size=8)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
STEPS = st.lists(st.builds(Step, TEXT, TEXTS, TEXTS), max_size=3).map(tuple)
UNITS = st.builds(
    Unit,
    standard=st.booleans(),
    module=TEXT,
    version=TEXT,
    go=TEXT,
    imports=TEXTS,
    sources=st.dictionaries(TEXT, TEXT, max_size=3),
    steps=STEPS,
    config=TEXTS,
)
PLANS = st.builds(
    Plan,
    toolchain=TEXT,
    environment=st.dictionaries(TEXT, TEXT, max_size=3),
    patterns=TEXTS,
    units=st.dictionaries(TEXT, UNITS, max_size=4),
)


@given(PLANS)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert read_plan(write_plan(plan)) == plan


@given(PLANS)
def test_a_plan_equals_itself(plan: Plan) -> None:
    assert compare(plan, plan).differences == ()


@given(PLANS, PLANS)
def test_every_difference_has_a_cause_and_two_plans_without_one_do_the_same(one: Plan, two: Plan) -> None:
    found = compare(one, two)
    assert all(difference.causes and difference.because for difference in found.differences)
    if not found.differences:
        same = [(unit.module, unit.version, unit.sources, unit.steps, unit.config) for unit in one.units.values()]
        assert sorted(map(repr, same)) == sorted(
            repr((unit.module, unit.version, unit.sources, unit.steps, unit.config)) for unit in two.units.values()
        )


@given(st.binary(max_size=40))
def test_any_bytes_are_a_plan_or_a_reason(data: bytes) -> None:
    found = read_plan(data)
    assert isinstance(found, NoPlan)
    assert found.reason
