"""Trains with Lightning, saves to S3 every epoch, and resumes.

    python lightning_train.py s3://my-bucket/examples/run --epochs 2
    python lightning_train.py s3://my-bucket/examples/run --epochs 4 --resume

With --background a save only copies the state, and is sent while the training
goes on.
"""
import argparse

import lightning
import torch
from ckptfs.lightning import S3AsyncLightningCheckpoint, S3LightningCheckpoint
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    def training_step(self, batch, _):
        inputs, targets = batch
        return torch.nn.functional.mse_loss(self.layers(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="folder of the checkpoints")
    parser.add_argument("--region", help="default: that of the environment")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--background", action="store_true")
    arguments = parser.parse_args()

    lightning.seed_everything(1)
    inputs = torch.randn(256, 32)
    data = DataLoader(TensorDataset(inputs, inputs.sum(dim=1, keepdim=True)),
                      batch_size=32)
    plugin = (S3AsyncLightningCheckpoint if arguments.background
              else S3LightningCheckpoint)(arguments.region)
    trainer = lightning.Trainer(
        plugins=[plugin], max_epochs=arguments.epochs, accelerator="cpu",
        callbacks=[ModelCheckpoint(dirpath=arguments.uri, save_last=True)],
        logger=False, enable_progress_bar=False)
    trainer.fit(Regression(), data,
                ckpt_path="last" if arguments.resume else None)
    print(f"trained to epoch {trainer.current_epoch}, step "
          f"{trainer.global_step}")


if __name__ == "__main__":
    main()
