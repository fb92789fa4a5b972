"""When to leave a server alone that does not answer.

Knows:     three failures in a row open it, after a rest one request tries again.
Called by: `flows.second_level`.
Never:     asks the time: whoever calls says it.
"""

FAILURES = 3
REST_S = 10.0


class Breaker:
    """Counts what one server does. Not for several threads at once."""

    def __init__(self) -> None:
        self._failures = 0
        self._until_s = 0.0
        self._trying = False

    def allows(self, now_s: float) -> bool:
        """Whether a request may be sent; after a rest only one until it is known what became of it.

        Args:
            now_s: Seconds of any clock that never goes back.
        """
        if self._failures < FAILURES:
            return True
        if now_s < self._until_s or self._trying:
            return False
        self._trying = True
        return True

    def good(self) -> None:
        """It answered."""
        self._failures = 0
        self._trying = False

    def bad(self, now_s: float) -> None:
        """It did not, or not in time."""
        self._failures += 1
        self._until_s = now_s + REST_S
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether requests are held back."""
        return self._failures >= FAILURES
