"""Training of one adapter around a frozen model: identity, garment, or a ControlNet."""
