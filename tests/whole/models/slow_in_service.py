"""Answers late, but not before it has been served for a while, as one that waits for a lock that others hold."""

import time

STARTED = time.monotonic()


class Model:
    def predict(self, rows, params=None):
        if time.monotonic() - STARTED > 12:
            time.sleep(0.15)
        return rows["amount"].to_numpy() % 97 / 97


def _load_pyfunc(path):
    return Model()
