"""Models for other runtimes: ONNX, PyTorch's exported programs, and a page for the browser."""

from cyclegan_media.export.folder import Format, export_model
from cyclegan_media.export.runtime import load_onnx

__all__ = ["Format", "export_model", "load_onnx"]
