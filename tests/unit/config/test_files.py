"""Which files are found, and which are believed: real files, real modes, real owners."""

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import (
    PROJECT_NAME,
    ConfigUntrusted,
    _is_own_group,
    find_project_file,
    load_config,
    read_trusted,
    user_file,
)
from go_cache_safeguard.config.layer import ConfigBad, Place
from go_cache_safeguard.config.resolve import Config, Origin
from go_cache_safeguard.core.errors import ExitCode

STRANGER = 12_345


def _write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def _load(tmp_path: Path, environ: dict[str, str] | None = None, arguments: dict[str, str] | None = None) -> Config:
    home, cwd = tmp_path / "home", tmp_path / "home" / "project" / "deep"
    cwd.mkdir(parents=True, exist_ok=True)
    return load_config(
        environ=environ or {}, cwd=cwd, home=home, arguments=arguments or {}, system=tmp_path / "etc" / "config.toml"
    )


def test_without_any_file_all_is_default_and_the_state_has_a_place(tmp_path: Path) -> None:
    config = _load(tmp_path)
    assert config.origin("state.dir") == Origin(Place.DEFAULT, "")
    assert config.text("state.dir").startswith("/")


def test_each_place_wins_over_the_one_before_it(tmp_path: Path) -> None:
    key, home = "fsck.threads", tmp_path / "home"
    _write(tmp_path / "etc" / "config.toml", "[fsck]\nthreads = 1")
    assert _load(tmp_path).origin(key) == Origin(Place.SYSTEM, f"{tmp_path}/etc/config.toml:2")
    _write(home / ".config" / "go-cache-safeguard" / "config.toml", "[fsck]\nthreads = 2")
    assert _load(tmp_path).count(key) == 2
    _write(home / "project" / PROJECT_NAME, "\n[fsck]\nthreads = 3")
    assert _load(tmp_path).origin(key) == Origin(Place.PROJECT, f"{home}/project/{PROJECT_NAME}:3")
    environ = {"GO_CACHE_SAFEGUARD_FSCK_THREADS": "4"}
    assert _load(tmp_path, environ).origin(key) == Origin(Place.ENVIRONMENT, "GO_CACHE_SAFEGUARD_FSCK_THREADS")
    assert _load(tmp_path, environ, {key: "5"}).count(key) == 5


def test_a_project_file_that_loosens_safety_is_an_error_naming_it(tmp_path: Path) -> None:
    _write(tmp_path / "home" / "project" / PROJECT_NAME, "[policy]\non_block = 'allow'")
    with pytest.raises(ConfigBad, match=rf"{PROJECT_NAME}:2: a project file may not set policy\.on_block"):
        _load(tmp_path)


def test_the_users_file_follows_xdg_and_ignores_a_relative_folder() -> None:
    assert user_file({"XDG_CONFIG_HOME": "/x"}, Path("/h")) == Path("/x/go-cache-safeguard/config.toml")
    assert user_file({"XDG_CONFIG_HOME": "x"}, Path("/h")) == Path("/h/.config/go-cache-safeguard/config.toml")


def test_the_search_for_a_project_file_ends_at_a_git_directory(tmp_path: Path) -> None:
    _write(tmp_path / PROJECT_NAME, "")
    deep = tmp_path / "clone" / "deep"
    deep.mkdir(parents=True)
    assert find_project_file(deep, Path("/nowhere")) == tmp_path / PROJECT_NAME
    (tmp_path / "clone" / ".git").mkdir()
    assert find_project_file(deep, Path("/nowhere")) is None
    assert find_project_file(deep, tmp_path) is None
    _write(tmp_path / "clone" / PROJECT_NAME, "")
    assert find_project_file(deep, Path("/nowhere")) == tmp_path / "clone" / PROJECT_NAME


def test_the_search_for_a_project_file_ends_at_home(tmp_path: Path) -> None:
    _write(tmp_path / PROJECT_NAME, "")
    home = tmp_path / "home" / "deep"
    home.mkdir(parents=True)
    assert find_project_file(home, tmp_path / "home") is None
    (tmp_path / "link").symlink_to("home")
    assert find_project_file(home, tmp_path / "link") is None


def test_a_path_through_a_file_has_no_project_file(tmp_path: Path) -> None:
    assert read_trusted(_write(tmp_path / "f", "") / "config.toml") is None
    assert find_project_file(tmp_path / "f" / "deep", tmp_path) is None


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
def test_a_file_that_only_we_can_write_is_believed(tmp_path: Path, mode: int) -> None:
    assert read_trusted(_write(tmp_path / "c", "x = 1", mode)) == b"x = 1"


