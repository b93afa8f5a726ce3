"""Trains a small regression model with PyTorch Lightning.

    python lightning_train.py --dir DIR [--epochs N] [--resume]

Checkpoints (the best two and the last) and a CSV log go to DIR. With --resume
the training goes on where the last checkpoint in DIR left off.
"""
import argparse
import pathlib

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

INPUTS = 32


class Regression(lightning.LightningModule):
    """A multilayer perceptron. At the default width its weights and the two
    moments of Adam make a checkpoint of about 77 MiB."""

    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(INPUTS, width), torch.nn.ReLU(),
            torch.nn.Linear(width, width), torch.nn.ReLU(),
            torch.nn.Linear(width, 1))

    def _loss(self, batch):
        inputs, targets = batch
        return torch.nn.functional.mse_loss(self.layers(inputs), targets)

    def training_step(self, batch, _):
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-5)


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, INPUTS, generator=generator)
    targets = inputs.square().sum(dim=1, keepdim=True).sqrt()
    return DataLoader(TensorDataset(inputs, targets), batch_size=32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()

    lightning.seed_everything(1)
    checkpoints = ModelCheckpoint(
        dirpath=arguments.dir / "checkpoints",
        filename="{epoch}-{val_loss:.3f}", monitor="val_loss", save_top_k=2,
        save_last=True)
    trainer = lightning.Trainer(
        max_epochs=arguments.epochs, accelerator="cpu",
        callbacks=[checkpoints],
        logger=CSVLogger(arguments.dir, name="logs"), log_every_n_steps=1,
        enable_progress_bar=False)
    trainer.fit(Regression(arguments.width), data(256, seed=1),
                data(64, seed=2),
                ckpt_path="last" if arguments.resume else None,
                weights_only=True)
    print(f"trained to epoch {trainer.current_epoch}, "
          f"best {checkpoints.best_model_path}")


if __name__ == "__main__":
    main()
