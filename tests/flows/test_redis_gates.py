"""Gates change while calls are decided: each call is decided by one of them, and none is closed under a call."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from go_cache_safeguard.flows.redis_gates import GateInUse
from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.redis.call import Answer, Call, Held, Refused
from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.intent import Certainty, Intent

CALL = Call(((b"CONFIG", b"SET", b"requirepass", b"hunter2\x1b[2J"),), client="10.0.0.9:1")
INTENT = Intent("CONFIG SET", Class.SERVER, Certainty.SURE)


@dataclass
class Gate:
    """One that answers as it is told, when it is told."""

    answer: Answer
    may_answer: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    closed: int = 0
    lookups: tuple[int, int] = (0, 0)

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        del abandoned
        assert (call, intent) == (CALL, INTENT)
        self.asked.set()
        assert self.may_answer.wait(30)
        assert not self.closed
        return self.answer

    def execute_approved(self) -> None:
        self.asked.set()

    def close(self) -> None:
        self.closed += 1


def test_an_old_gate_ends_with_its_last_answer_and_its_look_ups_stay_counted() -> None:
    first, second = Gate(Refused("one"), lookups=(3, 1)), Gate(Refused("two"), lookups=(10, 0))
    gates = GateInUse(first, Voice())
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(gates.decide(CALL, INTENT)))
    thread.start()
    assert first.asked.wait(30)
    gates.change(second)
    assert first.closed == 0
    second.may_answer.set()
    assert gates.decide(CALL, INTENT) == Refused("two")
    assert gates.lookups == (13, 1)
    first.lookups = (4, 1)
    first.may_answer.set()
    thread.join()
    assert answers == [Refused("one")]
    assert (first.closed, second.closed) == (1, 0)
    assert gates.lookups == (14, 1)
    gates.execute_approved()
    gates.close()
    assert (first.closed, second.closed) == (1, 1)


def test_people_hear_of_what_is_held_and_see_no_password(capfd: pytest.CaptureFixture[str]) -> None:
    gate = Gate(Held("op_x", "a person decides"))
    gate.may_answer.set()
    GateInUse(gate, Voice()).decide(CALL, INTENT)
    GateInUse(gate, Voice(as_json=True)).decide(CALL, INTENT)
    out, err = capfd.readouterr()
    assert "held: op_x: CONFIG SET requirepass *** from 10.0.0.9:1: a person decides" in err
    assert "go-cache-safeguard ops approve op_x" in err
    value = json.loads(out)
    assert value["schema"] == "go-cache-safeguard/redis-proxy-event/1"
    assert (value["event"], value["op"], value["client"]) == ("held", "op_x", "10.0.0.9:1")
    assert "hunter2" not in out + err
    assert "\x1b" not in out + err


def test_a_flood_is_summed_up(capfd: pytest.CaptureFixture[str]) -> None:
    voice = Voice()
    for number in range(50):
        voice.tell("closed", f"10.0.0.9:{number}: broken")
        voice.tell("error", "rare")
    err = capfd.readouterr().err
    assert err.count(" closed: ") == 10
    assert err.count(" error: ") == 50
    voice._floods["closed"].since -= 60
    voice.tell("closed", "later")
    err = capfd.readouterr().err
    assert "40 more events of this kind were not shown" in err
    assert "later" in err


def test_whoever_cannot_wait_has_the_old_gate_closed_later() -> None:
    first, second, later = Gate(Refused("one")), Gate(Refused("two")), list[Callable[[], None]]()
    gates = GateInUse(first, Voice())
    gates.change(second, later=later.append)
    assert first.closed == 0
    later.pop()()
    assert (first.closed, second.closed) == (1, 0)
