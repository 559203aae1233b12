"""Shapes that scenes are made of, as SVG text in the 192x256 frame."""

from __future__ import annotations


def gradient(name: str, top: str, bottom: str) -> str:
    """A <linearGradient> from top to bottom, for <defs>."""
    return f'<linearGradient id="{name}" x2="0" y2="1"><stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/></linearGradient>'


def rect(x: float, y: float, width: float, height: float, fill: str, extra: str = "") -> str:
    """A rectangle; `extra` are further attributes."""
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" fill="{fill}" {extra}/>'


def ellipse(x: float, y: float, rx: float, ry: float, fill: str, extra: str = "") -> str:
    """An ellipse; `extra` are further attributes."""
    return f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{rx:.1f}" ry="{ry:.1f}" fill="{fill}" {extra}/>'


def backdrop(top: str, bottom: str) -> str:
    """The whole frame in a gradient."""
    return f"<defs>{gradient('k', top, bottom)}</defs>" + rect(0, 0, 192, 256, "url(#k)")


def polygon(points: list[tuple[float, float]], fill: str, extra: str = "") -> str:
    """A closed shape with straight sides."""
    return f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}Z" fill="{fill}" {extra}/>'
