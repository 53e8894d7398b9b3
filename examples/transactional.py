"""One transaction for a row and its task, and one for the task's work and its completion.

    uvicorn examples.transactional:app
    curl localhost:8000/orders --json '{"item": "tea"}'
    curl localhost:8000/orders/1

The jobs are in the application's own database, so an order and the job that bills it are stored
together or not at all. The bill is written in the transaction that completes the job, so an order
is billed exactly once, even if the process dies.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from afterword import Afterword, current_task
from afterword.fastapi import BackgroundTasks

engine = create_engine("sqlite+pysqlite:///shop.db")  # or postgresql+psycopg://...


class Base(DeclarativeBase):
    """The tables of this application; the store adds its own tables."""


class Order(Base):
    """An order of a customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]


class Bill(Base):
    """The amount that the customer owes for it."""

    __tablename__ = "bills"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


class NewOrder(BaseModel):
    """The body of a request."""

    item: str = Field(min_length=1, max_length=1_000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the tables; the worker starts after that."""
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
afterword = Afterword(app, url="sqlite+pysqlite:///shop.db")  # or postgresql://...


def open_session() -> Iterator[Session]:
    """Open the request's session; uncommitted changes are rolled back."""
    with Session(engine) as session:
        yield session


RequestSession = Annotated[Session, Depends(open_session)]


def bill(order_id: int) -> None:
    """May be started again, if its process dies; what it writes is written once."""
    with Session(engine) as session, current_task().complete_in(session):
        session.add(Bill(order_id=order_id))


@app.post("/orders", status_code=201)
def place(
    new: NewOrder, session: RequestSession, background_tasks: BackgroundTasks
) -> dict[str, int]:
    """The commit stores the order and its job; it comes before the answer, so both are certain."""
    order = Order(item=new.item)
    session.add(order)
    session.flush()  # gives the id
    background_tasks.bind(session).add_task(bill, order.id)
    session.commit()
    return {"id": order.id}


@app.get("/orders/{order_id}")
def read(order_id: int, session: RequestSession) -> dict[str, int]:
    """Count the bills: none at first, then one."""
    if session.get(Order, order_id) is None:
        raise HTTPException(404)
    bills = session.scalar(select(func.count()).where(Bill.order_id == order_id))
    return {"bills": bills or 0}
