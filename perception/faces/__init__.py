"""Faces in photographs: detectors, landmarks, quality."""
