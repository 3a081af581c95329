"""Compiled releases: models as ONNX graphs, which are proven to decide as the models do."""

from serinus.backends.onnx.compiler import Ask, OnnxCompiler

__all__ = ["Ask", "OnnxCompiler"]
