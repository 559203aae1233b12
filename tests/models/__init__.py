"""Networks, profiles and downloads."""
