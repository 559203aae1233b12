"""From a name, a folder or a file to a pipeline: parts put together, a base of one's own, public adapters."""
