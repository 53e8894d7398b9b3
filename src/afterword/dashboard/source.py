"""The store that a dashboard shows, and whose it is."""

from collections.abc import Callable
from dataclasses import dataclass

from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.store.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The store behind a dashboard.

    Args:
        store: returns the store, opened if necessary; it may block.
        add: stores a new job for a person; it may block.
        clock: the store's time.
    """

    store: Callable[[], Store]
    add: Callable[[NewJob, Actor], object]
    clock: Clock
