"""A receipt goes into the journal and comes back as it was."""

import json

import pytest

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.receipt import Receipt, parse_receipt

FULL = Receipt(
    op="op_0123456789abcdef",
    state=State.WAITING,
    digest="ab" * 32,
    planned=9,
    moved=1,
    size=2,
    changed=3,
    missing=4,
    named_again=5,
    waiting=6,
    failed=(("00/x-a", "Permission denied"),),
    waited_for=("pid 7 (go build)",),
    before=8,
    proof=("it was built",),
    took_ms=10,
)


@pytest.mark.parametrize("receipt", [FULL, Receipt("op_0123456789abcdef", State.DONE, "", 0)])
def test_what_went_through_the_journal_is_what_it_was(receipt: Receipt) -> None:
    assert parse_receipt(json.loads(canonical(receipt.as_value()))) == receipt


def test_a_receipt_without_a_field_is_none() -> None:
    value = FULL.as_value()
    for key in value:
        with pytest.raises(KeyError):
            parse_receipt({name: what for name, what in value.items() if name != key})
