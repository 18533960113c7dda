"""The last S frames of every lane, the acting network's input.

Axes: E lanes, S stacked frames (oldest first), ... an observation's own axes.
"""

import numpy as np

from speedyzero.env.base import ObservationSpec


class FrameStack:
    """A rolling stack per lane; an episode's first frame is repeated S times."""

    def __init__(self, lanes: int, stack: int, spec: ObservationSpec):
        self.frames = np.zeros((lanes, stack, *spec.shape), spec.dtype)

    def push(self, frame: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Append the newest frames and return the stacks, a view that the next push overwrites.

        frame: [E, ...]; first: [E] bool, where a new episode begins -> [E, S, ...].
        """
        if self.frames.shape[1] > 1:
            self.frames[:, :-1] = self.frames[:, 1:]
            self.frames[first, :-1] = frame[first, None]
        self.frames[:, -1] = frame
        return self.frames
