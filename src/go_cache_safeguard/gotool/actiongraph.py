"""What a build really did, from the file that `-debug-actiongraph` writes.

Knows:     the fields of that file that tell a cache hit from a compilation.
Called by: the reuse check, the canary proof, the graph of packages, and whoever prices an entry.
Never:     judges by time: that a tool ran is a fact, that a build was quick is an impression.
Source:    cmd/go/internal/work/action.go `actionJSON`, cmd/go/internal/work/exec.go; the file was compared for go1.21.13,
           go1.26.8 and go1.27.3: `Cmd` is null for whatever came from the cache or needed no tool.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BuildAction:
    """One step of a build.

    Attributes:
        id: Its number in this graph.
        mode: `build`, `link`, `link-install`, `vet`, `test run` and so on.
        package: Import path; may be empty.
        action_id: First 20 characters of the action ID, base64url; empty if the step has none.
        build_id: `action/content`, longer for programs; empty if the step has none.
        need_build: What go says about the need; not reliable for "a tool ran".
        cmd: Command lines of the tools that ran, as go would print them; empty if none did.
        cpu_ns: User and system time of these tools, in nanoseconds.
        real_ns: Their wall time, in nanoseconds.
        started: RFC 3339; empty if it never started.
        done: RFC 3339; empty if it never ended.
        deps: Numbers of the steps that it waits for.
    """

    id: int
    mode: str
    package: str
    action_id: str
    build_id: str
    need_build: bool
    cmd: tuple[str, ...]
    cpu_ns: int
    real_ns: int
    started: str
    done: str
    deps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NoGraph:
    """The bytes are no action graph.

    Attributes:
        reason: Why not, for a person.
    """

    reason: str


def parse_action_graph(data: bytes) -> tuple[BuildAction, ...] | NoGraph:
    """Read the whole file that `-debug-actiongraph=FILE` wrote."""
    if not data:
        return NoGraph("the file is empty or was never written")
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        return NoGraph(f"it is not JSON: {error}")
    if not isinstance(value, list) or not all(isinstance(step, dict) for step in value):
        return NoGraph("it is not a list of steps")
    try:
        return tuple(_action(step) for step in value)
    except (TypeError, ValueError, KeyError) as error:
        return NoGraph(f"a step has another form than we know: {error}")


def tools_run(actions: Iterable[BuildAction]) -> tuple[BuildAction, ...]:
    """The steps for which a tool really ran, apart from linking, which `go build` never takes from the cache."""
    return tuple(action for action in actions if action.cmd and not action.mode.startswith("link"))


def _action(step: Mapping[str, Any]) -> BuildAction:
    return BuildAction(
        id=int(step["ID"]),
        mode=_text(step, "Mode"),
        package=_text(step, "Package"),
        action_id=_text(step, "ActionID"),
        build_id=_text(step, "BuildID"),
        need_build=bool(step.get("NeedBuild")),
        cmd=tuple(str(line) for line in step.get("Cmd") or ()),
        cpu_ns=int(step.get("CmdUser") or 0) + int(step.get("CmdSys") or 0),
        real_ns=int(step.get("CmdReal") or 0),
        started=_text(step, "TimeStart"),
        done=_text(step, "TimeDone"),
        deps=tuple(int(number) for number in step.get("Deps") or ()),
    )


def _text(step: Mapping[str, Any], key: str) -> str:
    text = step.get(key) or ""
    if not isinstance(text, str):
        raise TypeError(f"{key} is not text")
    return text
