"""What is signed of a journal."""

import pytest

from go_cache_safeguard.journal.checkpoint import Checkpoint, origin_of, parse_checkpoint

TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("20852163", "0"), TEXT + "more\nand more\n"])
def test_a_checkpoint_comes_back(text: str) -> None:
    found = parse_checkpoint(text)
    assert isinstance(found, Checkpoint)
    assert found.text == text
    assert found.origin == "example.com/behind-the-sofa"
    assert len(found.root) == 32


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "three lines"),
        (TEXT[:-1], "three lines"),
        ("a\n1\n", "three lines"),
        ("a\n\n" + TEXT, "three lines"),
        (TEXT + "\n", "three lines"),
        ("\n" + TEXT, "three lines"),
        (TEXT.replace("20852163", "020852163"), "number"),
        (TEXT.replace("20852163", "-1"), "number"),
        (TEXT.replace("20852163", "\u0661"), "number"),
        (TEXT.replace("20852163", "9" * 20), "number"),
        (TEXT.replace("CsUY", "CsU"), "hash"),
        (TEXT.replace("CsUY", "Cs%Y"), "hash"),
        (TEXT.replace("xq2I=", "xq2J="), "hash"),
        (TEXT.replace("CsUYapGG", ""), "hash"),
    ],
)
def test_what_is_not_a_checkpoint_is_a_reason(text: str, why: str) -> None:
    assert why in str(parse_checkpoint(text))


def test_the_origin_names_the_journal() -> None:
    assert origin_of("ab" * 16) == f"go-cache-safeguard/{'ab' * 16}"
