"""Promotion batches: a manifest of people, looks, scenes and poses becomes pictures, each of them exactly once."""
