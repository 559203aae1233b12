"""Scenes as SVG in the 192x256 frame, under white light."""

from __future__ import annotations

import numpy as np

from twinset.figure.colours import shaded
from twinset.training.mannequin.further_scenes import FURTHER_SCENES
from twinset.training.mannequin.scene_shapes import ellipse, gradient, rect


def _sky(rng: np.random.Generator) -> str:
    top = (90 + rng.uniform(-15, 15), 175 + rng.uniform(-15, 15), 240)
    clouds = "".join(
        ellipse(x, y, r, 0.42 * r, "#fff", 'fill-opacity=".8"')
        + ellipse(x + 0.6 * r, y - 0.25 * r, 0.6 * r, 0.4 * r, "#fff", 'fill-opacity=".8"')
        for x, y, r in zip(rng.uniform(0, 192, 3), rng.uniform(12, 60, 3), rng.uniform(10, 20, 3), strict=True)
    )
    return (
        f"<defs>{gradient('k', shaded(top, 1.0), shaded(top, 1.65))}</defs>" + rect(0, 0, 192, 256, "url(#k)") + clouds
    )


def _palm(x: float, base: float, height: float) -> str:
    lean = 8 if x < 96 else -8
    top = base - height
    leaves = "".join(
        f'<path d="M{x + lean:.0f} {top:.0f}q{dx * 0.6:.0f} {-8 + abs(dx) * 0.1:.0f} {dx:.0f} {dy}q{-dx * 0.35:.0f} {-6} {-dx:.0f} {-dy}Z" fill="{c}"/>'
        for dx, dy, c in (
            (-34, 10, "#2f9a58"),
            (34, 10, "#2f9a58"),
            (-26, -8, "#3cb068"),
            (26, -8, "#3cb068"),
            (-18, 26, "#28874c"),
            (18, 26, "#28874c"),
        )
    )
    return (
        f'<path d="M{x:.0f} {base:.0f}q{-lean * 0.4:.0f} {-height / 2:.0f} {lean} {-height:.0f}" fill="none" stroke="#96683c" stroke-width="6"/>'
        + leaves
    )


def _beach(rng: np.random.Generator) -> str:
    sea, shore = rng.uniform(112, 140), rng.uniform(172, 196)
    sun = ellipse(rng.uniform(20, 172), rng.uniform(22, 48), 13, 13, "#ffe89a")
    sand = (244, 218, 165 + rng.uniform(-14, 10))
    wave = f'<path d="M-6 {shore:.0f}q24 -7 48 0t48 0t48 0t60 0V262H-6Z" fill="{shaded(sand, 1.0)}" stroke="#fff" stroke-width="4"/>'
    palm = _palm(float(rng.choice([rng.uniform(6, 34), rng.uniform(158, 186)])), shore + 12, rng.uniform(90, 120))
    water = f"<defs>{gradient('w', '#2d8fd0', '#58d0d8')}</defs>" + rect(0, sea, 192, shore - sea + 8, "url(#w)")
    return _sky(rng) + sun + water + wave + palm


def _house(x: float, width: float, top: float, ground: float, colour: str, rng: np.random.Generator) -> str:
    lit = shaded((250, 240, 190), 1.0)
    step = 9
    lines = "".join(f"M{x + 4:.0f} {y:.0f}h{width - 8:.0f}" for y in np.arange(top + 9, ground - 6, 13))
    return (
        rect(x, top, width, ground - top, colour)
        + f'<path d="{lines}" stroke="{lit}" stroke-width="6" stroke-dasharray="5 {step - 5}" stroke-opacity=".75"/>'
    )


def _city(rng: np.random.Generator) -> str:
    ground, x, houses = rng.uniform(206, 222), -8.0, []
    tint = rng.uniform(-15, 15)
    while x < 192:
        width = rng.uniform(24, 40)
        grey = rng.uniform(100, 160)
        colour = shaded((grey - 8 + tint, grey + 4, grey + 34 - tint), 1.0)
        houses.append(_house(x, width, rng.uniform(24, 130), ground, colour, rng))
        x += width + rng.choice([0, 1, 4])
    road = (
        rect(0, ground, 192, 60, "#8d8f98")
        + rect(0, ground, 192, 4, "#c9c9ce")
        + rect(0, ground + 22, 192, 2, "#e8e4c8")
    )
    return _sky(rng) + "".join(houses) + road


