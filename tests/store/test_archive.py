"""Exports of jobs as lines of text: they come back as they were, and invalid lines are refused."""

import json
import random
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterword.errors import ConfigurationError
from afterword.model.job import JobRecord, JobState, new_id
from afterword.store import archive
from tests.values import a_record

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
instants = st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
counts = st.integers(0, 2**31 - 1)


@st.composite
def records(draw: st.DrawFn) -> JobRecord:
    """Generate any job that a store could hold."""
    return JobRecord(
        id=new_id(),
        task=draw(texts),
        arguments=json.dumps(draw(st.dictionaries(st.text(), st.integers() | st.text()))),
        queue=draw(texts),
        priority=draw(st.integers(-(2**31), 2**31 - 1)),
        state=draw(st.sampled_from(JobState)),
        attempt=draw(counts),
        lost=draw(counts),
        interrupted=draw(counts),
        worker=draw(st.none() | texts),
        after=draw(st.none() | st.just(new_id())),
        on_failure=draw(st.sampled_from(["stop", "continue"])),
        request_id=draw(st.none() | st.just(new_id())),
        error=draw(st.none() | texts),
        created_at=draw(instants),
        run_at=draw(instants),
        started_at=draw(st.none() | instants),
        finished_at=draw(instants),
        tags=tuple(draw(st.lists(texts, max_size=3))),
        unique_key=draw(st.none() | texts),
        limit_key=draw(st.none() | texts),
        options=draw(st.none() | st.just('{"retries":3}')),
        failures=draw(counts),
        progress=draw(st.none() | st.just('{"percent":50}')),
        cancelling=draw(st.none() | texts),
        result=draw(st.none() | st.just("[1]")),
    )


def record(job_id: str | None = None, after: str | None = None) -> JobRecord:
    """Return a queued job."""
    return a_record(id=job_id or new_id(), after=after)


def file_of(*jobs: JobRecord) -> list[str]:
    """Return the lines of an export."""
    return [archive.header(), *map(archive.line_of, jobs), archive.footer(len(jobs))]


# ---------------------------------------------------------------------- there and back


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(records(), max_size=4))
def test_what_goes_out_comes_back(jobs: list[JobRecord]) -> None:
    lines = file_of(*jobs)

    assert jobs == list(archive.read(lines))
    assert all(line.count("\n") == 1 and line.isascii() for line in lines)


def test_every_field_of_a_job_is_written() -> None:
    """The exception is the time since when workers of that store could not run it."""
    written = json.loads(archive.line_of(record()))

    assert [each.name for each in fields(JobRecord)] == [*written, "parked_at"]


def test_a_file_of_the_first_release_is_read() -> None:
    """It has no tags, keys, options, failures, progress and results."""
    job = record()
    values = json.loads(archive.line_of(job))
    for name in ("tags", "unique_key", "limit_key", "options", "failures"):
        del values[name]
    for name in ("progress", "cancelling", "result"):
        del values[name]
    line = json.dumps(values)

    assert [job] == list(archive.read(['{"afterword":1}\n', line, archive.footer(1)]))


# ---------------------------------------------------------------------- what is refused


