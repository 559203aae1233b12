"""Poses and parsing maps of photographs, and keypoint files."""
