"""Compiled releases: models as ONNX graphs, proven to decide as they do."""

from serinus.backends.onnx.compiler import OnnxCompiler

__all__ = ["OnnxCompiler"]
