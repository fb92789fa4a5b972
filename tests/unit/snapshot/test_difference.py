"""Two manifests, side by side."""

from go_cache_safeguard.snapshot.difference import compare
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest

ONE = Entry("a", 1, 0o644, 1, "a" * 64)


def test_every_file_is_in_exactly_one_list() -> None:
    gone, new = ONE._replace(name="gone"), ONE._replace(name="new")
    first = make_manifest(
        Kind.BUILD, [ONE, ONE._replace(name="b"), ONE._replace(name="c"), ONE._replace(name="d"), gone]
    )
    other, mode = ONE._replace(name="b", sha256="b" * 64), ONE._replace(name="c", mode=0o600)
    used = ONE._replace(name="d", mtime_ns=2)
    second = make_manifest(Kind.BUILD, [ONE, other, mode, used, new])
    found = compare(first, second)
    assert (found.added, found.removed) == ((new,), (gone,))
    assert [after for _, after in found.changed] == [other, mode]
    assert (found.touched, found.same) == (("d",), 1)


def test_a_manifest_does_not_differ_from_itself() -> None:
    manifest = make_manifest(Kind.BUILD, [ONE])
    found = compare(manifest, manifest)
    assert (found.added, found.removed, found.changed, found.touched, found.same) == ((), (), (), (), 1)
