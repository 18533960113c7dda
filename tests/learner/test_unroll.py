"""The unroll on networks whose every number can be followed by hand."""

import pytest
import torch

from speedyzero.learner.unroll import target_views, unroll
from speedyzero.model.base import Network, Prediction, Transition
from tests.model.networks import NUM_ACTIONS, VECTOR_SPEC, tiny_network

MIXES = pytest.mark.parametrize("mixes", [True, False])


class ToyNetwork(Network):
    """s_0 = observation + root; s_{j+1} = s_j + step[action]. Heads show the latent, the prefix state counts steps."""

    def __init__(self, *, mixes: bool):
        super().__init__()
        self.norm_mixes_batch = mixes
        self.root = torch.nn.Parameter(torch.zeros(()))
        self.step = torch.nn.Parameter(torch.zeros(3))

    def represent(self, observation):
        return observation + self.root

    def predict(self, latent):
        return Prediction(policy_logits=latent, value_logits=2 * latent)

    def dynamics(self, latent, action, prefix_state):
        latent = latent + self.step[action][:, None]
        if not prefix_state:
            return Transition(latent, latent, {})
        steps = prefix_state["prefix_state_steps"] + 1
        return Transition(latent, latent + steps, {"prefix_state_steps": steps})

    def project(self, latent):
        return 10 * latent

    def predict_projection(self, projection):
        return 10 * projection

    def initial_prefix_state(self, batch_size):
        return {"prefix_state_steps": torch.zeros(batch_size, 1)} if self.has_prefix else {}

    has_prefix = True


def unroll_toy(network: Network, actions, **changes):
    settings = {"prefix_horizon": 5, "gradient_scale": 0.5, "projected_steps": 3, **changes}
    action = torch.tensor(actions)
    return unroll(network, torch.arange(float(len(action)))[:, None], action, **settings)


@MIXES
@pytest.mark.parametrize(("scale", "at_first", "at_second"), [(0.5, 4.0, 5.0), (1.0, 13.0, 10.0), (0.0, 0.0, 0.0)])
def test_each_state_s_total_gradient_is_scaled(mixes, scale, at_first, at_second):
    """B.7's toy. State 1 receives 3 from its own heads (policy, prefix and value, at 1 each) and, from state 2, what
    is left there of 10: 5. Its total of 8 is halved to 4 before it reaches the dynamics. State 0 is not scaled."""
    network = ToyNetwork(mixes=mixes)
    unrolled = unroll_toy(network, [[1, 2]], gradient_scale=scale)
    heads_of_0 = 7 * unrolled.policy_logits[0]
    heads_of_1 = unrolled.policy_logits[1] + 0.5 * unrolled.value_logits[1] + unrolled.prefix_logits[0]
    heads_of_2 = 4 * unrolled.policy_logits[2] + 6 * unrolled.projection[1] / 100
    (heads_of_0 + heads_of_1 + heads_of_2).sum().backward()
    assert network.step.grad.tolist() == pytest.approx([0.0, at_first, at_second])
    assert network.root.grad.item() == pytest.approx(7 + at_first)


@MIXES
def test_values_and_shapes(mixes):
    network = ToyNetwork(mixes=mixes)
    with torch.no_grad():
        network.step.copy_(torch.tensor([1.0, 10.0, 100.0]))
    unrolled = unroll_toy(network, [[0, 1, 2], [2, 2, 0]])
    latents = [[0.0, 1.0, 11.0, 111.0], [1.0, 101.0, 201.0, 202.0]]  # observations are 0 and 1
    assert unrolled.policy_logits.shape == unrolled.value_logits.shape == (4, 2, 1)
    assert unrolled.prefix_logits.shape == unrolled.projection.shape == (3, 2, 1)
    assert unrolled.policy_logits[:, :, 0].T.tolist() == latents
    assert unrolled.value_logits[:, :, 0].T.tolist() == [[2 * s for s in row] for row in latents]
    assert unrolled.projection[:, :, 0].T.tolist() == [[100 * s for s in row[1:]] for row in latents]
    assert unroll_toy(network, [[0, 1, 2]], projected_steps=0).projection is None


@pytest.mark.parametrize(
    ("horizon", "steps"), [(2, [1, 2, 1, 2, 1]), (5, [1, 2, 3, 4, 5]), (1, [1, 1, 1, 1, 1]), (3, [1, 2, 3, 1, 2])]
)
def test_prefix_state_begins_anew_every_horizon(horizon, steps):
    unrolled = unroll_toy(ToyNetwork(mixes=True), [[0] * 5], prefix_horizon=horizon)
    assert unrolled.prefix_logits[:, 0, 0].tolist() == steps


def test_plain_rewards_need_no_state():
    network = ToyNetwork(mixes=True)
    network.has_prefix = False
    assert unroll_toy(network, [[0] * 3], prefix_horizon=0).prefix_logits.flatten().tolist() == [0.0, 0.0, 0.0]


def test_merged_steps_are_the_same_steps():
    """Without batch statistics, and the projector's set aside: one batch of all steps is a batch of each, and so are
    the gradients."""
    network = tiny_network(VECTOR_SPEC)
    network.projector.eval()
    network.predictor.eval()
    generator = torch.Generator().manual_seed(0)
    observation = torch.randn(4, 6, generator=generator)
    targets = [torch.randn(4, 6, generator=generator) for _ in range(3)]
    action = torch.randint(NUM_ACTIONS, (4, 3), generator=generator)
    results, gradients = [], []
    for mixes in (False, True):
        network.norm_mixes_batch = mixes
        network.zero_grad()
        unrolled = unroll(network, observation, action, prefix_horizon=2, gradient_scale=0.5, projected_steps=3)
        results.append([*vars(unrolled).values(), target_views(network, targets).projection])
        sum((tensor * torch.arange(tensor.numel()).view_as(tensor).cos()).sum() for tensor in results[-1]).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_views_enter_the_prediction_s_statistics_between_the_unrolled_states():
    """The reference's order (B.7), worked by hand: states 0, 1, 2 and views 10, 20, at a momentum of 0.1."""

    class Recorded(ToyNetwork):
        def predict(self, latent):
            self.mean = 0.9 * getattr(self, "mean", 0.0) + 0.1 * latent.mean().item()
            return super().predict(latent)

    network = Recorded(mixes=True)
    with torch.no_grad():
        network.step.fill_(1.0)
    plain = unroll_toy(network, [[0, 0]])
    network.mean = 0.0
    seen = unroll_toy(network, [[0, 0]], views=[torch.tensor([[10.0]]), torch.tensor([[20.0]])])
    assert network.mean == pytest.approx(0.1 * (0.9**3 * 1 + 0.9**2 * 10 + 0.9 * 2 + 20))
    assert torch.equal(seen.value_logits, plain.value_logits) and torch.equal(seen.policy_logits, plain.policy_logits)
