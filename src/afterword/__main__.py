"""`python -m afterword`: the command line, for where its script is not on the PATH."""

from afterword.cli import main

main()
