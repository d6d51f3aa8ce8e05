# SPDX-License-Identifier: MIT
"""What a GPU would have to wait for, found without one: on the meta device."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoHost(TorchDispatchMode):
    """Refuses operations that a GPU would have to wait for: copies from and to the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and t.ndim]
        made = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        assert {t.device.type for t in (*given, *made)} <= {"meta"}, function
        return result
