"""The store that a dashboard shows, and whose it is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.store.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The store behind a dashboard.

    Args:
        store: returns the store, opened if necessary; it may block.
        add: stores a new job; it may block.
        clock: the store's time.
        tasks: returns the names of the application's tasks; None: there is no application.
    """

    store: Callable[[], Store]
    add: Callable[[NewJob], object]
    clock: Clock
    tasks: Callable[[], Collection[str]] | None = None
