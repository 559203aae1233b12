"""Measurements: the joint benchmark on held-out people, and speed."""
