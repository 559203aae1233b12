"""The figure as geometry: keypoints, poses, labels and parsing maps; no networks. `drawing` holds what is drawn of it."""
