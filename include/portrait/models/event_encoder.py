"""Recurrent and convolutional encoders over event sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.features.sequence import CHANNELS, EVENTS
from portrait.models.events import Padded

ENCODERS = ("gru", "lstm", "causal_convolution")
KERNEL = 3
DILATIONS = (1, 2, 4, 8)
"""Four layers see the last 31 events."""


class CausalConvolution(nn.Module):
    """Dilated convolutions that look back only, with residual connections.

    As in Yuan et al., A Simple Convolutional Generative Network for Next Item Recommendation (WSDM 2019).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(width, width, KERNEL, dilation=d) for d in DILATIONS)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in DILATIONS)

    def forward(self, steps: Tensor) -> Tensor:
        """Float [n, longest, width] -> the same shape; a place depends on itself and earlier ones."""
        for layer, norm, dilation in zip(self.layers, self.norms, DILATIONS, strict=True):
            past = F.pad(norm(steps).transpose(1, 2), ((KERNEL - 1) * dilation, 0))
            steps = steps + torch.relu(layer(past)).transpose(1, 2)
        return steps


class EventEncoder(nn.Module):
    """Item, event type, channel and time gap of each step, summed and read in order."""

    def __init__(self, n_items: int, width: int, encoder: str) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, width)
        self.events = nn.Embedding(len(EVENTS) + 1, width)
        self.channels = nn.Embedding(len(CHANNELS) + 1, width)
        self.gap = nn.Linear(1, width)
        self.reader: nn.Module
        if encoder == "causal_convolution":
            self.reader = CausalConvolution(width)
        else:
            self.reader = (nn.GRU if encoder == "gru" else nn.LSTM)(width, width, batch_first=True)

    def forward(self, batch: Padded) -> Tensor:
        """Float [n, longest, width]: what is known after each event. Padding lies behind and changes nothing."""
        item, event, channel, gap = (
            torch.from_numpy(a).to(self.items.weight.device)
            for a in (batch.item, batch.event, batch.channel, batch.gap)
        )
        items = F.embedding(item, self.items.weight) * (item > 0).unsqueeze(2)
        steps = items + self.events(event) + self.channels(channel) + self.gap(gap.unsqueeze(2))
        found = self.reader(steps)
        states: Tensor = found[0] if isinstance(found, tuple) else found
        return states

    def last(self, batch: Padded) -> Tensor:
        """Float [n, width]: the state after the last event; zeros where there is none."""
        lengths = torch.from_numpy(batch.lengths).to(self.items.weight.device)
        states = self(batch)[torch.arange(len(lengths), device=lengths.device), (lengths - 1).clamp(min=0)]
        return states * (lengths > 0).unsqueeze(1)
