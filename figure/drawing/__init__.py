"""Draws figures as SVG: skin, hair, clothes and what is worn, flat garments, and drafts of them; no networks."""
