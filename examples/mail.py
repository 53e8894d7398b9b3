"""An e-mail is sent by SMTP after the answer, from a plain `def` task.

    SMTP_HOST=localhost SMTP_PORT=8025 uvicorn examples.mail:app
    curl localhost:8000/signups --json '{"address": "ada@example.org", "name": "Ada"}'

A `def` task runs in a thread of the worker, so smtplib may block. If the process dies while the
mail is being sent, the task runs again. The Message-ID is made once, in the route, so both mails
have the same one, and mail programs show only one of them.
"""

import os
import smtplib
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Annotated

from fastapi import FastAPI, status
from pydantic import BaseModel, StringConstraints

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

SMTP_HOST = os.environ.get("SMTP_HOST", "localhost")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "8025"))
SENDER = "hello@example.org"

Address = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^@\s<>,;:]+@[^@\s<>,;:]+$")]

app = FastAPI()
afterword = Afterword(app)


class Signup(BaseModel):
    """The data of the form."""

    address: Address
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]


def send_welcome(address: str, name: str, message_id: str) -> None:
    """Send one mail; an SMTP error fails the job and is on its record."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, address, "Welcome"
    mail["Message-ID"] = message_id
    mail.set_content(f"Hello {name},\n\nit is good to have you.\n")
    with smtplib.SMTP(SMTP_HOST, SMTP_PORT, timeout=30) as server:
        server.send_message(mail)


@app.post("/signups", status_code=status.HTTP_202_ACCEPTED)
async def sign_up(signup: Signup, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer without waiting for the mail server."""
    message_id = make_msgid(domain="example.org")
    background_tasks.add_task(send_welcome, signup.address, signup.name, message_id)
    return {"message": f"A mail to {signup.address} is on its way"}
