"""Templates of log lines."""

from go_cache_safeguard.signals.drain import Drain, Line, masked, surges

_S = 1_000_000_000


def test_values_are_masked_and_words_are_not() -> None:
    line = (
        "GET /orders/4711 from 10.0.0.7:5123 took 12.5ms id 6f1c2e4a-0000-4000-8000-0123456789ab at 0xdeadbeef facade"
    )
    assert " ".join(masked(line)) == "GET /orders/<n> from <ip> took <n>ms id <uuid> at <hex> facade"


def test_lines_that_say_the_same_share_a_template_whose_id_stays() -> None:
    drain = Drain()
    first = drain.add("user alice logged in from berlin today")
    number = first.id
    second = drain.add("user alice logged in from paris today")
    assert second is first
    assert (first.id, first.text) == (number, "user alice logged in from <*> today")
    assert drain.add("cache miss for key 7") is not first
    assert drain.add("cache miss for key 8").text == "cache miss for key <n>"


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    drain = Drain(most=3)
    words = ["alpha", "beta", "gamma"]
    for word in words:
        drain.add(f"{word} happened here")
    drain.add("alpha happened here")
    drain.add("delta happened here")
    assert [one.text.split()[0] for one in drain.templates] == ["gamma", "alpha", "delta"]


def test_new_and_more_frequent_lines_are_told_with_their_traces() -> None:
    usual = [Line(n * _S, "shop", f"request {n} served in {n} ms") for n in range(200)]
    rare = [Line(n * _S, "shop", f"slow answer from db{n}") for n in (3, 90, 103, 190)]
    new = [Line((150 + n) * _S, "shop", f"cannot connect to 10.0.0.{n}", "ab" * 16, "op_1") for n in range(20)]
    (found,) = surges([*usual, *rare, *new], 100 * _S, 200 * _S, baseline_ns=0)
    assert (found.text, found.now, found.before) == ("cannot connect to <ip>", 20, 0)
    assert (found.start_ns, found.services) == (150 * _S, frozenset({"shop"}))
    assert (found.traces, found.operations) == (frozenset({"ab" * 16}), frozenset({"op_1"}))
    assert surges(new, 100 * _S, 200 * _S, baseline_ns=0) == ()  # nothing to compare with
