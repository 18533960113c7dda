"""Training targets of unrolled states, read from the lanes. MuZero, App. H; EfficientZero, App. A.

`plan_targets` reads the lanes once and lists the positions that need a value or a policy; the reanalyzer looks those up
and `assemble_values` completes the value targets. For root step t, unroll j and n TD steps:

    value   z_j = sum_{k<n} discount^k r_{t+j+k} + discount^n v(t+j+n)
            a terminal inside the sum ends it without a bootstrap; a truncation after k rewards bootstraps
            discount^k from the final observation
    prefix  sum of r_{t+i} from the last reset (i a multiple of the horizon) up to j, undiscounted; horizon 0: r_{t+j}
    past the end: z = 0 after a terminal, v(final observation) after a truncation; no policy target

Axes: B samples, K unroll steps, E lanes, T rows.
"""

from dataclasses import dataclass

import numba
import numpy as np

from speedyzero.replay.shard import Shard

NO_STEP = -1


@dataclass(frozen=True)
class TargetPlan:
    """The part of a batch's targets that needs no network."""

    action: np.ndarray  # [B, K] int64, 0 past the end
    action_mask: np.ndarray  # [B, K] float32: 1 where that action was taken in the root's episode
    prefix: np.ndarray  # [B, K] float32
    reward_sum: np.ndarray  # [B, K+1] float32
    bootstrap_step: np.ndarray  # [B, K+1] int64, NO_STEP: none
    bootstrap_discount: np.ndarray  # [B, K+1] float32
    policy_step: np.ndarray  # [B, K+1] int64, NO_STEP: past the end


@numba.njit(cache=True)
def _n_step(lane, step, td_steps, discount, reward, terminal, truncated):
    """(sum of discounted rewards, bootstrap step or -1, its discount) from one position."""
    rows = reward.shape[1]
    total, factor = 0.0, 1.0
    for k in range(td_steps):
        slot = (step + k) % rows
        total += factor * reward[lane, slot]
        factor *= discount
        if terminal[lane, slot]:
            return total, np.int64(-1), 0.0
        if truncated[lane, slot]:
            return total, step + k + 1, factor
    return total, step + td_steps, factor


@numba.njit(cache=True)
def _plan(
    lanes, steps, td_steps, discount, horizon, actions, reward, terminal, truncated,
    action, action_mask, prefix, reward_sum, bootstrap_step, bootstrap_discount, policy_step,
):  # fmt: skip
    rows = reward.shape[1]
    unroll = action.shape[1]
    for b in range(lanes.shape[0]):
        lane = lanes[b]
        ended = False
        final_step = np.int64(-1)  # of a truncated episode
        running = 0.0
        for j in range(unroll + 1):
            step = steps[b] + j
            if ended:
                bootstrap_step[b, j] = final_step
                bootstrap_discount[b, j] = 1.0 if final_step >= 0 else 0.0
                continue
            policy_step[b, j] = step
            reward_sum[b, j], bootstrap_step[b, j], bootstrap_discount[b, j] = _n_step(
                lane, step, td_steps[b], discount, reward, terminal, truncated
            )
            if j == unroll:
                continue
            slot = step % rows
            action[b, j] = actions[lane, slot]
            action_mask[b, j] = 1.0
            if horizon == 0 or j % horizon == 0:
                running = 0.0
            running += reward[lane, slot]
            prefix[b, j] = running
            ended = terminal[lane, slot] or truncated[lane, slot]
            if truncated[lane, slot] and not terminal[lane, slot]:
                final_step = step + 1


def plan_targets(
    shard: Shard,
    lane: np.ndarray,
    step: np.ndarray,
    td_steps: np.ndarray,
    *,
    unroll_steps: int,
    discount: float,
    prefix_horizon: int,
) -> TargetPlan:
    """Read the lanes at B positions. lane, step, td_steps: [B] int64; every lookahead must be stored."""
    batch, states = len(lane), unroll_steps + 1
    plan = TargetPlan(
        action=np.zeros((batch, unroll_steps), np.int64),
        action_mask=np.zeros((batch, unroll_steps), np.float32),
        prefix=np.zeros((batch, unroll_steps), np.float32),
        reward_sum=np.zeros((batch, states), np.float32),
        bootstrap_step=np.full((batch, states), NO_STEP, np.int64),
        bootstrap_discount=np.zeros((batch, states), np.float32),
        policy_step=np.full((batch, states), NO_STEP, np.int64),
    )
    _plan(
        lane, step, td_steps, discount, prefix_horizon, shard.action, shard.reward, shard.terminal, shard.truncated,
        plan.action, plan.action_mask, plan.prefix, plan.reward_sum, plan.bootstrap_step, plan.bootstrap_discount,
        plan.policy_step,
    )  # fmt: skip
    return plan


def assemble_values(plan: TargetPlan, bootstrap_value: np.ndarray) -> np.ndarray:
    """Value targets z, [B, K+1] float32. bootstrap_value: [B, K+1], used where there is a bootstrap step."""
    bootstrap = np.where(plan.bootstrap_step >= 0, plan.bootstrap_discount * bootstrap_value, 0.0)
    return (plan.reward_sum + bootstrap).astype(np.float32)


def td_steps_by_age(age: np.ndarray, *, td_steps: int, decay_env_steps: float) -> np.ndarray:
    """TD steps for data of each age, [B] int64: n - floor(age / decay), at least 1.

    age: [B], in transitions of the whole replay; decay_env_steps: 0 keeps n. EfficientZero, App. A.5.
    """
    if decay_env_steps <= 0:
        return np.full(len(age), td_steps, np.int64)
    return np.clip(td_steps - (age // decay_env_steps).astype(np.int64), 1, td_steps)
