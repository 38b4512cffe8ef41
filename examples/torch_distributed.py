"""A model of PyTorch, computed by rnncore, that several processes train together.

``torchrun --nproc-per-node 2 examples/torch_distributed.py`` trains on two processes of this
machine, and ``python examples/torch_distributed.py`` on one, to the same parameters but for
rounding. On two machines, with the first one's address for HOST, start on each

    torchrun --nnodes 2 --node-rank 0 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        --nproc-per-node 2 examples/torch_distributed.py

with ``--node-rank 1`` on the second. Everything that is distributed is PyTorch's own:
DistributedDataParallel over gloo averages the gradients while they are computed. The model is told
at every step the largest number that it has seen so far; sequences have lengths of their own. It
prints

    2 process(es), replaced: 'rnn'
    step 0, mean squared error 4.1
    step 100, mean squared error 0.1
"""

import argparse
import os

import torch
from torch import distributed, nn

import rnncore.torch

ROWS, STEPS = 32, 40  # of a batch, which the processes share


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, x, lengths):
        y, _ = self.rnn(x, lengths=lengths)
        return self.head(y)


def batch(step, ragged):
    """The same on every process: x, what is to be found, and the lengths."""
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(ROWS, STEPS, 1, generator=draw)
    lengths = torch.randint(1, STEPS + 1, (ROWS,), generator=draw)
    return x, x.cummax(1).values, lengths if ragged else torch.full((ROWS,), STEPS)


def main(steps=200, ragged=True, save=None):
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.manual_seed(0)
    model = Model()
    report = rnncore.torch.replace(model)  # before DistributedDataParallel looks at the parameters
    if size > 1:
        distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(model)
    if rank == 0:
        print(f"{size} process(es), {report}")
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        x, target, lengths = batch(step, ragged)
        count = lengths.sum()  # of all steps, for a mean that does not depend on who has which rows
        own = slice(rank * ROWS // size, (rank + 1) * ROWS // size)
        x, target, lengths = x[own], target[own], lengths[own]
        there = (torch.arange(STEPS) < lengths[:, None])[..., None]
        error = ((model(x, lengths) - target) * there).square().sum() / count
        adam.zero_grad()
        (error * size).backward()  # what is averaged over the processes is summed so
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        adam.step()
        if step % 100 == 0:
            if size > 1:
                distributed.all_reduce(error)
            if rank == 0:
                print(f"step {step}, mean squared error {error.item():.1f}")
    if save is not None and rank == 0:
        torch.save((gradients, [*model.parameters()]), save)
    if size > 1:
        distributed.barrier()  # or a thread of gloo may still hold tensors when Python ends
        distributed.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--same-lengths", action="store_true")
    parser.add_argument("--save", help="a file for the last gradients and the parameters")
    given = parser.parse_args()
    main(given.steps, not given.same_lengths, given.save)
