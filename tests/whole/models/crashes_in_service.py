"""Ends its process a few hundred requests after it has begun, each time."""

import os


class Model:
    def __init__(self):
        self.answered = 0

    def predict(self, rows, params=None):
        self.answered += len(rows)
        if self.answered > 300:
            os._exit(7)
        return rows["amount"].to_numpy() % 97 / 97


def _load_pyfunc(path):
    return Model()
