"""Exports actors for other programs, as ONNX graphs or as named tensors in safetensors files."""

from sb3_a2c_td.export.actor import Actor
from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.export import export_actor
from sb3_a2c_td.export.normalization import read_normalization
from sb3_a2c_td.export.safetensors import load_actor
from sb3_a2c_td.vec_env.normalization import Normalization

__all__ = ["Actor", "ExportError", "Normalization", "export_actor", "load_actor", "read_normalization"]
