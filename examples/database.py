"""Database work after the answer: the task gets an id, and opens a session of its own.

    uvicorn examples.database:app
    curl localhost:8000/articles --json '{"text": "one two three"}'
    curl localhost:8000/articles/1

The request's session commits when its dependency closes. Afterword starts the task after that, so
the row is there. (FastAPI's own BackgroundTasks run before: the task would find nothing.) A session
or an object of one belongs to its request and cannot be stored; an id can.

With FastAPI 0.121 and newer, `Depends(open_session, scope="function")` commits before the answer
instead of behind it: then no client is told of an article whose commit fails after all.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

engine = create_engine("sqlite:///articles.db")  # not the file in which Afterword keeps the jobs


class Base(DeclarativeBase):
    """The tables of this application."""


class Article(Base):
    """A text, and what the task finds out about it."""

    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    words: Mapped[int | None]


class NewArticle(BaseModel):
    """What the client sends."""

    text: str = Field(min_length=1, max_length=100_000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Tasks run strictly in between: the worker has drained before the engine is closed."""
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
afterword = Afterword(app)


def open_session() -> Iterator[Session]:
    """The request's session: committed when the request is over, rolled back if it failed."""
    with Session(engine) as session, session.begin():
        yield session


RequestSession = Annotated[Session, Depends(open_session)]


def count_words(article_id: int) -> None:
    """A transaction of its own; setting the same number twice does no harm.

    Should the request's commit have failed, there is no such article, and the job fails, too.
    """
    with Session(engine) as session, session.begin():
        article = session.get_one(Article, article_id)
        article.words = len(article.text.split())


@app.post("/articles", status_code=202)
def publish(
    new: NewArticle, session: RequestSession, background_tasks: BackgroundTasks
) -> dict[str, int]:
    """`flush` gives the id; the commit comes when `open_session` goes on."""
    article = Article(text=new.text)
    session.add(article)
    session.flush()
    background_tasks.add_task(count_words, article.id)
    return {"id": article.id}


@app.get("/articles/{article_id}")
def read(article_id: int, session: RequestSession) -> dict[str, int | None]:
    """`null` until the task has run."""
    article = session.get(Article, article_id)
    if article is None:
        raise HTTPException(404)
    return {"words": article.words}
