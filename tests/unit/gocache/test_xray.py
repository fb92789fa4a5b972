"""A cache from any side: whose a directory is, what lies there twice, what is there for nothing."""

import pytest

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import UNKNOWN, Output
from go_cache_safeguard.gocache.summary import DAY_NS, OLDEST, Amount, Part
from go_cache_safeguard.gocache.xray import (
    NO_FLAGS,
    Facet,
    Ground,
    StoredTests,
    dead,
    directories,
    duplicates,
    facet_of,
    find_projects,
    gone,
    group,
    of_module_cache,
    project_of,
    stored_tests,
)
from xrays import NOW_NS, inventory_of, made, plain

HERE = "/home/u/m"
MOD = "/home/u/go/pkg/mod"
THERE = Ground(exists=True, root=HERE, module="example.com/m")


@pytest.mark.parametrize(
    ("source", "package", "name"),
    [
        (f"{MOD}/example.com/dep@v1.2.3/sub", "example.com/dep/sub", "example.com/dep@v1.2.3"),
        (f"{MOD}/example.com/dep@v1.2.3/sub", "example.com/dep/sub_test", "example.com/dep@v1.2.3"),
        (f"{MOD}/example.com/dep@v1.2.3", "example.com/dep", "example.com/dep@v1.2.3"),
        (
            f"{MOD}/github.com/!burnt!sushi/toml@v1.4.0",
            "github.com/BurntSushi/toml",
            "github.com/BurntSushi/toml@v1.4.0",
        ),
        (f"{MOD}/example.com/dep/v2@v2.0.1/cmd/x", "main", "example.com/dep/v2@v2.0.1"),
        ("/odd/place/example.com/dep@v1.0.0/sub", "example.com/dep/sub", "example.com/dep@v1.0.0"),
        (
            "example.com/dep@v0.0.0-20200101000000-abcdefabcdef/x",
            "example.com/dep/x",
            "example.com/dep@v0.0.0-20200101000000-abcdefabcdef",
        ),
        ("/home/u@work/m/lib", "example.com/m/lib", None),
        (HERE, "example.com/m", None),
    ],
)
def test_a_directory_of_the_module_cache_is_a_module_in_a_version(source: str, package: str, name: str | None) -> None:
    assert of_module_cache(source, package) == name


@pytest.mark.parametrize(
    ("package", "source", "name"),
    [
        ("fmt", "$GOROOT/src/fmt", "std go1.27.3"),
        ("fmt", "fmt", "std go1.27.3"),
        ("internal/goos", None, "std go1.27.3"),
        ("fmt", "/usr/lib/go-1.27/src/fmt", "std go1.27.3"),
        ("vendor/golang.org/x/net/idna", "vendor/golang.org/x/net/idna", "std go1.27.3"),
        ("buildid", "cmd/buildid", "std go1.27.3"),
        ("example.com/m/lib", "example.com/m/lib", "example.com/m"),
        ("main", "github.com/u/m/cmd/x", "github.com/u/m"),
        ("example.com/m/lib", f"{HERE}/lib", HERE),
        ("main", "/somewhere/cmd/x", "/somewhere/cmd/x"),
        ("main", None, UNKNOWN),
        ("hello/lib", "hello/lib", "hello"),
    ],
)
def test_without_looking_at_the_disk_a_project_is_guessed(package: str, source: str | None, name: str) -> None:
    assert project_of(made(package, source)) == name


def test_what_says_nothing_about_itself_belongs_to_nobody() -> None:
    output = plain(Kind.VET_FACTS)
    assert {facet_of(output, facet, now_ns=NOW_NS) for facet in Facet} == {"vet-facts", UNKNOWN, "under 1 hour"}


def test_a_directory_belongs_to_the_nearest_go_mod() -> None:
    inventory = inventory_of(
        [made("example.com/m/a/b", f"{HERE}/a/b"), made("main", f"{HERE}/cmd/x"), made("example.com/m", HERE)]
    )
    projects = find_projects(inventory, dict.fromkeys(directories(inventory), THERE))
    assert set(projects.names.values()) == {HERE}
    assert projects.modules == {"example.com/m": HERE}
    assert (projects.gone, projects.gone_directories) == (frozenset(), frozenset())


def test_what_a_test_or_trimpath_made_belongs_to_the_only_project_with_that_module() -> None:
    inventory = inventory_of([made("example.com/m/a", f"{HERE}/a")])
    projects = find_projects(inventory, dict.fromkeys(directories(inventory), THERE))
    assert project_of(made("main", "example.com/m/a"), projects) == HERE
    other = inventory_of([*inventory.outputs.values(), made("example.com/m/a", "/ci/build/a")])
    both = find_projects(other, dict.fromkeys(directories(inventory), THERE))
    assert project_of(made("main", "example.com/m/a"), both) == "example.com/m"


