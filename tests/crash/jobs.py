"""A task for scripts that only store jobs."""


def note(text: str) -> None:
    """Is stored, and run by nobody."""
