"""The figure: keypoints, poses, layouts."""
