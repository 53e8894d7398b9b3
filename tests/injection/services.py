"""Injectables of a Wireup container, as Wireup's documentation writes them."""

from collections.abc import AsyncIterator, Iterator

from wireup import injectable

from afterword import Progress, TaskContext

log: list[str] = []


@injectable
class Greeter:
    """A singleton."""

    def greet(self, name: str) -> str:
        return f"Hello {name}"


class Session:
    """Made by a `yield` factory per scope."""


@injectable(lifetime="scoped")
def session() -> Iterator[Session]:
    """A synchronous factory."""
    log.append("open")
    try:
        yield Session()
    except BaseException as error:
        log.append(f"rollback: {error!r}")
        raise
    else:
        log.append("commit")
    finally:
        log.append("close")


class Client:
    """Made by an asynchronous `yield` factory per scope."""

    def __init__(self, session: Session) -> None:
        self.session = session


@injectable(lifetime="scoped")
async def client(session: Session) -> AsyncIterator[Client]:
    """An asynchronous factory, with a synchronous one below."""
    log.append("connect")
    try:
        yield Client(session)
    except BaseException as error:
        log.append(f"abort: {error!r}")
        raise
    finally:
        log.append("disconnect")


@injectable(lifetime="transient")
class Transient:
    """A new one for each parameter."""


class Fragile:
    """What cannot be closed."""


@injectable(lifetime="scoped")
def fragile(session: Session) -> Iterator[Fragile]:
    """A factory whose teardown fails."""
    yield Fragile()
    log.append("fragile")
    raise OSError("cannot be closed")


class Fleeting:
    """What cannot be closed either."""


@injectable(lifetime="scoped")
def fleeting() -> Iterator[Fleeting]:
    """Another one whose teardown fails, also with an error."""
    try:
        yield Fleeting()
    finally:
        log.append("fleeting")
        raise LookupError("neither")


class Missing:
    """What cannot be made."""


@injectable(lifetime="scoped")
def missing(session: Session) -> Missing:
    """A factory that fails."""
    raise ConnectionError("no server")


class Swallowed:
    """Made by a factory that swallows exceptions."""


@injectable(lifetime="scoped")
def swallowed() -> Iterator[Swallowed]:
    """A factory with a mistake."""
    try:
        yield Swallowed()
    except ValueError:
        log.append("swallowed")


@injectable(lifetime="scoped")
class Audit:
    """A service that gets the attempt in which it is used."""

    def __init__(self, context: TaskContext, progress: Progress) -> None:
        self.job_id = context.job_id
        self.progress = progress
