"""The room for measurements: the joint benchmark on held-out people, and speed."""
