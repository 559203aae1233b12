"""Templates: `{red|blue} dress` and `__colour__` files, expanded by dynamicprompts from a seed."""

from __future__ import annotations

import re
from pathlib import Path

from twinset.errors import InputError
from twinset.prompts.notation import braces_as_weights, without_faces

WILDCARD = r"__[\w/*.-]+?__"
"""`__colour__`, the name of a file with one value a line."""
_HASH = "\ue006"


def is_template(text: str) -> bool:
    """Whether a text has variants or wildcards; emoticons and tags have braces and underscores too."""
    return re.search(rf"\{{[^}}]*[|$]|\{{[^}}]*$|{WILDCARD}", text) is not None


def expand(template: str, seed: int, folder: Path | None = None) -> str:
    """One expansion of a template; the same seed gives the same one.

    Args:
        template: A prompt in the syntax of dynamicprompts.
        seed: Any integer.
        folder: Where `__name__` finds `name.txt`, one value a line.

    Raises:
        InputError: The template cannot be read, or a wildcard has no file.
    """
    from dynamicprompts.generators import RandomPromptGenerator  # a third of a second, for prompts with templates
    from dynamicprompts.wildcards import WildcardManager

    generator = RandomPromptGenerator(WildcardManager(folder), seed=seed)
    try:
        text = generator.generate(template, 1)[0] if template else ""
    except Exception as error:  # the parser's own exceptions share no base class
        raise InputError(
            f"prompt template {template!r} cannot be read ({type(error).__name__}); balance its braces"
        ) from error
    if re.search(WILDCARD, text):
        where = f"put its .txt into {str(folder)!r}" if folder else "write its values here, as in {red|blue}"
        raise InputError(f"prompt {text!r} has a wildcard without a file; {where}")
    return text


def one_of(text: str, seed: int) -> str:
    """A sentence with one of the variants of each of its templates; without any it comes back as it is.

    Raises:
        InputError: a template cannot be read, or a wildcard has no file.
    """
    if not re.search(r"[{}_]", text):
        return text
    text = braces_as_weights(without_faces(text))
    if not is_template(text):
        return text
    return expand(text.replace("#", _HASH), seed).replace(_HASH, "#")  # "#" begins a comment in a template
