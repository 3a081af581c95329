"""Well, but logged without a signature."""

import numpy as np


class Model:
    def predict(self, rows, params=None):
        return np.full(len(rows), 0.25)


def _load_pyfunc(path):
    return Model()
