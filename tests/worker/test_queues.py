"""Queues: named by tasks, served by some workers, and left alone by the others."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from afterword import Afterword, AfterwordError, JobState, task
from afterword.client.call import Call, new_job
from afterword.errors import ConfigurationError
from afterword.injection.needs import Injection
from afterword.tasks.options import TaskOptions
from afterword.tasks.registry import options_of
from tests.at_work import at_work, ended, record, wait_for
from tests.sites import note, serving

ran: list[str] = []


@task(queue="mail")
async def send(to: str) -> None:
    ran.append(to)


@task
async def plain(to: str) -> None:
    ran.append(to)


@task()
async def bracketed(to: str) -> None:
    ran.append(to)


def name_of(func: Any) -> str:
    return f"{__name__}:{func.__name__}"


def test_options_can_be_given_with_the_function() -> None:
    assert note is task(note, queue="reports")
    assert "reports" == options_of("tests.sites:note").queue
    task(note)
    assert "default" == options_of("tests.sites:note").queue


def test_options_belong_to_the_task_and_the_function_stays_plain() -> None:
    assert TaskOptions(queue="mail") == options_of(name_of(send))
    assert TaskOptions(queue="default") == options_of(name_of(plain)) == options_of("a:stranger")
    assert TaskOptions() == options_of(name_of(bracketed))
    assert asyncio.iscoroutinefunction(send)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "ä", "x" * 65, "a\n", None, 5, ["mail"]])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"A queue's name must be 1 to 64 letters"):
        task(queue=name)
    with pytest.raises(ConfigurationError, match=r"A queue's name must be 1 to 64 letters"):
        Afterword(Starlette(), queues=["default", name])


@pytest.mark.parametrize("name", ["mail", "A-z_0.9", "x" * 64])
def test_a_name_that_can_be_is_taken(name: str) -> None:
    assert name == TaskOptions(queue=name).queue


@pytest.mark.parametrize("queues", [[], (), "mail", None, 5, {}])
def test_queues_are_a_list_of_at_least_one(queues: Any) -> None:
    with pytest.raises(ConfigurationError, match="queues must be a list of at least one name"):
        Afterword(Starlette(), queues=queues)


def test_a_queue_is_named_once() -> None:
    with pytest.raises(ConfigurationError, match="each queue once"):
        Afterword(Starlette(), queues=["mail", "mail"])


@pytest.mark.parametrize("arguments", [(5,), (None,), (note, note)])
def test_task_still_takes_one_function(arguments: Any) -> None:
    with pytest.raises(TypeError):
        task(*arguments)


def test_the_jobs_of_a_request_take_the_queue_of_their_task() -> None:
    jobs = [new_job(Call(func, ("a",)), Injection()) for func in (send, note)]

    assert ["mail", "default"] == [job.queue for job in jobs]


async def _left_alone(folder: Path) -> None:
    async with at_work(folder) as web:
        ran.clear()
        mail = await web.add_task(send, "mail")
        other = await web.add_task(plain, "other")
        await ended(web, other)

        found = await record(web, mail)
        assert (JobState.QUEUED, 0, "mail") == (found.state, found.attempt, found.queue)
        async with at_work(folder, queues=["reports", "mail"]):
            await ended(web, mail)
        assert ["other", "mail"] == ran


def test_a_worker_leaves_the_jobs_of_other_queues_to_others(tmp_path: Path) -> None:
    """Jobs added in its own process, which would start there at once, are left alone, too."""
    asyncio.run(_left_alone(tmp_path))


def test_a_worker_runs_the_jobs_of_all_its_queues(tmp_path: Path) -> None:
    ran.clear()
    app = Starlette()
    with serving(app, tmp_path, queues=["default", "mail"]) as site:
        site.afterword.add_task_sync(send, "mail")
        site.afterword.add_task_sync(plain, "other")

        assert [JobState.COMPLETED] * 2 == site.states()
        assert ["mail", "other"] == sorted(ran)


async def _listed(folder: Path, **options: Any) -> list[tuple[tuple[str, ...], int]]:
    async with at_work(folder, **options) as afterword:
        return [(each.queues, each.concurrency) for each in afterword.runtime.store.workers()]


def test_the_store_knows_what_a_worker_serves(tmp_path: Path) -> None:
    listed = asyncio.run(_listed(tmp_path, queues=["mail"], concurrency=3))

    assert [(("mail",), 3)] == listed


def test_the_store_knows_who_only_stores(tmp_path: Path) -> None:
    assert [((), 0)] == asyncio.run(_listed(tmp_path, worker=False))


async def _told_to_work(folder: Path) -> None:
    afterword = Afterword(Starlette(), f"sqlite:///{folder / 'jobs.db'}", worker=False)
    afterword.configure_worker(queues=["mail"], concurrency=2, grace=1)
    await afterword.start()
    job = await afterword.add_task(send, "a")
    await ended(afterword, job)
    await afterword.stop()


def test_whoever_only_stores_can_be_told_to_work(tmp_path: Path) -> None:
    asyncio.run(_told_to_work(tmp_path))


@pytest.mark.parametrize(
    "wrong", [{"queues": []}, {"concurrency": 0}, {"concurrency": "5"}, {"grace": -1}]
)
def test_what_it_is_told_is_checked(wrong: Any) -> None:
    afterword = Afterword(Starlette())

    with pytest.raises(AfterwordError):
        afterword.configure_worker(**wrong)


async def _pulse(folder: Path) -> None:
    async with at_work(folder, lease=0.5) as afterword:
        before = afterword.pulse
        await wait_for(lambda: afterword.pulse > before + 2, description="the pulse goes on")


def test_there_is_a_pulse_while_the_store_is_used(tmp_path: Path) -> None:
    asyncio.run(_pulse(tmp_path))
