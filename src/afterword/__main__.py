"""`python -m afterword`: the command line, if its script is not on the PATH."""

from afterword.cli import main

main()
