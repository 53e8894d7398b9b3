"""BackgroundTask, BackgroundTasks and the outbox, without a server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask as StarletteBackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.datastructures import UploadFile

from afterword import Afterword, JobState, NotStorable
from afterword.errors import ArgumentError
from afterword.model.job import NewJob
from afterword.request.background import BackgroundTask, BackgroundTasks
from afterword.request.outbox import Outbox, State, current_outbox
from tests.at_work import url_in
from tests.sites import note, note_async, noted

MakeOutbox = Callable[..., Outbox]


def take_any(**kwargs: Any) -> None:
    noted.append(f"{kwargs}")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[MakeOutbox]:
    """A function that makes the outbox of a request, of an application with these options."""
    made: list[Afterword] = []

    def make(*, started: bool = True, **options: Any) -> Outbox:
        url = url_in(tmp_path, f"{len(made)}.db")
        made.append(afterword := Afterword(Starlette(), url, **options))
        afterword.inquiries.store()
        afterword.intake.started = started  # no worker: what is stored stays as it is
        return Outbox(afterword.intake)

    yield make
    for each in made:
        each.intake.started = False
        each.close()


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    noted.clear()


@pytest.fixture
def request_outbox(outbox: MakeOutbox) -> Iterator[Outbox]:
    """Make an outbox as the middleware does."""
    each = outbox()
    token = current_outbox.set(each)
    yield each
    current_outbox.reset(token)


# ---------------------------------------------------------------------- outside of a request


@pytest.mark.parametrize("func", [note, note_async])
def test_a_task_calls_its_function(func: Any) -> None:
    asyncio.run(BackgroundTask(func, "ran")())

    assert ["ran"] == noted


def test_a_task_is_one_of_starlettes() -> None:
    """Every Response accepts it."""
    task = BackgroundTask(note_async, text="keyword")

    assert isinstance(task, StarletteBackgroundTask)
    assert (note_async, (), {"text": "keyword"}) == (task.func, task.args, task.kwargs)
    assert task.is_async


def test_tasks_are_none_of_starlettes() -> None:
    """FastAPI would inject its own class for them, silently."""
    assert not issubclass(BackgroundTasks, StarletteBackgroundTasks)


def test_tasks_run_in_their_order() -> None:
    tasks = BackgroundTasks(
        [BackgroundTask(note, "first"), StarletteBackgroundTask(note, "second")]
    )
    tasks.add_task(note_async, "third")
    asyncio.run(tasks())

    assert ["first", "second", "third"] == noted


@pytest.mark.parametrize("name", ["func", "self", "args", "kwargs", "task", "cls"])
def test_no_keyword_is_reserved(name: str) -> None:
    tasks = BackgroundTasks([BackgroundTask(take_any, **{name: 1})])
    tasks.add_task(take_any, **{name: 2})
    asyncio.run(tasks())

    assert [f"{{'{name}': 1}}", f"{{'{name}': 2}}"] == noted


def test_what_is_added_outside_of_a_request_is_not_durable() -> None:
    job = BackgroundTasks().add_task(note, "ran")

    assert not job.durable
    assert "tests.sites:note" == job.task


def test_only_functions_are_tasks() -> None:
    with pytest.raises(TypeError, match="Pass the function"):
        BackgroundTask("note")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- inside of one


def test_a_task_registers_with_the_request_and_waits_to_be_confirmed(
    request_outbox: Outbox,
) -> None:
    task = BackgroundTask(note, "stored")
    (entry,) = request_outbox.entries

    assert not entry.confirmed
    assert entry.job.durable

    request_outbox.answered = True
    asyncio.run(task())

    assert entry.confirmed
    assert [] == noted  # a worker runs it


def test_the_injected_tasks_are_confirmed_at_once(request_outbox: Outbox) -> None:
    job = BackgroundTasks.of_request(request_outbox).add_task(note, "stored")
    (entry,) = request_outbox.entries

    assert entry.confirmed
    assert job is entry.handle


def test_a_closed_request_takes_no_tasks_of_a_response(request_outbox: Outbox) -> None:
    request_outbox.end()
    asyncio.run(BackgroundTask(note, "ran")())

    assert ["ran"] == noted
    assert [] == request_outbox.entries


def test_one_instance_per_request(request_outbox: Outbox, outbox: MakeOutbox) -> None:
    assert BackgroundTasks.of_request(request_outbox) is BackgroundTasks.of_request(request_outbox)
    assert BackgroundTasks.of_request(outbox()) is not BackgroundTasks.of_request(request_outbox)


# ---------------------------------------------------------------------- the order, as stored


def added(each: Outbox, count: int) -> list[NewJob]:
    for number in range(count):
        BackgroundTasks.of_request(each).add_task(note, f"{number}")
    return [entry.job for entry in each.entries]


def states(each: Outbox) -> list[State]:
    return [entry.state for entry in each.entries]


def test_each_job_waits_for_the_one_before(outbox: MakeOutbox) -> None:
    first, second, third = added(outbox(), 3)

    assert [None, first.id, second.id] == [first.after, second.after, third.after]
    assert [True, False, False] == [first.held, second.held, third.held]
    assert {first.id} == {first.request_id, second.request_id, third.request_id}


def test_concurrent_jobs_wait_for_nobody(outbox: MakeOutbox) -> None:
    jobs = added(outbox(order="concurrent"), 3)

    assert [None] * 3 == [job.after for job in jobs]
    assert all(job.held for job in jobs)


def test_a_job_behind_a_call_that_is_not_stored_is_held(outbox: MakeOutbox) -> None:
    each = outbox()
    BackgroundTasks.of_request(each).add_task(note, "stored")
    BackgroundTasks.of_request(each).add_task(lambda: None)
    BackgroundTasks.of_request(each).add_task(note, "stored")
    first, _, last = [entry.job for entry in each.entries]

    assert first.id == last.after
    assert last.held


def test_a_job_behind_a_unique_one_is_held(outbox: MakeOutbox) -> None:
    """The unique one may be another request's job, and then it cannot hold the next one."""
    each = outbox()
    BackgroundTasks.of_request(each).options(unique="k").add_task(note, "unique")
    first, last = added(each, 1)

    assert first.id == last.after
    assert last.held


