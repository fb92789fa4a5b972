"""The small `go` in front of go: what goes through, what is caught, what can be put back, and what is missed afterwards."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gocaches import EVERY, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard, files_of

REPOSITORY = Path(__file__).resolve().parents[2]
HOOKS = REPOSITORY / "deploy" / "hooks"


class Shell:
    """A shell whose PATH leads to the shim first."""

    def __init__(self, guard: Safeguard, folder: Path) -> None:
        self.guard = guard
        self.folder = folder
        self.environ = guard.environ | {"PATH": f"{folder}:{guard.environ['PATH']}"}

    def go(self, *args: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run whatever `go` the PATH leads to."""
        return subprocess.run(
            ["/usr/bin/env", "go", *args],
            cwd=self.guard.cache.module,
            env=self.environ | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture
def shell(tmp_path: Path, newest_cache: GoCache) -> Shell:
    guard = Safeguard(
        newest_cache,
        tmp_path / "state",
        {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%", "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always"},
    )
    folder = tmp_path / "shim"
    done = guard.run("shim", "install", "--dir", str(folder))
    assert done.returncode == 0, done.stderr
    return Shell(guard, folder)


@pytest.mark.real
def test_all_else_goes_to_go_itself(shell: Shell) -> None:
    assert shell.go("version").stdout.split()[2] == shell.guard.cache.toolchain.version
    failed = shell.go("build", "./nowhere")
    assert failed.returncode == 1
    assert "nowhere" in failed.stderr
    assert shell.go("clean").returncode == 0
    assert shell.go("-C", ".", "env", "GOCACHE").stdout.strip() == str(shell.guard.cache.root)


@pytest.mark.real
def test_go_clean_cache_can_be_undone_and_doctor_misses_what_was_taken_past_us(shell: Shell) -> None:
    before = files_of(shell.guard.cache.root)
    assert _vanished(shell)["outcome"] == "PASS"
    shown = shell.go("clean", "-n", "-cache")
    assert shown.returncode == 0, shown.stderr
    assert files_of(shell.guard.cache.root).items() >= before.items()  # checks add a throw-away module
    done = shell.go("clean", "-cache", "-x")
    assert done.returncode == 0, done.stderr
    again = set(before) & set(files_of(shell.guard.cache.root))  # what the canary build made anew
    assert len(again) < len(before) / 2
    op = next(word for word in done.stdout.split() if word.startswith("op_"))
    assert _vanished(shell)["outcome"] == "PASS"  # we took it ourselves
    assert shell.guard.run("undo", op).returncode == 0
    assert files_of(shell.guard.cache.root).keys() >= before.keys()
    assert _vanished(shell)["outcome"] == "PASS"
    real = shell.guard.cache.toolchain.go
    subprocess.run([real, "clean", "-cache"], env=shell.guard.environ, check=True, timeout=60)
    assert _vanished(shell)["outcome"] == "WARN"
    shutil.rmtree(shell.guard.cache.root)
    gone = _vanished(shell)
    assert gone["outcome"] == "WARN"
    assert "gone" in str(gone["summary"])


@pytest.mark.real
def test_what_is_held_removes_nothing_and_the_script_hears_of_it(shell: Shell) -> None:
    before = files_of(shell.guard.cache.root)
    held = shell.go("clean", "-cache", GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE="0%")
    assert held.returncode == 11, held.stderr
    refused = shell.go("clean", "-cache", "-frobnicate")
    assert refused.returncode == 2
    assert "nothing was removed" in refused.stderr
    assert files_of(shell.guard.cache.root).items() >= before.items()  # checks add a throw-away module


@pytest.mark.real
def test_flags_from_goflags_and_from_the_file_of_go_env_are_caught(shell: Shell, tmp_path: Path) -> None:
    before = files_of(shell.guard.cache.root)
    hold = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "0%"}
    assert shell.go("clean", GOFLAGS="-cache", **hold).returncode == 11
    env = tmp_path / "goenv"
    env.write_text("GOFLAGS=-cache\n")
    environ = {key: value for key, value in shell.environ.items() if key != "GOFLAGS"}
    shell.environ = environ
    assert shell.go("clean", GOENV=str(env), **hold).returncode == 11
    assert files_of(shell.guard.cache.root).items() >= before.items()  # checks add a throw-away module


@pytest.fixture(params=EVERY)
def each_shell(request: pytest.FixtureRequest, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> Shell:
    cache = copy_cache(warm_cache(find_toolchain(request.param)), tmp_path)
    guard = Safeguard(cache, tmp_path / "state")
    assert guard.run("shim", "install", "--dir", str(tmp_path / "shim")).returncode == 0
    return Shell(guard, tmp_path / "shim")


@pytest.mark.real
def test_test_results_are_forgotten_and_come_back(each_shell: Shell) -> None:
    shell = each_shell
    assert "(cached)" in shell.go("test", "./lib").stdout
    assert shell.go("clean", "-testcache").returncode == 0
    assert "(cached)" not in shell.go("test", "-c", "-o", os.devnull, "./lib").stdout
    expired = shell.go("test", "./lib")
    assert "(cached)" not in expired.stdout, expired.stdout
    assert shell.go("clean", "-testcache").returncode == 0
    back = shell.guard.run("shim", "restore-tests")
    assert back.returncode == 0, back.stderr
    assert "(cached)" in shell.go("test", "./lib").stdout


def test_nothing_is_taken_back_that_was_not_ours(shell: Shell) -> None:
    (shell.guard.cache.root / "testexpire.txt").write_text("1\n")
    assert shell.guard.run("shim", "restore-tests").returncode == 36
    assert (shell.guard.cache.root / "testexpire.txt").read_text() == "1\n"


@pytest.mark.real
def test_fuzzing_inputs_go_only_when_a_person_approves_and_come_back(shell: Shell) -> None:
    found = shell.guard.cache.root / "fuzz" / "example.com" / "m" / "FuzzIt" / "0123456789abcdef"
    found.parent.mkdir(parents=True)
    found.write_text('go test fuzz v1\nstring("x")\n')
    (found.parent / "notes.txt").write_text("mine")
    assert "FuzzIt" not in shell.go("clean", "-n", "-fuzzcache").stderr
    held = shell.go("clean", "-fuzzcache")
    assert held.returncode == 11, held.stderr
    assert found.exists()
    code, screen = _typed(shell, ("clean", "-fuzzcache"))
    assert code == 0, screen
    assert not found.exists()
    assert (found.parent / "notes.txt").exists()
    op = next(word for word in reversed(screen.split()) if word.startswith("op_"))
    assert shell.guard.run("undo", op).returncode == 0
    assert found.read_text().startswith("go test fuzz")


def _typed(shell: Shell, args: tuple[str, ...]) -> tuple[int, str]:
    return shell.guard.type("shim", "clean", "--", *args, answers=(("digest", "{digest}"),))


def test_a_program_of_somebody_else_is_never_overwritten_or_removed(tmp_path: Path, shell: Shell) -> None:
    other = tmp_path / "bin"
    other.mkdir()
    (other / "go").write_text("#!/bin/sh\n")
    assert shell.guard.run("shim", "install", "--dir", str(other)).returncode == 36
    assert shell.guard.run("shim", "remove", "--dir", str(other)).returncode == 36
    assert (other / "go").read_text() == "#!/bin/sh\n"


def test_two_shims_never_hand_on_to_each_other_and_both_go_away(tmp_path: Path, shell: Shell) -> None:
    second = tmp_path / "second"
    assert shell.guard.run("shim", "install", "--dir", str(second)).returncode == 0
    shell.environ["PATH"] = f"{second}:{shell.environ['PATH']}"
    assert shell.go("version").returncode == 0
    for folder in (second, shell.folder):
        assert shell.guard.json("shim", "remove", "--dir", str(folder))["removed"]
        assert not list(folder.iterdir())


def test_a_guard_that_is_gone_removes_nothing(shell: Shell) -> None:
    script = shell.folder / "go"
    text = script.read_text()
    python = text.rpartition("exec ")[2].split()[0]
    script.write_text(text.replace(python, "/nonexistent/python"))
    before = files_of(shell.guard.cache.root)
    assert shell.go("clean", "-cache").returncode == 13
    assert files_of(shell.guard.cache.root).items() >= before.items()  # checks add a throw-away module
    assert shell.go("version").returncode == 0


def _vanished(shell: Shell) -> dict[str, object]:
    told = json.loads(shell.guard.run("doctor", "--json").stdout)
    (verdict,) = [one for one in told["verdicts"] if one["check"] == "vanished"]
    assert isinstance(verdict, dict)
    return verdict


HOOK_MESSAGES = {
    "claude-code.settings.json": {
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": "LINE"},
    },
    "gemini.settings.json": {
        "hook_event_name": "BeforeTool",
        "tool_name": "run_shell_command",
        "tool_input": {"command": "LINE"},
    },
    "cursor.hooks.json": {"hook_event_name": "beforeShellExecution", "command": "LINE", "cwd": "/"},
    "copilot.hooks.json": {"toolName": "bash", "toolArgs": '{"command": "LINE"}'},
}


@pytest.mark.parametrize("name", HOOK_MESSAGES)
def test_each_shipped_hook_says_no_in_the_words_of_its_program(
    name: str, tmp_path: Path, newest_cache: GoCache
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    settings = (HOOKS / name).read_text()
    json.loads(settings)
    assert "go-cache-safeguard shim judge" in settings
    bad = _judged(guard, json.dumps(HOOK_MESSAGES[name]).replace("LINE", "cd x && go clean -cache"))
    assert bad.returncode == 0, bad.stderr
    assert "deny" in bad.stdout
    assert "go-cache-safeguard clean --all" in bad.stdout
    good = _judged(guard, json.dumps(HOOK_MESSAGES[name]).replace("LINE", "go test ./..."))
    assert (good.returncode, good.stdout) == (0, "")
    assert _judged(guard, "no json").returncode == 2


def _judged(guard: Safeguard, text: str) -> "subprocess.CompletedProcess[str]":
    from safeguard import COMMAND

    return subprocess.run(
        [*COMMAND, "shim", "judge"],
        input=text,
        env=guard.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_git_hook_stops_a_script_that_cleans_past_us(tmp_path: Path, newest_cache: GoCache) -> None:
    guard = Safeguard(replace(newest_cache, module=tmp_path / "repo"), tmp_path / "state")
    (tmp_path / "repo").mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go-cache-safeguard").write_text(f'#!/bin/sh\nexec {sys.executable} -m go_cache_safeguard "$@"\n')
    (tools / "go-cache-safeguard").chmod(0o755)
    environ = guard.environ | {"PATH": f"{tools}:{guard.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull}

    def git(*args: str) -> "subprocess.CompletedProcess[str]":
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", f"core.hooksPath={HOOKS}", *args]
        return subprocess.run(
            command, cwd=tmp_path / "repo", env=environ, capture_output=True, text=True, check=False, timeout=60
        )

    assert git("init", "-q").returncode == 0
    script = tmp_path / "repo" / "ci.sh"
    script.write_text("go test ./...\n")
    git("add", ".")
    assert git("commit", "-qm", "one").returncode == 0
    script.write_text("go test ./...\n  go clean -cache\n")
    git("add", ".")
    stopped = git("commit", "-qm", "two")
    assert stopped.returncode != 0
    assert "in: go clean -cache" in stopped.stderr
