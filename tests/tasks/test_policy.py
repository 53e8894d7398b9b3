"""Outcomes of attempts: one table, and bounds for any numbers."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword import Cancel, Retry
from afterword.model.job import JobOptions
from afterword.model.outcome import (
    MAX_INTERRUPTED,
    NEVER_ENDS,
    Cancelled,
    Completed,
    Failed,
    Outcome,
    Released,
    RetryAt,
)
from afterword.tasks.options import TaskOptions
from afterword.tasks.policy import ASKED_RETRIES, Interruption, Policy, Why, decide, policy_of
from afterword.tasks.retry import Backoff, Delays

SHUTDOWN = Interruption(Why.SHUTDOWN)
LATE = Interruption(Why.TIMEOUT, "the attempt took longer than 3 seconds")
UNWANTED = Interruption(Why.CANCELLED, "not wanted")
CUT_OFF = asyncio.CancelledError()
OFTEN = Policy(retries=3, backoff=Delays((10.0,)))
NETWORK = Policy(retries=3, retry_on=(ConnectionError,), backoff=Delays((10.0,)))
WORN = Policy(retries=3, failures=3)


def raised(error: BaseException) -> BaseException:
    """Raise the error; returns it with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def outcome(
    error: BaseException | None,
    policy: Policy | None = None,
    interruption: Interruption | None = None,
    **more: Any,
) -> Outcome:
    """Return the decision, with a constant random number."""
    return decide(error, policy or Policy(), chance=0.0, interruption=interruption, **more)


TABLE = [
    (None, Policy(), None, Completed),
    (ValueError("no"), Policy(), None, Failed),
    (ValueError("no"), OFTEN, None, RetryAt),
    (ValueError("no"), WORN, None, Failed),
    (ValueError("no"), NETWORK, None, Failed),
    (ConnectionResetError(), NETWORK, None, RetryAt),
    (KeyboardInterrupt(), OFTEN, None, Failed),
    (SystemExit(1), OFTEN, None, Failed),
    (GeneratorExit(), OFTEN, None, Failed),
    (CUT_OFF, OFTEN, None, Failed),  # its own doing, not ours
    (Cancel("no use"), OFTEN, None, Cancelled),
    (Cancel("no use"), OFTEN, SHUTDOWN, Cancelled),
    (Retry(), Policy(), None, RetryAt),
    (Retry(), Policy(failures=ASKED_RETRIES), None, Failed),
    (Retry(), OFTEN, None, RetryAt),
    (Retry(), WORN, None, Failed),
    (Retry(), Policy(retries=0), None, Failed),
    (CUT_OFF, Policy(), SHUTDOWN, Released),
    (CUT_OFF, Policy(interrupted=MAX_INTERRUPTED - 1), SHUTDOWN, Failed),
    (CUT_OFF, Policy(on_crash="fail"), SHUTDOWN, Failed),
    (CUT_OFF, Policy(), Interruption(Why.LOST), Released),
    (CUT_OFF, OFTEN, UNWANTED, Cancelled),
    (ValueError("while tidying up"), OFTEN, UNWANTED, Cancelled),
    (None, OFTEN, UNWANTED, Cancelled),  # it heeded that it was to end
    (CUT_OFF, Policy(), LATE, Failed),
    (CUT_OFF, OFTEN, LATE, RetryAt),
    (CUT_OFF, NETWORK, LATE, Failed),
]


@pytest.mark.parametrize(("error", "policy", "interruption", "expected"), TABLE)
def test_the_outcome_is_decided_by_error_policy_and_interruption(
    error: BaseException | None,
    policy: Policy,
    interruption: Interruption | None,
    expected: type[Outcome],
) -> None:
    assert expected is type(outcome(error, policy, interruption))


def test_what_a_task_returned_is_kept() -> None:
    assert Completed('{"a":1}') == outcome(None, result='{"a":1}')


def test_a_failure_says_what_was_raised_and_where() -> None:
    failed = outcome(raised(ValueError("no such address")))

    assert isinstance(failed, Failed)
    assert "ValueError: no such address" == failed.error.splitlines()[-1]
    assert "test_policy.py" in failed.error


def test_an_attempt_that_took_too_long_says_so_and_where_it_was() -> None:
    failed = outcome(raised(asyncio.CancelledError()), interruption=LATE)

    assert isinstance(failed, Failed)
    assert "TimeoutError: the attempt took longer than 3 seconds" == failed.error.splitlines()[-1]
    assert "test_policy.py" in failed.error


def test_a_job_that_every_shutdown_cuts_off_fails_in_the_end() -> None:
    """Interruptions are not counted as attempts, but they are limited."""
    worn = Policy(interrupted=MAX_INTERRUPTED - 1)

    assert Failed(NEVER_ENDS) == outcome(CUT_OFF, worn, SHUTDOWN)


def test_a_task_says_itself_when_it_is_to_be_tried_again() -> None:
    again = outcome(Retry("busy", delay=60), OFTEN)

    assert isinstance(again, RetryAt)
    assert 60 == again.delay
    assert "busy" in again.error


def test_backoff_counts_the_failures() -> None:
    """The delay grows with failures, not with shutdowns or lost workers."""
    policy = Policy(retries=9, backoff=Backoff(base=2, jitter=0), failures=2, interrupted=5)
    again = outcome(ValueError(), policy)

    assert isinstance(again, RetryAt)
    assert 8 == again.delay


@pytest.mark.parametrize(
    ("task", "call", "application", "expected"),
    [
        (None, None, None, None),
        (None, None, 2, 2),
        (5, None, 2, 5),
        (5, 7, 2, 7),
        (5, 0, 2, 0),
        (0, None, 2, 0),
    ],
)
def test_the_call_goes_before_the_task_and_the_task_before_the_application(
    task: int | None, call: int | None, application: int | None, expected: int | None
) -> None:
    policy = policy_of(
        TaskOptions(retries=task),
        JobOptions(retries=call).text(),
        retries=application,
        failures=0,
        interrupted=0,
    )

    assert expected == policy.retries


@given(
    retries=st.none() | st.integers(0, 10_000),
    failures=st.integers(0, 20_000),
    chance=st.floats(0, 1, exclude_max=True),
    asked=st.booleans(),
)
def test_retries_end(retries: int | None, failures: int, chance: float, asked: bool) -> None:
    """There are no more than granted, and no delay exceeds the cap."""
    policy = Policy(retries=retries, failures=failures)
    most = retries if retries is not None else ASKED_RETRIES if asked else 0
    decided = decide(Retry() if asked else ValueError(), policy, chance=chance)

    assert isinstance(decided, RetryAt) == (failures < most)
    assert not isinstance(decided, RetryAt) or 0 <= decided.delay <= Backoff().cap
