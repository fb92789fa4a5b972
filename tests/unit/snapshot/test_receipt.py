"""Receipts go through a pipe and come back the same."""

import json

import pytest

from go_cache_safeguard.snapshot.receipt import Purged, PutBack, Receipt, Taken, from_value, to_value


@pytest.mark.parametrize(
    "receipt",
    [
        Taken(),
        Taken(2, 350, ("aa/x",), ("bb/y",), (("cc/z", "EBUSY: busy"),), durable=False, stopped=True),
        PutBack(1, 2, 3, (("a", "b"),), ("a note",), durable=False, stopped=True),
        Purged(1, 2, 3, (("a", "b"),), stopped=True),
    ],
)
def test_what_comes_out_of_the_pipe_is_what_went_in(receipt: Receipt) -> None:
    assert from_value(type(receipt), json.loads(json.dumps(to_value(receipt)))) == receipt
