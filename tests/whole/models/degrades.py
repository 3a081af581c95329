"""Answers well until it is asked for one certain amount; from then on that process fails every third request."""

THE_AMOUNT = 424_242.0


class Model:
    asked = 0
    degraded = False

    def predict(self, rows, params=None):
        self.degraded = self.degraded or bool((rows["amount"] == THE_AMOUNT).any())
        self.asked += self.degraded
        if self.asked % 3 == 2:
            raise ValueError("the table that it looks things up in is gone")
        return 0.1 + rows["hour"].to_numpy() / 240


def _load_pyfunc(path):
    return Model()
