"""The text of the small `go`."""

import subprocess
from pathlib import Path

import pytest

from go_cache_safeguard.gotool.shimscript import is_ours, make_script


def test_it_is_recognised_and_says_what_starts_the_guard() -> None:
    text = make_script(("/opt/a b/python", "-m", "x"))
    assert is_ours(text)
    assert "exec '/opt/a b/python' -m x shim clean --real" in text
    assert not is_ours("#!/bin/sh\nexec go")


@pytest.mark.parametrize("command", [(), ("python",), ("/usr/bin/python\n",), ("/x", "a\0")])
def test_what_cannot_be_written_into_a_script_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        make_script(command)


@pytest.mark.parametrize("name", ["it's", 'a"b', "$(touch x)", "`touch x`", "a b"])
def test_a_hostile_name_of_the_guard_stays_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text("#!/bin/sh\necho real $*\n")
    (tmp_path / "bin" / "go").chmod(0o755)
    script = tmp_path / "go"
    script.write_text(make_script((f"{tmp_path}/{name}", "-m", name)))
    script.chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([script, *args], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("clean", "-cache").returncode == 13
    assert run("build", "a*", "b c").stdout == "real build a* b c\n"
    guard = tmp_path / name
    guard.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    guard.chmod(0o755)
    assert run("clean", "-cache", "x y").stdout == f"-m|{name}|shim|clean|--real|{tmp_path}/bin/go|--|clean|-cache|x y|"
    assert not (tmp_path / "x").exists()
