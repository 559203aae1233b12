"""Ordinary people, as photographs show them: their poses, body frames and parsing maps."""
