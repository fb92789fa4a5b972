"""What is locked is what is asked for, and every package is pinned by hash."""

import re

import pytest

from architecture.house import ROOT, SETTINGS

FOLDER = ROOT / "requirements"
WANTED = sorted(FOLDER.glob("*.in"))
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def _asked(name: str) -> list[str]:
    lines = [line.strip() for line in (FOLDER / name).read_text().splitlines()]
    asked = [line for line in lines if line and not line.startswith(("#", "-r "))]
    for line in lines:
        if line.startswith("-r "):
            asked += _asked(line.removeprefix("-r "))
    return asked


def _pins(name: str) -> list[tuple[str, str]]:
    """Names and versions; a name stands twice where older Pythons need another version."""
    return [(pin["name"], pin["version"]) for pin in _PIN.finditer((FOLDER / name).read_text())]


def test_the_package_asks_for_what_is_locked_for_it() -> None:
    assert sorted(_asked("runtime.in")) == sorted(SETTINGS["project"]["dependencies"])
    builders = {re.split(r"[<>=~]", line)[0] for line in SETTINGS["build-system"]["requires"]}
    assert builders <= set(_asked("build.in"))


@pytest.mark.parametrize("path", WANTED, ids=lambda path: path.name)
def test_everything_asked_for_is_pinned_with_hashes(path: object) -> None:
    name = getattr(path, "name", "")
    lock = name.replace(".in", ".txt")
    asked = {re.split(r"[\[<>=~ ]", line)[0] for line in _asked(name)}
    assert asked <= {pinned for pinned, _ in _pins(lock)}
    blocks = re.split(r"^(?=[A-Za-z])", (FOLDER / lock).read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(_pins(lock))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in (FOLDER / lock).read_text()


def test_tests_run_with_the_very_packages_that_are_installed_for_users() -> None:
    tests = set(_pins("dev.txt"))
    for lock in ("runtime.txt", "build.txt"):
        assert set(_pins(lock)) <= tests
