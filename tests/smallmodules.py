"""A module cache of two tiny versions with the modes that go gives, made up in a moment: for tests of what moves them."""

import stat
from pathlib import Path

from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.gomod.layout import Version

ONE, TWO = Version("example.com/One", "v1.0.0"), Version("top.level", "v2.0.0+incompatible")
FILES = {"go.mod": b"module x\n", "a.go": b"package a\n", "sub/deep/b.go": b"package deep\n"}


def small_modules(root: Path) -> Path:
    """Make it."""
    for version in (ONE, TWO):
        for suffix in (".zip", ".ziphash", ".mod", ".info"):
            path = root / version.download(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{version}{suffix}".encode())
        tree = root / version.tree
        for name, content in FILES.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
            (tree / name).chmod(0o444)
        for folder in (tree / "sub" / "deep", tree / "sub", tree):
            folder.chmod(0o555)
    return root


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Mode, and content of files, of everything but directories on the way and go's lock files."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and path.suffix != ".lock":
            found[name] = (stat.S_IMODE(path.lstat().st_mode), path.read_bytes())
        elif path.is_dir() and "@v" in name and not name.endswith("@v"):
            found[name] = (stat.S_IMODE(path.lstat().st_mode), b"")
    return found


def plan_of(root: Path, version: Version = ONE) -> Plan:
    """Everything of a version that a repair may take."""
    items = []
    for name in sorted([version.tree, *(version.download(suffix) for suffix in (".zip", ".ziphash", ".mod"))]):
        path = root / name
        size = sum(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())
        items.append(Item(name, size, path.stat().st_mtime_ns, "damaged"))
    found = root.stat()
    identity = f"{found.st_dev}:{found.st_ino}"
    return Plan("go-module-cache", f"{root}", identity, ("repair",), "test", "2030-01-01T00:00:00Z", 999, tuple(items))
