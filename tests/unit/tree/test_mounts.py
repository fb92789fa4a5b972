"""The list of mounts, as text and as this machine has it."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.tree.mounts import Mount, MountsUnreadable, mounts_below, parse_mountinfo

LINE = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"


def test_the_line_of_the_manual_page_is_read() -> None:
    assert parse_mountinfo(LINE) == (Mount(36, 35, "98:0", "/mnt1", "/mnt2"),)


def test_blanks_and_backslashes_in_names_are_unescaped() -> None:
    data = rb"36 35 98:0 / /a\040b\011c\012d\134e rw - ext3 x rw"
    assert parse_mountinfo(data)[0].point == "/a b\tc\nd\\e"


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_any_name_comes_back_as_the_kernel_escaped_it(name: bytes) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in name)
    (mount,) = parse_mountinfo(b"1 2 3:4 / /" + escaped + b" rw - t s o\n")
    assert mount.point.encode("utf-8", "surrogateescape") == b"/" + name


@pytest.mark.parametrize("line", [b"x", b"1 2 3:4 /", b"a b 3:4 / / rw"])
def test_a_line_without_meaning_makes_the_whole_list_unreadable(line: bytes) -> None:
    with pytest.raises(MountsUnreadable):
        parse_mountinfo(LINE + line)


def test_nothing_is_mounted_in_a_fresh_directory(tmp_path: Path) -> None:
    assert mounts_below(tmp_path) == ()


def test_proc_is_mounted_below_the_root() -> None:
    assert "/proc" in mounts_below(Path("/"))
    assert "/proc" not in mounts_below(Path("/proc"))


@pytest.mark.root
def test_a_bind_mount_of_the_same_filesystem_and_a_neighbour_with_the_same_start_are_told_apart(tmp_path: Path) -> None:
    for name in ("tree/in side", "tree-b/x", "from"):
        (tmp_path / name).mkdir(parents=True)
    code = f"""
import subprocess
from pathlib import Path
from go_cache_safeguard.tree.mounts import mounts_below
at = Path({str(tmp_path)!r})
for to in ("tree/in side", "tree-b/x"):
    subprocess.run(["mount", "--bind", at / "from", at / to], check=True)
assert mounts_below(at / "tree") == (str(at / "tree/in side"),), mounts_below(at / "tree")
"""
    subprocess.run(["unshare", "-m", sys.executable, "-c", code], check=True)
