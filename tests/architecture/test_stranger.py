"""What lies in the project makes sense to a stranger: no host of a package registry, no path of one machine."""

import re

from architecture.house import ROOT, tracked_files

# Written in pieces, so that this file does not hold what it looks for.
HOSTS = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("proxy.golang", "org"),
    ("sum.golang", "org"),
    ("npmjs", "org"),
    ("crates", "io"),
    ("docker", "io"),
    ("rubygems", "org"),
    ("anaconda", "org"),
    ("deb.debian", "org"),
    ("archive.ubuntu", "com"),
]
PLACES = [("", "work", "main"), ("", "work", "shared"), ("", "tmp", "ref"), ("", "opt", "wheels")]
FOREIGN = re.compile("|".join([*(re.escape(".".join(host)) for host in HOSTS), *("/".join(place) for place in PLACES)]))


def test_no_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []
