"""Mannequin and the trainings."""
