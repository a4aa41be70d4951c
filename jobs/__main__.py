"""`python -m jobs` is the `restem` command."""

from jobs.cli import main

main()
