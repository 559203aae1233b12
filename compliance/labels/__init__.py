"""The labels that mark a picture as generated: pixel mark, visible label, XMP and C2PA manifest."""
