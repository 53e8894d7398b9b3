"""Ways to store jobs, each timed: one by one, from many callers at once, in bulk, and paced.

This module runs in the environment of the measured system.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

from bench.peer import AsyncProducer, Producer, SyncProducer

CALLERS = 100  # coroutines that store at the same time
THREADS = 8  # threads instead, for systems whose calls block
BATCH = 1_000  # jobs per call, if a system has a call for many


@dataclass(frozen=True, slots=True)
class Stored:
    """The number of jobs that were stored, and the time that it took."""

    jobs: int
    seconds: float


async def one_by_one(producer: Producer, jobs: int, seconds: float) -> Stored:
    """Store each job when the one before is durable, until the jobs or the seconds run out."""
    began = time.perf_counter()
    numbers = _until(count(), jobs, began + seconds)
    if isinstance(producer, SyncProducer):
        done = _store_blocking(producer, numbers)
    else:
        done = await _store(producer, numbers)
    return Stored(done, time.perf_counter() - began)


async def concurrently(producer: Producer, jobs: int, seconds: float) -> Stored:
    """Store jobs from many callers at once, each of which waits for its own job."""
    began = time.perf_counter()
    counter, deadline = count(), began + seconds  # one counter: the callers share the jobs
    if isinstance(producer, SyncProducer):
        parts = [_until(counter, jobs, deadline) for _ in range(THREADS)]
        done = await asyncio.to_thread(_store_in_threads, producer, parts)
    else:
        parts = [_until(counter, jobs, deadline) for _ in range(CALLERS)]
        done = sum(await asyncio.gather(*(_store(producer, part) for part in parts)))
    return Stored(done, time.perf_counter() - began)


async def in_bulk(producer: Producer, jobs: int) -> Stored:
    """Store many jobs per call, or `concurrently` if the system has no such call."""
    began = time.perf_counter()
    if producer.add_many is None:
        return await concurrently(producer, jobs, float("inf"))
    for start in range(0, jobs, BATCH):
        stored = producer.add_many(range(start, min(jobs, start + BATCH)))
        if isinstance(stored, Awaitable):
            await stored
    return Stored(jobs, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Call:
    """The times at which a call that stores a job began and ended; monotonic nanoseconds."""

    began_at: int
    ended_at: int


async def paced(producer: Producer, numbers: Sequence[int], gap: float) -> list[Call]:
    """Store jobs one by one with a pause of `gap` seconds after each."""
    calls = []
    for number in numbers:
        began = time.monotonic_ns()
        if isinstance(producer, SyncProducer):
            producer.add(number)
        else:
            await producer.add(number)
        calls.append(Call(began, time.monotonic_ns()))
        await asyncio.sleep(gap)
    return calls


def _until(counter: Iterator[int], jobs: int, deadline: float) -> Iterator[int]:
    for number in counter:
        if number >= jobs or time.perf_counter() > deadline:
            return
        yield number


async def _store(producer: AsyncProducer, numbers: Iterator[int]) -> int:
    done = 0
    for number in numbers:
        await producer.add(number)
        done += 1
    return done


def _store_blocking(producer: SyncProducer, numbers: Iterator[int]) -> int:
    done = 0
    for number in numbers:
        producer.add(number)
        done += 1
    return done


def _store_in_threads(producer: SyncProducer, parts: Sequence[Iterator[int]]) -> int:
    with ThreadPoolExecutor(len(parts)) as threads:
        return sum(threads.map(lambda part: _store_blocking(producer, part), parts))
