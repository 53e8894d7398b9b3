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
    """A scoped object: each attempt has its own."""


@injectable(lifetime="scoped")
def session() -> Iterator[Session]:
    """Yield a session, for Wireup and for dishka."""
    yield Session()


def get_settings() -> str:
    """A dependency that returns."""
    return "settings"


def get_db() -> Iterator[str]:
    """A dependency that yields."""
    yield "db"


def get_user(db: Annotated[str, Depends(get_db)], x: Annotated[str, Depends(get_settings)]) -> str:
    """A dependency that has two itself."""
    return f"{db} {x}"


async def get_settings_async() -> str:
    """An `async def` dependency that returns."""
    return "settings"


async def get_db_async() -> AsyncIterator[str]:
    """An `async def` dependency that yields."""
    yield "db"


async def get_user_async(
    db: Annotated[str, Depends(get_db_async)], x: Annotated[str, Depends(get_settings_async)]
) -> str:
    """An `async def` dependency that has two itself."""
    return f"{db} {x}"


Db = Annotated[str, Depends(get_db)]
User = Annotated[str, Depends(get_user)]
DbAsync = Annotated[str, Depends(get_db_async)]
UserAsync = Annotated[str, Depends(get_user_async)]


def plain(number: int) -> None:
    """No injection."""


async def plain_async(number: int) -> None:
    """No injection."""


def native(number: int, context: TaskContext, progress: Progress) -> None:
    """Injection of Afterword's own types."""


async def native_async(number: int, context: TaskContext, progress: Progress) -> None:
    """Injection of Afterword's own types."""


def depends(number: int, user: User, db: Db) -> None:
    """Injection of three dependencies, one of which yields, all in one thread."""


async def depends_async(number: int, user: UserAsync, db: DbAsync) -> None:
    """Injection of three dependencies, awaited in the event loop."""


async def depends_in_threads(number: int, user: User, db: Db) -> None:
    """Injection as in a route: `def` dependencies of an `async def` task run in a thread."""


def depends_in_loop(number: int, user: UserAsync, db: DbAsync) -> None:
    """Injection of `async def` dependencies into a `def` task, which runs in a thread."""


def by_wireup(number: int, mailer: Injected[Mailer], session: Injected[Session]) -> None:
    """Injection of a singleton and a scoped object."""


async def by_wireup_async(
    number: int, mailer: Injected[Mailer], session: Injected[Session]
) -> None:
    """Injection of a singleton and a scoped object."""


async def by_dishka_async(
    number: int, mailer: FromDishka[Mailer], session: FromDishka[Session]
) -> None:
    """Injection of a singleton and a scoped object."""


def container() -> wireup.AsyncContainer:
    """Make Wireup's container."""
    services = [Mailer, session, afterword.wireup, wireup.integration.fastapi]
    return wireup.create_async_container(injectables=services)


def application(url: str) -> Afterword:
    """Make an application with both containers."""
    app = FastAPI()
    wireup.integration.fastapi.setup(container(), app)
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(Mailer, scope=dishka.Scope.APP)
    provider.provide(session)
    setup_dishka(dishka.make_async_container(provider), app)
    return Afterword(app, url)
