"""The stream of news: everybody who listens hears of every record, and nobody whose session has ended."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from deskpages import House
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.web.live import EVENT, LOOK_S, Pulse
from webserver import add_person, serving


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house")) as served:
        add_person(served, "bob", "approver", "auditor")
        yield House(served)


def note(house: House, op: str | None = None) -> int:
    with house.served.session().journal() as journal:
        return journal.note("progress", {}, op=op).seq


def news(lines: Iterator[str]) -> int:
    """The number of the next record that is told."""
    for line in lines:
        if line == f"event: {EVENT}":
            return int(next(lines).removeprefix("data: "))
    return 0


def listening(client: httpx.Client, query: str) -> httpx.Response:
    answer = client.send(client.build_request("GET", f"/live?{query}"), stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer


def test_a_stream_tells_what_is_new_since_the_page_was_made(house: House) -> None:
    house.secret("bob")
    before = note(house)
    missed = note(house)
    with house.client("bob") as client:
        lines = listening(client, f"since={before}").iter_lines()
        assert news(lines) == missed
        newest = note(house)
        assert news(lines) == newest


def test_a_stream_about_an_operation_tells_of_nothing_else(house: House) -> None:
    op = house.held()
    with house.client("bob") as client:
        lines = listening(client, f"since={note(house)}&op={op}").iter_lines()
        for _ in range(3):
            note(house)
        newest = note(house, op)
        assert news(lines) == newest


def test_who_has_left_hears_no_more(house: House) -> None:
    with house.client("bob") as client:
        page = client.get("/").text
        answer = listening(client, f"since={note(house)}")
        csrf = page.partition('name="csrf" value="')[2][:64]
        with house.client("bob") as other:
            assert other.post("/logout", data={"csrf": csrf}).status_code == 303
        del house.secrets["bob"]
        note(house)
        assert news(answer.iter_lines()) == 0  # it has ended


@pytest.mark.parametrize("query", ["op=op_0", "op=../etc", "op=%00"])
def test_there_is_no_stream_about_what_cannot_be(house: House, query: str) -> None:
    with house.client("bob") as client:
        assert client.get(f"/live?{query}").status_code == 404


def test_nobody_listens_who_was_not_let_in(house: House) -> None:
    with house.client() as client:
        assert client.get("/live").status_code in {303, 401}


def test_a_number_that_is_none_is_the_beginning(house: House) -> None:
    with house.client("bob") as client:
        assert news(listening(client, "since=%C2%B2x-1").iter_lines()) > 0


class Clock:
    """A journal of which only the last number is known."""

    def __init__(self) -> None:
        self.seq = 1
        self.looks = 0

    def look(self) -> int:
        self.looks += 1
        if self.looks == 3:
            raise IllegalTransition("it cannot be read just now")
        return self.seq


def test_one_who_begins_to_listen_wakes_those_who_wait_already() -> None:
    async def story() -> None:
        clock = Clock()
        pulse = Pulse(clock.look)
        await pulse.begin()
        first = asyncio.create_task(pulse.wait(1, 30))
        await asyncio.sleep(0)
        clock.seq = 2
        await pulse.begin()
        assert await asyncio.wait_for(first, 20) == 2
        clock.seq = 3
        assert await pulse.wait(2, 30) == 3
        assert await pulse.wait(3, LOOK_S / 10) == 3
        pulse.end()
        pulse.end()
        assert pulse.listeners == 0
        looks = clock.looks
        await asyncio.sleep(2 * LOOK_S)
        assert clock.looks == looks

    asyncio.run(story())
