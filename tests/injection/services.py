"""Injectables of a Wireup container, as in Wireup's documentation."""

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
    """A scoped object from a `yield` factory."""


@injectable(lifetime="scoped")
def session() -> Iterator[Session]:
    """Make a session, in a synchronous factory."""
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
    """A scoped object from an asynchronous `yield` factory."""

    def __init__(self, session: Session) -> None:
        self.session = session


@injectable(lifetime="scoped")
async def client(session: Session) -> AsyncIterator[Client]:
    """Make a client, in an asynchronous factory that needs a synchronous one."""
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
    """An object that is new for each parameter."""


class Fragile:
    """An object whose teardown fails."""


@injectable(lifetime="scoped")
def fragile(session: Session) -> Iterator[Fragile]:
    """Make an object, in a factory whose teardown fails."""
    yield Fragile()
    log.append("fragile")
    raise OSError("cannot be closed")


class Fleeting:
    """Another object whose teardown fails."""


@injectable(lifetime="scoped")
def fleeting() -> Iterator[Fleeting]:
    """Make an object, in another factory whose teardown fails, also after an error."""
    try:
        yield Fleeting()
    finally:
        log.append("fleeting")
        raise LookupError("neither")


class Missing:
    """An object that cannot be made."""


@injectable(lifetime="scoped")
def missing(session: Session) -> Missing:
    """Fail."""
    raise ConnectionError("no server")


class Swallowed:
    """An object from a factory that swallows exceptions."""


@injectable(lifetime="scoped")
def swallowed() -> Iterator[Swallowed]:
    """Make an object, and swallow exceptions by mistake."""
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