def test_a_project_that_is_gone_is_what_the_directory_does_not_share_with_the_import_path() -> None:
    inventory = inventory_of(
        [
            made("github.com/u/m/a/b", "/ci/1/m/a/b", size=5),
            made("main", "/ci/1/m/cmd/x", size=7),
            made("main", "/elsewhere/x", size=1),
        ]
    )
    projects = find_projects(inventory, {})
    assert projects.names == {"/ci/1/m/a/b": "/ci/1/m", "/ci/1/m/cmd/x": "/ci/1/m", "/elsewhere/x": "/elsewhere/x"}
    assert projects.gone == {"/ci/1/m", "/elsewhere/x"}
    assert gone(inventory, projects) == (Part("/ci/1/m", Amount(2, 12)), Part("/elsewhere/x", Amount(1, 1)))


def test_a_lost_package_of_a_living_project_is_gone_but_the_project_is_not() -> None:
    inventory = inventory_of([made("example.com/m/a", f"{HERE}/a"), made("example.com/m/old", f"{HERE}/old", size=9)])
    grounds = {f"{HERE}/a": THERE, f"{HERE}/old": Ground(exists=False, root=HERE, module="example.com/m")}
    projects = find_projects(inventory, grounds)
    assert projects.gone == frozenset()
    assert gone(inventory, projects) == (Part(HERE, Amount(1, 9)),)


def test_a_lost_directory_below_a_foreign_go_mod_is_not_part_of_that_module() -> None:
    inventory = inventory_of([made("github.com/u/other/a", f"{HERE}/work/other/a")])
    grounds = {f"{HERE}/work/other/a": Ground(exists=False, root=HERE, module="example.com/m")}
    projects = find_projects(inventory, grounds)
    assert set(projects.names.values()) == projects.gone == {f"{HERE}/work/other"}


def test_the_same_package_from_two_directories_is_a_duplicate() -> None:
    one, two = made("example.com/m/a", "/ci/1/a", size=100), made("example.com/m/a", "/ci/22/a", size=103)
    (found,) = duplicates(inventory_of([one, two, made("example.com/m/b", "/ci/1/b")]))
    assert (found.package, found.directories, found.size, found.saved) == (
        "example.com/m/a",
        ("/ci/1/a", "/ci/22/a"),
        203,
        100,
    )
    assert set(found.outputs) == {one.output, two.output}


@pytest.mark.parametrize(
    "other",
    [
        made("example.com/m/a", "/ci/1/a"),
        made("example.com/m/a", "/ci/2/a", shape=8),
        made("example.com/m/a", "/ci/2/a", flags=("-race",)),
        made("example.com/m/a", "/ci/2/a", version="go1.26.0"),
        made("example.com/m/a", "example.com/m/a"),
        made("example.com/n/a", "/ci/2/a"),
    ],
    ids=["same directory", "other shape", "race", "other toolchain", "trimmed", "other package"],
)
def test_what_differs_in_more_than_the_directory_is_no_duplicate(other: Output) -> None:
    assert duplicates(inventory_of([made("example.com/m/a", "/ci/1/a"), other])) == ()


def test_commands_are_compared_with_those_of_the_same_name_only() -> None:
    outputs = [made("main", "/ci/1/cmd/x"), made("main", "/ci/1/cmd/y"), made("main", "/ci/2/cmd/x")]
    (found,) = duplicates(inventory_of(outputs))
    assert found.directories == ("/ci/1/cmd/x", "/ci/2/cmd/x")


def test_dead_is_what_no_installed_toolchain_made() -> None:
    inventory = inventory_of([made("fmt", None, version="go1.20"), made("fmt", None), plain(Kind.INDEX)])
    assert dead(inventory, ["go1.27.3"]) == (Part("go1.20", Amount(1, 100)),)


def test_test_results_are_counted_and_the_newest_is_known() -> None:
    inventory = inventory_of([plain(Kind.TEST_OUTPUT), plain(Kind.TEST_LOG, size=3), plain(Kind.INDEX)], stored_ns=42)
    assert stored_tests(inventory) == StoredTests(Amount(2, 13), 1, 42)
    assert stored_tests(inventory_of([])) == StoredTests(Amount(), 0, None)


def test_parts_are_the_largest_first_and_ages_from_young_to_old() -> None:
    inventory = inventory_of(
        [made("example.com/m", HERE, size=1), made("fmt", None, size=9, age_ns=9 * DAY_NS, flags=("-N", "-race"))]
    )
    assert [part.name for part in group(inventory, Facet.PACKAGE, now_ns=NOW_NS)] == ["fmt", "example.com/m"]
    assert [part.name for part in group(inventory, Facet.AGE, now_ns=NOW_NS)] == ["under 1 hour", OLDEST]
    assert [part.name for part in group(inventory, Facet.FLAGS, now_ns=NOW_NS)] == ["-N -race", NO_FLAGS]
