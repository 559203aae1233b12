"""Conditions of a pass: identity, garment, control, regions and joint attention."""
