"""Faults that the simulation has found, and that are still there.

What they break is not counted, so that everything else goes on being checked. When one is mended,
its line goes, and with it what asks for it.
"""

KNOWN = {
    "shared_goes_on": (
        "A job that a second call was given (a repeated request, one key twice in one request) is"
        " not stopped any more when one before it fails."
    ),
    "follows_unstored": (
        "What is added while the call before it is being stored follows a job that never comes to"
        " be, if that cannot be stored, or another one has its unique key: the order is lost."
    ),
    "refused_is_counted": (
        "With an Idempotency-Key, a call that could not be stored behind the request, or that was"
        " rolled back, is counted: when the request is repeated, a job is stored twice."
    ),
    "dropped_unheard": (
        "When storing fails in a WebSocket, what another coroutine has added meanwhile is dropped,"
        " and its own send goes out as if it were stored."
    ),
    "here_stops_all": (
        'With order="concurrent", a call that fails in its request cancels jobs that were added'
        " before it."
    ),
}


def is_known(name: str) -> bool:
    """Whether this fault is still there."""
    return name in KNOWN
