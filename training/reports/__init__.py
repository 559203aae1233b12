"""What a training tells while it runs: a bar, lines in a log, and trackers."""
