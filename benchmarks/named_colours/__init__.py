"""Whether garments that only words name come in their colours."""
