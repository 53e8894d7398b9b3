"""The module of docs/injection.md on typing, word for word, and calls that must be errors.

Checked, never run: by mypy in scripts/check, by pyright in tests/house/test_typing.py.
"""

from typing import Annotated

from fastapi import Depends, FastAPI

from afterword import Afterword, Progress, TaskContext, current_task
from afterword.fastapi import BackgroundTasks
from afterword.injection import INJECTED


class Session:
    """In place of SQLAlchemy's."""


def get_session() -> Session:
    return Session()


SessionDep = Annotated[Session, Depends(get_session)]
typed = FastAPI()
typed_afterword = Afterword(typed)


def ship_typed(
    order_id: int,
    session: SessionDep = INJECTED,
    attempt: TaskContext = INJECTED,
    progress: Progress = INJECTED,
) -> str:
    progress.update(1, total=1)
    return f"{order_id} {type(session).__name__} {attempt.attempt}"


def ship_as_in_a_route(order_id: int, session: Session = Depends(get_session)) -> str:
    current_task().progress.update(1, total=1)
    return f"{order_id} {type(session).__name__}"


@typed.post("/orders/{order_id}")
def order_typed(order_id: int, background_tasks: BackgroundTasks) -> dict[str, str]:
    job = background_tasks.add_task(ship_typed, order_id)
    background_tasks.add_task(ship_as_in_a_route, order_id=order_id)
    return {"id": job.id}


typed_afterword.every("0 3 * * *", name="nightly").add_task(ship_typed, 7)


def wrong(tasks: BackgroundTasks) -> None:
    tasks.add_task(ship_typed, "seven")  # type: ignore[call-overload]
    tasks.add_task(ship_typed)  # type: ignore[call-overload]
    typed_afterword.every(seconds=60).add_task(ship_typed, "seven")  # type: ignore[arg-type]
