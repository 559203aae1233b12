"""From a sentence to what the pipelines need of it."""

from twinset.prompts.brief import Brief, read_brief

__all__ = ["Brief", "read_brief"]
