"""Models for other runtimes: ONNX, PyTorch's exported programs, and a page for the browser."""

from cyclegan_media.export.folder import Format, Runtime, export_model
from cyclegan_media.export.runtime import load_onnx, open_model

__all__ = ["Format", "Runtime", "export_model", "load_onnx", "open_model"]
