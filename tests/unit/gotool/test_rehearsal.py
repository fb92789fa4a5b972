"""How a command line is changed so that go only looks."""

import subprocess
from pathlib import Path

import pytest

from go_cache_safeguard.gotool.rehearsal import TOOL, NotRehearsed, WantedTool, rehearsal_of, wanted_tools


def rehearsed(*command: str) -> list[str]:
    made = rehearsal_of(command, tool="/f/tool", graph="/f/graph", folder="/f")
    assert not isinstance(made, NotRehearsed), made.why
    steer = ["-toolexec=/bin/sh '/f/tool'", "-debug-actiongraph=/f/graph"]
    steer += ["-o", "/dev/null"] if made[0] == "build" else []
    assert list(made[1 : 1 + len(steer)]) == steer
    return [made[0], *made[1 + len(steer) :]]


def test_a_plain_command_is_only_steered() -> None:
    assert rehearsed("build", "-race", "./...") == ["build", "-race", "./..."]


@pytest.mark.parametrize("flag", ["-a", "-n", "-x", "-work", "-o=x", "--a"])
def test_what_go_would_do_besides_is_left_out(flag: str) -> None:
    assert rehearsed("build", flag, "./...") == ["build", "./..."]


def test_the_value_of_a_flag_that_is_left_out_goes_with_it() -> None:
    assert rehearsed("test", "-o", "x.test", "-run", "X", ".") == ["test", "-run", "X", "."]


@pytest.mark.parametrize("flag", ["-c", "-cpuprofile=x", "-test.memprofile=x", "--blockprofile=x", "-o=x"])
def test_no_test_binary_is_kept_because_one_that_lies_ready_would_be_run(flag: str) -> None:
    assert rehearsed("test", flag, "./...") == ["test", "./..."]
    assert rehearsed("test", *flag.split("="), "./...") == ["test", "./..."]


def test_a_profile_lands_in_a_directory_of_ours() -> None:
    with_value = rehearsed("test", "-coverprofile", "/m/c.out", "./...")
    assert with_value == ["test", "-outputdir", "/f", "-coverprofile", "c.out", "./..."]
    assert rehearsed("test", "-coverprofile=/m/c.out") == ["test", "-outputdir", "/f", "-coverprofile=c.out"]


def test_a_directory_stays_in_front_and_go_mod_is_not_written() -> None:
    assert rehearsal_of(("build", "-C", "sub", "-mod=mod", "."), tool="/t", graph="/g", folder="/f") == (
        "build",
        "-C",
        "sub",
        "-toolexec=/bin/sh '/t'",
        "-debug-actiongraph=/g",
        "-o",
        "/dev/null",
        "-mod=readonly",
        ".",
    )


def test_installing_is_building_and_arguments_of_a_test_are_its_own() -> None:
    assert rehearsed("install", "./...") == ["build", "./..."]
    assert rehearsed("test", ".", "-args", "-o", "-fix") == ["test", ".", "-args", "-o", "-fix"]


@pytest.mark.parametrize("command", [(), ("generate",), ("fix", "./..."), ("vet", "-fix"), ("build", "-toolexec=x")])
def test_what_would_change_something_is_not_started(command: tuple[str, ...]) -> None:
    assert isinstance(rehearsal_of(command, tool="/t", graph="/g", folder="/f"), NotRehearsed)


def test_a_quotation_mark_in_the_place_of_the_tool_is_refused() -> None:
    assert isinstance(rehearsal_of(("build",), tool="/it's/t", graph="/g", folder="/f"), NotRehearsed)


def test_the_tool_answers_who_it_is_and_refuses_everything_else(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text(TOOL)

    def start(*words: str) -> "subprocess.CompletedProcess[str]":
        environ = {"TOOLEXEC_IMPORTPATH": "a [a.test]", "PATH": "/usr/bin:/bin"}
        return subprocess.run(["/bin/sh", tool, *words], env=environ, capture_output=True, text=True, check=False)

    assert start("/bin/echo", "-V=full").stdout == "-V=full\n"
    assert start("/go/pkg/tool/compile", "-o", "x").returncode == 1
    assert start("/go/pkg/tool/vet", "/b001/vet.cfg").returncode == 0
    found = wanted_tools((tmp_path / "wanted").read_bytes())
    assert found == (WantedTool("compile", "a [a.test]"), WantedTool("vet", "a [a.test]"))
