"""The module of ours is made of plain text, and so is its profile."""

from go_cache_safeguard.gotool.sample import EXTERNAL, MODULE, VERSIONS, external_files, profile, sample_files


def test_without_cgo_nothing_of_it_is_left() -> None:
    left = sample_files().keys() - sample_files(cgo=False).keys()
    assert left == {"cg/cg.go", "cg/cg_test.go", "cg/inside.h", "outside/outside.h"}


def test_no_template_was_left_open() -> None:
    for name, data in (sample_files() | external_files(VERSIONS[0])).items():
        assert b"{package}" not in data, name
        assert b"{{" not in data, name
        assert data.endswith(b"\n"), name
    assert MODULE.encode() in sample_files()["go.mod"]


def test_versions_differ_in_source_only_where_they_should() -> None:
    first, same, other = (external_files(version) for version in VERSIONS)
    assert first == same
    assert first["ext.go"] != other["ext.go"]
    assert EXTERNAL.encode() in other["go.mod"]


def test_the_profile_is_ascii_so_that_it_can_be_written_as_text() -> None:
    data = profile()
    assert data.isascii()
    assert b"main.main" in data
    assert f"{MODULE}/c.Hot".encode() in data
