"""Results: the task's return value, typed by its annotation; never a reason to fail."""

import enum
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, model_serializer

from afterword import Job, JobState, task
from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement
from afterword.tasks.results import RESULT_LIMIT, decode_result, encode_result
from tests.life.site import job_of, script, working
from tests.values import circular, deep

pytestmark = pytest.mark.anyio


class Color(enum.Enum):
    """A type that JSON does not have."""

    RED = "red"


class Picture(BaseModel):
    """A model for a result."""

    path: Path
    size: tuple[int, int]
    taken_at: datetime


@dataclass
class Page:
    """A dataclass for a result."""

    number: int
    parts: dict[int, Decimal]


NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "model": Picture(path=Path("a.jpg"), size=(3, 4), taken_at=NOON),
    "dataclass": Page(1, {2: Decimal("0.10")}),
    "datetime": NOON,
    "date": date(2030, 1, 1),
    "duration": timedelta(seconds=1.5),
    "enum": Color.RED,
    "id": UUID(int=7),
    "set": {1, 2},
    "tuple": (1, "a"),
    "bytes": b"abc",
    "large-number": 2**200,
    "nul": "a\0b",
    "emoji": "\N{GRINNING FACE}",
    "empty": "",
    "zero": 0,
    "no": False,
}


def model(name: str) -> Picture:
    return VALUES[name]  # type: ignore[no-any-return]


def page(name: str) -> Page:
    return VALUES[name]  # type: ignore[no-any-return]


def moment(name: str) -> datetime:
    return VALUES[name]  # type: ignore[no-any-return]


def day(name: str) -> date:
    return VALUES[name]  # type: ignore[no-any-return]


def duration(name: str) -> timedelta:
    return VALUES[name]  # type: ignore[no-any-return]


def color(name: str) -> Color:
    return VALUES[name]  # type: ignore[no-any-return]


def identity(name: str) -> UUID:
    return VALUES[name]  # type: ignore[no-any-return]


def numbers(name: str) -> set[int]:
    return VALUES[name]  # type: ignore[no-any-return]


def pair(name: str) -> tuple[int, str]:
    return VALUES[name]  # type: ignore[no-any-return]


async def some_bytes(name: str) -> bytes:
    return VALUES[name]  # type: ignore[no-any-return]


async def anything(name: str):  # type: ignore[no-untyped-def]
    return VALUES[name]


def later(name: str) -> Awaitable[int]:
    return anything(name)


TASKS: list[tuple[Callable[..., Any], str]] = [
    (model, "model"),
    (page, "dataclass"),
    (moment, "datetime"),
    (day, "date"),
    (duration, "duration"),
    (color, "enum"),
    (identity, "id"),
    (numbers, "set"),
    (pair, "tuple"),
    (some_bytes, "bytes"),
    *[(anything, name) for name in ("large-number", "nul", "emoji", "empty", "zero", "no")],
    (later, "zero"),
]


async def test_a_result_comes_back_as_what_it_was(store_url: str) -> None:
    """This holds in another process, too, if it has the function."""
    async with working(store_url) as afterword:
        jobs = [await afterword.add_task(func, name) for func, name in TASKS]
        results = [(await job.wait(60)).result for job in jobs]
    with script(store_url) as other:
        elsewhere = [(await job_of(other, job)).result for job in jobs]

    expected = [VALUES[name] for _, name in TASKS]
    assert expected == results
    assert expected == elsewhere
    assert list(map(type, expected)) == list(map(type, results))


# ---------------------------------------------------------------------- what is not kept


