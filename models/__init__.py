"""Networks, the bundled weights, and the profiles of the full-size families."""
