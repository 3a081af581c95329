"""Leaves out the last row of a batch."""

import numpy as np


class Model:
    def predict(self, rows, params=None):
        return np.zeros(max(1, len(rows) - 1))


def _load_pyfunc(path):
    return Model()
