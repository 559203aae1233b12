"""The drawn figure: keypoints, poses, labels, layouts and flat garments."""
