"""LoRA files of every layout: read, put on a model, taken off, written."""
