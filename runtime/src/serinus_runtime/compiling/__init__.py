"""Turns a fitted model and its preprocessing into one ONNX graph, inside the model's own interpreter.

The graph is written from the fitted estimators' own numbers by the standard library and numpy alone, in double
precision and in the order in which the libraries add, so that it decides as they do. What is not known for certain is
not written: `Unsupported` says what, and the model is served as it is.

`convert` writes the graph and what the model itself answers to the proof's rows; `prove` asks the graph the same, in
the compiled environment.
"""

WRITER = 3
"""Of the way graphs are written and proven. With another number, what was kept is written anew."""
