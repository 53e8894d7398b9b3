"""The check at the start, and the order at the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import dishka
import pytest
import wireup
import wireup.integration.fastapi
import wireup.integration.starlette
from dishka.integrations.fastapi import FromDishka, setup_dishka
from fastapi import Depends, FastAPI, Header
from starlette.applications import Starlette
from starlette.testclient import TestClient
from wireup import Injected, injectable

from afterword import Afterword, task
from afterword.errors import InjectionError
from tests.at_work import url_in
from tests.injection.working import add

pytestmark = pytest.mark.anyio

log: list[str] = []


@pytest.fixture(autouse=True)
def _forget(registry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget other applications, and their tasks."""
    log.clear()
    monkeypatch.setattr("afterword.app._applications", set())


def by_agent(user_agent: Annotated[str, Header()]) -> str:
    return user_agent


def by_request(value: Annotated[str, Depends(by_agent)]) -> None: ...


def get_number() -> int:
    return 1


def with_dependency(value: Annotated[int, Depends(get_number)]) -> None: ...


class Mailer:
    """An object that both frameworks make."""

    def send(self) -> None:
        log.append("sent")


@injectable
def mailer() -> Iterator[Mailer]:
    yield Mailer()
    log.append("closed")


async def by_wireup(mailer: Injected[Mailer]) -> None: ...


def fastapi_with_container() -> FastAPI:
    app = FastAPI()
    container = wireup.create_async_container(injectables=[mailer, wireup.integration.fastapi])
    wireup.integration.fastapi.setup(container, app)
    return app


# ---------------------------------------------------------------------- the start


async def test_an_application_does_not_start_with_what_can_never_be_injected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names all of it, with parameters and ways out; tasks that may be another
    application's get a warning, and are refused in `add_task`."""
    task(by_request)
    task(with_dependency, executor="process")
    task(by_wireup)
    afterword = Afterword(FastAPI(), url_in(tmp_path))

    with pytest.raises(InjectionError) as caught:
        await afterword.start()
    lines = str(caught.value).splitlines()
    assert not afterword.started
    assert 2 == len(lines)
    assert "by_request(value) → by_agent(user_agent)" in lines[0]
    assert "pass it to the task as an argument" in lines[0]
    assert "its parameter 'value'" in lines[1]
    assert "without executor='process'" in lines[1]
    assert f"not_injectable task={__name__}:by_wireup" in caplog.text
    assert "by_wireup needs a Wireup container for mailer" in caplog.text
    assert "wireup.integration.fastapi.setup(container, app)" in caplog.text


async def test_what_another_application_of_the_process_can_inject_is_not_refused(
    tmp_path: Path,
) -> None:
    task(by_wireup)
    other = Afterword(fastapi_with_container(), url_in(tmp_path))
    afterword = Afterword(FastAPI(), url_in(tmp_path))

    afterword.check_injection()
    other.check_injection()
    with pytest.raises(InjectionError):
        await add(afterword, by_wireup)
    afterword.close()


async def test_a_job_that_is_there_already_fails_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier process that could have run it has added it; it is not retried."""
    url = url_in(tmp_path)
    elsewhere = Afterword(fastapi_with_container(), url)
    job = await add(elsewhere.options(retries=5), by_wireup)
    elsewhere.close()
    afterword = Afterword(FastAPI(), url)
    await afterword.start()
    found = await (await _job(afterword, job.id)).wait(60)
    await afterword.stop()

    assert ("failed", 1) == (found.state, found.attempt)
    assert "by_wireup needs a Wireup container for mailer" in str(found.error)
    assert f"failed job={job.id}" in caplog.text


async def _job(afterword: Afterword, job_id: str) -> Any:
    return await afterword.job(job_id)


# ---------------------------------------------------------------------- the end


async def slowly(mailer: Injected[Mailer]) -> None:
    log.append("begun")
    await asyncio.sleep(0.2)
    mailer.send()


async def slowly_with_dishka(mailer: FromDishka[Mailer]) -> None:
    log.append("begun")
    await asyncio.sleep(0.2)
    mailer.send()


@contextlib.asynccontextmanager
async def noted(app: Starlette) -> AsyncIterator[None]:
    """The application's own lifespan, which notes its steps."""
    yield
    log.append("lifespan over")


def set_up_fastapi(app: Any) -> None:
    container = wireup.create_async_container(injectables=[mailer, wireup.integration.fastapi])
    wireup.integration.fastapi.setup(container, app)


def set_up_fastapi_with_middleware(app: Any) -> None:
    container = wireup.create_async_container(injectables=[mailer, wireup.integration.fastapi])
    wireup.integration.fastapi.setup(container, app, middleware_mode=True)


def set_up_starlette(app: Starlette) -> None:
    container = wireup.create_async_container(injectables=[mailer, wireup.integration.starlette])
    wireup.integration.starlette.setup(container, app)


def set_up_dishka(app: Any) -> None:
    """Set up dishka as its documentation does: the lifespan closes the container."""
    provider = dishka.Provider(scope=dishka.Scope.APP)
    provider.provide(mailer, provides=Mailer)
    container = dishka.make_async_container(provider)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with inner(app):
            yield
        await container.close()

    app.router.lifespan_context = lifespan
    setup_dishka(container, app)


SETUPS: list[tuple[Any, Callable[[Any], None], Any]] = [
    (FastAPI, set_up_fastapi, slowly),
    (FastAPI, set_up_fastapi_with_middleware, slowly),
    (Starlette, set_up_starlette, slowly),
    (FastAPI, set_up_dishka, slowly_with_dishka),
]


@pytest.mark.parametrize("first", ["the framework", "Afterword"])
@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup[1].__name__)
def test_the_worker_drains_before_containers_close(
    setup: tuple[Any, Callable[[Any], None], Any], first: str, tmp_path: Path
) -> None:
    """This holds for any order of setting them up."""
    make, set_up, func = setup
    app = make(lifespan=noted)
    if first == "the framework":
        set_up(app)
        afterword = Afterword(app, url_in(tmp_path))
    else:
        afterword = Afterword(app, url_in(tmp_path))
        set_up(app)
    with TestClient(app) as client:
        assert client.portal
        client.portal.call(add, afterword, func)
        while not log:
            client.portal.call(asyncio.sleep, 0.01)

    assert ["begun", "sent", "lifespan over", "closed"] == log
