"""What holds for every search: independent rows, reproducible chance, states passed on as they are, clear refusals."""

import dataclasses

import pytest
import torch

from kernels.gumbel_select.numba_cpu import LANES
from speedyzero.search import RootOutput, SearchConfig, StepOutput, search
from speedyzero.search.checks import backend_for
from tests.kernels.backends import TREE_BACKENDS as BACKENDS
from tests.refusal import refusal
from tests.search.models import TableModel, assert_same_search, dirichlet, gumbel, root_states

ALGORITHMS = ("puct", "gumbel")


def assert_equal_results(a, b):
    for field in dataclasses.fields(a):
        assert torch.equal(getattr(a, field.name), getattr(b, field.name)), field.name


@pytest.mark.parametrize("settings", [dict(), dict(first_pick="uniform"), dict(algorithm="gumbel")])
def test_backends_agree_on_a_large_batch(settings):
    """More roots, and more nodes on their paths, than the Gumbel kernel takes at a time."""
    batch = LANES + 61
    model = TableModel.random(5, 3, has_prefix=True)
    root = model.root(root_states(6, batch))
    numba, reference = (
        search(
            root,
            model.recurrent,
            SearchConfig(num_simulations=14, prefix_horizon=3, backend=backend, **settings),
            generator=torch.Generator().manual_seed(7),
        )
        for backend in ("numba", "reference")
    )
    assert_same_search(numba, reference)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("simulations", [1, 9])
def test_one_action(algorithm, backend, simulations):
    model = TableModel.random(0, 1, has_prefix=True)
    config = SearchConfig(num_simulations=simulations, algorithm=algorithm, backend=backend, discount=1.0)
    result = search(model.root(root_states(0, 3)), model.recurrent, config)
    assert result.visits.tolist() == [[simulations]] * 3 and result.action.tolist() == [0] * 3
    assert result.policy.tolist() == [[1.0]] * 3


