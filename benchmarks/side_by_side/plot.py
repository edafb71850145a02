"""A small picture: lines over logarithmic axes, as SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 260, 52, 30, 120, 34
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#8e6c8a")
Points = Sequence[tuple[float, float]]


def log_log(title: str, across: str, lines: Mapping[str, Points]) -> str:
    """Names of the lines on the right, in their colours. Marks on the axes are powers of ten and what lies at their ends."""
    xs, ys = ([point[axis] for points in lines.values() for point in points] for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        right, up = share(x, xs), share(y, ys)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * right, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up, 1)

    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    body = [
        f'{head} font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><text x="{LEFT}" y="16" fill="#222">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle" fill="#555">{escape(across)}</text>',
    ]
    for x in ticks(xs):
        at, low = place(x, min(ys))
        body.append(f'<text x="{at}" y="{low + 15}" text-anchor="middle" fill="#555">{x:g}</text>')
    for y in ticks(ys):
        _, at = place(min(xs), y)
        body.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ddd"/>')
        body.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end" fill="#555">{y:.3g}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(x, y) for x, y in points]
        body.append(
            f'<polyline points="{" ".join(f"{x},{y}" for x, y in places)}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        body += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places]
        body.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 16 * number + 8}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*body, "</svg>"]) + "\n"


def share(value: float, values: Sequence[float]) -> float:
    """Where a value lies between the smallest and the largest, by logarithms: 0 to 1."""
    low, high = math.log(min(values)), math.log(max(values))
    return (math.log(value) - low) / (high - low) if high > low else 0.5


def ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    powers = [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return sorted({low, high, *(p for p in powers if 0.1 < share(p, values) < 0.9)}) if high > low else [low]
