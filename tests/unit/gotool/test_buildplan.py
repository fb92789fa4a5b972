"""Unit tests of gotool.buildplan, mirroring the file they test."""

import json

import pytest

from go_cache_safeguard.gotool.buildplan import NoPlan, Plan, make_plan, name_places, read_plan, write_plan
from go_cache_safeguard.gotool.instructions import Instructions, Step
from go_cache_safeguard.gotool.packages import Package

MAIN = Package("m", name="main", directory="/src/m", module="m", module_directory="/src/m", go="1.21", imports=("e",))
DEP = Package("d", directory="/mod/d@v1.0.0", module="d", version="v1.0.0", module_directory="/mod/d@v1.0.0")
STD = Package("e", directory="/opt/go/src/e", standard=True)
PLACES = name_places(
    (MAIN, DEP, STD), start="/src/m", goroot="/opt/go", modcache="/mod", gocache="/cache", home="/home/me"
)
ENVIRONMENT = {
    "GOVERSION": "go1.27.3",
    "GOFLAGS": "-tags=x",
    "CGO_CFLAGS": "-I/home/me/include",
    "GOFIPS140": "",
    "GOPROXY": "off",
}


def make(environment: dict[str, str] | None = None) -> Plan:
    step = Step("compile", ("-p main",), ("$(m)/main.go",))
    return make_plan(
        environment=environment or ENVIRONMENT,
        patterns=("./...",),
        packages=(MAIN, DEP, STD),
        instructions={"m": Instructions((step,), ("packagefile e",))},
        sources={"m": {"$(m)/main.go": "ab"}},
        places=PLACES,
    )


def test_places_are_named_after_what_they_are() -> None:
    text = "/src/m/main.go /mod/d@v1.0.0/d.go /opt/go/src/e/e.go /home/me/x /cache/ab"
    assert PLACES.name(text) == "$(m)/main.go $GOMODCACHE/d@v1.0.0/d.go $GOROOT/src/e/e.go $HOME/x $GOCACHE/ab"


def test_a_plan_keeps_what_steers_a_build_and_no_place_of_this_machine() -> None:
    plan = make()
    assert plan.toolchain == "go1.27.3"
    assert plan.environment == {"CGO_CFLAGS": "-I$HOME/include", "GOFLAGS": "-tags=x"}
    assert plan.units["m"].imports == ("e",)
    assert plan.units["e"].steps == ()
    assert b"/src/m" not in write_plan(plan)


def test_a_password_in_a_setting_is_covered() -> None:
    plan = make({"GOFLAGS": "-ldflags=-X=a=https://me:secret@host/"})
    assert b"secret" not in write_plan(plan)


def test_a_plan_is_read_as_it_was_written_and_written_in_one_form() -> None:
    plan = make()
    data = write_plan(plan)
    assert read_plan(data) == plan
    assert write_plan(make(dict(reversed(ENVIRONMENT.items())))) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is not JSON"),
        (b"[]", "its schema is None"),
        (b'{"schema": "go-cache-safeguard/build-plan/2"}', "its schema is 'go-cache-safeguard/build-plan/2'"),
        (b'{"schema": "go-cache-safeguard/build-plan/1"}', "a field is missing"),
    ],
)
def test_what_is_no_plan_says_why(data: bytes, reason: str) -> None:
    found = read_plan(data)
    assert isinstance(found, NoPlan)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("field", ["standard", "module", "imports", "sources", "steps", "config"])
def test_a_field_of_another_form_is_not_half_believed(field: str) -> None:
    value = json.loads(write_plan(make()))
    value["packages"]["m"][field] = 7
    assert isinstance(read_plan(json.dumps(value).encode()), NoPlan)
