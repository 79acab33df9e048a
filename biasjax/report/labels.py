"""Which points of a scatter have room for a name, and where it stands."""

from collections.abc import Sequence

import numpy as np

CHARACTER = 0.6  # the width of a character, in heights of the font
MOST = 24  # characters of a name

Box = tuple[float, float, float, float]  # left, bottom, right, top


def shortened(name: str) -> str:
  """A name of at most `MOST` characters, its middle left out."""
  if len(name) <= MOST:
    return name
  head = MOST // 2
  return f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{name[head + 1 - MOST :]}"


def place(
  points: np.ndarray,
  names: Sequence[str],
  size: tuple[float, float],
  font: float,
  most: int,
  radius: float = 4,
) -> list[tuple[int, float, float]]:
  """Labels that cover no point, no other label and no edge; the loneliest points come first.

  Args:
    points: float [n, 2], from the lower left corner of the panel, in points of print.
    names: of each.
    size: of the panel, in points.
    font: its height, in points.
    most: labels at most.
    radius: of the marks, in points.

  Returns:
    (index, x, y) of each label, its left lower corner in points.
  """
  if not len(points):
    return []
  apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
  np.fill_diagonal(apart, np.inf)
  taken: list[Box] = [(x - radius, y - radius, x + radius, y + radius) for x, y in points.tolist()]
  placed = []
  for i in np.argsort(-apart.min(axis=1), kind="stable"):
    x, y = points[i].tolist()
    wide, gap = CHARACTER * font * len(names[i]), radius + 1
    corners = [
      (x + gap, y - font / 2),
      (x - gap - wide, y - font / 2),
      (x - wide / 2, y + gap),
      (x - wide / 2, y - gap - font),
    ]
    for left, bottom in corners:
      box = (left, bottom, left + wide, bottom + font)
      inside = left >= 0 and bottom >= 0 and box[2] <= size[0] and box[3] <= size[1]
      others = (other for j, other in enumerate(taken) if j != i)
      if inside and not any(_overlap(box, other) for other in others):
        placed.append((int(i), left, bottom))
        taken.append(box)
        break
    if len(placed) == most:
      break
  return placed


def _overlap(one: Box, other: Box) -> bool:
  return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
