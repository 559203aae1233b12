"""Token makers shared by the adapters: a few learned queries that read an image encoder's hidden states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ReadingLayer(nn.Module):
    """Cross-attention from tokens to features, then a feed-forward, both residual (Perceiver, Jaegle 2021)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_tokens, self.norm_features = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """(B, n, width) tokens read (B, m, width) features."""
        context = torch.cat([self.norm_features(features), self.norm_tokens(tokens)], dim=1)
        query = self.to_q(self.norm_tokens(tokens))
        key, value = self.to_kv(context).chunk(2, dim=-1)
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        read = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.to_out(read)
        return tokens + self.feed(tokens)


class Resampler(nn.Module):
    """Tokens that read features through `depth` layers.

    Args:
        features: channels of the features read.
        width: channels X of the tokens.
        depth: number of reading layers.
        heads: attention heads.
    """

    def __init__(self, features: int, width: int, depth: int = 2, heads: int = 4):
        super().__init__()
        self.proj_in = nn.Linear(features, width)
        self.layers = nn.ModuleList(ReadingLayer(width, heads) for _ in range(depth))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """(B, n, X) starting tokens and (B, m, features) hidden states to (B, n, X)."""
        features = self.proj_in(features)
        for layer in self.layers:
            tokens = layer(tokens, features)
        return self.norm_out(tokens)
