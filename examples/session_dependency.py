"""A database session as a dependency that a route and its task share.

    uvicorn examples.session_dependency:app
    curl localhost:8000/orders --json '{"items": ["tea", "cake"]}'
    curl localhost:8000/orders/1

`get_session` is written once. For the route it opens the request's session. For the task it opens a
session for each attempt: committed if the attempt succeeds, rolled back if it raises, is cancelled
or takes too long. The job that the task adds (a receipt) is stored together with its completion, so
a repeated attempt sends no second receipt.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from afterword import Afterword, current_task, task
from afterword.fastapi import BackgroundTasks

engine = create_engine("sqlite:///orders.db")  # not the file in which Afterword keeps the jobs


class Base(DeclarativeBase):
    """The tables of this application."""


class Item(Base):
    """An ordered item."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    name: Mapped[str]
    packed: Mapped[bool] = mapped_column(default=False)


class NewOrder(BaseModel):
    """The body of a request."""

    items: list[str] = Field(min_length=1, max_length=100)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close the engine at the end, when the worker has drained."""
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
afterword = Afterword(app)


def get_session() -> Iterator[Session]:
    """Open a session, for a route or a task."""
    with Session(engine) as session, session.begin():
        yield session


RequestSession = Annotated[Session, Depends(get_session)]


# `session` has a default, in FastAPI's older style, so that type checkers accept
# `add_task(pack, order_id)`. `session: RequestSession` would be injected in the same way.
@task(retries=3)
def pack(order_id: int, session: Session = Depends(get_session)) -> int:
    """Pack all items, or none of them."""
    items = session.scalars(select(Item).where(Item.order_id == order_id)).all()
    for item in current_task().progress.track(items):
        if item.name == "unicorn":
            raise LookupError("out of unicorns")
        item.packed = True
    current_task().add_task(write_receipt, order_id, len(items))
    return len(items)


def write_receipt(order_id: int, items: int) -> None:
    """Write a receipt: another task adds this one."""
    with Path("receipts.log").open("a", encoding="utf-8") as file:
        file.write(f"order {order_id}: {items} items\n")


@app.post("/orders", status_code=202)
def order(
    new: NewOrder, session: RequestSession, background_tasks: BackgroundTasks
) -> dict[str, int | str]:
    """Add the items, which are committed before the task starts."""
    last = session.scalar(select(Item.order_id).order_by(Item.order_id.desc()).limit(1))
    order_id = (last or 0) + 1
    session.add_all(Item(order_id=order_id, name=name) for name in new.items)
    job = background_tasks.options(retries=0).add_task(pack, order_id)
    return {"order": order_id, "job": job.id}


@app.get("/orders/{order_id}")
def show(order_id: int, session: RequestSession) -> dict[str, bool]:
    """Show for each item whether it is packed."""
    items = session.scalars(select(Item).where(Item.order_id == order_id)).all()
    if not items:
        raise HTTPException(404)
    return {item.name: item.packed for item in items}