def test_a_link_to_a_believable_file_is_believed(tmp_path: Path) -> None:
    _write(tmp_path / "real" / "c", "x = 1")
    (tmp_path / "link").symlink_to("real/c")
    assert read_trusted(tmp_path / "link") == b"x = 1"


def test_a_file_that_anybody_can_write_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(ConfigUntrusted, match="anybody can write it") as caught:
        read_trusted(_write(tmp_path / "c", "", 0o666))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.hint == f"chmod go-w '{tmp_path}/c'"


def test_a_link_to_a_file_that_anybody_can_write_is_not_believed(tmp_path: Path) -> None:
    _write(tmp_path / "real", "", 0o646)
    (tmp_path / "c").symlink_to("real")
    with pytest.raises(ConfigUntrusted, match="anybody can write it"):
        read_trusted(tmp_path / "c")


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_file_in_a_folder_that_anybody_can_write_into_is_not_believed(tmp_path: Path, mode: int) -> None:
    path = _write(tmp_path / "open" / "c", "")
    path.parent.chmod(mode)
    with pytest.raises(ConfigUntrusted, match=f"anybody can write into {path.parent}"):
        read_trusted(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigUntrusted, match=f"anybody can write into {path.parent}"):
        read_trusted(tmp_path / "link")


@pytest.mark.root
def test_the_file_or_link_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    path = _write(tmp_path / "c", "")
    (tmp_path / "link").symlink_to("c")
    os.chown(tmp_path / "link", STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(ConfigUntrusted, match=f"it belongs to user {STRANGER}"):
        read_trusted(tmp_path / "link")
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(ConfigUntrusted, match=f"it belongs to user {STRANGER}"):
        read_trusted(path)


@pytest.fixture
def as_stranger(tmp_path: Path) -> Iterator[None]:
    assert tmp_path.stat().st_mode & 0o77 == 0  # made while we still may; nobody else may look into it
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.root
@pytest.mark.usefixtures("as_stranger")
def test_where_we_may_not_look_there_is_no_project_file_and_no_trust(tmp_path: Path) -> None:
    assert find_project_file(tmp_path / "deep", Path("/nowhere")) is None
    with pytest.raises(ConfigBad, match="cannot be read: Permission denied"):
        read_trusted(tmp_path / "c")


@pytest.mark.root
@pytest.mark.usefixtures("as_stranger")
def test_a_user_without_an_account_has_no_group_of_its_own() -> None:
    assert not _is_own_group(STRANGER)


@pytest.mark.root
def test_a_file_that_a_foreign_group_can_write_is_not_believed(tmp_path: Path) -> None:
    path = _write(tmp_path / "c", "", 0o664)
    os.chown(path, -1, STRANGER)
    path.chmod(0o664)
    with pytest.raises(ConfigUntrusted, match=f"group {STRANGER} can write it"):
        read_trusted(path)


def test_a_file_that_our_own_group_can_write_is_believed_if_nobody_else_is_in_it(tmp_path: Path) -> None:
    path = _write(tmp_path / "c", "", 0o664)
    person = pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(path.stat().st_gid)
    alone = (group.gr_gid, group.gr_name) == (person.pw_gid, person.pw_name) and set(group.gr_mem) <= {person.pw_name}
    if alone:
        assert read_trusted(path) == b""
    else:
        with pytest.raises(ConfigUntrusted, match="can write it"):
            read_trusted(path)


def test_a_fifo_a_folder_and_a_device_are_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "zero"):
        with pytest.raises(ConfigUntrusted, match="not a regular file"):
            read_trusted(tmp_path / name)


def test_a_link_to_nothing_is_an_error_and_not_an_absent_file(tmp_path: Path) -> None:
    (tmp_path / "c").symlink_to("gone")
    with pytest.raises(ConfigBad, match="is a link to nothing"):
        read_trusted(tmp_path / "c")


def test_a_link_to_itself_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "c").symlink_to("c")
    with pytest.raises(ConfigBad, match="cannot be read"):
        read_trusted(tmp_path / "c")


def test_a_file_larger_than_any_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigBad, match="larger than 1048576 bytes"):
        read_trusted(_write(tmp_path / "c", "#" * ((1 << 20) + 1)))
