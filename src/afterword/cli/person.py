"""The person at the command line, for the audit."""

import os
import pwd
import socket

from afterword.model.audit import Actor


def this_person() -> Actor:
    """Return the user of this machine who runs the command."""
    return Actor(name=f"{_user()}@{socket.gethostname()}{_behind_sudo()}", place="command line")


def _user() -> str:
    """Return the name of the account; not that of the environment, which can be set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # usual in containers
        return f"uid {os.getuid()}"


def _behind_sudo() -> str:
    user = os.environ.get("SUDO_USER")
    return f" (sudo by {user})" if user else ""
