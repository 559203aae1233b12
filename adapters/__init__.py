"""The room for conditions: identity, garment, control, regions and joint attention."""
