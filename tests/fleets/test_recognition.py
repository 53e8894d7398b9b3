"""Tasks of fleets in `add_task`: recognised or refused; no body runs here."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
import rq
from celery import Celery, chain, current_app, signature
from dramatiq.composition import group as _group
from dramatiq.composition import pipeline

from afterword import JobState, task
from afterword.errors import ConfigurationError, NotStorable
from afterword.fleets.celery import CeleryConnection
from afterword.fleets.remote import name_of
from afterword.fleets.rq import RQTask
from afterword.model import modules
from afterword.tasks import registry
from afterword.tasks.registry import reference, resolve
from tests.fleets import celery_site, dramatiq_site
from tests.fleets.celery_site import app as celery_app
from tests.fleets.celery_site import failing, note, plain, shared, with_model
from tests.fleets.conftest import Ran
from tests.fleets.dramatiq_site import Report
from tests.fleets.memory import in_memory, messages, published
from tests.fleets.site import Fleet, post, serving_fleet

report: Any = Report  # an object, though it reads like a class
actor: Any = dramatiq_site.note
group: Any = _group
queue = rq.Queue("mail", connection=redis.Redis(port=9))


@pytest.fixture(params=[True, False], ids=["started", "not started"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    tasks = [celery_site, dramatiq_site]
    with in_memory(), serving_fleet(tmp_path, started=request.param, tasks=tasks) as site:
        yield site


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: partial(note, path), "partial"),
        (lambda path: partial(partial(note.delay, path)), "partial"),
        (lambda path: partial(note.apply_async, (path,)), "apply_async"),
        (lambda path: note.__call__, "__call__"),
        (lambda path: note.retry, "retry"),
        (lambda path: note.s(path).apply_async, "apply_async"),
        (lambda path: chain(note.si(path), note.si(path)).delay, "chain"),
        (lambda path: celery_app.send_task, r"app\.signature"),
        (lambda path: partial(actor, path), "partial"),
        (actor.message, "Message"),
        (lambda path: pipeline([actor.message(path)]), "pipeline"),
        (lambda path: pipeline([actor.message(path)]).run, "pipeline"),
        (lambda path: group([actor.message(path)]).run, "group"),
        (lambda path: dramatiq.get_broker().enqueue, "Broker"),
        (lambda path: queue.enqueue, r"task\(func, via=queue\)"),
    ],
    ids=[
        *("partial", "partials", "apply_async", "call", "retry", "signature's", "chain's"),
        *("send_task", "partial actor", "message", "pipeline", "run", "group", "enqueue", "queue"),
    ],
)
def test_what_would_publish_or_run_in_the_request_is_refused(
    site: Fleet, ran: Ran, make: Callable[[str], Any], word: str
) -> None:
    with pytest.raises(NotStorable, match=word):
        post(site, lambda tasks: tasks.add_task(make(ran.path)))

    assert [] == site.jobs()
    assert ([], []) == (ran.lines, published())


def test_the_delay_of_a_signature_is_its_task(site: Fleet, ran: Ran) -> None:
    given: Any = note.s(ran.path)
    ids = post(site, lambda tasks: tasks.add_task(given.delay, text="x"))

    site.states()
    assert ids == published()


def test_a_job_that_is_sent_from_its_request_has_its_id_in_the_fleet(site: Fleet, ran: Ran) -> None:
    """The id is the same as in a started application."""
    ids = post(
        site,
        lambda tasks: tasks.add_task(note, ran.path),
        lambda tasks: tasks.add_task(plain, ran.path),
    )

    site.states()
    assert ids == published()


def test_a_model_is_sent_as_the_dict_that_celery_makes_of_it(site: Fleet) -> None:
    post(
        site,
        lambda tasks: tasks.add_task(with_model, celery_site.Order(number=7)),
        lambda tasks: tasks.add_task(with_model, {"number": 8}),
    )

    site.states()
    numbers = [[*args, *kwargs.values()][0]["number"] for args, kwargs, _ in messages()]
    assert [7, 8] == numbers


def test_a_task_that_is_a_class_is_sent_after_it_was_registered(
    site: Fleet, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    if site.started:
        monkeypatch.setattr(registry, "_remote", {})
        with pytest.raises(NotStorable, match=r"afterword\.task"):
            post(site, lambda tasks: tasks.add_task(failing, ran.path))
    task(failing)

    ids = post(site, lambda tasks: tasks.add_task(failing, ran.path))

    site.states()
    assert (ids, []) == (published(), ran.lines)


def test_of_a_function_and_a_task_with_one_name_neither_is_taken_for_the_other(
    site: Fleet, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_remote", {})
    task(celery_site.to_fleet)
    if site.started:
        with pytest.raises(NotStorable, match="Put our decorator above that of Celery"):
            post(site, lambda tasks: tasks.add_task(celery_site.decorated_below, ran.path))

    ids = post(site, lambda tasks: tasks.add_task(celery_site.to_fleet, ran.path))
    post(site, lambda tasks: tasks.add_task(celery_site.of_both, ran.path))  # in the request

    site.states()
    assert (ids, ["ran"]) == (published(), ran.lines)


def test_an_actor_that_is_a_class_is_sent(site: Fleet, ran: Ran) -> None:
    broker = report.broker
    post(site, lambda tasks: tasks.add_task(report, ran.path))
    post(site, lambda tasks: tasks.add_task(report.send, ran.path))
    site.states()

    assert [] == ran.lines
    sent = [dramatiq.Message.decode(broker.queues["default"].get()) for _ in range(2)]
    assert ["Report", "Report"] == [message.actor_name for message in sent]


def test_a_shared_task_belongs_to_the_app_in_every_thread(site: Fleet, ran: Ran) -> None:
    """In threads other than the app's, Celery's current app has no broker."""
    apps: list[Any] = []
    thread = threading.Thread(target=lambda: apps.append(current_app._get_current_object()))
    thread.start()
    thread.join()
    assert apps[0] is not celery_app

    ids = post(site, lambda tasks: tasks.add_task(shared, ran.path))

    site.states()
    assert ids == published()


def test_a_task_by_its_name_alone_is_that_of_the_one_app(site: Fleet, ran: Ran) -> None:
    current_app.tasks  # noqa: B018 - makes Celery's fallback app, which does not count
    ids = post(
        site,
        lambda tasks: tasks.add_task(celery_app.signature("elsewhere", ("x",))),
        lambda tasks: tasks.add_task(signature("elsewhere", ("x",))),  # of the thread's current app
    )

    site.states()
    assert ids == published()
    assert resolve("celery:elsewhere") is resolve("celery:elsewhere")  # a worker keeps it


def test_an_error_of_a_task_that_runs_at_once_is_not_one_of_sending(site: Fleet, ran: Ran) -> None:
    """The setting is `task_always_eager`, which some people use in tests."""
    task(failing)
    conf = celery_app.conf
    conf.task_always_eager = conf.task_eager_propagates = True
    try:
        post(site, lambda tasks: tasks.add_task(failing, ran.path))
        states = site.states()
    finally:
        conf.task_always_eager = conf.task_eager_propagates = False

    assert {JobState.HANDED_OVER} >= {*states}
    assert ["ran"] == ran.lines


@pytest.mark.parametrize(
    "options",
    [{"backoff": 5}, {"retry_on": OSError}, {"on_crash": "fail"}, {"executor": "process"}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_would_do_nothing_are_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} is not possible"):
        task(plain, **options)


def test_without_a_broker_url_rabbitmq_has_to_confirm() -> None:
    """Celery's default broker is RabbitMQ on this host."""
    found = CeleryConnection(Celery("without", set_as_current=False))

    assert found._connection.transport_options["confirm_publish"] is True


