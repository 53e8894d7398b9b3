"""The answer of a function that belongs to the application, such as `authorize`."""

import inspect


async def settled(answer: object) -> object:
    """Return an answer; await it if it is awaitable, and raise it if it is an exception.

    A lambda around an `async def` returns a coroutine, and some functions return an exception
    instead of raising it.
    """
    while inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, BaseException):
        raise answer
    return answer
