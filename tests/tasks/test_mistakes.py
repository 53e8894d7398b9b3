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


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("minutes", "@afterword.every(seconds=60 * ...)"),
        ("cron", '@afterword.every("0 3 * * *")'),
        ("tz", '@afterword.every("0 3 * * *", timezone=...)'),
        ("overlaps", "@afterword.every(..., overlap=...)"),
        ("queue", "@task(queue=...)"),
        ("max_retries", "@task(retries=...)"),
        ("concurrency", "@task(limit=...)"),  # `limit` of a schedule is something else
    ],
)
def test_an_option_that_a_schedule_does_not_have(wrong: str, right: str) -> None:
    unknown: dict[str, Any] = {wrong: 5}
    with pytest.raises(ConfigurationError) as refusal:
        Afterword().every(seconds=5, **unknown)

    text = str(refusal.value)
    assert f"@afterword.every({wrong}=...)  # incorrect!" in text
    assert f"{right}  # correct!" in text


@pytest.mark.parametrize("place", [task, options])
def test_a_schedule_where_a_task_is_declared_or_added(place: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=r'@afterword.every\("0 3 \* \* \*"\)  # correct!'):
        place(cron="0 3 * * *")


def test_nothing_is_suggested_that_is_unlike() -> None:
    unknown: dict[str, Any] = {"durable": True}
    with pytest.raises(ConfigurationError, match="There is none like it"):
        Afterword(**unknown)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("rate", "@task(rate=...)"),
        ("args", "add_task(send, first, second, name=third)"),
        ("kwargs", "add_task(send, first, second, name=third)"),
    ],
)
def test_what_belongs_elsewhere_is_no_argument(wrong: str, right: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        plan(send).encode((), {"to": "Ann", wrong: ["Ann"]})

    assert f"add_task(send, {wrong}=...)  # incorrect!\n    {right}  # correct!" in str(
        refusal.value
    )


def test_an_invalid_delay_is_an_invalid_option() -> None:
    with pytest.raises(ConfigurationError, match="delay must be a timedelta or a number"):
        options(delay=-1)


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("postgresql+asyncpg://me:secret@db/app?ssl=require", "postgresql://...?sslmode=..."),
        ("postgresql+asyncpg://db/app?prepared_statement_cache_size=0", "postgresql://..."),
    ],
)
def test_an_option_of_asyncpg_is_answered_with_that_of_libpq(url: str, right: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(url)

    assert f"    {right}  # correct!" in str(refusal.value)
    assert "secret" not in str(refusal.value)


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
