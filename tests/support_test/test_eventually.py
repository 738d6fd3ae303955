"""Waiting works, and a wait that fails says why."""

import asyncio

import pytest

from tests.support.eventually import eventually, steadily


async def test_a_value_that_is_there_is_returned_at_once() -> None:
    assert await eventually(lambda: "here", within_s=0.001) == "here"


async def test_a_condition_is_polled_until_it_is_truthy() -> None:
    looks = iter([None, 0, "", 7])
    assert await eventually(lambda: next(looks), every_s=0.001) == 7


async def test_a_coroutine_function_is_awaited_at_every_look() -> None:
    looks = iter([False, True])

    async def ready() -> bool:
        await asyncio.sleep(0)
        return next(looks)

    assert await eventually(ready, every_s=0.001) is True


async def test_a_condition_that_only_asserts_holds_when_it_returns() -> None:
    looks = iter([1, 2, 3])

    def reaches_three() -> None:
        assert next(looks) == 3

    assert await eventually(reaches_three, every_s=0.001) is None


async def test_none_from_a_lambda_is_not_yet() -> None:
    with pytest.raises(AssertionError, match=r"last: None \(a condition that only asserts"):
        await eventually(lambda: {}.get("key"), within_s=0.01, every_s=0.001)


async def test_a_missed_deadline_shows_the_message_and_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"three members: not within .* last: \[\]"):
        await eventually(list, within_s=0.01, every_s=0.001, message="three members")


async def test_a_missed_deadline_shows_the_last_assertion() -> None:
    def wants_two() -> None:
        assert 1 == 2, "one is not two"

    with pytest.raises(AssertionError, match=r"wants_two: not within .* one is not two"):
        await eventually(wants_two, within_s=0.01, every_s=0.001)


async def test_a_condition_that_never_answers_is_cut_off_at_the_deadline() -> None:
    with pytest.raises(AssertionError, match="it never answered"):
        await eventually(asyncio.Event().wait, within_s=0.01)


async def test_an_error_that_is_no_assertion_is_raised_at_once() -> None:
    with pytest.raises(KeyError):
        await eventually(lambda: {}["key"])


async def test_a_timeout_inside_a_condition_is_raised_as_it_is() -> None:
    async def times_out() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await eventually(times_out)


async def test_steadily_passes_when_every_look_holds() -> None:
    looks: list[int] = []

    def look() -> bool:
        looks.append(1)
        return True

    await steadily(look, for_s=0.02, every_s=0.002)
    assert len(looks) >= 2


async def test_steadily_fails_at_the_first_look_that_does_not_hold() -> None:
    looks = iter([True, True, False, True])
    with pytest.raises(AssertionError, match=r"quiet: held for .* then: False"):
        await steadily(lambda: next(looks), for_s=5.0, every_s=0.001, message="quiet")
