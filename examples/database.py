"""Database work after the answer: the task gets an id, and opens its own session.

    uvicorn examples.database:app
    curl localhost:8000/articles --json '{"text": "one two three"}'
    curl localhost:8000/articles/1

The request's session commits when its dependency closes. Afterword starts the task after that, so
the row exists. (FastAPI's own BackgroundTasks run before the commit, so the task would not find
it.) A session or its objects belong to a request and cannot be stored; an id can.

With FastAPI 0.121 and newer, `Depends(open_session, scope="function")` commits before the answer
instead of after it, so no client is told of an article whose commit then fails.
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
    """A text, and its number of words."""

    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    words: Mapped[int | None]


class NewArticle(BaseModel):
    """The body of a request."""

    text: str = Field(min_length=1, max_length=100_000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the tables before the worker starts, and close the engine after it has drained."""
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
afterword = Afterword(app)


def open_session() -> Iterator[Session]:
    """Open the request's session: committed when the request is over, rolled back if it failed."""
    with Session(engine) as session, session.begin():
        yield session


RequestSession = Annotated[Session, Depends(open_session)]


def count_words(article_id: int) -> None:
    """Count in the task's own transaction; setting the same number twice does no harm.

    If the request's commit has failed, the article does not exist, and the job fails, too.
    """
    with Session(engine) as session, session.begin():
        article = session.get_one(Article, article_id)
        article.words = len(article.text.split())


@app.post("/articles", status_code=202)
def publish(
    new: NewArticle, session: RequestSession, background_tasks: BackgroundTasks
) -> dict[str, int]:
    """Add an article: `flush` gives its id, and `open_session` commits later."""
    article = Article(text=new.text)
    session.add(article)
    session.flush()
    background_tasks.add_task(count_words, article.id)
    return {"id": article.id}


@app.get("/articles/{article_id}")
def read(article_id: int, session: RequestSession) -> dict[str, int | None]:
    """Show the number of words, `null` until the task has run."""
    article = session.get(Article, article_id)
    if article is None:
        raise HTTPException(404)
    return {"words": article.words}
