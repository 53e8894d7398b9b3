"""For FastAPI applications: change one import, keep the line.

    from afterword.fastapi import BackgroundTasks

    @app.post("/send-notification/{email}")
    async def send_notification(email: str, background_tasks: BackgroundTasks):
        background_tasks.add_task(write_notification, email, message="some notification")

FastAPI injects its own class for every subclass of Starlette's `BackgroundTasks`, so ours is none,
and the name is an alias for `Annotated[BackgroundTasks, Depends(provide)]`.

How `provide` knows whether the handler succeeded: it leaves a callback on the stack of contexts
that FastAPI unwinds with the request. If the handler raised, or the response did not validate, the
callback sees the exception before the error response starts; on success it is called later.
"""

import inspect
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

from afterword.errors import MissingExtra, NotInstalled

try:
    from fastapi import BackgroundTasks as FastAPIBackgroundTasks
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
except ImportError as error:
    raise MissingExtra("afterword.fastapi", "fastapi") from error

from afterword import background
from afterword.background import BackgroundTask
from afterword.outbox import Outbox

__all__ = ["BackgroundTask", "BackgroundTasks"]


async def provide(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> background.BackgroundTasks:
    """The request's BackgroundTasks, the same one for its handler and all its dependencies."""
    outbox = _outbox(connection, in_request)

    def leave(
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outbox.drop_if_failed(error)

    connection.scope["fastapi_inner_astack"].push(leave)
    return background.BackgroundTasks.of_request(outbox)


async def provide_before_0_121(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> AsyncIterator[background.BackgroundTasks]:
    """The same for releases that keep their stack to themselves: 100 µs slower per request.

    Before 0.118 dependencies are left before the response, and before FastAPI raises that the
    request was invalid, so that only the answer itself will show whether the handler failed.
    """
    outbox = _outbox(connection, in_request)
    try:
        yield background.BackgroundTasks.of_request(outbox)
    except BaseException as error:
        outbox.drop_if_failed(error)
        raise
    outbox.in_doubt = not outbox.answered


def _outbox(connection: HTTPConnection, in_request: FastAPIBackgroundTasks) -> Outbox:
    outbox: Outbox | None = connection.scope.get("afterword.outbox")
    if outbox is None:
        raise NotInstalled(
            "afterword.fastapi.BackgroundTasks needs Afterword in the application that serves the"
            " request. Add it once, beside the application:\n"
            "    app = FastAPI()\n"
            "    afterword = Afterword(app)"
        )
    if outbox.on_first_unstorable is None:
        # What cannot be stored runs where FastAPI runs its own: after the body, dependencies open.
        outbox.on_first_unstorable = lambda: in_request.add_task(outbox.run_unstorable)
    return outbox


if TYPE_CHECKING:
    from afterword.background import BackgroundTasks
else:
    _knows_scopes = "scope" in inspect.signature(Depends).parameters  # since 0.121
    BackgroundTasks = Annotated[
        background.BackgroundTasks, Depends(provide if _knows_scopes else provide_before_0_121)
    ]
