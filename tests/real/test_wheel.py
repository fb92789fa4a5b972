"""The package can be built and used with a compiler and without one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from redisservers import ROOT

_HERE = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
EXTENSIONS = {f"{path.relative_to(ROOT / 'src').with_suffix('')}.abi3.so" for path in (ROOT / "src").rglob("*.c")}
_SCANS = """
from go_cache_safeguard.core.digests import digests
from go_cache_safeguard.redis import fast
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.tablefile import load_table
found = fast.scan(b"*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n" * 2 + b"*1", fast.fast_calls(load_table(), Rules()))
print(fast.COMPILED, found, fast.__file__, *(found.hex()[:8] for found in digests([b"abc", b""])))
"""


def _wheel(folder: Path, **environment: str) -> Path:
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info"))
    for name in _HERE:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.parametrize(("compiler", "compiles"), [("cc", True), ("/bin/false", False)])
def test_a_wheel_works_and_holds_everything(tmp_path: Path, compiler: str, *, compiles: bool) -> None:
    with ZipFile(_wheel(tmp_path, CC=compiler)) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        wheel.extractall(tmp_path / "installed")
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if _belongs(path)}
    assert packed - EXTENSIONS == wanted
    assert packed & EXTENSIONS == (EXTENSIONS if compiles else set())
    done = subprocess.run(
        [sys.executable, "-c", _SCANS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{compiles} (40, []) {tmp_path}")
    assert done.stdout.endswith("ba7816bf e3b0c442\n")


def _belongs(path: Path) -> bool:
    """Whether a file of the source tree is used at run time."""
    return path.is_file() and (
        path.suffix in {".py", ".pyi", ".csv", ".typed", ".html"} or path.parent.name == "static"
    )