class EvilText(Exception):
    """An object whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Evil(BaseModel):
    """A model that cannot be serialized."""

    @model_serializer
    def serialize(self) -> Any:
        """Raise."""
        raise EvilText


class EvilDict(dict[str, int]):
    """A mapping that ends the program when it is read."""

    def items(self) -> Any:
        """Raise."""
        raise SystemExit(3)


NOT_KEPT: dict[str, Callable[[], Any]] = {
    "object": object,
    "22-100-MB": lambda: b"x" * 100_000_000,
    "22-256-KiB": lambda: "x" * (RESULT_LIMIT - 1),  # plus two quotes
    "nan": lambda: math.nan,
    "infinity-inside": lambda: {"a": [1, -math.inf]},
    "5000-digits": lambda: 10**5000,
    "surrogate": lambda: "\ud800",
    "deep": lambda: deep(100),
    "200000-levels": lambda: deep(200_000),
    "circular": circular,
    "generator": lambda: iter([1]),
    "evil-model": Evil,
    "evil-mapping": lambda: EvilDict(a=1),
    "error": EvilText,
    "raw-bytes": lambda: b"\xff",
}


async def give(name: str) -> Any:
    return NOT_KEPT[name]()


def give_in_a_thread(name: str) -> Any:
    return NOT_KEPT[name]()


@pytest.mark.parametrize("name", NOT_KEPT)
async def test_a_result_that_cannot_be_kept_is_lost_with_one_warning(
    name: str, file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(file_url, concurrency=1) as afterword:
        jobs = [await afterword.add_task(func, name) for func in (give, give, give_in_a_thread)]
        for job in jobs:
            await job.wait(60)

    ours = [each for each in caplog.records if each.name == "afterword"]
    warnings = [each for each in ours if each.levelno >= logging.WARNING]
    assert [(JobState.COMPLETED, 1, None)] * 3 == [
        (job.state, job.attempt, job.result) for job in jobs
    ]
    assert 2 == len(warnings)  # one for each function
    assert all("result_not_kept" in each.getMessage() for each in warnings)


def largest() -> str:
    return "x" * (RESULT_LIMIT - 2)


async def test_256_kib_are_kept(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(largest)).wait(60)

    assert RESULT_LIMIT - 2 == len(job.result or "")


def liar() -> int:
    return "no number"  # type: ignore[return-value]


async def test_a_result_of_another_type_is_not_kept(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It could not be read back by the annotation."""
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(liar)).wait(60)

    assert (JobState.COMPLETED, None) == (job.state, job.result)
    assert "of the type str, which its annotation does not allow" in caplog.text


# ---------------------------------------------------------------------- without the function


def completed_job(url: str, name: str, result: str) -> Job[Any]:
    """Store a completed job whose task another release had, with this result."""
    store = open_store(url)
    store.open()
    store.join("somebody", 60)
    store.add([NewJob(id=new_id(), task=name)])
    (claim,) = store.claim("somebody", ["default"], 1)
    store.settle([Settlement(claim, Completed(result))])
    store.close()
    with script(url) as afterword:
        job = afterword.job_sync(claim.id)
        assert job
        return job


def test_without_the_function_a_result_is_plain_json(store_url: str) -> None:
    job = completed_job(store_url, "yesterday:work", '{"at": "2030-01-01T12:00:00Z"}')

    assert {"at": "2030-01-01T12:00:00Z"} == job.result


def test_a_result_that_does_not_fit_the_annotation_any_more_is_refused(store_url: str) -> None:
    job = completed_job(store_url, f"{__name__}:moment", '"soon"')

    with pytest.raises(ValueError, match="datetime"):
        job.result  # noqa: B018


@task(retries=1, backoff=0)
def unsteady() -> int:
    raise ConnectionError


async def test_what_has_not_completed_has_no_result(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(unsteady)).wait(60)

    assert (JobState.FAILED, None) == (job.state, job.result)


def since(day: "date", client: "OnlyForTypeCheckers") -> "date":  # type: ignore[name-defined] # noqa: F821
    return day


async def test_a_type_that_only_type_checkers_know_spoils_no_other() -> None:
    text = encode_result(since, date(2030, 1, 1))

    assert date(2030, 1, 1) == decode_result(since, text)
