"""An optimiser's state as named tensors, bit-exact: SGD, AdamW, ClippedLARS. Its settings are the configuration's.

{"0/momentum_buffer": tensor, "1/momentum_buffer": ...}      by the number of the parameter
"""

from collections.abc import Mapping

from torch import Tensor

State = Mapping[int, Mapping[str, Tensor]]  # "state" of an optimiser's state dict


def pack_optimizer(state: State) -> dict[str, Tensor]:
    """Tensors are not copied. Raises ValueError for anything but a tensor."""
    tensors = {f"{index}/{name}": value for index, entry in state.items() for name, value in entry.items()}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"an optimiser's state holds {value!r} at {name}: only tensors can be saved")
    return tensors


def unpack_optimizer(tensors: Mapping[str, Tensor]) -> State:
    """The inverse of `pack_optimizer`. Raises ValueError if it did not name the tensors."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in sorted(tensors.items()):  # a file's order is arbitrary
        index, _, name = path.partition("/")
        if not index.isdecimal():
            raise ValueError(f"{path!r} is not a tensor of an optimiser's state")
        state.setdefault(int(index), {})[name] = tensor
    return dict(sorted(state.items()))