def test_the_rule_for_failures_is_part_of_the_job(outbox: MakeOutbox) -> None:
    assert ["stop"] == [job.on_failure for job in added(outbox(), 1)]
    assert ["continue"] == [job.on_failure for job in added(outbox(on_failure="continue"), 1)]


# ---------------------------------------------------------------------- what is not stored


def test_each_call_that_is_not_stored_asks_to_be_run(outbox: MakeOutbox) -> None:
    """The name is the function's, under which FastAPI traces it."""
    asked: list[Callable[[], Awaitable[None]]] = []
    each = outbox()
    each.run_in_request = asked.append
    jobs = [BackgroundTasks.of_request(each).add_task(lambda: None) for _ in range(2)]

    assert [False, False] == [job.durable for job in jobs]
    assert [each.call.func.__qualname__ for each in each.entries] == [
        run.__qualname__ for run in asked
    ]


def test_strict_refuses_what_cannot_be_stored(outbox: MakeOutbox) -> None:
    each = outbox(strict=True)

    with pytest.raises(NotStorable, match="at the top of a module"):
        BackgroundTasks.of_request(each).add_task(lambda: None)

    assert [] == each.entries


def test_an_application_that_was_not_started_stores_nothing(outbox: MakeOutbox) -> None:
    each = outbox(started=False)
    job = BackgroundTasks.of_request(each).add_task(note, "runs in the request")
    asyncio.run(each.store())

    assert not job.durable
    assert [State.COLLECTED] == states(each)


@pytest.mark.parametrize("started", [True, False])
def test_an_upload_is_refused(started: bool, outbox: MakeOutbox) -> None:
    with pytest.raises(ArgumentError, match="Save it first"):
        BackgroundTasks.of_request(outbox(started=started)).add_task(  # type: ignore[call-overload]
            take_any,
            upload=UploadFile(file=None),  # type: ignore[arg-type]
        )


# ---------------------------------------------------------------------- success and failure


def test_a_failure_before_the_answer_drops_everything(outbox: MakeOutbox) -> None:
    each = outbox()
    added(each, 2)
    each.drop_if_failed(RuntimeError())

    assert [State.DISCARDED] * 2 == states(each)


def test_success_drops_nothing(outbox: MakeOutbox) -> None:
    each = outbox()
    added(each, 2)
    each.drop_if_failed(None)

    assert [State.COLLECTED] * 2 == states(each)


def test_a_failure_after_the_answer_drops_nothing(outbox: MakeOutbox) -> None:
    each = outbox()
    each.answered = True
    added(each, 1)
    each.drop_if_failed(RuntimeError())

    assert [State.COLLECTED] == states(each)


def test_what_has_been_stored_is_held_until_the_end(outbox: MakeOutbox) -> None:
    each = outbox()
    first, second = added(each, 2)
    asyncio.run(each.store())

    assert [State.HELD, State.RELEASED] == states(each)  # the second waits for the first
    assert [first.id, second.id] == each.stored_ids


def test_after_the_request_a_task_is_stored_at_once(outbox: MakeOutbox) -> None:
    each = outbox()
    each.end()
    job = BackgroundTasks.of_request(each).add_task(note, "late")
    (stored,) = each.intake.inquiries.store().get([job.id])

    assert JobState.QUEUED is stored.state