def _tree(x: float, base: float, size: float, colour: str) -> str:
    crown = "".join(
        ellipse(x + dx * size, base - dy * size, 0.52 * size, 0.5 * size, colour)
        for dx, dy in ((-0.35, 1.25), (0.35, 1.25), (0, 1.65))
    )
    return rect(x - 0.1 * size, base - size, 0.2 * size, size, "#8a5c3a") + crown


def _park(rng: np.random.Generator) -> str:
    hill = rng.uniform(126, 150)
    greens = (shaded((112 + rng.uniform(-15, 15), 190, 96), 1.0), shaded((92, 172 + rng.uniform(-10, 12), 84), 1.0))
    back = f'<path d="M0 {hill:.0f}q48 {-rng.uniform(12, 26):.0f} 100 4t100 -6V256H0Z" fill="{greens[0]}"/>'
    trees = "".join(
        _tree(
            x, hill + rng.uniform(4, 24), rng.uniform(24, 36), ["#3f9450", "#57aa58", "#f2a0bb"][int(rng.integers(3))]
        )
        for x in (rng.uniform(2, 40), rng.uniform(50, 140), rng.uniform(150, 190))
    )
    front = f'<path d="M0 {hill + 40:.0f}q60 -16 110 0t90 0V256H0Z" fill="{greens[1]}"/>'
    flowers = "".join(
        ellipse(x, y, 1.8, 1.8, ["#fff", "#ffd84a", "#ff86a8"][int(rng.integers(3))])
        for x, y in zip(rng.uniform(0, 192, 14), rng.uniform(hill + 50, 252, 14), strict=True)
    )
    return _sky(rng) + back + trees + front + flowers


def _studio(rng: np.random.Generator) -> str:
    hue = rng.uniform(150, 240, 3)
    base = 0.35 * hue + 0.65 * rng.uniform(190, 225)
    disc = ellipse(96 + rng.uniform(-16, 16), 110 + rng.uniform(-14, 14), 78, 78, shaded(base, 1.35))
    floor = rect(0, rng.uniform(222, 236), 192, 40, shaded(base, 0.86))
    return (
        f"<defs>{gradient('k', shaded(base, 1.25), shaded(base, 0.98))}</defs>"
        + rect(0, 0, 192, 256, "url(#k)")
        + disc
        + floor
    )


def _room(rng: np.random.Generator) -> str:
    wall = (225 + rng.uniform(-25, 15), 208 + rng.uniform(-25, 20), 190 + rng.uniform(-30, 35))
    floor = rng.uniform(204, 220)
    wx = float(rng.choice([12.0, 122.0]))
    window = (
        rect(wx, 30, 58, 76, "#fff")
        + rect(wx + 4, 34, 50, 68, "#a6d8f4")
        + rect(wx + 27, 34, 4, 68, "#fff")
        + rect(wx + 4, 66, 50, 4, "#fff")
    )
    sx = 118 if wx < 60 else 8
    books = "".join(
        rect(sx + 5 + 8 * i, 58 + 34 * row + rng.uniform(0, 7), 7, 24, shaded(rng.uniform(70, 230, 3), 1.0))
        for row in range(2)
        for i in range(7)
    )
    shelf = (
        rect(sx, 52, 66, 72, "#a87a50")
        + rect(sx + 3, 55, 60, 30, "#6e4c34")
        + rect(sx + 3, 89, 60, 32, "#6e4c34")
        + books
    )
    lamp = rect(sx + 30, 150, 4, 70, "#6b5140") + f'<path d="M{sx + 18} 152l7 -22h14l7 22Z" fill="#f6e2a8"/>'
    boards = "".join(f"M0 {y:.0f}H192" for y in np.arange(floor + 12, 256, 13))
    wood = (
        rect(0, floor, 192, 60, "#b98a5e")
        + f'<path d="{boards}" stroke="#a3764d" stroke-width="1.5"/>'
        + rect(0, floor - 5, 192, 5, "#f4efe6")
    )
    return rect(0, 0, 192, 256, shaded(wall, 1.0)) + window + shelf + lamp + wood


_SCENES = {"beach": _beach, "city": _city, "park": _park, "studio": _studio, "room": _room, **FURTHER_SCENES}


def scene_svg(scene: str, seed: int) -> str:
    """SVG elements of a scene; `seed` draws its details.

    Raises:
        ValueError: if the scene is unknown.
    """
    if scene not in _SCENES:
        raise ValueError(f"unknown scene {scene!r}; choose one of {', '.join(_SCENES)}")
    return _SCENES[scene](np.random.default_rng([11, seed]))
