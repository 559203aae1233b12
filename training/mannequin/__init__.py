"""Mannequin: drawn people with ground truth for everything."""
