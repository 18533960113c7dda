"""Search results drawn beside the frame: the value, and the policy as one bar per action.

    +-----------+  score 3
    |  picture  |  value 1.52
    |           |  policy
    +-----------+  NOOP    ####         31 %
                   RIGHT   #########    69 %     the action taken in another colour

Axes: A actions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LEAST_WIDTH_PX = 240  # narrower pictures are enlarged
_MARGIN_PX, _LINE_PX = 6, 14
_NAME_PX, _BAR_PX, _SHARE_PX = 88, 80, 34
_PANEL_PX = _NAME_PX + _BAR_PX + _SHARE_PX + 2 * _MARGIN_PX
_TEXT, _BAR, _TAKEN = (230, 230, 230), (110, 120, 140), (255, 170, 60)


@dataclass(frozen=True)
class Thought:
    """A search's result for one frame."""

    value: float
    policy: np.ndarray  # [A] float32, sums to 1
    action: int  # the action taken


def beside(picture: np.ndarray, *, score: float, thought: Thought | None, actions: Sequence[str]) -> np.ndarray:
    """The picture, enlarged if small, with the panel at its right: [H', W', 3] uint8, both sides even (for H.264).

    picture: [H, W, 3] uint8. thought: None past a game's end. actions: names of the A actions.
    """
    enlarge = -(-_LEAST_WIDTH_PX // picture.shape[1])
    picture = picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    height, width = picture.shape[:2]
    panel = _panel(height, score=score, thought=thought, actions=actions)
    frame = np.zeros((len(panel), width + width % 2 + _PANEL_PX, 3), np.uint8)
    frame[:height, :width] = picture
    frame[:, -_PANEL_PX:] = panel
    return frame


def _panel(least_height: int, *, score: float, thought: Thought | None, actions: Sequence[str]) -> np.ndarray:
    """[H', _PANEL_PX, 3] uint8. Its size depends only on the picture's height and the number of actions."""
    from PIL import Image, ImageDraw  # only needed for films

    height = max(least_height, _LINE_PX * (3 + len(actions)) + 2 * _MARGIN_PX)
    image = Image.new("RGB", (_PANEL_PX, height + height % 2))
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN_PX, _MARGIN_PX), f"score {score:g}", fill=_TEXT)
    if thought is None:
        return np.asarray(image)
    draw.text((_MARGIN_PX, _MARGIN_PX + _LINE_PX), f"value {thought.value:.2f}", fill=_TEXT)
    draw.text((_MARGIN_PX, _MARGIN_PX + 2 * _LINE_PX), "policy", fill=_TEXT)
    for i, (name, share) in enumerate(zip(actions, thought.policy.tolist(), strict=True)):
        top = _MARGIN_PX + _LINE_PX * (i + 3)
        colour = _TAKEN if i == thought.action else _BAR
        draw.text((_MARGIN_PX, top), name, fill=_TAKEN if i == thought.action else _TEXT)
        left = _MARGIN_PX + _NAME_PX
        draw.rectangle((left, top + 2, left + round(share * (_BAR_PX - 1)), top + _LINE_PX - 4), fill=colour)
        draw.text((left + _BAR_PX + 4, top), f"{100 * share:.0f} %", fill=_TEXT)
    return np.asarray(image)
