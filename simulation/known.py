"""Faults that the simulation has found and that are not mended yet.

Their violations are not counted, so everything else can still be checked. When a fault is mended,
delete its entry and the code that asks for it.
"""

KNOWN = {
    "refused_is_counted": (
        "With an Idempotency-Key: a repeated request gets the job of the first one in its own"
        " transaction on a bare connection, and rolls it back. Afterword is not told, so the call"
        " is counted, and the next try is stored as another job."
    ),
}


def is_known(name: str) -> bool:
    """True if this fault is not mended yet."""
    return name in KNOWN
