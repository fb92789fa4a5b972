"""Dropped traces can be pulled from another process, and only by that one path."""

from collections.abc import Mapping, Sequence
from http.client import HTTPConnection

import pytest

from go_cache_safeguard.telemetry.recorder import MOST_TRACES, listening, pull


class _Sampler:
    def __init__(self) -> None:
        self.pulled = 0

    def pull(self, trace_ids: Sequence[int] | None = None) -> Mapping[int, int]:
        assert trace_ids is None
        self.pulled += 1
        return dict.fromkeys(range(1, 601), 2)


def test_whoever_asks_there_makes_the_sampler_export_what_it_dropped() -> None:
    sampler = _Sampler()
    with listening(sampler) as port:
        found = pull(f"http://127.0.0.1:{port}")
        assert (found.spans, len(found.traces), found.traces[0]) == (1_200, MOST_TRACES, f"{600:032x}")
        other = HTTPConnection("127.0.0.1", port, timeout=5)
        for method, path, status in (("POST", "/other", 404), ("GET", "/flight-recorder", 501)):
            other.request(method, path)
            answer = other.getresponse()
            answer.read()
            assert answer.status == status
        other.close()
    assert sampler.pulled == 1


def test_a_service_that_is_away_is_a_failure_that_says_so() -> None:
    with listening(_Sampler()) as port:
        pass
    with pytest.raises(ValueError, match="did not give what it dropped"):
        pull(f"http://127.0.0.1:{port}")
