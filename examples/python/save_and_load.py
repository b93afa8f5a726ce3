"""Saves a model to S3 and loads it again.

    python save_and_load.py s3://my-bucket/examples/model.pt

Any file may be named: below a mount, or a plain one.
"""
import argparse

import ckptfs
import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri")
    uri = parser.parse_args().uri

    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(),
                                torch.nn.Linear(256, 10))
    ckptfs.save({"model": model.state_dict(), "epoch": 3}, uri)

    checkpoint = ckptfs.load(uri, map_location="cpu")
    model.load_state_dict(checkpoint["model"])
    print(f"loaded epoch {checkpoint['epoch']}, "
          f"{sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()
