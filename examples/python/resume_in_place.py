"""Trains for some steps, saves each, and resumes where the last run ended.

    python resume_in_place.py s3://my-bucket/examples/run.pt --steps 5
    python resume_in_place.py s3://my-bucket/examples/run.pt --steps 5

The second run goes on at step 5. The file is loaded into the tensors of the
model and the optimizer as they are: there is no second copy in memory.
"""
import argparse

import ckptfs
import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()

    torch.manual_seed(1)
    model = torch.nn.Linear(32, 1)
    optimizer = torch.optim.Adam(model.parameters())
    first = 0
    if ckptfs.exists(arguments.uri):
        left = ckptfs.load_into({"model": model, "optimizer": optimizer},
                                arguments.uri)
        first = left["step"]
    for step in range(first, first + arguments.steps):
        inputs = torch.randn(16, 32)
        loss = (model(inputs) - inputs.sum(dim=1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # In place of the older one, in one step, or not at all.
        ckptfs.save({"model": model.state_dict(), "step": step + 1,
                     "optimizer": optimizer.state_dict()}, arguments.uri)
    print(f"trained from step {first} to {first + arguments.steps}")


if __name__ == "__main__":
    main()
