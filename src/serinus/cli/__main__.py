"""Runs the command line: `python -m serinus.cli`."""

from serinus.cli import main

main()
