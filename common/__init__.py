"""What every room stands on: files, pictures, caches, hashes, settings."""
