"""Jobs that a person adds by hand, with their note in the audit."""

from afterword.model.audit import Actor
from afterword.model.job import NewJob
from afterword.store.protocol import Added, Store


def add_by(store: Store, job: NewJob, by: Actor, schedule: str = "") -> Added:
    """Add a job for a person, in the store's thread.

    Args:
        schedule: the name of the schedule whose job it is; "": it is of none.
    """
    with store.transaction():
        (added,) = store.add([job])
        action, name = ("run schedule", schedule) if schedule else ("run", job.task)
        store.note(action, [name, added.id], int(added.added), by)
    return added
