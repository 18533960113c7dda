"""Small games with one oddity each, registered as a user does: `odd_games:NAME-v0`, with this folder on the path.

A game's `odd` names what it does; every other part is `Base`: 8 steps, three numbers, two actions that pay 0 and 1.
"""

import gymnasium
import numpy as np
from gymnasium import spaces


class Base(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)
    length = 8

    def __init__(self, odd: str = ""):
        self.odd = odd

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        if self.odd == "raises in reset":
            raise RuntimeError("no licence\nfor the simulator")
        return self.observe() if self.odd == "old reset" else (self.observe(), {})

    def observe(self):
        late = self.t == 3
        if self.odd == "shape":
            return np.zeros(5, np.float32)
        if self.odd == "words":
            return np.array(["a", "b", "c"])
        if self.odd == "nan observation" and late:
            return np.array([0, np.nan, 0], np.float32)
        if self.odd == "large observation" and late:
            return np.array([0, 0, 1e39])
        return np.full(3, self.t / 8, np.float32)

    def reward(self, action):
        late = self.t == 3
        special = {"array": np.array([float(action)]), "text": "1", "two": [1.0, 2.0], "none": None}
        if self.odd.startswith("reward "):
            return special[self.odd.removeprefix("reward ")]
        if late and self.odd in ("nan reward", "inf reward", "large reward"):
            return {"nan": float("nan"), "inf": float("-inf"), "large": 1e39}[self.odd.split()[0]]
        if self.odd == "unequal":  # both pay, one a hundred times the other
            return 10.0 if action == 1 else 0.1
        return float(action)

    def step(self, action):
        self.t += 1
        if self.odd == "raises in step" and self.t == 3:
            raise KeyError("connection")
        if self.odd == "exits" and self.t == 3:
            raise SystemExit("out of memory")
        info = {"action_mask": np.array([1, 0], np.int8)} if self.odd == "mask" else {}
        result = self.observe(), self.reward(action), self.t >= self.length, False, info
        return (*result[:2], result[2], info) if self.odd == "old step" else result

    def render(self):
        raise RuntimeError("no display")

    def close(self):
        if self.odd == "raises in close":
            raise OSError("socket is gone")


class Needy(Base):
    def __init__(self, size):
        super().__init__()
        self.length = size


class Endless(Base):
    length = 10**9


class Watched(Base):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        return np.zeros((32, 48, 3), np.uint8)


class Shows(Base):
    """An observation of another space, by name."""

    SPACES = {
        "discrete": spaces.Discrete(5, start=2),
        "bits": spaces.MultiBinary(3),
        "multi": spaces.MultiDiscrete([2, 3]),
        "dict": spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3)),
        "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,)))),
    }
    SHOWN = {
        "discrete": 4,
        "bits": np.array([1, 0, 1], np.int8),
        "multi": np.array([1, 2]),
        "dict": {"a": np.array([0.5, -0.5], np.float32), "b": 2},
        "tuple": (1, np.array([0.25, 1], np.float32)),
    }

    def __init__(self, space, wrong=False):
        super().__init__()
        self.observation_space, self.shown = self.SPACES[space], "nothing" if wrong else self.SHOWN[space]

    def observe(self):
        return self.shown


for one in (Base, Needy, Endless, Watched, Shows):
    gymnasium.register(f"{one.__name__}-v0", entry_point=f"odd_games:{one.__name__}")
