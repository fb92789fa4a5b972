"""How `cacheprog` begins: quickly, with the settings that everything else has, and the same options as its help."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from cacheprogs import SOURCES, environ
from go_cache_safeguard.cli.app import commands
from go_cache_safeguard.config.resolve import default_state_dir
from go_cache_safeguard.config.setting import BY_KEY
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows import cacheprog_start
from go_cache_safeguard.flows.cacheprog_command import command_line
from go_cache_safeguard.flows.cacheprog_report import add
from go_cache_safeguard.flows.cacheprog_start import FLAGS, SETTINGS, Wish, nothing_is_set, parse, state_dir
from go_cache_safeguard.gocache.progproto import hello

HEAVY = {
    "typing",
    "dataclasses",
    "enum",
    "re",
    "json",
    "hashlib",
    "threading",
    "pathlib",
    "sqlite3",
    "tempfile",
    "typer",
    "tomllib",
}


def test_every_option_of_the_help_is_understood_without_typer() -> None:
    group = get_command(commands("cacheprog"))
    command = group.commands["cacheprog"] if hasattr(group, "commands") else group
    names = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert names - {"--help"} == {*SETTINGS, *FLAGS, "--gocache", "--set", "--command"}


def test_options_become_settings_and_what_is_wrong_is_left_to_the_help() -> None:
    wish = parse(["--gocache", "/c", "--remote=redis://h/0", "--set", "cacheprog.ttl = 1d", "--read-only", "--summary"])
    assert wish is not None
    assert (wish.gocache, wish.read_only, wish.summary) == ("/c", True, True)
    assert wish.settings == {"cacheprog.remote": "redis://h/0", "cacheprog.ttl": "1d"}
    for words in (["--help"], ["--remote"], ["--set", "x"], ["--read-only=1"], ["word"]):
        assert parse(words) is None
    assert set(SETTINGS.values()) <= set(BY_KEY)


@pytest.mark.parametrize(
    "environ", [{"HOME": "/h"}, {"HOME": "/h", "XDG_STATE_HOME": "/s"}, {"HOME": "/h", "XDG_STATE_HOME": "s"}]
)
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_state_directory_is_the_one_of_all_commands(
    environ: dict[str, str], uid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert state_dir(environ) == default_state_dir(environ, "/h", root=uid == 0)


def test_settings_are_loaded_only_where_something_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    monkeypatch.setattr(cacheprog_start, "_SYSTEM_FILE", str(tmp_path / "system"))
    variables = {"HOME": str(tmp_path), "GO_CACHE_SAFEGUARD_STATE_DIR": "/x"}
    assert nothing_is_set(Wish(), variables)
    assert not nothing_is_set(Wish(), variables | {"GO_CACHE_SAFEGUARD_CACHEPROG_TTL": "1d"})
    for path in ("system", "a/.go-cache-safeguard.toml", ".config/go-cache-safeguard/config.toml"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        assert not nothing_is_set(Wish(), variables)
        file.unlink()
    wish = Wish()
    wish.settings["cacheprog.verify"] = "always"
    assert not nothing_is_set(wish, variables)


def test_the_lean_command_says_the_usual_first_line_and_finds_what_settings_need(tmp_path: Path) -> None:
    for options in ((), ("--read-only",), ("--remote", str(tmp_path / "shared"), "--namespace", "a b")):
        words = _split(command_line(options))
        assert words[-len(options) :] == [*options] or not options
        done = subprocess.run(
            words,
            input=b'{"ID":1,"Command":"close"}\n',
            env={
                "HOME": str(tmp_path),
                "GOCACHE": str(tmp_path),
                "GO_CACHE_SAFEGUARD_STATE_DIR": str(tmp_path / "state"),
            },
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == hello(put="--read-only" not in options) + b'{"ID":1}\n'
        assert done.stderr.count(b"is no name") == ("--namespace" in options)
    with pytest.raises(UsageFailure, match="quotation"):
        command_line(("'\"",))


def _split(text: str) -> list[str]:
    """As cmd/internal/quoted.Split does: no escapes."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    return list(lexer)


def test_until_it_answers_and_for_what_it_knows_next_to_nothing_is_loaded(tmp_path: Path) -> None:
    words = _split(command_line(()))
    done = subprocess.run(
        [words[0], "-X", "importtime", *words[1:]],
        input=b'{"ID":1,"Command":"get","ActionID":"' + b"A" * 43 + b'="}\n\n{"ID":2,"Command":"close"}\n\n',
        env={"HOME": str(tmp_path), "GOCACHE": str(tmp_path), **environ(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[1:] == [b'{"ID":1,"Miss":true}', b'{"ID":2}']
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "go_cache_safeguard.gocache.native" in loaded
    assert loaded & HEAVY == set()


def test_by_hand_it_says_what_it_is_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "go_cache_safeguard", "cacheprog", "--nonsense"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": SOURCES},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--nonsense" in done.stderr


def test_counters_of_a_textfile_only_grow_and_nonsense_in_it_is_dropped() -> None:
    once = add(b"", {"builds_total": 1, 'lookups_total{result="hit"}': 5})
    twice = add(once + b"nonsense\nother_total 7\n", {"builds_total": 1, 'lookups_total{result="miss"}': 2})
    assert b"go_cache_safeguard_cacheprog_builds_total 2\n" in twice
    assert b'_lookups_total{result="hit"} 5\n' in twice
    assert b'_lookups_total{result="miss"} 2\n' in twice
    assert b"other" not in twice
    assert twice.count(b"# TYPE") == 2
