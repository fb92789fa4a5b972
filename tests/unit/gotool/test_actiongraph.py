"""`gotool.actiongraph`: reading what a build did."""

import json

import pytest

from go_cache_safeguard.gotool.actiongraph import NoGraph, parse_action_graph, tools_run

GRAPH = [
    {"ID": 0, "Mode": "link-install", "Package": "m", "Deps": [1], "BuildID": "a/b/c/d", "Cmd": None},
    {"ID": 1, "Mode": "link", "Package": "m", "ActionID": "a", "Cmd": ["link -o x"], "CmdUser": 5, "CmdReal": 7},
    {
        "ID": 2,
        "Mode": "build",
        "Package": "m",
        "ActionID": "x",
        "BuildID": "x/y",
        "NeedBuild": True,
        "TimeStart": "2026-11-22T09:01:18Z",
        "TimeDone": "2026-11-22T09:01:19Z",
        "Cmd": ["compile -o y", "pack r y"],
        "CmdReal": 3_000,
        "CmdUser": 2_000,
        "CmdSys": 500,
    },
    {"ID": 3, "Mode": "build", "Package": "runtime", "NeedBuild": True, "Cmd": None},
]


def test_a_graph_is_read_step_by_step() -> None:
    actions = parse_action_graph(json.dumps(GRAPH).encode())
    assert not isinstance(actions, NoGraph)
    assert [action.id for action in actions] == [0, 1, 2, 3]
    assert [action.deps for action in actions] == [(1,), (), (), ()]
    step = actions[2]
    assert (step.mode, step.package, step.action_id, step.build_id) == ("build", "m", "x", "x/y")
    assert (step.cpu_ns, step.real_ns, step.cmd) == (2_500, 3_000, ("compile -o y", "pack r y"))
    assert (step.started, step.done, step.need_build) == ("2026-11-22T09:01:18Z", "2026-11-22T09:01:19Z", True)


def test_a_tool_ran_where_there_is_a_command_line_and_linking_does_not_count() -> None:
    actions = parse_action_graph(json.dumps(GRAPH).encode())
    assert not isinstance(actions, NoGraph)
    assert [action.id for action in tools_run(actions)] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[{}]",
        b'[{"ID": "x"}]',
        b'[{"ID": 1, "Mode": 5}]',
        b'[{"ID": 1, "Cmd": 5}]',
        b"[",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_graph_says_why(data: bytes) -> None:
    answer = parse_action_graph(data)
    assert isinstance(answer, NoGraph)
    assert answer.reason


def test_a_graph_cut_anywhere_is_no_graph() -> None:
    data = json.dumps(GRAPH).encode()
    assert all(isinstance(parse_action_graph(data[:at]), NoGraph) for at in range(0, len(data), 7))
