"""Training: the Mannequin renderer and the recipes of every network."""
