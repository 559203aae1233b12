"""Service, queue and page."""
