"""What is read of pictures: faces, poses, parsing maps, garments."""
