"""Labels and consent."""
