"""How much goes at once when a cache is emptied in waves, and what follows from what the gate says of each wave.

Knows:     how waves grow and shrink, how fast keys may go, when somebody has to be asked, and the form that outlives a process.
Called by: `flows.purge_waves`; the command line's dry run, for the forecast.
Never:     asks the time; opens a wave while another one is not judged; goes on after too many waves that had to be put back.
Source:    Flagger and Argo Rollouts (steps, halt, roll back); the growth and its limits are from our own simulations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from math import ceil
from typing import Any

from go_cache_safeguard.core.canonical import Value

GROWTH = 1.6
"""The next wave after one that did no harm, in sizes of it."""
_BELOW = 0.7
"""No later wave may be greater than this share of one that had to be put back."""
STOPPABLE = 10
"""So many batches in a second at a given rate: between two of them a wave can be stopped."""
_STAYS, _SHRINKS = 0.5, 0.8
"""From these shares of what the gate bears on, the next wave is no larger, and smaller."""
_SHOWN = 20


class Step(StrEnum):
    """Where the newest wave stands."""

    READY = "ready"
    """None is under way."""
    MOVING = "moving"
    """Its keys go."""
    WATCHING = "watching"
    """Its keys are gone, and the gate has not let it pass."""
    ROLLING_BACK = "rolling-back"
    """Its keys are put back."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a purge is to go.

    Attributes:
        first: Keys of the first wave.
        most: Keys of a wave at most.
        rate: Keys in a second at most; 0 for any number.
        rollbacks: After so many waves in a row that had to be put back a person is asked.
    """

    first: int = 20
    most: int = 5_000
    rate: int = 0
    rollbacks: int = 3

    def batch(self, most: int) -> int:
        """Keys that go together, so that a wave can be stopped soon."""
        return max(1, min(most, self.rate // STOPPABLE)) if self.rate else most

    def due_s(self, sent: int) -> float:
        """When the next key may go, in seconds since the first one of the wave."""
        return sent / self.rate if self.rate else 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """How far a purge has come. Of a cluster too: one gate judges the wave of all shards.

    Attributes:
        size: Keys of the next wave.
        wave: Number of the newest wave, from 1; 0 before the first.
        keys: How many it has.
        at: Where its copies begin in the trash, in bytes: all that stands behind is of this wave.
        step: Where it stands.
        paused: Whether the gate has paused it: then the next one is smaller.
        rollbacks: Waves that had to be put back in a row.
        ceiling: Keys of a wave at most, after one that had to be put back; 0 before that.
    """

    size: int
    wave: int = 0
    keys: int = 0
    at: int = 0
    step: Step = Step.READY
    paused: bool = False
    rollbacks: int = 0
    ceiling: int = 0

    def opened(self, left: int, at: int) -> "Course":
        """The next wave begins.

        Args:
            left: Keys that are still to go, at least one.
            at: Bytes of the trash.
        """
        self._see(Step.READY)
        return replace(self, wave=self.wave + 1, keys=min(self.size, left), at=at, step=Step.MOVING, paused=False)

    def moved(self) -> "Course":
        """Its keys are gone, or it was cut short."""
        self._see(Step.MOVING)
        return replace(self, step=Step.WATCHING)

    def pausing(self) -> "Course":
        """The gate has paused it."""
        self._see(Step.MOVING, Step.WATCHING)
        return replace(self, paused=True)

    def advanced(self, terms: Terms, full: float = 0.0) -> "Course":
        """The gate lets it pass.

        Args:
            terms: How the purge is to go.
            full: How full the fullest resource of the services is, as a share of what the gate bears. Keys that went are missed
                later as well, so waves add up before a request fails.
        """
        self._see(Step.WATCHING)
        if self.paused or full >= _SHRINKS:
            grown = max(1, self.keys // 2)
        else:
            grown = self.keys if full >= _STAYS else max(self.size, ceil(self.keys * GROWTH))
        return replace(self, size=min(grown, terms.most, self.ceiling or terms.most), step=Step.READY, rollbacks=0)

    def turning(self) -> "Course":
        """The gate wants it back."""
        self._see(Step.MOVING, Step.WATCHING)
        return replace(self, step=Step.ROLLING_BACK)

    def rolled_back(self) -> "Course":
        """Its keys are back."""
        self._see(Step.ROLLING_BACK)
        ceiling = max(1, int(self.keys * _BELOW))
        size = max(1, self.keys // 2)
        return replace(self, size=size, step=Step.READY, rollbacks=self.rollbacks + 1, ceiling=ceiling)

    def is_spent(self, terms: Terms) -> bool:
        """Whether a person has to say that it may go on."""
        return self.rollbacks >= terms.rollbacks

    def taken_up(self) -> "Course":
        """Somebody goes on with it, after a stop or a crash: a wave that was under way is judged first."""
        step = Step.WATCHING if self.step is Step.MOVING else self.step
        return replace(self, step=step, rollbacks=0)

    def as_value(self) -> dict[str, Value]:
        """For the journal."""
        return {
            "size": self.size,
            "wave": self.wave,
            "keys": self.keys,
            "at": self.at,
            "step": str(self.step),
            "paused": self.paused,
            "rollbacks": self.rollbacks,
            "ceiling": self.ceiling,
        }

    def _see(self, *steps: Step) -> None:
        if self.step not in steps:
            raise ValueError(f"wave {self.wave} is {self.step}")


def parse_course(value: Mapping[str, Any]) -> Course:
    """Read it back from the journal.

    Raises:
        KeyError: A field is missing.
        ValueError: A step that we do not know.
    """
    return Course(
        size=int(value["size"]),
        wave=int(value["wave"]),
        keys=int(value["keys"]),
        at=int(value["at"]),
        step=Step(value["step"]),
        paused=bool(value["paused"]),
        rollbacks=int(value["rollbacks"]),
        ceiling=int(value["ceiling"]),
    )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected if the gate never objects.

    Attributes:
        waves: How many.
        sizes: Keys of the first of them.
        seconds: How long all of it takes at least.
    """

    waves: int
    sizes: tuple[int, ...]
    seconds: float

    def as_value(self) -> dict[str, Value]:
        """For `--json`; there are no fractions in it."""
        return {"waves": self.waves, "sizes": list(self.sizes), "took_ms": round(self.seconds * 1000)}


def forecast(total: int, terms: Terms, settle_s: float) -> Forecast:
    """Tell the waves before they are made.

    Args:
        total: Keys that are to go.
        terms: How.
        settle_s: How long each wave is watched, in seconds.
    """
    sizes: list[int] = []
    course, left = Course(terms.first), total
    for waves in count():
        if left <= 0:
            return Forecast(waves, tuple(sizes), waves * settle_s + terms.due_s(total))
        course = course.opened(left, 0)
        left -= course.keys
        if len(sizes) < _SHOWN:
            sizes.append(course.keys)
        course = course.moved().advanced(terms)
    raise AssertionError("count() ends never")
