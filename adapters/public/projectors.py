"""Token makers of the public adapters, with exactly the keys of their files.

Papers: IP-Adapter (Ye 2023, arXiv:2308.06721), Perceiver (Jaegle 2021, arXiv:2103.03206) by way of Flamingo (Alayrac
2022, arXiv:2204.14198), InstantID (Wang 2024, arXiv:2401.07519), StoryMaker (Zhou 2024, arXiv:2409.12576).
X is the width of the UNet's text tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 64  # channels of an attention head in all of these files
DEPTH = 4
PEOPLE = 3  # StoryMaker has positions for three people


class PerceiverAttention(nn.Module):
    """Tokens attend to the features and to themselves: `softmax(q kᵀ / √d) v`, k and v of `[features, tokens]`.

    Keys `norm1` (features), `norm2` (tokens), `to_q`, `to_kv`, `to_out`, as in IP-Adapter's `resampler.py`.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """(B, n, width) tokens and (B, m, width) features to what the tokens read, (B, n, width)."""
        tokens = self.norm2(tokens)
        key, value = self.to_kv(torch.cat([self.norm1(features), tokens], dim=1)).chunk(2, dim=-1)
        q, k, v = (x.unflatten(2, (-1, HEAD)).transpose(1, 2) for x in (self.to_q(tokens), key, value))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class PerceiverLayer(nn.ModuleList):
    """Attention (key `0`) and feed-forward (key `1`), both residual."""

    def __init__(self, width: int):
        feed = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )
        super().__init__([PerceiverAttention(width), feed])

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """(B, n, width) tokens and (B, m, width) features to (B, n, width) tokens."""
        attention, feed = self
        tokens = tokens + attention(tokens, features)
        return tokens + feed(tokens)


class TokenResampler(nn.Module):
    """Given tokens read CLIP hidden states through four layers (IP-Adapter's `FacePerceiverResampler`).

    Args:
        features: channels of the states.
        width: channels of the layers, and of the tokens given.
        out: channels of the tokens returned.
    """

    def __init__(self, features: int, width: int, out: int):
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(features, width), nn.Linear(width, out)
        self.norm_out = nn.LayerNorm(out)
        self.layers = nn.ModuleList(PerceiverLayer(width) for _ in range(DEPTH))

    def read(self, tokens: Tensor, states: Tensor) -> Tensor:
        """(B, n, width) tokens and (B, m, features) states to (B, n, out)."""
        features = self.proj_in(states)
        for layer in self.layers:
            tokens = layer(tokens, features)
        return self.norm_out(self.proj_out(tokens))

    def forward(self, tokens: Tensor, states: Tensor) -> Tensor:
        """As `read`."""
        return self.read(tokens, states)


class QueryResampler(TokenResampler):
    """Learned queries read hidden states (IP-Adapter-Plus, InstantID, IMAGDressing: `Resampler`).

    IP-Adapter-Plus and IMAGDressing: states are CLIP ViT-H `hidden_states[-2]` (B, 257, 1280); unconditional tokens
    come from the states of a zero image. InstantID: the state is the un-normed antelopev2 embedding, (B, 1, 512);
    unconditional tokens come from a zero embedding.
    """

    def __init__(self, features: int, width: int, out: int, queries: int = 16):
        super().__init__(features, width, out)
        self.latents = nn.Parameter(torch.zeros(1, queries, width))

    def forward(self, states: Tensor) -> Tensor:
        """(B, m, features) states to (B, queries, out) tokens."""
        return self.read(self.latents.expand(len(states), -1, -1), states)


class FaceIDTokens(nn.Module):
    """`x = LN(MLP(id))`: four tokens from a recogniser's embedding (IP-Adapter-FaceID, `MLPProjModel`).

    The embedding is buffalo_l's, L2-normed; the unconditional tokens come from a zero embedding.
    """

    def __init__(self, width: int, tokens: int = 4, embedding: int = 512):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(embedding, 2 * embedding), nn.GELU(), nn.Linear(2 * embedding, tokens * width)
        )
        self.norm = nn.LayerNorm(width)

    def tokens(self, embedding: Tensor) -> Tensor:
        """(B, 512) to (B, 4, X)."""
        return self.norm(self.proj(embedding).unflatten(1, (-1, self.norm.weight.shape[0])))

    def forward(self, embedding: Tensor) -> Tensor:
        """As `tokens`."""
        return self.tokens(embedding)


class FaceIDPlusTokens(FaceIDTokens):
    """FaceID tokens that also read the face crop (IP-Adapter-FaceID-Plus, `ProjPlusModel`).

    Version 1 returns `resampler(x)`, version 2 (`shortcut`) `x + s · resampler(x)`; their files have the same keys.
    Unconditional tokens: zero embedding and the CLIP states of a zero image.
    """

    def __init__(self, width: int, shortcut: bool, clip_width: int = 1280):
        super().__init__(width)
        self.shortcut = shortcut
        self.perceiver_resampler = TokenResampler(clip_width, width, width)

    def forward(self, embedding: Tensor, states: Tensor, s: float = 1.0) -> Tensor:
        """Tokens of a face.

        Args:
            embedding: (B, 512) L2-normed buffalo_l embedding.
            states: (B, 257, 1280) CLIP ViT-H `hidden_states[-2]` of the 224-pixel `norm_crop`.
            s: how much of the crop's structure is taken (version 2 only).

        Returns:
            (B, 4, X) tokens.
        """
        x = self.tokens(embedding)
        read = self.perceiver_resampler(x, states)
        return x + s * read if self.shortcut else read


class StoryMakerTokens(FaceIDTokens):
    """Twenty tokens per person, four of the face and sixteen of body and clothes (StoryMaker, `faceid_plus`).

    `t = [x + R(x, face), Q(body)] + pos`, tokens `t + LN(W t)`; row 0 is the learned background.
    """

    def __init__(self, width: int, body_width: int = 1280, clip_width: int = 1280):
        super().__init__(width)
        self.pos_embed = nn.Parameter(torch.zeros(PEOPLE, 20, width))
        self.bg_embed = nn.Parameter(torch.zeros(1, 20, width))
        self.proj_out, self.norm_out = nn.Linear(width, width), nn.LayerNorm(width)
        self.perceiver_resampler = TokenResampler(clip_width, width, width)
        self.resample = QueryResampler(clip_width, body_width, width)

    def forward(self, embedding: Tensor, faces: Tensor, bodies: Tensor) -> Tensor:
        """Tokens of up to three people.

        Args:
            embedding: (P, 512) L2-normed buffalo_l embeddings.
            faces: (P, 257, 1280) CLIP ViT-H `hidden_states[-2]` of the 224-pixel `norm_crop`.
            bodies: (P, 257, 1280) the same of the person cut out on white, or of the garment alone.

        Returns:
            (P + 1, 20, X): background, then the people. The authors lay all rows side by side in one attention,
            (1, 20 · (P + 1), X), and make the unconditional tokens from zeros in all three arguments.
        """
        if len(embedding) > PEOPLE:
            raise ValueError(f"{len(embedding)} people; StoryMaker has positions for {PEOPLE}: leave some out")
        x = self.tokens(embedding)
        face = x + self.perceiver_resampler(x, faces)
        tokens = torch.cat([face, self.resample(bodies)], dim=1) + self.pos_embed[: len(embedding)]
        return torch.cat([self.bg_embed, tokens + self.norm_out(self.proj_out(tokens))])
