"""What is recognised in pictures: faces, poses, parsing maps, garments."""
