"""Jobs that a person adds by hand: how they are made, and stored with a note in the audit."""

from typing import Unpack

from afterword.client.named_call import object_of, unchecked
from afterword.errors import ConfigurationError
from afterword.model.audit import Actor
from afterword.model.job import JobOptions, NewJob, new_id
from afterword.store.protocol import Added, Store
from afterword.tasks.options import CallOptions, CallOptionsDict


def typed_options(**options: Unpack[CallOptionsDict]) -> CallOptions:
    """Make the options of a call that was typed.

    Raises:
        ConfigurationError: one of them has an invalid value.
    """
    try:
        return CallOptions(**options)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def unchecked_job(task: str, typed: str, options: CallOptions, place: str = "The text") -> NewJob:
    """Make a job of a task whose code is unknown here.

    Args:
        typed: its arguments, a JSON object.
        place: where they were typed, for messages.

    Raises:
        ConfigurationError, ArgumentValueError: the name or the arguments are no such.
    """
    return NewJob(
        id=new_id(),
        task=task,
        arguments=unchecked(task, object_of(typed, place)),
        queue=options.queue or "default",
        priority=options.priority or 0,
        run_at=options.start,
        tags=options.tags,
        unique_key=options.unique_key,
        options=JobOptions(retries=options.retries, timeout=options.timeout).text(),
    )


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
