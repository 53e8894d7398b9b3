"""Faults that the simulation has found, and that are still there.

What they break is not counted, so that everything else goes on being checked. When one is mended,
its line goes, and with it what asks for it.
"""

KNOWN = {
    "refused_is_counted": (
        "With an Idempotency-Key: a request that is repeated gets the job of the first one, in a"
        " transaction of its own on a bare connection, and rolls that back. Nothing tells of it, so"
        " the call is counted, and the next try is stored as another job."
    ),
}


def is_known(name: str) -> bool:
    """Whether this fault is still there."""
    return name in KNOWN
