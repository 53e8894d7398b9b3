"""Attempts with dependencies in a worker: their threads, their ends, and their records."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request

from afterword import Afterword, Job, JobState, current_task, task
from afterword.client.operation import calling
from afterword.process.lifespan import Lifespan
from tests.at_work import ended, record, url_in, wait_for
from tests.injection.working import add, working

pytestmark = pytest.mark.anyio

log: list[str] = []
threads: list[threading.Thread] = []
go_on = threading.Event()
failing: list[str] = []  # steps that must fail


SOON = 0.9  # seconds: a time limit that no setup takes, even if the process pauses


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    log.clear()
    threads.clear()
    failing.clear()
    go_on.clear()
    yield
    go_on.set()


def note(text: str) -> None:
    log.append(text)
    threads.append(threading.current_thread())


def fail_if_wanted(where: str) -> None:
    if where in failing:
        failing.remove(where)
        raise ConnectionError(where)


def get_session() -> Iterator[str]:
    """Yield a session that commits, or rolls back."""
    fail_if_wanted("open")
    note("open")
    try:
        yield "session"
    except BaseException as error:
        note(f"rollback: {type(error).__name__}")
        raise
    else:
        fail_if_wanted("commit")
        note("commit")
    finally:
        note("close")


async def get_client() -> AsyncIterator[str]:
    """Yield a client, in the event loop."""
    note("connect")
    try:
        yield "client"
    except BaseException as error:
        note(f"abort: {type(error).__name__}")
        await asyncio.sleep(0.01)
        raise
    finally:
        note("disconnect")


Session = Annotated[str, Depends(get_session)]
Client = Annotated[str, Depends(get_client)]


# ---------------------------------------------------------------------- where it runs


def use_session(db: Session) -> str:
    note("body")
    return db


async def use_session_async(db: Session) -> str:
    note("body")
    return db


def use_client(client: Client) -> str:
    note("body")
    return client


async def use_client_async(client: Client) -> str:
    note("body")
    return client


async def returned(value: str) -> str:
    note("awaited")
    return value


def use_session_and_return_a_coroutine(db: Session) -> Any:
    return returned(db)


def use_client_and_return_a_coroutine(client: Client) -> Any:
    return returned(client)


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        pytest.param(use_session, ["task", "task", "task", "task"], id="def"),
        pytest.param(use_client, ["Main", "task", "Main"], id="def-with-an-async-dependency"),
        pytest.param(use_session_async, ["dependency", "Main", "dependency"], id="async"),
        pytest.param(
            use_client_async, ["Main", "Main", "Main"], id="async-with-an-async-dependency"
        ),
    ],
)
async def test_where_setup_body_and_teardown_run(
    func: Callable[..., Any], expected: list[str], tmp_path: Path
) -> None:
    """`def` tasks run in one thread, or only their body does; `async def` as in a route."""
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword, func))

    kinds = [thread.name.removeprefix("afterword-").partition("-")[0] for thread in threads]
    names = ["Main" if kind.startswith("Main") else kind for kind in kinds]
    assert JobState.COMPLETED is found.state, found.error
    assert expected[0] == names[0]
    assert expected[1] == names[log.index("body")]
    assert expected[2] == names[-1]
    if func is use_session:
        assert 1 == len({thread.ident for thread in threads})


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (use_session_and_return_a_coroutine, ["open", "awaited", "commit", "close"]),
        (use_client_and_return_a_coroutine, ["connect", "awaited", "disconnect"]),
    ],
)
async def test_a_returned_coroutine_is_awaited_inside_of_the_scope(
    func: Callable[..., Any], expected: list[str], tmp_path: Path
) -> None:
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword, func))

    assert JobState.COMPLETED is found.state, found.error
    assert expected == log


# ---------------------------------------------------------------------- how it ends


@task(retries=1, backoff=0)
def try_twice(db: Session) -> None:
    note(f"attempt {current_task().attempt}")
    fail_if_wanted("body")


@task(retries=1, backoff=0)
async def try_twice_async(db: Session, client: Client) -> None:
    note(f"attempt {current_task().attempt}")
    fail_if_wanted("body")


@pytest.mark.parametrize("func", [try_twice, try_twice_async])
@pytest.mark.parametrize(
    ("where", "first"),
    [
        pytest.param("open", [], id="setup"),
        pytest.param(
            "body", ["open", "attempt 1", "rollback: ConnectionError", "close"], id="body"
        ),
        pytest.param("commit", ["open", "attempt 1", "close"], id="teardown"),
    ],
)
async def test_a_failed_attempt_is_repeated_in_a_scope_of_its_own(
    func: Callable[..., Any], where: str, first: list[str], tmp_path: Path
) -> None:
    """Setup, body or teardown may have failed."""
    failing.append(where)
    async with working(tmp_path) as afterword:
        job = await add(afterword, func)
        found = await ended(afterword, job)
        attempts = afterword.runtime.store.attempts(job.id)

    of_session = [each for each in log if "connect" not in each and "abort" not in each]
    assert (JobState.COMPLETED, 2, 1) == (found.state, found.attempt, found.failures)
    assert [*first, "open", "attempt 2", "commit", "close"] == of_session
    assert str(attempts[0].error).endswith(f"ConnectionError: {where}")


async def test_the_traceback_begins_at_the_users_code(tmp_path: Path) -> None:
    """It does not begin in the code that enters dependencies."""
    for func, where in ((try_twice, "body"), (try_twice_async, "body"), (try_twice, "commit")):
        failing.extend([where, where])
        async with working(tmp_path) as afterword:
            error = (await ended(afterword, await add(afterword, func))).error or ""
        lines = error.splitlines()

        assert "Traceback (most recent call last):" == lines[0]
        assert lines[1].startswith(f'  File "{__file__}"')


def find_state() -> Iterator[None]:
    """Ask the store in the teardown."""
    yield
    job = current_task().job_id
    log.append(str(_working[0].runtime.store.get([job])[0].state))


_working: list[Afterword] = []


async def look_at_the_end(_: Annotated[None, Depends(find_state)]) -> None: ...


def look_at_the_end_in_thread(_: Annotated[None, Depends(find_state)]) -> None: ...


@pytest.mark.parametrize("func", [look_at_the_end, look_at_the_end_in_thread])
async def test_the_teardown_is_over_before_the_outcome_is_on_record(
    func: Callable[..., Any], tmp_path: Path
) -> None:
    async with working(tmp_path) as afterword:
        _working[:] = [afterword]
        found = await ended(afterword, await add(afterword, func))

    assert ["running"] == log
    assert JobState.COMPLETED is found.state


# ---------------------------------------------------------------------- being made to end


async def sleep(db: Session, client: Client) -> None:
    note("body")
    await asyncio.sleep(60)


def wait_in_thread(db: Session, client: Client) -> None:
    note("body")
    go_on.wait(60)


def wait_for_cancel(db: Session) -> None:
    note("body")
    while not current_task().cancelled:
        time.sleep(0.005)


def wait_for_cancel_with_client(client: Client) -> None:
    note("body")
    while not current_task().cancelled:
        time.sleep(0.005)


def wait_on(db: Session) -> None:
    note("body")
    go_on.wait(60)


async def begun() -> None:
    await wait_for(lambda: "body" in log, description="it has begun")


@pytest.mark.parametrize("func", [sleep, wait_for_cancel, wait_for_cancel_with_client])
async def test_a_cancelled_attempt_rolls_back(func: Callable[..., Any], tmp_path: Path) -> None:
    """This holds for a `def` task that has noticed it and returns, too."""
    async with working(tmp_path) as afterword:
        job = await add(afterword, func)
        await begun()
        await job.cancel("enough")
        found = await ended(afterword, job)

    assert (JobState.CANCELLED, "enough") == (found.state, found.error)
    assert "commit" not in log
    assert {"rollback: CancelledError", "abort: CancelledError"} & set(log)
    assert log[-1] in ("close", "disconnect")


@pytest.mark.parametrize("func", [sleep, wait_for_cancel, wait_for_cancel_with_client])
async def test_a_time_limit_rolls_back(func: Callable[..., Any], tmp_path: Path) -> None:
    """The dependencies see a TimeoutError."""
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword.options(timeout=SOON), func))
        await wait_for(lambda: log[-1] in ("close", "disconnect"), description="all is left")

    assert JobState.FAILED is found.state
    assert f"TimeoutError: the attempt took longer than {SOON} seconds" in str(found.error)
    assert {"rollback: TimeoutError", "abort: TimeoutError"} & set(log)
    assert "commit" not in log


async def swallow(client: Client) -> None:
    note("body")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def test_who_returns_after_its_time_is_late(tmp_path: Path) -> None:
    """Any result is ignored, and the dependencies roll back."""
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword.options(timeout=SOON), swallow))

    assert JobState.FAILED is found.state
    assert ["connect", "body", "abort: TimeoutError", "disconnect"] == log


@pytest.mark.parametrize("func", [wait_on, wait_in_thread])
async def test_a_thread_that_goes_on_after_its_time_rolls_back(
    func: Callable[..., Any], tmp_path: Path
) -> None:
    """The recorded attempt has failed, and later code does not change that."""
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword.options(timeout=SOON), func))
        before = list(log)
        go_on.set()
        await wait_for(lambda: "close" in log, description="all is left")

    assert JobState.FAILED is found.state
    assert "close" not in before
    assert "rollback: TimeoutError" in log
    assert "commit" not in log


async def test_what_has_lost_its_job_rolls_back(tmp_path: Path) -> None:
    """A thread cannot be stopped; its job already runs elsewhere."""
    async with working(tmp_path, lease=2.0) as afterword:
        job = await add(afterword, wait_on)
        await begun()
        group = afterword.runtime.group
        group.run_blocking(calling(lambda store: store.leave(afterword.runtime.leases.worker)))
        await wait_for(lambda: log.count("body") == 2, description="it is tried again")
        go_on.set()
        found = await ended(afterword, job)
        await wait_for(lambda: log.count("close") == 2, description="all is left")

    assert (JobState.COMPLETED, 2) == (found.state, found.attempt)
    assert (1, 1) == (log.count("commit"), log.count("rollback: CancelledError"))


async def slow_to_leave() -> AsyncIterator[None]:
    """Take long in the teardown, which must not be interrupted."""
    try:
        yield
    finally:
        await asyncio.sleep(1.7)
        note("left")


async def sleep_then_leave_slowly(_: Annotated[None, Depends(slow_to_leave)]) -> None:
    note("body")
    await asyncio.sleep(60)


async def return_then_leave_slowly(_: Annotated[None, Depends(slow_to_leave)]) -> None:
    note("body")


def return_then_leave_slowly_in_thread(_: Annotated[None, Depends(slow_to_leave)]) -> None:
    note("body")


async def test_a_slow_teardown_after_the_time_limit_is_waited_for(tmp_path: Path) -> None:
    """The outcome is recorded after it, later than code is given to end."""
    async with working(tmp_path) as afterword:
        job = await add(afterword.options(timeout=0.1), sleep_then_leave_slowly)
        found = await ended(afterword, job)
        at_the_end = list(log)

    assert ["body", "left"] == at_the_end
    assert JobState.FAILED is found.state
    assert "took longer than 0.1 seconds" in str(found.error)


@pytest.mark.parametrize("func", [return_then_leave_slowly, return_then_leave_slowly_in_thread])
async def test_the_time_limit_is_not_for_the_teardown(
    func: Callable[..., Any], tmp_path: Path
) -> None:
    """The teardown is not cancelled either."""
    async with working(tmp_path) as afterword:
        job = await add(afterword.options(timeout=1.5), func)
        await begun()
        await job.cancel("too late")
        found = await ended(afterword, job)

    assert ["body", "left"] == log
    assert JobState.COMPLETED is found.state


async def hang_at_the_setup() -> AsyncIterator[None]:
    await asyncio.sleep(60)
    yield


async def never(client: Client, _: Annotated[None, Depends(hang_at_the_setup)]) -> None:
    note("never")


async def test_the_time_limit_ends_a_setup_that_hangs(tmp_path: Path) -> None:
    """Dependencies that are open are closed."""
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword.options(timeout=0.1), never))

    assert JobState.FAILED is found.state
    assert "took longer than 0.1 seconds" in str(found.error)
    assert ["connect", "abort: CancelledError", "disconnect"] == log


async def test_a_shutdown_gives_back_what_it_has_rolled_back(tmp_path: Path) -> None:
    async with working(tmp_path, grace=0) as afterword:
        job = await add(afterword, sleep)
        await begun()
    script = Afterword(None, afterword.url)
    found = await record(script, job)
    script.close()

    assert "rollback: CancelledError" in log
    assert (JobState.QUEUED, 1) == (found.state, found.interrupted)


# ---------------------------------------------------------------------- the application


async def test_overrides_are_read_when_an_attempt_starts(tmp_path: Path) -> None:
    app = FastAPI()
    async with working(tmp_path, app) as afterword:
        results = []
        for override in (None, lambda: "other", None):
            app.dependency_overrides = {get_session: override} if override else {}
            results.append(await _result(await add(afterword, use_session)))

    assert ["session", "other", "session"] == results


async def _result(job: Job[Any]) -> Any:
    return (await job.wait(60)).result


def from_request(request: Request) -> list[str]:
    return [type(request.app).__name__, request.state.pool]


def from_headers(request: Request) -> str:
    return request.headers["x-user"]


async def use_request(value: Annotated[list[str], Depends(from_request)]) -> list[str]:
    return value


@task(retries=5, backoff=0)
async def use_headers(value: Annotated[str, Depends(from_headers)]) -> None: ...


@contextlib.asynccontextmanager
async def with_pool(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """Give each request a pool."""
    yield {"pool": "the pool"}


async def test_the_request_has_the_application_and_what_its_lifespan_gave(
    tmp_path: Path,
) -> None:
    app = FastAPI(lifespan=with_pool)
    afterword = Afterword(app, url_in(tmp_path))
    lifespan = Lifespan(app)
    await lifespan.startup()
    value = await _result(await add(afterword, use_request))
    failed = await ended(afterword, await add(afterword, use_headers))
    await lifespan.shutdown()

    assert ["FastAPI", "the pool"] == value
    assert "A task runs after its request" in str(failed.error)
    assert "Request.headers" in str(failed.error)
    assert (JobState.FAILED, 1) == (failed.state, failed.attempt)
