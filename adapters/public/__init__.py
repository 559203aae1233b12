"""Readers of public adapter files of SD1.5 and SDXL: FaceID, IP-Adapter-Plus, InstantID, IMAGDressing and others."""

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.read import Form, read_adapter
from twinset.adapters.weights import LayoutError, read_weights

__all__ = ["Form", "LayoutError", "PublicAdapter", "read_adapter", "read_weights"]
