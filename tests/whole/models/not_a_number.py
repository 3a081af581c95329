"""Answers, but with no score."""

import numpy as np


class Model:
    def predict(self, rows, params=None):
        return np.full(len(rows), np.nan)


def _load_pyfunc(path):
    return Model()
