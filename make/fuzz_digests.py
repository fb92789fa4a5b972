"""Compare what we compiled for hashing and for looking at directories with the library, every access to memory checked.

    PYTHONPATH=tests python make/fuzz_digests.py [ROUNDS] [SEED]

The twins are built with the address and undefined behaviour sanitizers of gcc, and this program starts itself again with their
library loaded first. The first difference, or the first bad access, ends it.
"""

import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from random import Random
from types import ModuleType

from go_cache_safeguard.snapshot.capture import look_of
from twins import CHECKED, compiled, loaded

ROUNDS = 3_000
COUNTS = (0, 1, 2, 3, 9, 10, 11, 12, 15, 16, 17, 31, 60)
MOST = (1, 3, 64, 65, 130, 300, 5_000)
NAMES = "0123456789abcdef-. ~_Z"


def hash_some(twin: ModuleType, random: Random) -> int:
    """Hash pieces that have no byte to spare at either end. Returns their bytes."""
    most = random.choice(MOST)
    pieces = tuple(random.randbytes(random.randrange(most)) for _ in range(random.choice(COUNTS)))
    known = [sha256(piece).digest() for piece in pieces]
    for kernel in range(1, twin.kernels() + 1):
        if twin.many(pieces, kernel) != known:
            raise SystemExit(f"kernel {kernel} is wrong: {[len(piece) for piece in pieces]}")
    return sum(map(len, pieces))


def look_around(twin: ModuleType, random: Random, folder: Path) -> None:
    """Put some files into a directory, and look."""
    for _ in range(random.choice(COUNTS)):
        name = "".join(random.choices(NAMES, k=random.randint(1, 80))).strip(".") or "x"
        (folder / name).write_bytes(bytes(random.randrange(100)))
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    found = twin.look(fd)
    os.close(fd)
    if found != look_of((path.name, path.lstat()) for path in sorted(folder.iterdir())):
        raise SystemExit(f"a look is wrong: {sorted(os.listdir(folder))}")  # noqa: PTH208 - the names, as they are


def compare(folder: Path, rounds: int, seed: int) -> None:
    """All rounds."""
    hashes, looks = loaded(folder / "_digests.abi3.so"), loaded(folder / "_looks.abi3.so")
    random = Random(seed)  # noqa: S311 - a seed, so that a difference can be seen again
    size = sum(hash_some(hashes, random) for _ in range(rounds))
    for number in range(rounds // 100):
        (folder / f"{number}").mkdir()
        look_around(looks, random, folder / f"{number}")
    sys.stderr.write(f"{rounds:,} rounds, {size:,} bytes: kernels 1 to {hashes.kernels()} say what hashlib says\n")


def main(words: list[str]) -> None:
    """Build, start again with the library of the sanitizers, compare."""
    numbers = [*map(int, words), *(ROUNDS, 1)[len(words) :]]
    built = os.environ.get("BUILT_TWINS")
    if built:
        compare(Path(built), *numbers)
        return
    with tempfile.TemporaryDirectory(prefix="safeguard-fuzz-") as folder:
        for source in ("core/_digests.c", "tree/_looks.c"):
            compiled(source, Path(folder), *CHECKED)
        library = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        settings = {
            "BUILT_TWINS": folder,
            "LD_PRELOAD": library.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps what it has until it ends
            "PYTHONMALLOC": "malloc",  # so that each object has borders of its own
        }
        command = [sys.executable, str(Path(__file__).resolve()), *map(str, numbers)]
        sys.exit(subprocess.run(command, env=os.environ | settings, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
