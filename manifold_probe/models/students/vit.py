"""vit-ti: the tiny vision transformer, one token per patch.

    x = [class token, patches W + b] + positions                        (B, 1 + N, 192), N = (size / patch)^2
    twelve times:  x = x + attention(norm(x)),  x = x + mlp(norm(x))    3 heads; 768 hidden units, GELU
    features = norm(x)[:, 0]

Parameters have timm's names, except the classifier, which timm calls head and all students here fc.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from manifold_probe.errors import InputError
from manifold_probe.models.students.student import Student, positive

WIDTH, DEPTH, HEADS, HIDDEN = 192, 12, 3, 768
EPSILON = 1e-6  # of LayerNorm


class Patches(nn.Module):
    """Images (B, C, size, size) cut into squares, which are mapped linearly to tokens: (B, N, WIDTH)."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, WIDTH, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Every token as a mean over all tokens, weighted by softmax(q'k / sqrt(64)), in three parallel heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, WIDTH) to the same shape."""
        queries, keys, values = self.qkv(tokens).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """W2 gelu(W1 x + b1) + b2."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, WIDTH) to the same shape."""
        return self.fc2(gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention, then the MLP, both on normalised tokens and added to their input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, EPSILON)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(WIDTH, EPSILON)
        self.mlp = MLP()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, WIDTH) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ViT(Student):
    """See :func:`vit_ti`."""

    def __init__(self, classes: int | None, channels: int, size: int, patch: int, tokens: bool) -> None:
        super().__init__(WIDTH)
        self.size, self.returns_tokens = positive("size", size), tokens
        if not isinstance(tokens, bool):
            raise InputError(f"tokens must be true or false, got {tokens!r}")
        if size % positive("patch", patch):
            fits = [str(side) for side in range(2, min(size, 33)) if size % side == 0]
            fix = f"a patch of {', '.join(fits)} fits" if fits else "choose another size"
            raise InputError(f"vit-ti: patches of {patch} pixels do not fill a side of {size}; {fix}")
        if tokens and classes is not None:
            raise InputError("vit-ti: give either tokens or classes; a classifier needs one vector per image")
        self.patch_embed = Patches(positive("channels", channels), patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (size // patch) ** 2, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self._draw()
        self.classify(classes)

    def sequence(self, images: Tensor) -> Tensor:
        """All tokens after the last LayerNorm, the class token first: (B, 1 + N, 192).

        Raises
        ------
        InputError
            Images of another size than ``size``.
        """
        height, width = images.shape[-2:]
        if (height, width) != (self.size, self.size):
            raise InputError(
                f"vit-ti takes images of {self.size} x {self.size} pixels, got {height} x {width}; "
                "resize them, or build it with their size"
            )
        class_tokens = self.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([class_tokens, self.patch_embed(images)], 1) + self.pos_embed
        return self.norm(self.blocks(tokens))

    def features(self, images: Tensor) -> Tensor:
        """The class token: (B, 192)."""
        return self.sequence(images)[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Features; logits if there is a classifier; all tokens with ``tokens``."""
        return self.sequence(images) if self.returns_tokens else super().forward(images)

    def classify(self, classes: int | None) -> None:
        """Add the classifier, drawn as the other linear layers."""
        super().classify(classes)
        if self.fc is not None:
            _draw_linear(self.fc)

    def _draw(self) -> None:
        # as in DeiT: normal, deviation 0.02, biases 0; the patches' map has torch's default
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                _draw_linear(layer)


def _draw_linear(layer: nn.Linear) -> None:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)


def vit_ti(
    classes: int | None = None, channels: int = 3, size: int = 224, patch: int = 16, tokens: bool = False
) -> ViT:
    """The tiny vision transformer: 192 wide, 12 blocks, 3 heads, class token, learned positions, final LayerNorm.

    ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) in the size of DeiT-Ti (Touvron et al. 2021, arXiv:2012.12877).
    5,524,416 parameters at 224 pixels (5.72 million with 1,000 classes), 192 features. No dropout, no stochastic depth.

    Parameters
    ----------
    classes : int, optional
        Adds the classifier ``fc`` on the class token.
    channels : int
        Channels of the images.
    size : int
        Side of the images in pixels; other sizes are refused.
    patch : int
        Side of a patch in pixels; must divide ``size``.
    tokens : bool
        Return all tokens (B, 1 + N, 192), the class token first, instead of only the class token.

    >>> vit = vit_ti(size=28, patch=7, channels=1)
    >>> vit(torch.zeros(2, 1, 28, 28)).shape, vit.sequence(torch.zeros(2, 1, 28, 28)).shape
    (torch.Size([2, 192]), torch.Size([2, 17, 192]))
    """
    return ViT(classes, channels, size, patch, tokens)
