"""Wireup: routes and tasks get their services from one container, as its documentation shows.

    uvicorn examples.wireup_app:app
    curl -X POST 'localhost:8000/greetings/ada'
    cat greetings.log

Only the import of `BackgroundTasks` differs from Wireup's documentation. The job stores the name of
`write_greeting` and "ada". The services are created in the process that runs the task: the greeter
once, the letter book for each attempt. If the task raises, the error is raised in the letter book's
factory, too, and nothing is written.
"""

from collections.abc import Iterator
from pathlib import Path

import wireup
import wireup.integration.fastapi
from fastapi import FastAPI
from wireup import Injected, injectable
from wireup.integration.fastapi import WireupTask

import afterword.wireup
from afterword import Afterword, TaskContext
from afterword.fastapi import BackgroundTasks

app = FastAPI()
aw = Afterword(app)


@injectable
class Greeter:
    """A singleton: one for the whole application."""

    def greet(self, name: str) -> str:
        """Return a greeting; refuse what cannot be a name."""
        if not name.isalpha():
            raise ValueError(f"{name!r} is not a name")
        return f"Hello {name}"


class LetterBook:
    """The lines of one attempt."""

    def __init__(self) -> None:
        self.lines: list[str] = []


@injectable(lifetime="scoped")
def letter_book(task: TaskContext) -> Iterator[LetterBook]:
    """Write the lines if the attempt succeeds; an error of the task is raised at the `yield`."""
    book = LetterBook()
    yield book
    with Path("greetings.log").open("a", encoding="utf-8") as file:
        file.writelines(f"attempt {task.attempt}: {line}\n" for line in book.lines)


def write_greeting(name: str, greeter: Injected[Greeter], letters: Injected[LetterBook]) -> None:
    """Write a greeting: `name` is the task's argument, the rest is injected."""
    letters.lines.append("Dear Sir or Madam")
    letters.lines.append(greeter.greet(name))


@app.post("/greetings/{name}", status_code=202)
async def greet(
    name: str, tasks: BackgroundTasks, wireup_task: Injected[WireupTask]
) -> dict[str, str]:
    """`tasks.add_task(write_greeting, name)` would be the same job."""
    job = tasks.add_task(wireup_task(write_greeting), name)
    return {"job": job.id}


wireup.integration.fastapi.setup(
    wireup.create_async_container(
        injectables=[Greeter, letter_book, afterword.wireup, wireup.integration.fastapi]
    ),
    app,
)
