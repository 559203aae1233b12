"""Night city, office, café, bedroom, forest, stage and snow as SVG in the 192x256 frame, under white light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twinset.figure.colours import shaded
from twinset.training.mannequin.scene_shapes import backdrop, ellipse, gradient, polygon, rect

_NEON = ("#ff4fa0", "#3fe0ff", "#ffd24a", "#9b6bff", "#5cff9d")


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _spread(rng: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """Places about evenly apart, a little moved."""
    step = (high - low) / count
    return low + step * (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count))


# Night city


def _tower(x: float, width: float, top: float, ground: float, rng: np.random.Generator) -> str:
    body = shaded((42 + rng.uniform(-10, 18), 46 + rng.uniform(-8, 12), 78 + rng.uniform(-14, 26)), 1.0)
    windows = "".join(
        rect(wx, wy, 3.6, 5, _pick(rng, ("#ffe08a", "#ffcf66", "#fff2bf", "#8fd8ff")))
        for wy in np.arange(top + 7, ground - 8, 11)
        for wx in np.arange(x + 4, x + width - 5, 7.5)
        if rng.random() < 0.58
    )
    mast = rect(x + width / 2, top - 12, 1.2, 12, body) + ellipse(x + width / 2 + 0.6, top - 12, 1.5, 1.5, "#ff5a5a")
    return rect(x, top, width, ground - top, body) + windows + (mast if rng.random() < 0.3 else "")


def _sign(x: float, y: float, rng: np.random.Generator) -> str:
    colour, tall = _pick(rng, _NEON), rng.random() < 0.5
    width, height = (10, 34) if tall else (30, 12)
    bars = (
        "".join(f"M{x + 3:.0f} {y + 6 + 8 * i:.0f}h4" for i in range(3))
        if tall
        else "".join(f"M{x + 6 + 7 * i:.0f} {y + 4:.0f}v4" for i in range(3))
    )
    box = f'rx="2" stroke="{colour}" stroke-width="1.8"'
    glow = rect(x - 4, y - 4, width + 8, height + 8, colour, 'fill-opacity=".22" rx="5"')
    return glow + rect(x, y, width, height, "#1a1830", box) + f'<path d="{bars}" stroke="{colour}" stroke-width="2.4"/>'


def _night_city(rng: np.random.Generator) -> str:
    ground, x, towers = rng.uniform(206, 220), -6.0, []
    while x < 192:
        width = rng.uniform(24, 40)
        towers.append(_tower(x, width, rng.uniform(28, 128), ground, rng))
        x += width + rng.choice([0, 2, 5])
    stars = "".join(
        ellipse(sx, sy, 0.8, 0.8, "#fff", 'fill-opacity=".85"')
        for sx, sy in zip(rng.uniform(0, 192, 22), rng.uniform(2, 90, 22), strict=True)
    )
    mx, my = rng.uniform(18, 174), rng.uniform(18, 44)
    moon = ellipse(mx, my, 20, 20, "#fff6d8", 'fill-opacity=".16"') + ellipse(mx, my, 11, 11, "#fdf3cf")
    signs = "".join(_sign(sx, rng.uniform(118, 168), rng) for sx in (rng.uniform(6, 30), rng.uniform(140, 158)))
    shine = "".join(
        rect(sx, ground + 6, rng.uniform(3, 7), 40, _pick(rng, _NEON), 'fill-opacity=".28"')
        for sx in rng.uniform(4, 186, 7)
    )
    road = rect(0, ground, 192, 60, "#34364a") + rect(0, ground, 192, 4, "#5d6078") + shine
    dash = f'<path d="M0 {ground + 26:.0f}h192" stroke="#d8d2a8" stroke-width="2" stroke-dasharray="14 12"/>'
    top = (20 + rng.uniform(-6, 14), 24 + rng.uniform(-6, 10), 66 + rng.uniform(-12, 26))
    return backdrop(shaded(top, 1.0), shaded(top, 1.32)) + stars + moon + "".join(towers) + signs + road + dash


# Rooms


def _office(rng: np.random.Generator) -> str:
    wall = (208 + rng.uniform(-14, 14), 214 + rng.uniform(-12, 12), 222 + rng.uniform(-14, 14))
    floor, line = rng.uniform(206, 220), rng.uniform(96, 112)
    sky = f"<defs>{gradient('w', '#9fd0f0', '#e2f2fb')}</defs>" + rect(0, 24, 192, line - 24, "url(#w)")
    skyline = "".join(
        rect(x, line - h, 15, h, shaded((150, 170, 195 + rng.uniform(-20, 20)), 1.0))
        for x, h in zip(np.arange(0.0, 192, 17), rng.uniform(12, 46, 12), strict=True)
    )
    posts = "".join(rect(x, 20, 3, line - 18, "#f7f8fa") for x in (0, 46, 94, 142, 189))
    blinds = "".join(rect(0, y, 192, 2.4, "#fbfbfc", 'fill-opacity=".85"') for y in np.arange(24.0, 24 + 6 * int(rng.integers(2, 6)), 6))  # fmt: skip
    windows = sky + skyline + blinds + posts + rect(0, line, 192, 4, "#f7f8fa") + rect(0, 18, 192, 5, "#f7f8fa")
    left = rng.random() < 0.5
    dx = 0 if left else 112
    desk_y, wood = rng.uniform(160, 170), _pick(rng, ("#b78a5c", "#caa57a", "#8d949e"))
    screen = _pick(rng, ("#4aa3df", "#56b881", "#6a7fd0", "#e08a5a"))
    monitor = (
        rect(dx + 16, desk_y - 36, 44, 28, "#2c3038", 'rx="2"') + rect(dx + 19, desk_y - 33, 38, 22, screen)
        + rect(dx + 22, desk_y - 29, 20, 2, "#fff") + rect(dx + 22, desk_y - 24, 28, 2, "#fff") + rect(dx + 36, desk_y - 8, 4, 8, "#4a4f5a")
    )  # fmt: skip
    papers = rect(dx + 62, desk_y - 6, 14, 6, "#fafafa") + rect(
        dx + 62, desk_y - 9, 14, 3, _pick(rng, ("#f0b45a", "#e37a7a", "#7ac0e3"))
    )
    desk = (
        rect(dx, desk_y, 80, 7, wood)
        + rect(dx + 4, desk_y + 7, 6, floor - desk_y + 6, "#6d727c")
        + rect(dx + 70, desk_y + 7, 6, floor - desk_y + 6, "#6d727c")
    )
    px = 160 if left else 14
    plant = polygon(
        [(px, floor - 20), (px + 18, floor - 20), (px + 15, floor + 4), (px + 3, floor + 4)], "#e9e4dc"
    ) + "".join(
        f'<path d="M{px + 9} {floor - 20:.0f}q{k * 0.4:.0f} -26 {k} {-44 + abs(k):.0f}q{-k * 0.1:.0f} 24 {-k} {44 - abs(k):.0f}Z" fill="{c}"/>'
        for k, c in ((-20, "#3f9450"), (20, "#3f9450"), (-8, "#57aa58"), (9, "#57aa58"))
    )
    carpet = rect(0, floor, 192, 60, shaded((126, 138, 156), 1.0)) + rect(0, floor - 4, 192, 4, "#eef0f3")
    return rect(0, 0, 192, 256, shaded(wall, 1.0)) + windows + carpet + desk + monitor + papers + plant


def _cup(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{x + 9:.1f} {y - 7:.1f}q6 0 5 3.5t-6 2.5" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        f'<path d="M{x:.1f} {y - 9:.1f}h10l-1.5 9h-7Z" fill="{colour}"/><path d="M{x + 3:.1f} {y - 12:.1f}q-2 -4 1 -7m3 7q-2 -4 1 -7" fill="none" stroke="#fff" stroke-width="1" stroke-opacity=".7"/>'
    )


def _cafe(rng: np.random.Generator) -> str:
    wall = shaded((150 + rng.uniform(-22, 30), 104 + rng.uniform(-12, 22), 76 + rng.uniform(-12, 26)), 1.0)
    counter, bar = rng.uniform(168, 178), _pick(rng, ("#6b442c", "#7d5236", "#3f5a54"))
    bricks = "".join(
        f"M{(8 if row % 2 else 0) + 22 * k} {y:.0f}v9"
        for row, y in enumerate(np.arange(0, counter, 9))
        for k in range(10)
    ) + "".join(f"M0 {y:.0f}h192" for y in np.arange(0, counter, 9))
    mortar = f'<path d="{bricks}" stroke="#000" stroke-opacity=".1" stroke-width="1"/>'
    left = rng.random() < 0.5
    bx, sx = (8, 112) if left else (120, 10)
    board = (
        rect(bx, 44, 64, 60, "#8a5c36") + rect(bx + 4, 48, 56, 52, "#2e3a36")
        + ellipse(bx + 18, 62, 6, 6, "none", 'stroke="#f4efe0" stroke-width="1.6"')
        + "".join(rect(bx + 30, 57 + 6 * i, float(rng.uniform(12, 24)), 2, "#f4efe0") for i in range(2))
        + "".join(rect(bx + 10, 76 + 7 * i, float(rng.uniform(26, 42)), 2, _pick(rng, ("#f4efe0", "#f2c46a", "#9fd8c8"))) for i in range(3))
    )  # fmt: skip
    shelves = "".join(
        rect(sx, y, 70, 4, "#5d3c26")
        + "".join(
            rect(sx + 4 + 11 * k, y - h, 8, h, _pick(rng, ("#f4efe0", "#d9664f", "#5aa08c", "#e6b450", "#7c5bb0")), 'rx="1.5"')
            for k, h in enumerate(rng.uniform(8, 18, 6))
        )
        for y in (70, 100)
    )  # fmt: skip
    lamps = "".join(
        rect(x, 0, 1.4, y, "#2b2220") + ellipse(x + 0.7, y + 12, 17, 13, "#ffe9a8", 'fill-opacity=".35"')
        + f'<path d="M{x - 10:.1f} {y + 9:.1f}q1 -11 10.7 -11t10.7 11Z" fill="#2b2220"/>' + ellipse(x + 0.7, y + 10, 4, 3, "#fff3c8")
        for x, y in zip(_spread(rng, 3, 10, 182), rng.uniform(14, 28, 3), strict=True)
    )  # fmt: skip
    front = "".join(f"M{x:.0f} {counter + 9:.0f}V256" for x in np.arange(6, 192, 16))
    top = (
        rect(0, counter, 192, 8, "#e0bf94")
        + rect(0, counter + 8, 192, 80, bar)
        + f'<path d="{front}" stroke="#000" stroke-opacity=".14" stroke-width="1.5"/>'
    )
    machine_x = 128 if left else 14
    machine = (
        rect(machine_x, counter - 34, 44, 34, "#c3c8ce", 'rx="3"') + rect(machine_x + 5, counter - 24, 34, 16, "#555b64")
        + rect(machine_x + 10, counter - 24, 4, 7, "#c3c8ce") + rect(machine_x + 30, counter - 24, 4, 7, "#c3c8ce") + ellipse(machine_x + 22, counter - 29, 2.4, 2.4, "#e0554f")
    )  # fmt: skip
    cups = "".join(
        _cup(x, counter, _pick(rng, ("#ffffff", "#f2d7b0", "#8fc7c0"))) for x in ((14, 36) if left else (142, 166))
    )
    return rect(0, 0, 192, 256, wall) + mortar + board + shelves + lamps + machine + cups + top


def _bedroom(rng: np.random.Generator) -> str:
    wall = np.array((200, 190, 214)) + rng.uniform(-22, 24, 3)
    floor = rng.uniform(212, 224)
    cover = shaded(rng.uniform(90, 215, 3), 1.0)
    left = rng.random() < 0.5
    bed_x = -20 if left else 82
    head = shaded((150 + rng.uniform(-30, 40), 110, 80), 1.0)
    bed = (
        rect(bed_x, 130, 130, 70, head, 'rx="9"') + rect(bed_x + 6, 137, 118, 40, shaded((176, 132, 98), 1.0), 'rx="6"')
        + rect(bed_x + 14, 152, 46, 24, "#fbfaf6", 'rx="9"') + rect(bed_x + 70, 152, 46, 24, "#fbfaf6", 'rx="9"')
        + rect(bed_x - 2, 172, 134, 60, cover, 'rx="7"') + rect(bed_x - 2, 172, 134, 12, "#fdfcf8", 'rx="5"')
        + f'<path d="M{bed_x + 30} 188q8 20 2 42M{bed_x + 78} 188q-8 20 2 42" fill="none" stroke="#000" stroke-opacity=".12" stroke-width="2"/>'
    )  # fmt: skip
    wx = 122 if left else 12
    curtain = shaded(rng.uniform(130, 230, 3), 1.0)
    window = (
        rect(wx, 28, 56, 78, "#fff")
        + rect(wx + 4, 32, 48, 70, _pick(rng, ("#a9d9f3", "#f6cfa0", "#31406e")))
        + rect(wx + 26, 32, 3, 70, "#fff")
        + rect(wx + 4, 64, 48, 3, "#fff")
    )
    drapes = "".join(
        f'<path d="M{x} 22h18q{s * 2} 46 {-s * 5} 92h-14q{s * 4} -46 1 -92Z" fill="{curtain}"/>' for x, s in ((wx - 8, 1), (wx + 46, -1))
    ) + rect(wx - 12, 19, 80, 4, "#8a6a4c", 'rx="2"')  # fmt: skip
    fx = bed_x + 44
    sun = _pick(rng, ("#f2a65a", "#e0667a", "#6fb7c9"))
    frame = (
        rect(fx, 62, 44, 44, "#fdfdfb")
        + rect(fx + 4, 66, 36, 36, "#e9eef2")
        + ellipse(fx + 26, 78, 6, 6, sun)
        + f'<path d="M{fx + 4} 102l12 -18 9 11 7 -8 8 15Z" fill="#7d9c8a"/>'
    )
    table_x = 130 if left else 42
    lamp = (
        rect(table_x, 178, 30, 36, shaded((160, 118, 84), 1.0)) + rect(table_x + 3, 184, 24, 11, shaded((184, 142, 106), 1.0)) + ellipse(table_x + 15, 190, 1.6, 1.6, "#5e4330")
        + rect(table_x + 13, 158, 4, 20, "#c9b089") + f'<path d="M{table_x + 3} 160l6 -20h12l6 20Z" fill="#fbe7b0"/>' + ellipse(table_x + 15, 152, 26, 22, "#fff0bd", 'fill-opacity=".25"')
    )  # fmt: skip
    boards = "".join(f"M0 {y:.0f}H192" for y in np.arange(floor + 11, 256, 12))
    wood = rect(0, floor, 192, 50, "#b08a68") + f'<path d="{boards}" stroke="#9a7553" stroke-width="1.4"/>'
    rug = ellipse(96, floor + 26, 74, 14, shaded(rng.uniform(140, 225, 3), 1.1))
    return rect(0, 0, 192, 256, shaded(wall, 1.0)) + window + drapes + frame + wood + rug + lamp + bed


# Outdoors


def _trunk(x: float, width: float, base: float, colour: str) -> str:
    return (
        f'<path d="M{x - width / 2:.1f} -4L{x - width * 0.55:.1f} {base - 10:.1f}Q{x - width * 0.7:.1f} {base - 2:.1f} {x - width:.1f} {base:.1f}H{x + width:.1f}'
        f'Q{x + width * 0.7:.1f} {base - 2:.1f} {x + width * 0.55:.1f} {base - 10:.1f}L{x + width / 2:.1f} -4Z" fill="{colour}"/>'
    )


def _fern(x: float, y: float, size: float, colour: str) -> str:
    return "".join(
        f'<path d="M{x:.1f} {y:.1f}q{k * size * 0.5:.1f} {-size:.1f} {k * size:.1f} {-0.7 * size + abs(k) * 3:.1f}q{-k * size * 0.3:.1f} {0.5 * size:.1f} {-k * size:.1f} {0.7 * size - abs(k) * 3:.1f}Z" fill="{colour}"/>'
        for k in (-1.0, -0.45, 0.3, 0.9)
    )


def _forest(rng: np.random.Generator) -> str:
    ground = rng.uniform(182, 196)
    mist = (196 + rng.uniform(-16, 18), 222 + rng.uniform(-8, 10), 176 + rng.uniform(-18, 20))
    back = "".join(
        _trunk(x, rng.uniform(6, 9), ground - 14, shaded((118, 132, 104), 1.0)) for x in _spread(rng, 8, 0, 192)
    )
    middle = "".join(
        _trunk(x, rng.uniform(10, 14), ground, shaded((108, 82, 58), 1.0)) for x in _spread(rng, 4, 0, 192)
    )
    near = "".join(
        _trunk(x, rng.uniform(18, 24), ground + 26, shaded((84, 60, 44), 1.0))
        for x in (rng.uniform(2, 22), rng.uniform(168, 190))
    )
    crowns = "".join(
        ellipse(x, y, rng.uniform(18, 28), rng.uniform(12, 18), _pick(rng, ("#2f7a44", "#3c8f4c", "#4fa356", "#28683c")))
        for x, y in zip(_spread(rng, 14, -6, 198), rng.uniform(-6, 30, 14), strict=True)
    )  # fmt: skip
    beams = "".join(
        polygon([(x, 0), (x + 12, 0), (x - 26, ground), (x - 50, ground)], "#fffbd0", 'fill-opacity=".22"')
        for x in (rng.uniform(50, 90), rng.uniform(120, 176))
    )
    floor = f'<path d="M0 {ground - 16:.0f}q50 -10 96 0t96 -4V256H0Z" fill="#6fa05a"/><path d="M0 {ground + 14:.0f}q60 -12 110 0t90 -4V256H0Z" fill="#578748"/>'
    ferns = "".join(_fern(x, y, rng.uniform(10, 16), _pick(rng, ("#3f8a4a", "#63a556", "#2f743e"))) for x, y in zip(_spread(rng, 8, 0, 192), rng.uniform(ground + 20, 250, 8), strict=True))  # fmt: skip
    mushrooms = "".join(
        rect(x - 1.5, y - 5, 3, 6, "#f6efe0") + f'<path d="M{x - 6:.1f} {y - 4:.1f}q6 -10 12 0Z" fill="#d9483f"/>'
        for x, y in zip(rng.uniform(8, 184, 3), rng.uniform(ground + 28, 248, 3), strict=True)
    )
    return (
        backdrop(shaded(mist, 1.2), shaded(mist, 0.9))
        + back
        + beams
        + floor
        + middle
        + near
        + crowns
        + ferns
        + mushrooms
    )


def _stage(rng: np.random.Generator) -> str:
    floor = rng.uniform(200, 214)
    base = (46 + rng.uniform(-10, 16), 30 + rng.uniform(-8, 10), 74 + rng.uniform(-16, 26))
    curtain = _pick(rng, ("#a3203a", "#8a2470", "#233a8c", "#6a1f9a"))
    colours = [_pick(rng, _NEON) for _ in range(4)]
    lamps = "".join(
        polygon([(x - 5, 20), (x + 5, 20), (x + aim + 24, floor + 16), (x + aim - 24, floor + 16)], colour, 'fill-opacity=".24"')
        for x, aim, colour in zip((34, 76, 116, 158), rng.uniform(-34, 34, 4), colours, strict=True)
    )  # fmt: skip
    truss = (
        rect(0, 8, 192, 3, "#767b8c")
        + rect(0, 18, 192, 3, "#767b8c")
        + f'<path d="M0 20{"l8 -11l8 11" * 12}" fill="none" stroke="#767b8c" stroke-width="1.6"/>'
    )
    heads = "".join(rect(x - 6, 16, 12, 10, "#23242e", 'rx="2"') + ellipse(x, 26, 5, 2.4, colour) for x, colour in zip((34, 76, 116, 158), colours, strict=True))  # fmt: skip
    drapes = "".join(
        f'<path d="M{x} 0h30q{s * 6} {floor / 2:.0f} {-s * 4} {floor:.0f}h-26q{s * 2} {-floor / 2:.0f} 0 {-floor:.0f}Z" fill="{curtain}"/>'
        + f'<path d="M{x + 8} 0v{floor - 2:.0f}M{x + 16} 0v{floor - 2:.0f}M{x + 24} 0v{floor - 6:.0f}" stroke="#000" stroke-opacity=".25" stroke-width="2"/>'
        for x, s in ((-4, 1), (166, -1))
    )  # fmt: skip
    boards = "".join(f"M{96 + (x - 96) * 0.8:.0f} {floor:.0f}L{x:.0f} 256" for x in np.arange(-24, 220, 22))
    deck = (
        rect(0, floor, 192, 60, "#4d3a4c")
        + f'<path d="{boards}" stroke="#37293a" stroke-width="1.4"/>'
        + rect(0, floor, 192, 3, "#8f7a94")
    )
    pools = "".join(ellipse(x, floor + 22, 30, 8, colour, 'fill-opacity=".3"') for x, colour in zip(rng.uniform(30, 162, 3), colours, strict=False))  # fmt: skip
    boxes = "".join(
        rect(x, floor - 44, 24, 46, "#191a22", 'rx="2"') + ellipse(x + 12, floor - 30, 8, 8, "#383b4a") + ellipse(x + 12, floor - 11, 8, 8, "#383b4a") + ellipse(x + 12, floor - 30, 3, 3, "#5e6274") + ellipse(x + 12, floor - 11, 3, 3, "#5e6274")
        for x in (28, 140)
    )  # fmt: skip
    return backdrop(shaded(base, 0.8), shaded(base, 1.25)) + lamps + truss + heads + deck + pools + boxes + drapes


def _fir(x: float, base: float, size: float, green: str) -> str:
    tiers = "".join(
        polygon([(x, base - size * t), (x - size * w, base - size * b), (x + size * w, base - size * b)], green)
        + polygon([(x, base - size * t), (x - size * w * 0.5, base - size * (t + b) / 2), (x - size * 0.1, base - size * ((t + b) / 2 + 0.04)), (x + size * w * 0.5, base - size * (t + b) / 2)], "#ffffff")
        for t, b, w in ((0.85, 0.2, 0.36), (1.2, 0.55, 0.3), (1.5, 0.92, 0.22))
    )  # fmt: skip
    return rect(x - 0.06 * size, base - 0.22 * size, 0.12 * size, 0.22 * size, "#6e4a34") + tiers


def _snow(rng: np.random.Generator) -> str:
    sky = (176 + rng.uniform(-24, 16), 206 + rng.uniform(-16, 10), 232 + rng.uniform(-10, 12))
    hill = rng.uniform(132, 150)
    peaks = "".join(
        polygon([(x - w, hill + 8), (x, y), (x + w, hill + 8)], "#8fa9c6")
        + polygon([(x - 0.3 * w, y + 0.3 * (hill + 8 - y)), (x, y), (x + 0.3 * w, y + 0.3 * (hill + 8 - y)), (x + 0.1 * w, y + 0.24 * (hill + 8 - y)), (x - 0.08 * w, y + 0.36 * (hill + 8 - y))], "#ffffff")
        for x, y, w in zip(_spread(rng, 3, 0, 192), rng.uniform(54, 92, 3), rng.uniform(52, 76, 3), strict=True)
    )  # fmt: skip
    green = shaded((52, 112 + rng.uniform(-10, 14), 96), 1.0)
    slope = f'<path d="M0 {hill:.0f}q48 {-rng.uniform(10, 22):.0f} 100 4t100 -6V256H0Z" fill="#e4edf6"/>'
    trees = "".join(_fir(x, hill + rng.uniform(8, 30), rng.uniform(34, 52), green) for x in (rng.uniform(4, 34), rng.uniform(52, 140), rng.uniform(156, 188)))  # fmt: skip
    front = f'<path d="M0 {hill + 46:.0f}q60 -16 110 0t90 0V256H0Z" fill="#f7fafd"/><path d="M0 {hill + 84:.0f}q70 -12 192 4V256H0Z" fill="#dfe9f3"/>'
    mx, my = float(rng.choice([rng.uniform(18, 34), rng.uniform(158, 174)])), hill + 62
    man = (
        ellipse(mx, my, 13, 12, "#fff", 'stroke="#b9c9da" stroke-width="1"') + ellipse(mx, my - 17, 9, 8.5, "#fff", 'stroke="#b9c9da" stroke-width="1"')
        + ellipse(mx - 3, my - 19, 1.1, 1.1, "#333") + ellipse(mx + 3, my - 19, 1.1, 1.1, "#333") + polygon([(mx, my - 17), (mx + 8, my - 15.5), (mx, my - 14.5)], "#f08a3a")
        + rect(mx - 9, my - 11, 18, 4, _pick(rng, ("#d9483f", "#3d7bd0", "#3f9a5a")), 'rx="2"')
    ) if rng.random() < 0.7 else ""  # fmt: skip
    flakes = "".join(
        ellipse(x, y, r, r, "#fff") for x, y, r in zip(rng.uniform(0, 192, 46), rng.uniform(0, 250, 46), rng.uniform(0.9, 2.2, 46), strict=True)
    )  # fmt: skip
    return backdrop(shaded(sky, 1.0), shaded(sky, 1.6)) + peaks + slope + trees + front + man + flakes


#: Scene -> what draws it from a generator.
FURTHER_SCENES: dict[str, Callable[[np.random.Generator], str]] = {
    "night_city": _night_city, "office": _office, "cafe": _cafe, "bedroom": _bedroom, "forest": _forest,
    "stage": _stage, "snow": _snow,
}  # fmt: skip
