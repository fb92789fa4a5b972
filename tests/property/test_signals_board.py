"""Whatever a README is like: what stands outside of the block stays as it is."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.signals.board import Damaged, inserted, panel_of
from go_cache_safeguard.signals.gate import Limits
from go_cache_safeguard.signals.golden import Golden

_PIECES = [
    b"<!-- signals:begin red -->",
    b"<!-- signals:end -->",
    b"<!-- signals:begin -->",
    b"\r\n",
    b"\n",
    b"\xef\xbb\xbf",
]
_PANEL = panel_of(Golden("pay", 0, 10**10, 100, 50, 9.0, (), None, newest_ns=10**10), 0.005, Limits())


@given(st.lists(st.one_of(st.binary(max_size=9), st.sampled_from(_PIECES))).map(b"".join))
def test_only_the_block_of_a_readme_changes(readme: bytes) -> None:
    made = inserted(readme, _PANEL)
    if isinstance(made, Damaged):
        return
    begin, end = made.index(b"<!-- signals:begin red -->"), made.index(b"<!-- signals:end -->") + 20
    assert readme.startswith(made[:begin])
    if b"signals:end" in readme:
        assert readme.endswith(made[end:])
    else:
        assert made[end:].lstrip(b"\r\n") == readme.removeprefix(made[:begin]).lstrip(b"\r\n")
        assert made.endswith(readme.removeprefix(made[:begin]))
    assert inserted(made, _PANEL) == made
