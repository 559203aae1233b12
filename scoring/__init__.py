"""Measures of pictures: identity, garment, pose, naturalness. Pure functions, no generation."""
