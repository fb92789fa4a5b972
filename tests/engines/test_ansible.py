"""The role for Ansible: it is clean, changes nothing a second time, and never installs what the Collector refuses."""

import getpass
import grp
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from collectors import KEY, engine
from safeguard import COMMAND

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".toolchains/ansible/bin"
ROLE = ROOT / "deploy/ansible"
RULES = ROOT / "docs/signals/rules.yaml"


def ansible(program: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one of its programs, with nothing of the person who runs the tests."""
    environ = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PIPELINING": "1",
    }
    return subprocess.run(
        [BIN / program, *arguments], cwd=ROLE, env=environ, capture_output=True, text=True, check=False, timeout=300
    )


def play(folder: Path, *arguments: str, refused: bool = False, **more: Any) -> tuple[int, str]:
    """Apply the role to a directory of this machine; how many things it changed, and what it said.

    Args:
        folder: Everything goes below its `root`.
        arguments: More arguments.
        refused: It is to fail.
        more: Variables.
    """
    (folder / "root").mkdir(exist_ok=True)
    compiler = folder / "compiler"
    compiler.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    compiler.chmod(0o755)
    variables = {
        "ansible_python_interpreter": str(BIN / "python"),
        "safeguard_collector_prefix": str(folder / "root"),
        "safeguard_collector_service": False,
        "safeguard_collector_owner": getpass.getuser(),
        "safeguard_collector_group": grp.getgrgid(os.getgid()).gr_name,
        "safeguard_collector_binary": str(engine("collector")),
        "safeguard_collector_rules": str(RULES),
        "safeguard_collector_compiler": str(compiler),
        "safeguard_collector_key": KEY,
        **more,
    }
    book = folder / "play.yml"
    role = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "roles": [str(ROLE / "roles/safeguard_collector")],
    }
    book.write_text(json.dumps([role]))
    done = ansible("ansible-playbook", folder, "-i", "localhost,", "-e", json.dumps(variables), *arguments, str(book))
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is refused, said
    if refused:
        return -1, said
    recap = next(line for line in said.splitlines() if line.startswith("localhost") and "changed=" in line)
    return int(recap.split("changed=")[1].split()[0]), said


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What is below a directory: modes and contents."""
    return {
        str(one.relative_to(folder)): (one.stat().st_mode & 0o777, one.read_bytes())
        for one in folder.rglob("*")
        if one.is_file()
    }


def test_a_second_run_changes_nothing_and_a_refused_configuration_does_not_replace_the_old(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert play(tmp_path, "--check")[0] > 0
    assert files(root) == {}, "a check changes nothing"
    changed, said = play(tmp_path)
    assert changed > 0, said
    made = files(root)
    assert made["etc/safeguard-collector/environment"][0] == 0o600
    assert made["etc/safeguard-collector/rules.yaml"][1] == RULES.read_bytes()
    assert b"tail_sampling" in made["etc/safeguard-collector/config.yaml"][1]
    assert KEY not in said
    _verify(tmp_path)
    assert play(tmp_path)[0] == 0
    assert play(tmp_path, "--check", safeguard_collector_options=["--level", "0"])[0] == 1, "the configuration only"
    assert files(root) == made
    # The Collector refuses an exporter's address; what it runs with stays.
    _, said = play(tmp_path, safeguard_collector_options=["--jaeger", "http://h:99x"], refused=True)
    assert "failed to validate" in said
    assert files(root) == made


def _verify(folder: Path) -> None:
    """Ask systemd whether it understands the unit."""
    unit = folder / "safeguard-collector.service"
    text = (folder / "root/etc/systemd/system" / unit.name).read_text()
    for path in ("/usr/local/lib/safeguard", "/etc/safeguard"):
        text = text.replace(path, f"{folder}/root{path}")
    unit.write_text(text.replace("User=safeguard-collector", "User=root"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, done.stderr


def test_the_role_is_clean(tmp_path: Path) -> None:
    done = ansible("ansible-lint", tmp_path, "--offline", "--profile", "production", "--strict", "--nocolor")
    assert done.returncode == 0, done.stdout + done.stderr
