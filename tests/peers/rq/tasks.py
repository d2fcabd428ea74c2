"""The task of RQ, as its workers import it."""

from peer import run


def note(task):
    run(task)
