"""Consent, labels on pictures, and moderation: what a picture of a person owes that person."""
