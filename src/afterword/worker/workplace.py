"""What the attempts of one worker share, and what it gives to those who ask by annotation alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from afterword.client.inquiries import Keeper
from afterword.injection.needs import Injection
from afterword.model.clock import Clock
from afterword.transactions.statements import Transactions
from afterword.worker.progress import Progress

Make = Callable[[Any], Any]  # of what is provided, for the TaskContext of an attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What the attempts of one worker share; by default that of a process without a store.

    Args:
        injection: what the application's functions are given.
        natives: what makes that which is injected by its annotation alone.
        transactions: what the store can do on a task's own connection.
        keeper: whom the handles of added jobs ask.
        note: told that an attempt's progress has changed.
        write_now: writes what has not been written of an attempt's progress; blocks.
        now: seconds since 1970.
        monotonic: seconds that never go back.
    """

    injection: Injection = field(default_factory=Injection)
    natives: Mapping[type, Make] = field(default_factory=dict)
    transactions: Transactions | None = None
    keeper: Keeper | None = None
    note: Callable[[Progress], object] = id
    write_now: Callable[[Progress], object] = id
    now: Callable[[], float] = Clock().now
    monotonic: Callable[[], float] = Clock().monotonic


class Natives(Mapping[type, Any]):
    """What is provided for one attempt: each made once, when it is asked for."""

    def __init__(self, context: object, makers: Mapping[type, Make]) -> None:
        self._context, self._makers = context, makers
        self._made: dict[Make, Any] = {}  # one maker may serve two types

    def __getitem__(self, kind: type) -> Any:
        make = self._makers[kind]
        if make not in self._made:
            self._made[make] = make(self._context)
        return self._made[make]

    def __iter__(self) -> Iterator[type]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
