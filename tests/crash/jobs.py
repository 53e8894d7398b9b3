"""A task for scripts that only store jobs."""


def note(text: str) -> None:
    """Do nothing: it is stored, and never run."""
