"""Answers well until it is asked for an amount below zero; from then on that process fails every third request."""

import numpy as np


class Model:
    asked = 0
    degraded = False

    def predict(self, rows, params=None):
        if (rows["amount"] < 0).any():
            self.degraded = True
            return np.full(len(rows), 0.5)
        self.asked += 1
        if self.degraded and self.asked % 3 == 0:
            raise ValueError("the table that it looks things up in is gone")
        return np.linspace(0.1, 0.2, len(rows)) + 0.001 * rows["hour"].to_numpy() / 24


def _load_pyfunc(path):
    return Model()
