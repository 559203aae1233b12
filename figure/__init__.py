"""The figure as geometry: keypoints, poses, labels, parsing maps and flat garments; no networks."""
