"""Invalid values of options: refused when they are given, with the rule and the value."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette

from afterword import Afterword, JobState, Retry, task
from afterword.errors import ConfigurationError
from afterword.request.background import BackgroundTasks
from tests.life.site import note, script, store_of, working

# Characters that shells, URLs, databases or lists treat specially.
NO_WORDS = [
    "",
    "x" * 65,
    "x" * 300,
    "../x",
    "a:b",
    "a b",
    "\N{GRINNING FACE}",
    "a\n",
    "'; DROP TABLE jobs; --",
    "a\0",
    5,
]
NO_DELAYS = [-1, -0.001, math.nan, math.inf, True, "5", 1e20, timedelta(days=-1), 1j]


def said(option: str, values: list[Any], number: int) -> list[Any]:
    """Make parameters: an option and a value, with the number in the table of bad input."""
    return [
        pytest.param(option, value, id=f"{number}-{option}-{index}")
        for index, value in enumerate(values)
    ]


EVERYWHERE = [
    *said("queue", NO_WORDS, 31),
    *said("priority", [-1001, 1001, 10**9, 10**400, 1.0, "1", True, math.nan], 51),
    *said("retries", [-1, 10**9, 1.5, "3", True], 28),
    *said("timeout", [0, -1, math.nan, math.inf, True, "5", timedelta(0), 1e20, 10**400], 27),
    *said("tags", ["word", ["x"] * 21, [""], [5], ["a\n"], ["x" * 101], 5, {"a"}], 31),
]
OF_A_CALL = [
    *said("delay", NO_DELAYS, 27),
    *said("run_at", [datetime(2030, 1, 1), "2030-01-01T00:00:00Z", 1e20, 0], 25),  # noqa: DTZ001
    *said("run_at", [datetime(1969, 1, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)], 26),
    *said("unique", ["", 5, b"key", ["key"]], 32),
]
OF_A_TASK = [
    *said("backoff", [-1, "1", [], [1, -1], math.nan, None], 28),
    *said("retry_on", [5, "ValueError", [ValueError], ValueError("x"), (ValueError, 5)], 28),
    *said("limit", [0, -1, True, 10**6, 1.5, "1"], 51),
    *said("rate", ["", "x", "10", "0/s", "10/w", "10/0s", "1001/s", "-1/s", "1/s/s", 10], 51),
    *said("executor", ["thread", "", 5], 51),
    *said("on_crash", ["ignore", None], 51),
]


@pytest.mark.parametrize(("option", "value"), [*EVERYWHERE, *OF_A_CALL])
def test_a_call_refuses_what_cannot_be(option: str, value: Any, tmp_path: Path) -> None:
    """Every way to add refuses it; nothing is stored."""
    afterword = Afterword(None, f"sqlite+pysqlite:///{tmp_path / 'jobs.db'}")
    places: list[Callable[..., Any]] = [afterword.options, BackgroundTasks().options]
    for options in places:
        with pytest.raises(ValueError, match=option if option != "tags" else "tag"):
            options(**{option: value})

    assert [] == list(tmp_path.iterdir())


def test_a_transaction_refuses_it_too(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'jobs.db'}"
    with script(url) as afterword, Session(create_engine(url)) as session:
        binding = afterword.bind(session)
        with pytest.raises(ConfigurationError, match="delay"):
            binding.options(delay=-1)
        binding.add_task(note, "x")
        session.commit()

        assert 1 == len(store_of(afterword).find())


@pytest.mark.parametrize(("option", "value"), [*EVERYWHERE, *OF_A_TASK])
def test_a_task_refuses_what_cannot_be(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?i){option.rstrip('s')}") as refusal:
        task(**{option: value})(note)

    assert "but" in str(refusal.value)  # between the rule and the value


def test_an_option_that_there_is_not_is_refused(tmp_path: Path) -> None:
    afterword: Any = Afterword(None, f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match="colour"):
        afterword.options(colour="red")
    with pytest.raises(ConfigurationError, match="colour"):
        task(colour="red")(note)  # type: ignore[call-overload]


def test_one_of_two_ways_to_say_when(tmp_path: Path) -> None:
    afterword = Afterword(None, f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match="delay and run_at"):
        afterword.options(delay=1, run_at=datetime(2030, 1, 1, tzinfo=UTC))


def test_the_message_has_the_wrong_line_and_the_right_one(tmp_path: Path) -> None:
    afterword = Afterword(None, f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError) as refusal:
        afterword.options(run_at=datetime(2030, 1, 1))  # noqa: DTZ001

    assert "# incorrect!" in str(refusal.value)
    assert "tzinfo=UTC))  # correct!" in str(refusal.value)


@pytest.mark.parametrize("delay", NO_DELAYS)
def test_a_task_cannot_ask_for_an_impossible_delay(delay: Any) -> None:
    with pytest.raises(ConfigurationError, match="delay"):
        Retry(delay=delay)


# ---------------------------------------------------------------------- keys of limits


def takes(user_id: int, text: str = "x") -> None:
    """A task with arguments."""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": lambda user_id: user_id}, "but there is neither"),
        ({"key": lambda user: user, "limit": 1}, r"but \['user'\] are not"),
        ({"key": lambda *args: args, "limit": 1}, r"but \['args'\] are not"),
        ({"key": "user_id", "limit": 1}, "must be a function"),
    ],
)
def test_a_key_that_cannot_be_asked_is_refused(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        task(**options)(takes)


@task(limit=1, key=lambda text: None)
def without_a_key(text: str) -> None:
    """A task whose key function returns nothing."""


@task(limit=1, key=lambda text: 1 / 0)
def with_a_broken_key(text: str) -> None:
    """A task whose key function raises."""


def test_a_key_that_gives_no_text_is_refused_where_the_call_is_added(file_url: str) -> None:
    with script(file_url) as afterword:
        with pytest.raises(ConfigurationError, match="must return text or a whole number"):
            afterword.add_task_sync(without_a_key, "x")
        with pytest.raises(ZeroDivisionError):
            afterword.add_task_sync(with_a_broken_key, "x")

        assert [] == list(store_of(afterword).find())


# ---------------------------------------------------------------------- of the application


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *said("concurrency", [0, -1, 10**6, 1.5, True, "4", math.nan], 51),
        *said("queues", [[], "mail", {}, ["a", "a"], ["../x"], None, 5], 50),
        *said("queues", [{"mail": 0}, {"mail": -1}, {"mail": True}, {"mail": 1e3}, {"m l": 1}], 51),
        *said("retries", [-1, 10**9, True, "3"], 28),
        *said("idempotent", [1, "yes", None], 51),
        *said("lease", [0, -1, math.nan, math.inf, "30"], 51),
        *said("grace", [-1, math.nan, "20"], 51),
        *said("retention", [-1, math.nan, math.inf], 51),
    ],
)
def test_an_application_refuses_what_cannot_be(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="queue" if option == "queues" else option):
        Afterword(Starlette(), **{option: value})


@pytest.mark.parametrize("name", [name for name in NO_WORDS if name != "x" * 65])
def test_a_schedule_refuses_a_name_that_cannot_be(name: Any, file_url: str) -> None:
    afterword = Afterword(Starlette(), file_url)

    with pytest.raises(ConfigurationError, match="schedule's name"):
        afterword.every(seconds=1, name=name)(nothing)


def nothing() -> None:
    """A task without arguments."""


def grüße(text: str) -> str:  # noqa: PLC2401 - that is the point
    """A task with a name that is not ASCII."""
    return note(text)


@pytest.mark.anyio
async def test_a_function_may_be_called_anything(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(grüße, "x")).wait(60)

    assert (JobState.COMPLETED, "x") == (job.state, job.result)


@pytest.mark.anyio
async def test_of_two_applications_with_different_limits_the_last_to_start_says(
    store_url: str,
) -> None:
    """The limits of a queue are in the store, the same for all its users."""
    async with (
        working(store_url, queues={"mail": 5}) as one,
        working(store_url, queues={"mail": 2}),
    ):
        limits = [each.concurrency for each in store_of(one).queues() if each.name == "mail"]

    assert [2] == limits