def test_the_functions_of_a_script_have_its_importable_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other processes import it by that; their `__main__` is another module."""
    monkeypatch.setattr(modules, "_importable_name_of_main", lambda: "script")

    def func() -> None: ...

    func.__module__, func.__qualname__ = "__main__", "func"

    assert name_of(func) == reference(func) == "script:func"
    assert RQTask(func, queue).path == reference(func).replace(":", ".")


SHOP = """
from celery import Celery

celery = Celery("shop", broker="memory://")


@celery.task
def receipt(number: int) -> None: ...
"""
SCRIPT = """
from celery import Celery
from shop import receipt

from afterword import Afterword

celery = Celery("script", broker="memory://")


@celery.task
def own(number: int) -> None: ...


afterword = Afterword(url="sqlite:///jobs.db")
print([afterword.add_task_sync(task, 7).task for task in (receipt, own)])
"""


def test_a_script_adds_tasks_of_fleets_for_an_application_to_send(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "nightly.py").write_text(SCRIPT)

    command = [sys.executable, "nightly.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "['shop:receipt', 'nightly:own']" == told.stdout.strip()


def test_a_name_stands_for_one_fleet(site: Fleet) -> None:
    first = task("company.mail.send", via=queue)
    second = task("company.mail.send", via=rq.Queue("other", connection=queue.connection))
    if site.started:
        with pytest.raises(NotStorable, match=r"task\('company.mail.send', via=...\)"):
            post(site, lambda tasks: tasks.add_task(first))
    assert second is resolve("company.mail.send")


def test_no_other_system_is_imported_by_ours() -> None:
    modules = "afterword.fastapi, afterword.cli, afterword.pytest_plugin, afterword.fleets.asking"
    others = "{'celery', 'kombu', 'amqp', 'rq', 'redis', 'dramatiq', 'pika', 'arq'}"
    code = f"import sys, {modules}; print({others} & {{*sys.modules}})"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "set()" == told.stdout.strip()
