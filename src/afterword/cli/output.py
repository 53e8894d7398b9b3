"""What a command writes: data to stdout, everything else to stderr.

Colours and line widths are rich's: in a terminal only, and only those that can be read on a light
background as well as on a dark one.
"""

from rich.console import Console
from rich.text import Text

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(highlight=False, soft_wrap=True, stderr=True)


def tell(message: str) -> None:
    """One line for the person who watches."""
    stderr.print(Text(message))


def print_json(text: str) -> None:
    """Data for a program: exactly this text, without colours."""
    stdout.print(Text(text))
