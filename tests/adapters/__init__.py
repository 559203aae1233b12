"""Conditions and public adapter files."""
