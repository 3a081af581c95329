"""Ends its process some seconds after it has begun, again and again, but not before it has come through the gates."""

import os
import time

STARTED = time.monotonic()


class Model:
    def predict(self, rows, params=None):
        if time.monotonic() - STARTED > 8:
            os._exit(7)
        return rows["amount"].to_numpy() % 97 / 97


def _load_pyfunc(path):
    return Model()
