"""`redis commands` at the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "go_cache_safeguard", "redis", "commands")


def _run(tmp_path: Path, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GO_CACHE_SAFEGUARD_")}
    environ |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PATH": "/nonexistent"}
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


def test_every_command_is_listed_with_its_class_and_policy_without_any_server_or_go(tmp_path: Path) -> None:
    lines = _run(tmp_path).stdout.splitlines()
    assert len(lines) > 580
    assert next(line for line in lines if line.startswith("FLUSHALL ")).split()[1:3] == ["flushes", "hold"]


def test_settings_change_what_is_shown(tmp_path: Path) -> None:
    arguments = (
        "config",
        "DEL",
        "--set",
        "redis.commands=CONFIG|GET=check",
        "--set",
        "redis.on_removes=refuse",
        "--json",
    )
    document = json.loads(_run(tmp_path, *arguments).stdout)
    assert document["schema"] == "go-cache-safeguard/redis-commands/1"
    policy = {row["command"]: row["policy"] for row in document["commands"]}
    assert (policy["CONFIG GET"], policy["CONFIG SET"], policy["DEL"]) == ("check", "hold", "refuse")
    assert [row["keys"] for row in document["commands"] if row["command"] == "DEL"] == [["RM+delete 1..-1"]]


def test_one_class_can_be_shown(tmp_path: Path) -> None:
    lines = _run(tmp_path, "--class", "script").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EVAL", "EVALSHA", "FCALL"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("explode",), 2, "'EXPLODE' is not in the table of commands"),
        (("--class", "explosive"), 2, "there is no class 'explosive'"),
        (("--set", "redis.protect=ok re:(a"), 35, "'re:(a': a ( without its )"),
        (("--set", "redis.commands=EXPLODE=pass"), 35, "there is no command 'EXPLODE'"),
        (("--set", "redis.commands=DEL"), 35, "COMMAND=TREATMENT"),
        (("--set", "redis.scripts=abc"), 35, "SHA-1"),
        (("--set", "redis.on_unknown=pass"), 35, "allowed: hold or refuse"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    assert text in _run(tmp_path, *arguments, code=code).stderr
