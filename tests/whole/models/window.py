"""One answer to all rows of a request: the mean of a card's last payments."""

import numpy as np


class Model:
    def predict(self, rows, params=None):
        return np.array([float(rows["amount"].mean())])


def _load_pyfunc(path):
    return Model()
