"""`python -m mimic.cli`, for processes that start one another."""

from mimic.cli import main

main()
