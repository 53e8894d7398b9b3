"""`INJECTED`, a default for type checkers: the parameter is filled by its annotation."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from wireup import Injected, create_async_container, injectable

from afterword import Afterword, Progress, TaskContext
from afterword.injection import INJECTED
from afterword.injection.injectors.wireup import WireupInjector


class Session:
    """An object from a dependency."""


@injectable
class Mailer:
    """An object from a container."""


SessionDep = Annotated[Session, Depends(Session)]


def ship(
    order_id: int,
    session: SessionDep = INJECTED,
    mailer: Injected[Mailer] = INJECTED,
    attempt: TaskContext = INJECTED,
    progress: Progress = INJECTED,
) -> list[str]:
    progress.update(order_id)
    return [type(each).__name__ for each in (session, mailer, attempt, progress)]


def test_parameters_with_the_default_are_injected(store_url: str) -> None:
    app = FastAPI()
    container = create_async_container(injectables=[Mailer])
    afterword = Afterword(app, store_url, injectors=[WireupInjector(container)])
    with TestClient(app):
        job = afterword.add_task_sync(ship, 7).wait_sync(10)

    assert ["Session", "Mailer", "TaskContext", "Progress"] == job.result
    assert job.record
    assert '{"order_id":7}' == job.record.arguments


def test_a_direct_call_without_a_value_says_so() -> None:
    with pytest.raises(AttributeError, match="Pass a value if you call the function yourself"):
        ship(7)
