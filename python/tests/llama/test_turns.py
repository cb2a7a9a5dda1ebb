"""Turns: in order, no more waiting than may wait, and none lost by who leaves."""

from __future__ import annotations

import asyncio

import pytest

from cognitive_actors.llama.errors import CoordinatorFailed, PoolBusy
from cognitive_actors.llama.turns import Turns


def test_turns_come_in_order_and_no_more_wait_than_may() -> None:
    async def test() -> None:
        turns, came = Turns(parallel=2, waiting=3), []

        async def one(number: int) -> None:
            await turns.take()
            came.append(number)

        await turns.take()
        await turns.take()
        tasks = [asyncio.create_task(one(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert (turns.in_flight, turns.waiting, turns.idle) == (2, 3, False)
        with pytest.raises(PoolBusy, match="3 requests wait"):
            await turns.take()
        for _ in range(3):
            turns.give()
        await asyncio.gather(*tasks)
        assert came == [0, 1, 2]
        assert (turns.in_flight, turns.waiting) == (2, 0)
        turns.give()
        turns.give()
        assert turns.idle

    asyncio.run(test())


@pytest.mark.parametrize("late", [False, True])
def test_who_leaves_takes_no_turn_along(late: bool) -> None:
    async def test() -> None:
        turns = Turns(parallel=1, waiting=2)
        await turns.take()
        leaving, staying = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        if late:
            # Its turn has come, but it does not know yet.
            turns.give()
        leaving.cancel()
        if not late:
            turns.give()
        await staying
        assert leaving.cancelled() or leaving.cancelling()
        assert (turns.in_flight, turns.waiting) == (1, 0)

    asyncio.run(test())


def test_once_closed_nobody_gets_a_turn() -> None:
    async def test() -> None:
        turns = Turns(parallel=1, waiting=2)
        await turns.take()
        waiting = asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        turns.close("it ended", ("a:1",))
        turns.close("a later reason", ())
        for take in (waiting, turns.take()):
            with pytest.raises(CoordinatorFailed, match="it ended") as failed:
                await take
            assert failed.value.suspects == ("a:1",)
        turns.give()
        assert turns.idle

    asyncio.run(test())


def test_numbers_without_sense_are_refused() -> None:
    for parallel, waiting in ((0, 1), (1, -1)):
        with pytest.raises(ValueError, match="write 1 or more"):
            Turns(parallel, waiting)
