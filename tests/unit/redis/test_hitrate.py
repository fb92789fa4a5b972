"""Windows, drops, recoveries. How often it is wrong is simulated in tests/property/test_hitrate_simulated.py."""

from dataclasses import replace

from go_cache_safeguard.redis.hitrate import HitRate, Sample, State, Tuning, observe

TUNING = Tuning(enough=10, history=50, relearn=40)


class Node:
    """A server whose counters are told."""

    def __init__(self) -> None:
        self.known, self.sample = HitRate(), Sample(0, 0, 0)
        self.known = observe(self.known, self.sample, TUNING)

    def window(self, hits: int, misses: int, length_ms: int = 5_000) -> State:
        old = self.sample
        self.sample = replace(old, at_ms=old.at_ms + length_ms, hits=old.hits + hits, misses=old.misses + misses)
        self.known = observe(self.known, self.sample, TUNING)
        return self.known.reading.state

    def learn(self) -> None:
        for at in range(20):
            self.window(900 + at % 7, 100 - at % 7)


def test_nothing_is_said_before_there_is_something_to_compare_with() -> None:
    node = Node()
    assert [node.window(900, 100) for _ in range(11)] == [State.LEARNING] * 10 + [State.NORMAL]
    assert node.known.reading.rate == 0.9


def test_a_drop_is_seen_in_the_second_window_and_lasts_until_it_is_over() -> None:
    node = Node()
    node.learn()
    assert [node.window(500, 500) for _ in range(3)] == [State.NORMAL, State.DROPPED, State.DROPPED]
    since = node.known.reading.since_ms
    assert since == node.sample.at_ms - 5_000
    assert node.window(900, 100) is State.DROPPED
    assert node.window(500, 500) is State.DROPPED
    assert [node.window(900, 100) for _ in range(3)] == [State.DROPPED, State.NORMAL, State.NORMAL]
    assert node.known.reading.since_ms is None


def test_one_low_window_is_not_a_drop_and_is_not_learned_from() -> None:
    node = Node()
    node.learn()
    history = node.known.history
    assert node.window(100, 900) is State.NORMAL
    assert node.known.history == history
    assert node.window(900, 100) is State.NORMAL


def test_a_drop_does_not_become_normal_by_waiting_a_little_but_it_does_in_the_end() -> None:
    node = Node()
    node.learn()
    states = [node.window(500, 500) for _ in range(45)]
    assert states[1:40] == [State.DROPPED] * 39
    assert states[41:] == [State.NORMAL] * 4
    assert 0.49 < (node.known.reading.usual or 0) < 0.51


def test_a_loss_that_nobody_would_notice_is_none_however_sure_it_is() -> None:
    node = Node()
    for _ in range(20):
        node.window(900_000, 100_000)
    assert [node.window(880_000, 120_000) for _ in range(3)] == [State.NORMAL] * 3
    assert node.known.reading.z > 4


def test_a_better_rate_is_no_drop() -> None:
    node = Node()
    node.learn()
    assert [node.window(1000, 0) for _ in range(3)] == [State.NORMAL] * 3


def test_few_look_ups_are_collected_and_then_given_up() -> None:
    node = Node()
    node.learn()
    assert [node.window(9, 1) for _ in range(9)] == [State.NORMAL] * 9  # 90 look-ups in 45 s
    assert node.known.reading.rate is not None
    assert node.window(9, 1) is State.NORMAL  # the window is full
    assert [node.window(1, 0) for _ in range(12)][-1] is State.IDLE


def test_silence_does_not_end_a_drop() -> None:
    node = Node()
    node.learn()
    node.window(500, 500)
    assert node.window(500, 500) is State.DROPPED
    assert [node.window(0, 0) for _ in range(30)] == [State.DROPPED] * 30


def test_counters_that_begin_again_say_nothing() -> None:
    node = Node()
    node.learn()
    before = node.known.reading
    for sample in (Sample(10**7, 0, 0), Sample(10**7 + 5_000, 10**6, 10**6, "another run")):
        node.known = observe(node.known, sample, TUNING)
        assert node.known.reading == before
        assert node.known.last == sample


def test_samples_in_quick_succession_make_one_window() -> None:
    node = Node()
    for _ in range(4):
        node.window(300, 0, length_ms=1_000)
    assert node.known.history == ()
    node.window(300, 0, length_ms=1_000)
    assert len(node.known.history) == 1
