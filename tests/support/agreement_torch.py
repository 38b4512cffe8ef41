"""The reader of the agreement task and its training once more, in PyTorch and nothing else."""

import torch


class TorchReader(torch.nn.Module):
    def __init__(self, cell, hidden, embedding, vocabulary, dtype=torch.float32):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, embedding, dtype=dtype)
        self.recurrent = getattr(torch.nn, cell)(embedding, hidden, dtype=dtype)
        self.head = torch.nn.Linear(hidden, 2, dtype=dtype)

    def load(self, reader):
        """Start from the parameters of a `rnncore.gates.model.Reader`."""
        for part in ("embedding", "recurrent", "head"):
            params = getattr(reader, part).params
            state = {name: torch.from_numpy(value.copy()) for name, value in params.items()}
            getattr(self, part).load_state_dict(state)

    def forward(self, batch):
        y, _ = self.recurrent(self.embedding(torch.from_numpy(batch.words)))
        return self.head(y[torch.from_numpy(batch.before_verb)])

    def accuracy(self, batch):
        with torch.no_grad():
            told = self(batch).argmax(dim=-1)
        return (told == torch.from_numpy(batch.number)).double().mean().item()


def train(reader, batches, lr, clip):
    optimizer = torch.optim.Adam(reader.parameters(), lr=lr)
    losses = []
    for batch in batches:
        logits = reader(batch).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.number).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses
