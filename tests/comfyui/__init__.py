"""Nodes of ComfyUI."""
