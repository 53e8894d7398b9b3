"""Who may ask: how the answer of `authorize` is judged. One rule, wherever there is an `authorize`.

- What can be awaited is awaited first: a lambda around an `async def` returns a coroutine.
- `False` refuses (403), and so does an exception, raised or returned: it is raised.
- Whatever else was returned grants: a user, None, True.
- A response, or what has not been run yet (a function, a generator), is a mistake: that is an
  error of the application, and the request is refused.
"""

import inspect

from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterword.errors import ConfigurationError


async def require_granted(answer: object) -> None:
    """Refuse the request, unless this answer grants it.

    Raises:
        HTTPException: it refuses.
        ConfigurationError: it is no answer.
    """
    while inspect.isawaitable(answer):
        answer = await answer
    if answer is False:
        raise HTTPException(403, "Forbidden")
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, Response) or _is_left_to_run(answer):
        raise ConfigurationError(
            "authorize must raise HTTPException or return False to refuse, and return anything else"
            f" to grant, but it returned a {type(answer).__qualname__}.\n"
            "    return JSONResponse(..., status_code=401)  # incorrect!\n"
            "    raise HTTPException(401)  # correct!"
        )


def _is_left_to_run(answer: object) -> bool:
    return inspect.isgenerator(answer) or inspect.isasyncgen(answer) or inspect.isroutine(answer)