@pytest.mark.parametrize("settings", [
    dict(), dict(first_pick="uniform"), dict(first_pick="uniform", root_noise_fraction=0.0), dict(algorithm="gumbel")
])  # fmt: skip
def test_chance_is_the_generators(settings):
    model = TableModel.random(0, 6, has_prefix=False)
    root = model.root(root_states(0, 16))
    config = SearchConfig(num_simulations=8, prefix_horizon=0, **settings)
    first, again, other = (
        search(root, model.recurrent, config, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert_equal_results(first, again)
    assert not torch.equal(first.visits, other.visits)

    generator = torch.Generator().manual_seed(1)
    search(root, model.recurrent, config, generator=generator)
    second = search(root, model.recurrent, config, generator=generator)
    assert not torch.equal(first.visits, second.visits)

    torch.manual_seed(1)
    assert_equal_results(search(root, model.recurrent, config), first)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_uninitialised_memory_is_never_read(algorithm, backend):
    model = TableModel.random(3, 6, has_prefix=True)
    states = root_states(0, 5)
    config = SearchConfig(num_simulations=20, algorithm=algorithm, prefix_horizon=3, backend=backend)
    noise = torch.from_numpy((dirichlet if algorithm == "puct" else gumbel)(1, 5, 6))
    clean = search(model.root(states), model.recurrent, config, noise)
    torch.use_deterministic_algorithms(True)  # fills empty tensors with NaN and the largest integers
    try:
        assert torch.empty(1).isnan()
        poisoned = search(model.root(states), model.recurrent, config, noise)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_equal_results(clean, poisoned)


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_keep_shape_type_and_memory_layout(backend):
    batch = 3
    state = {
        "image": torch.zeros(batch, 4, 6, 5).contiguous(memory_format=torch.channels_last),
        "half": torch.zeros(batch, 8, dtype=torch.bfloat16),
        "number": torch.arange(batch),
        "prefix_state_h": torch.ones(batch, 2, 7).transpose(1, 2),
    }
    seen = []

    def recurrent(given, action):
        seen.append({key: (tensor.shape, tensor.dtype, tensor.stride()) for key, tensor in given.items()})
        assert torch.equal(given["number"], torch.arange(batch))
        return StepOutput(torch.zeros(batch), torch.zeros(batch), torch.zeros(batch, 2), given)

    root = RootOutput(torch.zeros(batch, 2), torch.zeros(batch), state)
    search(root, recurrent, SearchConfig(num_simulations=7, prefix_horizon=2, backend=backend))
    assert len(seen) == 7
    for entry in seen:
        assert entry == {key: (tensor.shape, tensor.dtype, tensor.stride()) for key, tensor in state.items()}


def test_the_models_tensors_may_be_views_and_its_inputs_are_left_alone():
    """Heads often return columns of a larger output; a recorded action stays what it was."""
    model = TableModel.random(0, 3, has_prefix=False)
    states = root_states(0, 5)
    config = SearchConfig(num_simulations=6, root_noise_fraction=0.0, prefix_horizon=0)
    plain, actions = search(model.root(states), model.recurrent, config), []

    def as_views(state, action):
        step = model.recurrent(state, action)
        actions.append((action, action.clone()))
        wide = torch.stack([step.reward, step.value], -1)
        return StepOutput(wide[:, 0], wide[:, 1], step.policy_logits.T.contiguous().T, step.state)

    assert_equal_results(search(model.root(states), as_views, config), plain)
    assert all(torch.equal(kept, copy) for kept, copy in actions)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_results_may_enter_a_loss(algorithm):
    """The search runs under inference mode; what it returns does not stay there, nor does the root need a detach."""
    logits = torch.zeros(2, 3, requires_grad=True)
    root = RootOutput(logits * 1.0, logits.sum(-1), {"latent": logits * 2.0})
    step = StepOutput(torch.zeros(2), torch.zeros(2), torch.zeros(2, 3), {"latent": torch.zeros(2, 3)})
    result = search(root, lambda state, action: step, SearchConfig(num_simulations=3, algorithm=algorithm))
    (-(result.policy * torch.log_softmax(logits, -1)).sum() + (result.value * logits[:, 0]).sum()).backward()
    assert logits.grad is not None
    dtypes = [getattr(result, field.name).dtype for field in dataclasses.fields(result)]
    assert dtypes == [torch.int32, torch.float32, torch.float32, torch.float32, torch.int64]
    assert not any(getattr(result, field.name).requires_grad for field in dataclasses.fields(result))


@pytest.mark.parametrize("device, backend", [("cpu", "numba"), ("cuda", "triton"), ("mps", "reference")])
def test_auto_is_the_fastest_form_for_the_device(device, backend):
    assert backend_for("auto", torch.device(device)) == backend


def test_refuses_what_does_not_fit(monkeypatch):
    latent = {"latent": torch.zeros(2, 4)}
    root = RootOutput(torch.zeros(2, 3), torch.zeros(2), latent)
    step = StepOutput(torch.zeros(2), torch.zeros(2), torch.zeros(2, 3), latent)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    def message(root=root, step=step, noise=None, **settings):
        config = SearchConfig(**{"num_simulations": 2, **settings})
        return refusal(search, root, lambda state, action: step, config, noise)

    for settings in ({"backend": "triton"}, {"backend": "cuda"}, {"algorithm": "alphabeta"}, {"num_simulations": 0}):
        ((name, value),) = settings.items()
        assert f"search.{name}={value}" in message(**settings)
    assert "search.backend=numba" in refusal(backend_for, "numba", torch.device("cuda"))
    for named, changed in (
        ("root's value: [3]", {"value": torch.zeros(3)}),
        ("torch.float64", {"value": torch.zeros(2).double()}),
        ("policy_logits are [2]", {"policy_logits": torch.zeros(2)}),
        ("[5, 4]", {"state": {"latent": torch.zeros(5, 4)}}),
    ):
        assert named in message(root=dataclasses.replace(root, **changed))
    assert "noise: [2, 4]" in message(noise=torch.zeros(2, 4))
    for named, changed in (
        ("reward of the recurrent", {"reward": torch.zeros(2, 1)}),
        ("value of the recurrent", {"value": torch.zeros(2).bfloat16()}),
        ("policy_logits of the recurrent", {"policy_logits": torch.zeros(2, 4)}),
        ("state['latent'] of the recurrent", {"state": {}}),
        ("[2, 5]", {"state": {"latent": torch.zeros(2, 5)}}),
    ):
        assert named in message(step=dataclasses.replace(step, **changed))
