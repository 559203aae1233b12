"""Consent, labels on pictures, and moderation: the duties towards the person in a picture."""
