"""Another device than the processor, imitated: torch's "meta", where tensors have no values."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Transfers(TorchDispatchMode):
    """Shapes of what is copied to "meta"; as on a GPU, an operation takes tensors of one device."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        if func in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default):
            if tensors[-1].device.type == "cpu" and result.device.type == "meta":
                self.shapes.append(tuple(tensors[-1].shape))
        elif len(devices) > 1:
            raise RuntimeError(f"{func} was given tensors on {sorted(devices)}")
        return result
