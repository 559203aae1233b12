"""Pictures, caches, encryption."""
