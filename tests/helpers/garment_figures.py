"""How often drawn garments are named and sorted rightly: `python -m tests.helpers.garment_figures --count 200`.

Seeds of the training range. All drawings of one kind share one outline, so the kind's figure counts ten shapes only.
"""

from __future__ import annotations

import argparse

import numpy as np

from twinset.figure.drawing.flat_garments import render_flat
from twinset.perception.garments.colours import colour_names
from twinset.perception.garments.cutout import KINDS_OF, cut_out, plain_mask
from twinset.perception.garments.outline import class_by_shape
from twinset.training.mannequin.spec import draw_plain_spec


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    first, among, sorted_rightly = [], [], []
    for seed in range(parser.parse_args().count):
        drawn = list(draw_plain_spec(seed).garments.values())[seed % 2]
        picture = render_flat(drawn)
        names = colour_names(picture, plain_mask(picture))
        first.append(names[0] == drawn.colour_name)
        among.append(drawn.colour_name in names)
        sorted_rightly.append(drawn.kind in KINDS_OF[class_by_shape(cut_out(picture).mask).name])
    print(f"{len(first)} garments: colour named first {np.mean(first):.1%}, among the names {np.mean(among):.1%}")
    print(f"class by outline right {np.mean(sorted_rightly):.1%}")


if __name__ == "__main__":
    main()
