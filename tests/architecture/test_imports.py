"""The layers hold, and `--help` loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

from architecture.house import ROOT, SHELLS

# subprocess is not among them: Typer brings it. That our own shells are not loaded is what keeps it out of our hands.
HEAVY = {"sqlite3", "ctypes", "concurrent.futures", "rich.progress", "asyncio", "multiprocessing", "tomllib", *SHELLS}


def test_every_import_contract_is_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "go_cache_safeguard", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "go_cache_safeguard" in loaded
    assert loaded & HEAVY == set()
