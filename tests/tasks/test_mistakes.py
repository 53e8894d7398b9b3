"""Common slips get an answer with the right line."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from afterword import Afterword, task
from afterword.client.call import Call, TaskAdder
from afterword.errors import ArgumentError, ConfigurationError
from afterword.store.opening import open_store
from afterword.tasks.arguments import plan


def send(to: str) -> None: ...


def add(call: Call) -> Any:
    raise AssertionError("the call should have been refused")


def options(**given: Any) -> TaskAdder:
    return TaskAdder(add).options(**given)


def every(**given: Any) -> object:
    return Afterword().every("0 3 * * *", **given)


@pytest.mark.parametrize(
    ("place", "wrong", "right"),
    [
        (task, "retry", "@task(retries=...)"),
        (task, "max_retries", "@task(retries=...)"),
        (task, "time_limit", "@task(timeout=...)"),
        (task, "prioritty", "@task(priority=...)"),
        (task, "delay", "options(delay=...).add_task(f)"),
        (task, "countdown", "options(delay=...).add_task(f)"),
        (options, "countdown", "options(delay=...).add_task(f)"),
        (options, "eta", "options(run_at=...).add_task(f)"),
        (options, "task_id", "options(unique=...).add_task(f)"),
        (options, "rate", "@task(rate=...)"),
        (options, "backoff", "@task(backoff=...)"),
        (every, "tz", "@afterword.every(timezone=...)"),
        (every, "minutes", "@afterword.every(seconds=...)"),
        (every, "cron", "@afterword.every(expression=...)"),
        (every, "retries", "@task(retries=...)"),
    ],
)
def test_an_unknown_option_is_answered_with_the_right_line(
    place: Callable[..., Any], wrong: str, right: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        place(**{wrong: 5})

    text = str(refusal.value)
    assert re.search(rf"{wrong}=\.\.\.\).*  # incorrect!", text)
    assert f"{right}  # correct!" in text


def test_an_option_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(ConfigurationError, match=r"'zzz' is not one of the options .*'retries'"):
        task(zzz=1)  # type: ignore[call-overload]


def test_the_options_of_the_application_are_the_same_for_all_adders() -> None:
    with pytest.raises(ConfigurationError, match=r"options\(delay=...\)"):
        Afterword().options(countdown=5)  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", ["delay", "countdown", "queue"])
def test_an_option_among_the_arguments_is_answered_with_the_right_line(wrong: str) -> None:
    right = {"countdown": "delay"}.get(wrong, wrong)
    with pytest.raises(ArgumentError) as refusal:
        plan(send).encode(("ada",), {wrong: 5})

    assert f"add_task(send, {wrong}=...)  # incorrect!" in str(refusal.value)
    assert f"options({right}=...).add_task(send)  # correct!" in str(refusal.value)


def test_other_arguments_that_do_not_exist_get_no_advice() -> None:
    with pytest.raises(ArgumentError) as refusal:
        plan(send).encode(("ada",), {"subject": "hello"})

    assert "incorrect!" not in str(refusal.value)


def test_another_driver_of_sqlite_is_answered_with_the_right_line() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store("sqlite+aiosqlite:///secret.db")

    assert 'Afterword(app, "sqlite+pysqlite:///app.db")  # correct!' in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["sqlite:/secret.db", "sqlite+aiosqlite:/secret", "postgresql:/x"])
def test_a_url_without_slashes_is_answered_with_those_that_are_right(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(url)

    assert "text without a scheme. Examples: sqlite:///jobs.db" in str(refusal.value)
