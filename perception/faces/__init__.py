"""Faces in photographs: detectors, recognisers, quality."""
