"""Numbers in words."""


def many(number: int, noun: str) -> str:
    """Write a number with its noun.

    >>> many(1, "worker"), many(2_000, "worker")
    ('1 worker', '2,000 workers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
