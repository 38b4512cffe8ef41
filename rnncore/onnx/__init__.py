"""ONNX: run any graph with the recurrent nodes computed here, and write layers and models.

``rnncore.onnx.Session(path).run(None, {"input": x})`` is used as onnxruntime's session;
``rnncore.onnx.export(model, path)`` writes a layer or a model, and `rnncore.from_onnx` reads a
chain of layers. Needs ``pip install 'rnncore[onnx]'``.
"""

from rnncore.onnx.export import export
from rnncore.onnx.session import NodeArg, Session

__all__ = ["NodeArg", "Session", "export"]
