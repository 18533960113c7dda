"""expand_backup in plain torch, all roots in lock-step: the definition."""

import torch

from kernels.tree import NO_CHILD, Tree


def expand_backup(
    tree: Tree,
    simulation: int,
    reward: torch.Tensor,
    value: torch.Tensor,
    policy_logits: torch.Tensor,
    *,
    discount: float,
    has_prefix: bool,
) -> None:
    """See the package's docstring. reward, value: [B]; policy_logits: [B, A]; all float32."""
    leaf = simulation + 1
    root = torch.arange(value.shape[0], device=value.device)
    node = tree.parent[:, leaf].long()
    action = tree.parent_action[:, leaf].long()

    tree.q[:, leaf] = 0.0
    tree.visits[:, leaf] = 0
    tree.child[:, leaf] = NO_CHILD
    tree.prior[:, leaf] = torch.softmax(policy_logits, dim=-1)
    tree.value[:, leaf] = value
    keeps_prefix = ~tree.reset if has_prefix else torch.zeros_like(tree.reset)
    tree.prefix[:, leaf] = torch.where(keeps_prefix, reward, 0.0)
    tree.reward[root, node, action] = reward - tree.prefix[root, node]
    tree.value_sum[root, node, action] = 0.0
    tree.child[root, node, action] = leaf

    backed_up = value
    for _ in range(leaf):  # the longest possible path; shorter ones stay at their root
        edge = (root, node, action)
        edge_reward = tree.reward[edge]
        tree.value_sum[edge] += backed_up
        tree.visits[edge] += 1
        q = edge_reward + discount * (tree.value_sum[edge] / tree.visits[edge].float())
        tree.q[edge] = q
        tree.q_min[root] = torch.minimum(tree.q_min[root], q)
        tree.q_max[root] = torch.maximum(tree.q_max[root], q)
        backed_up = edge_reward + discount * backed_up

        arrived = node == 0
        tree.value_total[root[arrived]] += backed_up[arrived]
        root, node, backed_up = root[~arrived], node[~arrived], backed_up[~arrived]
        if not root.numel():
            break
        action = tree.parent_action[root, node].long()
        node = tree.parent[root, node].long()
