"""A store with jobs in every state, for screens to show: an ordinary one, and a hostile one."""

import json
import time

from afterword.model.audit import Actor
from afterword.model.job import JobOptions, NewJob, new_fence, new_id
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, RetryAt
from afterword.store.protocol import Claim, Declared, Report, Settlement, Store

ERROR = """Traceback (most recent call last):
  File "/app/.venv/lib/python3.12/site-packages/httpx/_client.py", line 1014, in send
    response = self._send_handling_auth(
               ^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/.venv/lib/python3.12/site-packages/httpx/_transports/default.py", line 117, in handle
    raise mapped_exc(message) from exc
  File "/app/shop/mail.py", line 42, in send_receipt
    response = client.post(url, json=letter)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
httpx.ConnectError: [Errno 111] Connection refused by mail.example.org:587
"""
LETTER = {
    "to": "ada@example.org",
    "order": {"number": 12345678901234567890, "total": 49.90, "lines": ["tea", "a cup", None]},
    "gift": True,
}

ADA = Actor(name="ada@example.org", place="dashboard")
SUE = Actor(name="sue@admin-1 (sudo by sue)", place="command line")

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</textarea></title></style><svg onload=alert(1)>",
    "a\u202egnp.exe",
    "\x1b[2J\x07bell",
    '=HYPERLINK("http://example.org")',
    "x" * 400,
    "&lt;b&gt;&amp;",
    "data-hx-on:click=alert(1)",
]


class Population:
    """A set of jobs in a store.

    Args:
        store: an open store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.worker = f"{new_fence():016x}"
        store.join(self.worker, 3600.0, ("default", "mail"), 8)
        store.take_note(self.worker, None)

    def add(self, task: str = "shop.orders:pack_order", **values: object) -> str:
        """Add a queued job; returns its id."""
        job = NewJob(**{"id": new_id(), "task": task, **values})  # type: ignore[arg-type]
        self.store.add([job])
        return job.id

    def start(self, task: str = "shop.orders:pack_order", **values: object) -> Claim:
        """Add a running job."""
        queue = str(values.get("queue", "default"))
        job_id = self.add(task, **{"priority": -1000, **values})
        claims = self.store.claim(self.worker, [queue], 1)
        assert [job_id] == [claim.id for claim in claims]
        return claims[0]

    def end(self, outcome: Outcome, task: str = "shop.orders:pack_order", **values: object) -> str:
        """Add a job that has ended with this outcome; returns its id."""
        claim = self.start(task, **values)
        self.store.settle([Settlement(claim, outcome, seconds=0.137)])
        return claim.id

    def retrying(self, task: str, **values: object) -> str:
        """Add a job whose first attempt has failed."""
        return self.end(RetryAt(600.0, ERROR), task, **values)


def ordinary(store: Store) -> dict[str, str]:
    """Fill a store as a shop would; returns ids of jobs by their purpose."""
    people = Population(store)
    request = "req-7f3a9c"
    letter = json.dumps(LETTER)
    named: dict[str, str] = {}
    for number in range(12):
        people.end(Completed('{"packed": true}'), arguments=json.dumps({"number": number}))
    for _ in range(3):
        named["failed"] = people.end(
            Failed(ERROR),
            "shop.mail:send_receipt",
            queue="mail",
            arguments=letter,
            tags=("vip",),
            request_id=request,
        )
    people.end(Failed("ValueError: order 4711 has no address"), "shop.orders:ship")
    people.end(Cancelled("cancelled on the command line"), "shop.reports:build")
    named["completed"] = people.end(
        Completed('{"sent": true, "id": 9007199254740993}'),
        "shop.mail:send_receipt",
        queue="mail",
        arguments=letter,
        request_id=request,
    )
    named["retrying"] = people.retrying(
        "shop.mail:send_newsletter", queue="mail", options=JobOptions(retries=5).text()
    )
    running = people.start("shop.images:resize", arguments='{"folder": "/photos/2026"}')
    named["running"] = running.id
    store.report([Report(running, '{"current": 40, "total": 96, "message": "resizing"}')])
    ending = people.start("shop.reports:build")
    store.cancel([ending.id], "not needed any more", by=Actor(name="", place="API"))
    named["ending"] = ending.id
    named["scheduled"] = people.add("shop.reports:build", run_at=time.time() + 7200)
    named["queued"] = people.add(arguments='{"number": 77}', tags=("vip", "gift"))
    named["waiting"] = people.add("shop.orders:ship", after=named["queued"], request_id=request)
    people.add("shop.export:dump", queue="exports")
    store.limit({"mail": 5}, by=ADA)
    store.note("run", ["shop.orders:pack_order", named["queued"]], 1, ADA)
    store.note("delete", ["completed jobs with task shop.orders:pack_order"], 12_345, SUE)
    store.note("pause", ["imports", "exports"], 2, SUE)
    store.note("resume", ["imports", "exports"], 2, ADA)
    store.declare(
        [
            Declared(
                name="nightly-report",
                task="shop.reports:build",
                rule="0 3 * * * Europe/Berlin",
                words="at 03:00 every day, Europe/Berlin",
                next_at=time.time() + 3600,
            )
        ]
    )
    return named


def hostile(store: Store) -> list[str]:
    """Fill a store with hostile text; returns the ids."""
    people = Population(store)
    ids = []
    for text in HOSTILE:
        arguments = json.dumps({text: [text, {"deep": text}]})
        plain = text.replace("\x1b", "").replace("\x07", "")
        ids.append(
            people.end(
                Failed(f"{ERROR}{plain}: {text}"),
                f"evil.module:{text}",
                arguments=arguments,
                tags=(text,),
                request_id=text[:100],
                unique_key=text,
            )
        )
        claim = people.start(f"{text}:f", arguments=arguments, request_id=text[:100])
        store.report([Report(claim, json.dumps({"current": 1, "total": 2, "message": text}))])
        ids.append(claim.id)
    queue = HOSTILE[0]
    ids.append(people.add(queue=queue))
    store.pause([queue])
    for text in HOSTILE:
        store.note(text[:50], [text], 1, Actor(name=text, place=text[:50]))
    return ids
