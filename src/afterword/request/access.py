"""Access control: the one rule for the return value of every `authorize` function.

- An awaitable is awaited first: a lambda around an `async def` returns a coroutine.
- `False` denies access (403). An exception, raised or returned, denies access too: it is raised.
- A response, or something that has not run yet (a function, a generator), is a mistake in the
  application: access is denied with a ConfigurationError.
- Any other value grants access: a user, None, True.
"""

import inspect

from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterword.errors import ConfigurationError
from afterword.model.answers import settled


async def require_granted(answer: object) -> object:
    """Refuse the request unless this return value of `authorize` grants access; return it.

    Raises:
        HTTPException: access is denied.
        ConfigurationError: the value is a response, or something that has not run.
    """
    answer = await settled(answer)
    if answer is False:
        raise HTTPException(403, "Forbidden")
    if isinstance(answer, Response) or _is_left_to_run(answer):
        raise ConfigurationError(
            "authorize must raise HTTPException or return False to refuse, and return anything else"
            f" to grant, but it returned a {type(answer).__qualname__}.\n"
            "    return JSONResponse(..., status_code=401)  # incorrect!\n"
            "    raise HTTPException(401)  # correct!"
        )
    return answer


def _is_left_to_run(answer: object) -> bool:
    return inspect.isgenerator(answer) or inspect.isasyncgen(answer) or inspect.isroutine(answer)
