"""Widths of the control networks: literals in the trainer, shrunk like the U-Nets they are copied from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

WIDTHS = {320: 32, 640: 64, 1280: 128}
HEADS = [1, 2, 4, 4]
SD1 = {"cross_attention_dim": 32}
SD2 = {"cross_attention_dim": 64, "attention_head_dim": HEADS, "num_attention_heads": HEADS}


class _Layers:
    """``torch.nn`` with convolutions of the small widths."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def Conv2d(self, inputs: int, outputs: int, *rest: Any, **shape: Any) -> Any:  # noqa: N802 - torch's own name
        return self._real.Conv2d(WIDTHS.get(inputs, inputs), WIDTHS.get(outputs, outputs), *rest, **shape)


class _Torch:
    """``torch`` with those."""

    def __init__(self, real: Any) -> None:
        self._real, self.nn = real, _Layers(real.nn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def sdxl_control_net(module: ModuleType) -> None:
    """library/sdxl_original_control_net.py:37, :62 and :69."""
    module.nn = _Layers(module.nn)  # type: ignore[attr-defined]


def original_control_net(module: ModuleType) -> None:
    """tools/original_control_net.py:28-45: the generator's own copy of the zero convolutions, for SD 1.5 and SD 2."""
    module.torch = _Torch(module.torch)  # type: ignore[attr-defined]


def diffusers_control_net(module: ModuleType) -> None:
    """train_control_net.py:158-220 describes the U-Net in literals, from which diffusers builds its copy."""
    real = module.ControlNetModel.from_unet.__func__

    def from_unet(cls: Any, unet: Any, *rest: Any, **options: Any) -> Any:
        shape = SD2 if unet.config.cross_attention_dim == 1024 else SD1
        unet.config.__dict__.update(block_out_channels=[32, 64, 128, 128], **shape)
        return real(cls, unet, *rest, **options)

    module.ControlNetModel.from_unet = classmethod(from_unet)
