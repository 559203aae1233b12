"""The words that sentences are read by, by subject; `twinset.prompts.glossary` puts them together."""
