"""All routes of the dashboard, each with the permission that it needs.

A new screen is a module with a function, a template, and a line here (see CONTRIBUTING.md). Tests
try every line without permission, with each permission, from another site, and by another host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from afterword.dashboard import (
    audit,
    change,
    copy,
    export,
    failures,
    job,
    jobs,
    overview,
    queues,
    run,
    schedules,
    system,
    tasks,
    workers,
)
from afterword.dashboard.permissions import Permission
from afterword.dashboard.view import Answer, View


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Args:
        name: unique among the routes; the screen that the menu marks as the current one.
        path: with variables in braces, as Starlette takes it.
        serve: answers a request.
        needs: the permission.
        method: GET, or POST for a change.
        menu: its name in the menu, if it is there.
        for_tenants: True if it is about jobs only, so that tenants have it, too.
    """

    name: str
    path: str
    serve: Callable[[View], Answer]
    needs: Permission = "read"
    method: Literal["GET", "POST"] = "GET"
    menu: str = ""
    for_tenants: bool = False


ROUTES = (
    Route("overview", "/", overview.show, menu="Overview"),
    Route("jobs", "/jobs", jobs.show, menu="Jobs", for_tenants=True),
    Route("export", "/jobs/export.{format}", export.send, for_tenants=True),
    Route("job", "/jobs/{job_id}", job.show, for_tenants=True),
    Route("edit", "/jobs/{job_id}/copy", copy.show, "add", for_tenants=True),
    Route("copy", "/jobs/{job_id}/copy", copy.run, "add", "POST", for_tenants=True),
    Route("confirm_retry", "/jobs/change/retry", change.confirm, "retry", for_tenants=True),
    Route("retry", "/jobs/change/retry", change.carry_out, "retry", "POST", for_tenants=True),
    Route("confirm_cancel", "/jobs/change/cancel", change.confirm, "cancel", for_tenants=True),
    Route("cancel", "/jobs/change/cancel", change.carry_out, "cancel", "POST", for_tenants=True),
    Route("confirm_delete", "/jobs/change/delete", change.confirm, "delete", for_tenants=True),
    Route("delete", "/jobs/change/delete", change.carry_out, "delete", "POST", for_tenants=True),
    Route("failures", "/failures", failures.show, menu="Failures", for_tenants=True),
    Route("queues", "/queues", queues.show, menu="Queues"),
    Route("queue", "/queues/queue", queues.show_one),
    Route("pause_queue", "/queues/queue/pause", queues.pause, "queues", "POST"),
    Route("resume_queue", "/queues/queue/resume", queues.resume, "queues", "POST"),
    Route("limit_queue", "/queues/queue/limit", queues.limit, "queues", "POST"),
    Route("schedules", "/schedules", schedules.show, menu="Schedules"),
    Route("pause_schedule", "/schedules/pause", schedules.pause, "schedules", "POST"),
    Route("resume_schedule", "/schedules/resume", schedules.resume, "schedules", "POST"),
    Route("workers", "/workers", workers.show, menu="Workers"),
    Route("tasks", "/tasks", tasks.show, menu="Tasks"),
    Route("run_form", "/tasks/run", run.show, "add"),
    Route("run", "/tasks/run", run.run, "add", "POST"),
    Route("system", "/system", system.show, menu="System"),
    Route("audit", "/audit", audit.show, menu="Audit"),
)


def section_of(name: str) -> str:
    """Return the name of the menu's route to which a route belongs; "" if to none."""
    path = next((route.path for route in ROUTES if route.name == name), "")
    owners = [each for each in menu() if (path + "/").startswith(each.path.rstrip("/") + "/")]
    return max(owners, key=lambda each: len(each.path)).name if owners else ""


def menu(tenant: str | None = None) -> list[Route]:
    """Return the routes of the menu, in its order."""
    return [route for route in ROUTES if route.menu and (route.for_tenants or tenant is None)]
