"""Which ink can be read on a coloured ground."""

from collections.abc import Sequence

BLACK, WHITE = "#000000", "#ffffff"


def ink_on(ground: Sequence[float]) -> str:
    """Black or white, whichever has the higher contrast with an opaque ground of red, green and blue from 0 to 1.

    The better of the two has at least √21 ≈ 4.58 on every ground: more than the 4.5 that WCAG 2.2 asks of small text.
    """
    luminance = _relative_luminance(ground)
    return BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else WHITE


def _relative_luminance(colour: Sequence[float]) -> float:
    """From 0 for black to 1 for white, as WCAG 2.2 defines it for sRGB."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
