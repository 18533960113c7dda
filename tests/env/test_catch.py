"""Catch by hand: one game square by square."""

import numpy as np

from speedyzero.env.catch import CatchLanes

LEFT, STAY, RIGHT = 0, 1, 2


def ball_column(frame: np.ndarray) -> int:
    """Of a new game's frame, [H, W, 1]."""
    return int(np.flatnonzero(frame[0, :, 0])[0])


def play_game(env: CatchLanes, moves: list[int]):
    """One lane's game; its steps."""
    return [env.step(np.array([move])) for move in moves]


def find_seed(column: int) -> int:
    return next(seed for seed in range(100) if ball_column(CatchLanes(lanes=1, seed=seed).reset()[0]) == column)


def test_hand_worked_game():
    env = CatchLanes(lanes=1, seed=find_seed(column=4))
    first = env.reset()
    assert first.shape == (1, 10, 5, 1) and first.dtype == np.uint8
    # Ball at the top right, paddle in the middle of the bottom row, nothing else.
    assert np.argwhere(first[0, :, :, 0] == 255).tolist() == [[0, 4], [9, 2]]
    # The paddle goes 2 -> 1 -> 0 -> 0 (the wall) -> 1 -> 2 -> 3 -> 4 -> 4 (the wall) -> 4; the ball falls a row a step.
    steps = play_game(env, [LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, STAY])
    for row, (step, paddle) in enumerate(zip(steps[:-1], [1, 0, 0, 1, 2, 3, 4, 4], strict=True), start=1):
        assert np.argwhere(step.frame[0, :, :, 0] == 255).tolist() == [[row, 4], [9, paddle]]
        assert step.reward[0] == 0 and not step.game_over[0]
    assert np.argwhere(steps[-1].frame[0, :, :, 0] == 255).tolist() == [[9, 4]]
    assert steps[-1].reward[0] == steps[-1].raw_reward[0] == 1 and steps[-1].game_over[0]
    assert not any(step.started[0] or step.truncated[0] or step.life_lost[0] for step in steps)


def test_a_miss_costs_one_and_the_next_tick_begins_a_new_game():
    env = CatchLanes(lanes=1, seed=find_seed(column=4))
    env.reset()
    assert [float(step.reward[0]) for step in play_game(env, [STAY] * 9)] == [0.0] * 8 + [-1.0]
    step = env.step(np.array([LEFT]))  # ignored
    assert step.started[0] and not step.game_over[0] and step.reward[0] == 0
    assert step.frame[0, 9, 2, 0] == 255 and step.frame[0, 0].sum() == 255
    assert not env.step(np.array([STAY])).started[0]
