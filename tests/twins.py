"""Compiled twins of our code, built on the spot: every warning an error, and with whatever flags a test wants."""

import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).parents[1] / "src/go_cache_safeguard"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
CHECKED = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
"""Flags with which every access to memory is checked."""


def compiled(source: str, directory: Path, *flags: str) -> Path:
    """Compile a twin.

    Args:
        source: Its file, below the package.
        directory: Where it goes.
        flags: Further ones for the compiler.
    """
    made = directory / f"{Path(source).stem}.abi3.so"
    include = f"-isystem{sysconfig.get_path('include')}"
    command = ["cc", *WARNINGS, "-O2", *flags, include, "-fPIC", "-shared", "-o", str(made), str(SOURCES / source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def loaded(path: Path) -> ModuleType:
    """Load a twin from where it was built."""
    name = path.name.partition(".")[0]
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
