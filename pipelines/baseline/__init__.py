"""The serial way to compare with: face swap, try-on, colour repair."""
