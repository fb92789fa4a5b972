"""`gotool.trial`: the throw-away module."""

from pathlib import PurePath

import pytest

from go_cache_safeguard.gotool.trial import MODULE, PACKAGES, build_args, make_trial, trial_environment


def test_each_salt_makes_another_content_of_each_package() -> None:
    one, other = make_trial("0123456789"), make_trial("9876543210")
    assert one.files["main.go"] != other.files["main.go"]
    assert one.files["word/word.go"] != other.files["word/word.go"]
    assert one.files["go.mod"] == other.files["go.mod"] == f"module {MODULE}\n\ngo 1.21\n".encode()
    assert one.says == "0123-456789"


def test_the_same_salt_makes_the_same_module() -> None:
    assert make_trial("abcdefgh") == make_trial("abcdefgh")


@pytest.mark.parametrize("salt", ["", "short", "UPPERCASE", 'a"quoted"z', "new\nline99", "x" * 65, "١٢٣٤٥٦٧٨"])
def test_a_salt_that_could_change_the_source_is_refused(salt: str) -> None:
    with pytest.raises(ValueError, match="salt"):
        make_trial(salt)


def test_the_environment_names_the_cache_and_puts_the_users_settings_out_of_force() -> None:
    environ = trial_environment(PurePath("/c"))
    assert environ["GOCACHE"] == "/c"
    assert environ["GOENV"] == environ["GOWORK"] == environ["GOPROXY"] == "off"
    assert environ["GOFLAGS"] == environ["GOCACHEPROG"] == environ["GODEBUG"] == ""


def test_of_the_users_flags_only_trimpath_is_kept() -> None:
    assert trial_environment(PurePath("/c"), flags="-mod=vendor -trimpath -a")["GOFLAGS"] == "-trimpath"
    assert trial_environment(PurePath("/c"), flags="-mod=vendor")["GOFLAGS"] == ""


def test_a_build_writes_its_graph_and_an_output_of_its_own() -> None:
    args = build_args(graph=PurePath("/t/graph"), output=PurePath("/t/program"))
    assert args[0] == "build"
    assert "-debug-actiongraph=/t/graph" in args
    assert args[-3:] == ("-o", "/t/program", ".")
    assert f"{MODULE}/word" in PACKAGES
