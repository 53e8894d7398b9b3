"""Numbers and other values in words."""


def at_least(number: int, more: bool) -> str:
    """Write a count that may not be complete.

    >>> at_least(10_000, more=True), at_least(12, more=False)
    ('10,000+', '12')
    """
    return f"{number:,}{'+' if more else ''}"


def many(number: int, noun: str) -> str:
    """Write a number with its noun.

    >>> many(1, "worker"), many(2_000, "worker")
    ('1 worker', '2,000 workers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def survives(durability: str) -> str:
    """Describe what a stored job survives; see `Store.durability`.

    >>> survives("power-loss"), survives("process-crash")
    ('survives power loss', "survives a crash of the server's process, not of its machine")
    """
    if durability == "power-loss":
        return "survives power loss"
    return "survives a crash of the server's process, not of its machine"
