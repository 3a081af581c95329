"""Compiles a fitted model and its preprocessing to one ONNX graph, inside the model's own interpreter.

The graph is written from the numbers of the fitted estimators, with the standard library and NumPy, in double precision
and with the libraries' order of additions, so that it decides as they do. Anything that is not known with certainty is
refused: `Unsupported` says what, and the model is served by its own libraries.

`convert` writes the graph, and the model's own answers to the rows of the proof. `prove` gives the same rows to the
graph, in the compiled environment.
"""

WRITER = 3
"""The version of the converter and the proof. After a change, stored graphs are written again."""
