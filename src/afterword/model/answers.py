"""The answer of a function that belongs to the application, such as `authorize`."""

import inspect


async def settled(answer: object) -> object:
    """Return an answer as it was meant: awaited, and raised if it is an exception.

    A lambda around an `async def` returns a coroutine, and some return what they should raise.
    """
    while inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, BaseException):
        raise answer
    return answer
