"""Garment LoRAs: a folder of pictures of one garment becomes a file that puts it on anybody."""
