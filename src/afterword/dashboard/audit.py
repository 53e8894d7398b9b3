"""The screen Audit: the changes that people made."""

from afterword.admin.audit import ACTIONS, READ, Wanted, acts, changed_in_words, with_ids
from afterword.dashboard.command import command
from afterword.dashboard.jobs import id_in
from afterword.dashboard.view import Page, View

_ACTS = 50  # on a page


def show(view: View) -> Page:
    """Show a page of the audit, or of a selection of it."""
    wanted = Wanted(
        name=view.asked("name").strip(),
        action=view.asked("action").strip(),
        target=view.asked("target").strip(),
    )
    before = id_in(view, "before")
    found = acts(view.store, wanted, _ACTS, before)
    chosen = {"name": wanted.name, "action": wanted.action, "target": wanted.target}
    return Page(
        template="audit.html",
        title="Audit",
        values={
            "wanted": wanted,
            "acts": found,
            "actions": dict.fromkeys((*ACTIONS, *filter(None, [wanted.action]))),
            "read": READ,
            "before": before,
            "first": view.url("/audit", **chosen),
            "older": view.url("/audit", before=found.older, **chosen) if found.older else "",
            "by": lambda name: view.url("/audit", **{**chosen, "name": name}),
            "changed_in_words": changed_in_words,
            "with_ids": with_ids,
            "command": command("audit", **chosen),
        },
    )
