"""Queries to a fleet that does not answer: they neither wait long nor pile up."""

import asyncio
import threading
from functools import partial

import pytest

from afterword import JobState
from afterword.fleets import asking
from afterword.fleets.asking import FleetInquiries
from tests.helpers import wait_until

pytestmark = pytest.mark.anyio


async def test_questions_that_wait_too_long_are_not_asked_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "ANSWER_WITHIN", 0.05)
    monkeypatch.setattr(asking, "_MOST", 6)
    gate, asked, inquiries = threading.Event(), list[int](), FleetInquiries()

    def ask(number: int) -> JobState:
        asked.append(number)
        gate.wait()
        return JobState.COMPLETED

    questions = [inquiries._within(partial(ask, number)) for number in range(10)]
    answers = await asyncio.gather(*questions)
    gate.set()
    wait_until(lambda: inquiries._waiting == 0, description="the threads are idle again")

    assert [None] * 10 == answers
    assert len(asked) <= asking._AT_ONCE  # without those that were given up
    assert await inquiries._within(lambda: ask(10)) is JobState.COMPLETED
