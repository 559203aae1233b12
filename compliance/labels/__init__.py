"""What tells of a picture that it was generated: pixel mark, visible label, XMP and C2PA manifest."""
