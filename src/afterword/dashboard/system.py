"""The screen System: the findings of `afterword doctor`, and the settings."""

from afterword.admin.checkup import as_text, conditions, installation, of_store
from afterword.admin.health import Snapshot, look_at
from afterword.admin.status import store_facts
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, View


def show(view: View) -> Page:
    """Show the findings of `afterword doctor`, and the settings of the application."""
    snapshot: Snapshot = view.recent.get("snapshot", lambda: look_at(view.store, view.now))
    stored = view.recent.get("store", lambda: list(of_store(view.store)))
    findings = [*installation(), *stored, *conditions(snapshot)]
    problems = [each for each in findings if each.level == "problem"]
    settings = view.settings()
    return Page(
        template="system.html",
        title="System",
        live=True,
        values={
            "wrong": [*problems, *(each for each in findings if each.level == "note")],
            "problems": len(problems),
            "good": [each for each in findings if each.level == "ok" and each.name != "store"],
            "facts": store_facts(view.store, snapshot),
            "settings": settings,
            "report": as_text(findings)
            + "".join(f"setting  {name}: {value}\n" for name, value in settings.items()),
            "command": command("doctor"),
        },
    )
