"""A task for scripts that only store jobs."""


def note(text: str) -> None:
    """Is stored, and never run."""
