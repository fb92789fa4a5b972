"""What must go so that go fetches or extracts a module version again, and how it comes back.

Knows:     which file or tree each finding is about, and what go does when that is away.
Called by: `flows.repair_modules`.
Never:     takes what is sound, merely unknown, or mended by go itself: of a version whose tree was edited, the zip stays.
Source:    cmd/go/internal/modfetch/fetch.go `DownloadZip` (fetches a zip that is away, hashes it and asks go.sum and the checksum
           database; hashes one that is there without `.ziphash`), `unzip` (extracts a zip that is there); read in go1.21.13 and
           go1.27.3, tried with both.
"""

from collections.abc import Mapping, Sequence

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gomod.layout import Version, make_version
from go_cache_safeguard.gomod.verify import Finding

CHECK_ID = "mod-repair"
_FILES = (".ziphash", ".zip", ".mod")
_SHOWN = 20


def damaged(findings: Sequence[Finding]) -> dict[str, str]:
    """What must go: names relative to GOMODCACHE, each with the kinds of damage.

    Args:
        findings: Of a verification. Only those that say BLOCK count, and only those about the module cache.
    """
    found: dict[str, dict[str, None]] = {}
    for finding in findings:
        version = make_version(finding.module, finding.version)
        if version is None or finding.outcome is not Outcome.BLOCK:
            continue
        name = _name(version, finding.file)
        if name is not None:
            found.setdefault(name, {})[str(finding.damage)] = None
    return {name: f"damaged: {', '.join(kinds)}" for name, kinds in sorted(found.items())}


def _name(version: Version, file: str) -> str | None:
    if file == version.tree or file.startswith(f"{version.tree}/"):
        return version.tree
    for suffix in _FILES:
        whole = version.download(suffix)
        if file == whole or file.startswith(f"{whole}!"):
            return whole
    return None


def ways_back(names: Mapping[Version, Sequence[str]], *, pinned: frozenset[Version]) -> tuple[str, ...]:
    """For each module version what brings it back, and what then proves it.

    Args:
        names: What of each version goes.
        pinned: Versions that a go.sum names.
    """
    lines = []
    for version, gone in sorted(names.items()):
        if version.download(".zip") in gone:
            what = "fetches the zip again" + (" and extracts it" if version.tree in gone else "")
            proof = "go.sum says what it must be" if version in pinned else "only the checksum database can tell"
        elif version.tree in gone:
            what, proof = "extracts it again from the zip in the cache", "which is what it should be"
        elif version.download(".ziphash") in gone:
            what, proof = "makes the hash file again", "from the zip in the cache"
        else:
            what, proof = "fetches its go.mod file again", "go.sum says what it must be"
        lines.append(f"go mod download {version}  # {what}: {proof}")
    return tuple(lines)


def judge(names: Mapping[Version, Sequence[str]], *, pinned: frozenset[Version]) -> Verdict:
    """Whether all that goes can be proved when it comes back.

    Args:
        names: What of each version goes.
        pinned: Versions that a go.sum names.
    """
    ways = ways_back(names, pinned=pinned)
    unproved = sorted(
        str(version) for version in names if version not in pinned and version.download(".zip") in names[version]
    )
    if not unproved:
        return Verdict(CHECK_ID, Outcome.PASS, "what goes comes back from go, which proves it", ways[:_SHOWN])
    more = "" if len(unproved) == 1 else f" and {len(unproved) - 1} others"
    return Verdict(
        CHECK_ID,
        Outcome.WARN,
        f"no go.sum says what {unproved[0]}{more} must be when it comes back",
        ways[:_SHOWN],
        ("name the modules that use it: go-cache-safeguard mod verify --whole-cache --against DIR --repair",),
    )
