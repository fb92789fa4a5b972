"""The gate that is asked now: another one takes its place when the settings are read again, or the server is another one.

Knows:     that a gate is closed only when nobody asks it any more, and what is told of its answers.
Called by: `flows.redis_proxy`.
Never:     decides; lets a call through while gates change.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.redis.call import Answer, Answered, Call, Held, Pass, Refused
from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis.wording import shown

_SHOWN = 200
_NAMES: dict[type[Answer], str] = {Pass: "passed", Held: "held", Refused: "refused", Answered: "answered"}
Count = Callable[[Class, str, float], None]
"""Told the class of a call, what became of it, and how many seconds that took."""


class Guarding(Protocol):
    """What decides, and does what was approved."""

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        """See `redis.call.Gate`."""

    def execute_approved(self) -> object:
        """Do what people have approved since."""

    @property
    def lookups(self) -> tuple[int, int]:
        """Look-ups that it caused itself, hits and misses."""

    def close(self) -> None:
        """Let go of connections."""


class GateInUse:
    """Asks whichever gate is there. All methods may be called from any thread."""

    def __init__(self, gate: Guarding, voice: Voice, count: Count = lambda *_: None) -> None:
        """Begin.

        Args:
            gate: The first one.
            voice: Told of what was held or refused.
            count: Told of every answer.
        """
        self._lock = threading.Lock()
        self._gate = gate
        self._asking: dict[int, int] = {}
        self._retired: dict[int, Guarding] = {}
        self._voice = voice
        self._count = count
        self._before = (0, 0)

    @property
    def lookups(self) -> tuple[int, int]:
        """Look-ups of all gates so far, hits and misses."""
        with self._lock:
            counts = [self._before, *(gate.lookups for gate in (self._gate, *self._retired.values()))]
        return sum(hits for hits, _ in counts), sum(misses for _, misses in counts)

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        """Ask, and tell people if the answer is for them."""
        gate, begun = self._enter(), time.monotonic()
        try:
            answer = gate.decide(call, intent, abandoned=abandoned)
        finally:
            self._leave(gate)
        self._count(intent.cls, _NAMES[type(answer)], time.monotonic() - begun)
        self._tell(_about(call, intent), call, answer)
        return answer

    def execute_approved(self) -> None:
        """Do what people have approved since."""
        gate = self._enter()
        try:
            gate.execute_approved()
        finally:
            self._leave(gate)

    def change(self, gate: Guarding, *, later: Callable[[Callable[[], None]], object] | None = None) -> None:
        """Ask another gate from now on; the old one is closed when its last answer was given.

        Args:
            gate: The new one.
            later: Has something done soon, in another thread, for whoever cannot wait until the old one is closed.
        """
        with self._lock:
            old, self._gate = self._gate, gate
            self._retired[id(old)] = old
        if later is None:
            self._let_go(old)
        else:
            later(partial(self._let_go, old))

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            gates = [self._gate, *self._retired.values()]
            self._retired.clear()
        for gate in gates:
            gate.close()

    def _enter(self) -> Guarding:
        with self._lock:
            gate = self._gate
            self._asking[id(gate)] = self._asking.get(id(gate), 0) + 1
            return gate

    def _leave(self, gate: Guarding) -> None:
        with self._lock:
            self._asking[id(gate)] -= 1
        self._let_go(gate)

    def _let_go(self, gate: Guarding) -> None:
        with self._lock:
            if self._asking.get(id(gate), 0) or id(gate) not in self._retired:
                return
            self._asking.pop(id(gate), None)
            del self._retired[id(gate)]
            hits, misses = gate.lookups
            self._before = self._before[0] + hits, self._before[1] + misses
        gate.close()

    def _tell(self, words: str, call: Call, answer: Answer) -> None:
        match answer:
            case Held(op, text):
                hint = f"go-cache-safeguard ops approve {op}"
                about = {"op": op, "client": call.client, "user": call.user, "hint": hint}
                self._voice.tell("held", f"{op}: {words} from {call.client}: {text} ({hint})", **about)
            case Refused(text):
                about = {"client": call.client, "user": call.user}
                self._voice.tell("refused", f"{words} from {call.client}: {text}", **about)
            case _:
                pass


def _about(call: Call, intent: Intent) -> str:
    text = " ".join(shown(call.commands, {use.key for use in intent.uses}))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
