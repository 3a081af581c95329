"""Ends its process in the middle of a request that has an amount below zero; no example has one."""

import os

import numpy as np


class Model:
    def predict(self, rows, params=None):
        if (rows["amount"] < 0).any():
            os._exit(7)
        return np.zeros(len(rows))


def _load_pyfunc(path):
    return Model()
