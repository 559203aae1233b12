"""Garments in pictures: cut out, outlined, warped, their colours named."""
