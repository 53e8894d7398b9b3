"""The tasks that `bench.injection` measures, from plain to injected by each framework."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import dishka
import wireup
import wireup.integration.fastapi
from dishka.integrations.fastapi import FromDishka, setup_dishka
from fastapi import Depends, FastAPI
from wireup import Injected, injectable

import afterword.wireup
from afterword import Afterword, Progress, TaskContext


@injectable
class Mailer:
    """A singleton."""


class Session:
    """What each attempt has for itself."""


@injectable(lifetime="scoped")
def session() -> Iterator[Session]:
    """Made by a `yield` factory, for Wireup and for dishka."""
    yield Session()


def get_settings() -> str:
    """A dependency that returns."""
    return "settings"


def get_db() -> Iterator[str]:
    """One that yields."""
    yield "db"


def get_user(db: Annotated[str, Depends(get_db)], x: Annotated[str, Depends(get_settings)]) -> str:
    """One with two of its own."""
    return f"{db} {x}"


async def get_settings_async() -> str:
    """The same three, awaited."""
    return "settings"


async def get_db_async() -> AsyncIterator[str]:
    """One that yields."""
    yield "db"


async def get_user_async(
    db: Annotated[str, Depends(get_db_async)], x: Annotated[str, Depends(get_settings_async)]
) -> str:
    """One with two of its own."""
    return f"{db} {x}"


Db = Annotated[str, Depends(get_db)]
User = Annotated[str, Depends(get_user)]
DbAsync = Annotated[str, Depends(get_db_async)]
UserAsync = Annotated[str, Depends(get_user_async)]


def plain(number: int) -> None:
    """Nothing is injected."""


async def plain_async(number: int) -> None:
    """Nothing is injected."""


def native(number: int, context: TaskContext, progress: Progress) -> None:
    """The attempt itself."""


async def native_async(number: int, context: TaskContext, progress: Progress) -> None:
    """The attempt itself."""


def depends(number: int, user: User, db: Db) -> None:
    """Three dependencies, one of which yields: all of it in one thread."""


async def depends_async(number: int, user: UserAsync, db: DbAsync) -> None:
    """The same, awaited in the event loop."""


async def depends_in_threads(number: int, user: User, db: Db) -> None:
    """As in a route: `def` dependencies of an `async def` task go to a thread, and back."""


def depends_in_loop(number: int, user: UserAsync, db: DbAsync) -> None:
    """`async` dependencies of a `def` task, which itself goes to a thread."""


def by_wireup(number: int, mailer: Injected[Mailer], session: Injected[Session]) -> None:
    """A singleton and a scoped object."""


async def by_wireup_async(
    number: int, mailer: Injected[Mailer], session: Injected[Session]
) -> None:
    """A singleton and a scoped object."""


async def by_dishka_async(
    number: int, mailer: FromDishka[Mailer], session: FromDishka[Session]
) -> None:
    """A singleton and a scoped object."""


def container() -> wireup.AsyncContainer:
    """Wireup's."""
    services = [Mailer, session, afterword.wireup, wireup.integration.fastapi]
    return wireup.create_async_container(injectables=services)


def application(url: str) -> Afterword:
    """An application that both containers have been set up for."""
    app = FastAPI()
    wireup.integration.fastapi.setup(container(), app)
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(Mailer, scope=dishka.Scope.APP)
    provider.provide(session)
    setup_dishka(dishka.make_async_container(provider), app)
    return Afterword(app, url)