def changed(**values: Any) -> list[str]:
    """Return a file with one job, with these values changed."""
    job = {**json.loads(archive.line_of(record())), **values}
    return [archive.header(), json.dumps(job) + "\n", archive.footer(1)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"id": "1"}, "id is a UUID"),
        ({"after": "../../etc"}, "after is a UUID"),
        ({"task": ""}, "task is empty"),
        ({"task": None}, "task is a NoneType"),
        ({"attempt": True}, "attempt is a bool"),
        ({"attempt": -1}, "attempt cannot be -1"),
        ({"priority": 2**31}, "priority cannot be"),
        ({"state": "done"}, "'done' is not a valid JobState"),
        ({"state": "completed"}, "a completed job has finished_at"),
        ({"arguments": "[1]"}, "arguments are a JSON object"),
        ({"arguments": "{"}, "Expecting property name"),
        ({"on_failure": "explode"}, "on_failure is"),
        ({"run_at": "2026-11-22T12:00"}, "offset from UTC"),
        ({"run_at": "soon"}, "Invalid isoformat string"),
        ({"failures": -1}, "failures cannot be -1"),
        ({"tags": "a"}, "tags is a str"),
        ({"tags": [1]}, "tags are texts"),
        ({"unique_key": 1}, "unique_key is a int"),
        ({"options": "[1]"}, "options are a JSON object"),
        ({"progress": "half"}, "Expecting value"),
        ({"result": "{"}, "Expecting property name"),
        ({"colour": "red"}, "unknown=\\['colour'\\]"),
        ({"task": "a:\ud800"}, "task holds NUL or half a surrogate pair"),
        ({"queue": "a\0b"}, "queue holds NUL"),
        ({"tags": ["sound", "\0"]}, "a tag holds NUL"),
        ({"worker": "\udfff"}, "worker holds NUL or half"),
        ({"error": "\0"}, "error holds NUL"),
        ({"unique_key": "\ud800"}, "unique_key holds NUL or half"),
        ({"limit_key": "\0"}, "limit_key holds NUL"),
        ({"cancelling": "\0"}, "cancelling holds NUL"),
        ({"result": '"\ud800"'}, "result holds NUL or half"),
    ],
)
def test_a_line_that_no_store_wrote_is_refused_by_its_number(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"Line 2 of the file.*{said}"):
        list(archive.read(changed(**values)))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "cut off"),
        (["\n"], "Line 1 .* not JSON"),
        (["[]\n"], "Line 1 .* a list"),
        (['{"afterword":3}\n'], "Line 1 .* newer release"),
        (['{"jobs":0}\n'], "Line 1 "),
        ([archive.header(), archive.footer(1)], "counts 1 jobs, but 0"),
        ([archive.header(), archive.footer(0), archive.line_of(record())], "follows the end"),
        ([archive.header(), "[" * 100_000], "Line 2 "),
        ([archive.header(), '{"id": "x"}\n'], "missing="),
    ],
)
def test_a_file_that_is_no_export_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        list(archive.read(lines))


def test_a_file_that_was_cut_off_gives_what_it_has_and_says_so() -> None:
    jobs = [record(), record()]
    reading = archive.read(file_of(*jobs)[:-1])

    assert jobs == [next(reading), next(reading)]
    with pytest.raises(ConfigurationError, match="cut off"):
        next(reading)


# ---------------------------------------------------------------------- the order


@given(st.lists(st.integers(1, 5), max_size=5), st.randoms(use_true_random=False))
def test_nobody_comes_before_whom_they_follow(lengths: list[int], random: random.Random) -> None:
    chains = [[record() for _ in range(length)] for length in lengths]
    jobs = [
        replace(job, after=chain[index - 1].id) if index else job
        for chain in chains
        for index, job in enumerate(chain)
    ]
    random.shuffle(jobs)

    arranged = [job for group in archive.arranged(jobs) for job in group]

    assert sorted(job.id for job in jobs) == sorted(job.id for job in arranged)
    ids = [job.id for job in arranged]
    assert all(ids.index(job.after) < ids.index(job.id) for job in arranged if job.after)


def test_a_follower_is_added_together_with_whom_it_follows() -> None:
    first = record()
    second, third = record(after=first.id), record()
    fourth = record(after=second.id)

    newest_first = [fourth, third, second, first]

    assert [[third], [first, second, fourth]] == list(archive.arranged(newest_first))


def test_who_follows_a_stranger_or_a_circle_is_added_all_the_same() -> None:
    stranger, one, other = record(after=new_id()), new_id(), new_id()
    circle = [record(one, after=other), record(other, after=one)]

    arranged = [job.id for group in archive.arranged([stranger, *circle]) for job in group]

    assert sorted([stranger.id, one, other]) == sorted(arranged)


def test_a_job_that_follows_itself_is_refused() -> None:
    job = new_id()
    with pytest.raises(ConfigurationError, match=f"Line 2 .*: job {job} follows itself"):
        list(archive.read(changed(id=job, after=job)))


def test_jobs_that_follow_each_other_are_refused() -> None:
    ids = [new_id() for _ in range(3)]
    circle = [record(one, after=other) for one, other in zip(ids, ids[1:] + ids[:1], strict=True)]
    chain = [record(ids[0], after=ids[1]), record(ids[1], after=ids[2]), record(after=ids[2])]
    archive.check_together(chain)
    with pytest.raises(ConfigurationError, match="follows jobs that follow it"):
        archive.check_together([*circle, record(after=ids[0])])


def test_a_unique_key_of_two_unfinished_jobs_is_refused() -> None:
    one, other = replace(record(), unique_key="key"), replace(record(), unique_key="key")
    leaving = replace(one, cancelling="asked to end")
    ended = replace(one, state=JobState.COMPLETED, finished_at=one.created_at)

    assert {"key": other.id} == archive.check_together([other, leaving, ended, other])
    with pytest.raises(ConfigurationError, match=f"{one.id} and {other.id} both .* 'key'"):
        archive.check_together([one, other])
