"""Verify vendor directories against the module cache.

Knows:     what is read of a vendor directory, and which copy of a module is fit to compare with.
Called by: `flows.modules`.
Never:     passes what there is nothing sound to compare with.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.versions import Pins
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import read_copy, read_text, read_tree
from go_cache_safeguard.gomod.vendor import (
    LIST,
    Vendored,
    compare,
    inconsistent,
    not_coverable,
    parse_list,
    share_out,
    strays_and_odd,
)
from go_cache_safeguard.gomod.verify import Content, Copy, Damage, Finding, show
from go_cache_safeguard.gotool.complaint import printable
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.tree.root import open_directory

Run = Callable[[Sequence[str], Path], Ran]
"""Runs go offline, with arguments, in a directory."""


def verify_vendor(session: Session, vendor: Path, root: int | None, pins: Pins, run: Run) -> tuple[list[Finding], str]:
    """Compare every vendored file with the module that it is of.

    Args:
        session: Who asks.
        vendor: The directory.
        root: Open GOMODCACHE; None if there is none.
        pins: What the go.sum files demand.
        run: Asks go whether modules.txt fits go.mod.

    Returns:
        What is wrong, and a sentence about what was looked at.
    """
    session.progress.phase("comparing vendor")
    with _opened(vendor.parent) as parent:
        found = read_tree(parent, vendor.name)
        listed = read_text(parent, f"{vendor.name}/{LIST.decode()}")
    if not isinstance(found, Content) or listed is None:
        text = "it, or its modules.txt, cannot be read"
        return [Finding(show(os.fsencode(vendor)), "", "vendor", Damage.UNREADABLE, Outcome.UNKNOWN, text)], text
    modules = parse_list(listed.decode("utf-8", "replace"))
    shared, strays = share_out(found.files, modules)
    findings = list(strays_and_odd(found, strays))
    for number, module in enumerate(modules):
        session.progress.update(number)
        findings += _module(module, shared[module.path], root, pins)
    ran = run(("list", "-mod=vendor", "-m"), vendor.parent)
    if ran.exit_code:
        findings += inconsistent(printable(ran.stderr))
    session.progress.phase("")
    note = f"{show(os.fsencode(vendor))}: {len(found.files)} files of {len(modules)} modules; go builds from them and never compares them"
    return findings, note


def _module(module: Vendored, files: dict[bytes, bytes], root: int | None, pins: Pins) -> Iterator[Finding]:
    if module.used is None:
        yield not_coverable(module, "a directory replaces it, which no hash covers")
        return
    if root is None:
        yield not_coverable(module, "there is no module cache")
        return
    version = module.used
    copy, _marks = read_copy(root, version)
    source = _sound(copy, pins)
    if isinstance(source, str):
        yield not_coverable(module, source)
        return
    yield from compare(module, files, source, lambda name: _go_file(root, version, name))


def _sound(copy: Copy, pins: Pins) -> Content | str:
    """The zip or the tree, whichever is what go.sum demands; else why neither will do."""
    held = [one for one in (copy.zip, copy.tree) if isinstance(one, Content) and one.h1 is not None]
    if not held:
        return "the module cache has neither its zip nor its tree"
    demanded = [pin.h1 for pin in pins.get((copy.version.path, copy.version.version), ())]
    if not demanded:
        return "no go.sum says what it must be"
    sound = [one for one in held if all(one.h1 == h1 for h1 in demanded)]
    return sound[0] if sound else "what the module cache has of it is not what go.sum demands"


def _go_file(root: int, version: Version, name: bytes) -> bytes | None:
    return read_text(root, f"{version.tree}/{os.fsdecode(name)}")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = open_directory(Path(os.path.realpath(folder)))
    try:
        yield fd
    finally:
        os.close(fd)
