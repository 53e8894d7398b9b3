"""Decisions of the command line without a store: spans, groups, reasons, health."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword.admin import checkup, duration, health, job_options, progress, waiting
from afterword.admin.health import Snapshot
from afterword.admin.waiting import Surroundings
from afterword.client.handle import ProgressRecord
from afterword.model.job import JobOptions, JobRecord, JobState
from afterword.model.records import QueueRecord, ScheduleRecord, WorkerRecord
from tests.values import a_record

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def record(**values: object) -> JobRecord:
    """Return a queued job that is due."""
    due = NOW - timedelta(minutes=1)
    return a_record(**{"created_at": due, "run_at": due, **values})


# ---------------------------------------------------------------------- spans


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5h", 5400), ("1h30m", 5400), ("7d", 604_800), (" 2W ", 1_209_600), ("0s", 0)],
)
def test_a_span_is_numbers_with_units(text: str, seconds: float) -> None:
    assert seconds == duration.parse_span(text)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", "-1h", "1y", "1e9d", "9999999w", "\u0661h", "1..2h", "nanh"]
)
def test_what_is_no_span_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 15m"):
        duration.parse_span(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_longer_spans_have_more_seconds(one: int, other: int) -> None:
    spans = [duration.parse_span(f"{seconds}s") for seconds in (one, other)]

    assert (one < other) == (spans[0] < spans[1])


@given(st.floats(0, 3e9))
def test_a_span_is_shown_in_its_order_of_magnitude(seconds: float) -> None:
    shown = duration.show_span(seconds).replace("min", "m").replace(" ", "")

    assert duration.parse_span(shown) <= seconds
    assert duration.parse_span(shown) >= seconds * 0.5 - 1


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("1h", timedelta(hours=1)),
        ("2026-11-22", timedelta(hours=12)),
        ("2026-11-22T11:00", timedelta(hours=1)),
        ("2026-11-22T11:00+01:00", timedelta(hours=2)),
        ("2026-11-22T11:00:00Z", timedelta(hours=1)),
    ],
)
def test_since_is_a_span_or_an_instant_in_utc(text: str, ago: timedelta) -> None:
    assert (NOW - ago).timestamp() == duration.parse_since(text, NOW.timestamp())


@pytest.mark.parametrize("text", ["yesterday", "22.11.2026", "", "1y"])
def test_what_is_no_instant_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 15m, 1h or 7d, or an ISO date"):
        duration.parse_since(text, NOW.timestamp())


# ---------------------------------------------------------------------- why a job waits


def reasons(job: JobRecord, before: JobRecord | None = None, *, served: bool = True) -> str:
    """Return the reasons that `show` would list."""
    around = Surroundings(before=before, served=served)
    return "; ".join(waiting.reasons(job, around, now=NOW.timestamp()))


def test_a_due_job_waits_for_a_free_worker() -> None:
    assert "due for 1 min, waits for a free worker" == reasons(record())


def test_a_job_for_later_says_when() -> None:
    said = reasons(record(run_at=NOW + timedelta(minutes=5)))

    assert "scheduled for 2026-11-22 12:05:00Z, in 5 min" == said


def test_a_retry_says_when_and_which() -> None:
    said = reasons(record(run_at=NOW + timedelta(seconds=30), attempt=2))

    assert "retrying at 2026-11-22 12:00:30Z, in 30 s, as attempt 3" == said


def test_a_job_that_was_put_back_says_why() -> None:
    put_back = record(parked_at=NOW - timedelta(minutes=3), error="unknown\ntask \x1b[31m")
    now = reasons(put_back)
    later = reasons(replace(put_back, run_at=NOW + timedelta(seconds=30)))

    since = "put back by each worker that claimed it since 2026-11-22 11:57:00Z, 3 min ago"
    assert f"{since}: task \\x1b[31m" == now
    assert f"{since}, until 2026-11-22 12:00:30Z, in 30 s: task \\x1b[31m" == later


def test_a_follower_names_who_is_before_it() -> None:
    before = record(state=JobState.RUNNING, task="shop:pay")

    said = reasons(record(after=before.id), before)

    assert f"behind job {before.id} (shop:pay), which is running" == said
    assert f"behind job {before.id}" == reasons(record(after=before.id))


def test_all_reasons_are_said() -> None:
    said = reasons(record(run_at=NOW + timedelta(hours=1), queue="mail"), served=False)

    assert said.startswith("scheduled for")
    assert said.endswith("; no worker serves the queue mail")


def test_a_retry_counts_its_failures_and_what_is_left() -> None:
    job = record(attempt=3, failures=2, run_at=NOW + timedelta(seconds=30))
    asked = replace(job, options=JobOptions(retries=1).text())

    assert reasons(job).endswith("as attempt 4, after 2 failures: retry 2")
    assert reasons(asked).endswith("retry 2, of which 0 more are left")


def test_a_queue_can_be_paused_and_at_its_limit() -> None:
    rule = replace(queue(), paused=True, concurrency=1, running=1)

    said = waiting.reasons(record(), Surroundings(queue=rule), now=NOW.timestamp())

    assert [
        "the queue default is paused",
        "the queue default is at its limit: 1 of 1 jobs run",
    ] == (said)


@pytest.mark.parametrize("running", [0, 1])
def test_a_limit_that_has_room_is_no_reason(running: int) -> None:
    job = record(limit_key="disk", options=JobOptions(limit=2).text())
    around = Surroundings(holders=[record()] * running)

    assert ["due for 1 min, waits for a free worker"] == (
        waiting.reasons(job, around, now=NOW.timestamp())
    )


@pytest.mark.parametrize(
    "options",
    [
        '{"limit":"a","retries":[],"timeout":"x","rate":[1]}',
        '{"rate":["a",2]}',
        '{"limit":true,"timeout":NaN,"rate":[1,Infinity]}',
        f'{{"limit":1{"0" * 400},"retries":1{"0" * 400}}}',  # beyond every float
        "[" * 100_000,
        "[]",
        "",
    ],
)
def test_options_that_nobody_can_have_said_are_not_heard(options: str) -> None:
    job = record(limit_key="disk", options=options)

    assert ("", "disk") == (job_options.options_in_words(job), job_options.limit_of(job))


# ---------------------------------------------------------------------- progress


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9) | st.none(), st.text())
def test_progress_is_always_one_line_and_a_bar_of_one_length(
    current: float, total: float | None, message: str
) -> None:
    said = ProgressRecord(current, total, message)

    assert progress.in_words(said).isprintable()
    assert len(progress.bar(said)) in (0, 22)


@given(st.integers(0, 999))
def test_nobody_is_done_before_they_are(current: int) -> None:
    assert not progress.in_words(ProgressRecord(current, 1000)).startswith("100 %")


@pytest.mark.parametrize(
    "text",
    [
        "50",
        "[]",
        "{",
        '{"current":"a"}',
        '{"total":[]}',
        '{"message":3}',
        '{"current":NaN}',
        "[" * 9999,
    ],
)
def test_progress_that_makes_no_sense_is_none(text: str) -> None:
    assert progress.progress_of(record(state=JobState.RUNNING, progress=text)) is None


def test_only_queued_jobs_wait() -> None:
    assert "" == reasons(record(state=JobState.RUNNING), served=False)


# ---------------------------------------------------------------------- health


def worker(**values: object) -> WorkerRecord:
    """Return a live worker of the default queue."""
    one = WorkerRecord(
        id="w1",
        host="here",
        pid=1,
        queues=("default",),
        concurrency=4,
        running=0,
        joined_at=NOW,
        expires_at=NOW + timedelta(seconds=30),
        retired=False,
        alive=True,
    )
    return replace(one, **values)  # type: ignore[arg-type]


def queue(due: int = 1, minutes: int = 1, name: str = "default") -> QueueRecord:
    """Return a queue whose oldest due job has this age."""
    at = NOW - timedelta(minutes=minutes)
    return QueueRecord(name=name, due=due, scheduled=0, waiting=0, running=0, oldest_at=at)


def snapshot(
    queues: list[QueueRecord], workers: list[WorkerRecord], *schedules: ScheduleRecord
) -> Snapshot:
    """Return the answers of a store."""
    return Snapshot(
        counts=dict.fromkeys(JobState, 0),
        queues=queues,
        workers=workers,
        schedules=schedules,
        now=NOW.timestamp(),
    )


def schedule(due: int, seen: int = 0, *, paused: bool = False) -> ScheduleRecord:
    """Return a schedule that was due, and seen in running code, some minutes ago."""
    return ScheduleRecord(
        name="sweep",
        task="shop:sweep",
        rule="every 60 seconds",
        words="Every minute",
        next_at=NOW - timedelta(minutes=due),
        last_at=None,
        paused=paused,
        seen_at=NOW - timedelta(minutes=seen),
    )


def test_a_store_with_nothing_to_do_is_healthy_without_workers() -> None:
    assert [] == snapshot([], []).problems


def test_a_served_queue_is_no_problem() -> None:
    assert [] == snapshot([queue()], [worker()]).problems


@pytest.mark.parametrize(
    "idle",
    [
        worker(alive=False),
        worker(retired=True),
        worker(concurrency=0),
        worker(queues=("mail",)),
    ],
)
def test_a_queue_that_nobody_serves_is_a_problem(idle: WorkerRecord) -> None:
    found = snapshot([queue(due=3)], [idle])

    assert ["no worker serves the queue default: 3 due jobs wait"] == found.problems
    assert ["default"] == [each.name for each in found.unserved]


def test_a_job_that_is_due_for_too_long_is_a_problem() -> None:
    found = snapshot([queue(minutes=6), queue(minutes=4, name="mail")], [worker()])

    assert "the oldest due job in the queue default has waited for 6 min" in found.problems
    assert found.oldest is not None
    assert "default" == found.oldest.name


def test_a_worker_that_went_with_its_jobs_is_a_problem() -> None:
    found = snapshot([], [worker(alive=False, running=2), worker()])

    assert ["the worker w1 on here is gone, but still holds 2 running jobs"] == found.problems


@pytest.mark.parametrize(("running", "level"), [(0, "ok"), (1, "problem")])
def test_the_doctor_agrees_on_workers_that_are_gone(running: int, level: str) -> None:
    found = snapshot([], [worker(alive=False, running=running), worker()])

    levels = {each.name: each.level for each in checkup.conditions(found)}
    assert (level, level == "ok") == (levels["leases"], found.problems == [])


def test_jobs_in_a_paused_queue_are_a_note_and_no_problem() -> None:
    paused = replace(queue(due=3, minutes=60), paused=True)

    found = snapshot([paused], [])

    assert ([], ["the queue default is paused: 3 due jobs wait"]) == (
        found.problems,
        found.notes,
    )
    assert found.oldest is None


def test_a_queue_that_has_only_a_rule_needs_nobody() -> None:
    rule = replace(queue(due=0), oldest_at=None, concurrency=5)

    found = snapshot([rule], [])

    assert ([], [], []) == (found.problems, found.notes, found.unserved)


def test_a_schedule_that_makes_no_jobs_is_a_problem() -> None:
    found = snapshot([], [worker()], schedule(due=6))

    assert [
        "the schedule sweep has created no job since it was due at 2026-11-22 11:54:00Z"
    ] == found.problems


@pytest.mark.parametrize(
    "one", [schedule(due=4), schedule(due=60, paused=True), schedule(due=60, seen=6)]
)
def test_a_schedule_that_is_not_looked_after_on_purpose_is_no_problem(one: ScheduleRecord) -> None:
    assert [] == snapshot([], [worker()], one).problems


def test_whatever_waits_without_any_worker_is_a_problem() -> None:
    """This includes jobs not yet due, and schedules not in running code for a while."""
    jobs = replace(queue(due=0), oldest_at=None, scheduled=1, waiting=2)
    forgotten = schedule(due=60, seen=60)

    for queues, schedules, words in (
        ([jobs], [], "3 jobs wait"),
        ([replace(jobs, waiting=0)], [], "1 job waits"),
        ([], [forgotten], "1 schedule waits"),
        ([jobs], [forgotten, forgotten], "3 jobs and 2 schedules wait"),
        ([replace(jobs, waiting=0)], [forgotten], "1 job and 1 schedule wait"),
    ):
        found = snapshot(queues, [worker(concurrency=0)], *schedules)
        assert [f"no worker takes jobs, but {words} for one"] == found.problems
        assert [] == snapshot(queues, [worker()], *schedules).problems
    assert [] == snapshot([replace(jobs, paused=True)], [], schedule(due=6, paused=True)).problems


def put_back(seconds: int, **values: object) -> JobRecord:
    """Return a job that a worker could not run, first some time ago."""
    error = "No function of this application is called 'shop:pack'. A job can call ..."
    return record(parked_at=NOW - timedelta(seconds=seconds), error=error, **values)


def test_jobs_that_no_worker_can_run_are_a_problem() -> None:
    """There is one line for each task and reason, with the longest time."""
    jobs = [put_back(60), put_back(90), put_back(8, task="shop:wrap")]

    found = replace(snapshot([queue()], [worker()]), parked=jobs)

    reason = "No function of this application is called 'shop:pack'"
    assert [
        f"2 jobs of shop:pack wait for a worker that can run them, for 1 min: {reason}",
        f"1 job of shop:wrap waits for a worker that can run it, for 8 s: {reason}",
    ] == found.problems
    assert [] == found.notes


@pytest.mark.parametrize(
    ("seconds", "running", "is_problem"),
    [(1, 0, False), (60, 4, False), (301, 4, True), (60, 3, True)],
)
def test_a_worker_that_can_run_it_may_only_be_busy(
    seconds: int, running: int, is_problem: bool
) -> None:
    """Or it has not had time to claim the job: then it is a note."""
    served = snapshot([queue()], [worker(running=running, concurrency=4)])

    found = replace(served, parked=[put_back(seconds)])

    assert (is_problem, not is_problem) == (bool(found.problems), bool(found.notes))


@pytest.mark.parametrize(("number", "words"), [(1, "1 job was"), (2, "2 jobs were")])
def test_jobs_that_were_asked_to_end_are_a_note(number: int, words: str) -> None:
    found = replace(snapshot([], []), asked=[record(cancelling="no")] * number)

    assert [] == found.problems
    assert found.notes[0].startswith(f"{words} asked to end and still run")


@given(st.integers(0, 20_000))
def test_counts_are_never_more_exact_than_they_were_counted(number: int) -> None:
    shown = health.capped(min(number, health.COUNT_LIMIT + 1))

    assert shown.endswith("+") == (number > 10_000)
    assert int(shown.strip("+").replace(",", "")) == min(number, 10_000)
