"""`gotool.run` with shell scripts in the place of go: time, output, ends, and what is left behind. Real go: tests/real."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.gotool import run as run_module
from go_cache_safeguard.gotool.complaint import GocacheOff, GoFailed, GoMissing, GoTimedOut
from go_cache_safeguard.gotool.run import Go, find_go

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}


def script(folder: Path, text: str, name: str = "go") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


def test_the_named_go_is_taken_and_nothing_else(tmp_path: Path) -> None:
    named = script(tmp_path, "exit 0", "mygo")
    script(tmp_path, "exit 0")
    assert find_go(named, str(tmp_path)) == named
    with pytest.raises(GoMissing, match="is no program"):
        find_go(tmp_path / "absent", str(tmp_path))


def test_the_first_go_in_an_absolute_folder_of_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/go").write_text("not executable")
    (tmp_path / "two").mkdir()
    go = script(tmp_path / "two", "exit 0")
    monkeypatch.chdir(tmp_path / "two")
    assert find_go(None, f":.:{tmp_path}/one:{tmp_path}/two") == go


def test_without_go_the_failure_says_how_to_get_one() -> None:
    with pytest.raises(GoMissing) as caught:
        find_go(None, ":.:relative")
    assert caught.value.exit_code is ExitCode.GO
    assert "Go 1.21" in caught.value.hint


def test_a_command_gives_its_output_exit_code_and_cost(tmp_path: Path) -> None:
    go = Go(
        script(tmp_path, 'echo "$1"; echo err >&2; pwd; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; exit 3'),
        environ=ENVIRON,
    )
    ran = go.run(("list", "-x"), cwd=tmp_path)
    assert (ran.exit_code, ran.args, ran.cwd) == (3, ("list", "-x"), str(tmp_path))
    assert ran.stdout == f"list\n{tmp_path}\n".encode()
    assert ran.stderr == b"err\n"
    assert ran.cpu_ns > 0
    assert ran.wall_ns > 0


def test_an_exit_code_is_a_value_until_somebody_demands_success(tmp_path: Path) -> None:
    ran = Go(script(tmp_path, "echo broken >&2; exit 1"), environ=ENVIRON).run(("vet",), cwd=tmp_path)
    with pytest.raises(GoFailed, match="broken"):
        ran.or_fail()


def test_the_toolchain_is_local_unless_told_otherwise(tmp_path: Path) -> None:
    go = Go(script(tmp_path, 'printf %s "$GOTOOLCHAIN"'), environ={**ENVIRON, "GOTOOLCHAIN": "auto"})
    assert go.run((), cwd=tmp_path).stdout == b"local"
    assert go.run((), cwd=tmp_path, extra_env={"GOTOOLCHAIN": "go1.30.0"}).stdout == b"go1.30.0"


def test_only_variables_of_go_are_kept_as_evidence(tmp_path: Path) -> None:
    go = Go(script(tmp_path, "exit 0"), environ={**ENVIRON, "AWS_SECRET_ACCESS_KEY": "s", "GOFLAGS": "-race"})
    ran = go.run((), cwd=tmp_path, extra_env={"GOCACHE": "/c"})
    assert ran.environment == {**ENVIRON, "GOFLAGS": "-race", "GOCACHE": "/c", "GOTOOLCHAIN": "local"}


def test_stdin_is_what_is_given_and_nothing_otherwise(tmp_path: Path) -> None:
    go = Go(script(tmp_path, "cat"), environ=ENVIRON)
    assert go.run((), cwd=tmp_path, stdin=b"x" * 300_000).stdout == b"x" * 300_000
    assert go.run((), cwd=tmp_path).stdout == b""


def test_of_a_long_output_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "OUTPUT_LIMIT", 1000)
    ran = Go(script(tmp_path, "seq 1 20000"), environ=ENVIRON).run((), cwd=tmp_path)
    assert len(ran.stdout) == 1000
    assert ran.stdout.endswith(b"19999\n20000\n")


def test_what_takes_too_long_is_ended_with_all_its_children(tmp_path: Path) -> None:
    go = Go(script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; echo waiting >&2; wait"), environ=ENVIRON)
    with pytest.raises(GoTimedOut, match="waiting") as caught:
        go.run(("build",), cwd=tmp_path, timeout_s=0.5)
    assert "0.5 s" in caught.value.what
    assert wait_until_gone(int((tmp_path / "child").read_text()))


def test_what_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "GRACE_S", 0.2)
    go = Go(
        script(tmp_path, f"trap '' INT TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"), environ=ENVIRON
    )
    with pytest.raises(GoTimedOut):
        go.run((), cwd=tmp_path, timeout_s=0.5)
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_outlives_its_parent_is_not_left_behind_and_not_waited_for(tmp_path: Path) -> None:
    go = Go(script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; echo done"), environ=ENVIRON)
    assert go.run((), cwd=tmp_path, timeout_s=60).stdout == b"done\n"
    assert wait_until_gone(int((tmp_path / "child").read_text()))


def test_a_command_that_closes_its_output_early_is_waited_for(tmp_path: Path) -> None:
    go = Go(script(tmp_path, "exec >&- 2>&-; sleep 0.3; exit 7"), environ=ENVIRON)
    assert go.run((), cwd=tmp_path).exit_code == 7


def test_a_command_ended_by_a_signal_says_so(tmp_path: Path) -> None:
    assert Go(script(tmp_path, "kill -9 $$"), environ=ENVIRON).run((), cwd=tmp_path).exit_code == -signal.SIGKILL


def test_ctrl_c_ends_the_whole_group(tmp_path: Path) -> None:
    go = script(
        tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child.new; mv {tmp_path}/child.new {tmp_path}/child; wait"
    )
    code = (
        "from pathlib import Path; from go_cache_safeguard.gotool.run import Go; "
        f"Go(Path({str(go)!r}), environ={ENVIRON!r}).run((), cwd=Path({str(tmp_path)!r}))"
    )
    ours = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    child = tmp_path / "child"
    while not child.exists():
        time.sleep(0.01)
    ours.send_signal(signal.SIGINT)
    _, said = ours.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert wait_until_gone(int(child.read_text()))


def test_what_cannot_be_started_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GoMissing, match="cannot be started"):
        Go(tmp_path / "absent", environ=ENVIRON).run((), cwd=tmp_path)
    with pytest.raises(GoMissing, match="cannot be started"):
        Go(script(tmp_path, "exit 0"), environ=ENVIRON).run((), cwd=tmp_path / "absent")


def test_an_answer_of_go_env_that_is_none_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(GoFailed, match="nonsense"):
        Go(script(tmp_path, "echo nonsense"), environ=ENVIRON).env()


def test_a_go_without_a_cache_is_asked_why(tmp_path: Path) -> None:
    text = """if [ "$1" = env ]; then echo '{"GOVERSION": "go1.27.3", "GOCACHE": "off"}'; exit 0; fi
    echo 'build cache is disabled by GOCACHE=off, but required as of Go 1.12' >&2; exit 1"""
    with pytest.raises(GocacheOff, match="required as of Go"):
        Go(script(tmp_path, text), environ=ENVIRON).env()


def test_no_descriptor_is_left_over(tmp_path: Path) -> None:
    go = Go(script(tmp_path, "echo x"), environ=ENVIRON)
    go.run((), cwd=tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        go.run((), cwd=tmp_path, stdin=b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.root
def test_root_starts_go_as_the_owner_of_the_cache() -> None:
    go = Go(Path("/usr/bin/id"), environ=ENVIRON, owner=(65534, 65534))
    assert [go.run((which,), cwd=Path("/")).stdout for which in ("-u", "-g", "-G")] == [b"65534\n"] * 3


def test_output_is_told_as_it_comes_and_kept(tmp_path: Path) -> None:
    pieces: list[bytes] = []
    go = Go(script(tmp_path, 'echo one; echo err >&2; read line; echo "$line"'), environ=ENVIRON)
    ran = go.run((), cwd=tmp_path, stdin=b"two\n", told=pieces.append)
    assert b"".join(pieces) == b"one\ntwo\n" == ran.stdout


def test_who_is_told_may_fail_and_the_command_is_ended(tmp_path: Path) -> None:
    def told(_piece: bytes) -> None:
        raise KeyboardInterrupt

    go = Go(script(tmp_path, "echo $$; exec sleep 100"), environ=ENVIRON)
    with pytest.raises(KeyboardInterrupt):
        go.run((), cwd=tmp_path, told=told)


def test_a_program_about_a_binary_gets_arguments_and_something_to_read(tmp_path: Path) -> None:
    go = Go(script(tmp_path, "exit 3"), environ=ENVIRON)
    program = script(tmp_path, 'read line; echo "$1 $line"', "dlv")
    assert go.run_program(program, ("exec",), cwd=tmp_path, timeout_s=20, stdin=b"break\n").stdout == b"exec break\n"
