"""What real trainings save, small: by name, functions that make it anew."""
import argparse
import pathlib
import warnings

import torch
from torch import nn


class Block(nn.Module):
    """A residual block."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, 2, bias=False),
            nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        Block(8, 16), Block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10))


def transformer():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    # Nested tensors are a faster way through it, and not what is tested.
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class TiedLanguageModel(nn.Module):
    """The head's weight is the embedding's."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.embedding(x))


def trained(model, optimizer, x):
    """Both states after a step."""
    model(x).square().sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "epoch": 1}


def resnet_with_momentum():
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9,
                                nesterov=True, weight_decay=1e-4)
    return trained(model, optimizer, torch.randn(2, 3, 32, 32))


def transformer_with_adamw():
    model = transformer()
    optimizer = torch.optim.AdamW(
        [{"params": model.layers[0].parameters(), "lr": 1e-3},
         {"params": model.layers[1].parameters(), "betas": (0.8, 0.9)}],
        amsgrad=True)
    return trained(model, optimizer, torch.randn(2, 5, 16))


def tied_embedding():
    model = TiedLanguageModel()
    return trained(model, torch.optim.Adam(model.parameters()),
                   torch.arange(6).reshape(2, 3))


def odd_tensors():
    """Shared, strided, of other dtypes and layouts."""
    base = torch.arange(60.0).reshape(6, 10)
    with warnings.catch_warnings():
        # Both are announced as unfinished or as deprecated.
        warnings.simplefilter("ignore")
        csr = torch.eye(4).to_sparse_csr()
        quantized = torch.quantize_per_tensor(torch.randn(4), 0.1, 2,
                                              torch.quint8)
        channels = torch.quantize_per_channel(
            torch.randn(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]),
            0, torch.qint8)
    return {"base": base, "t": base.t(), "row": base[2], "step": base[:, ::3],
            "permuted": torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
            "wide": torch.ones(3, 1).expand(3, 4), "empty": base[:0],
            "float8": torch.randn(5, 3).to(torch.float8_e4m3fn),
            "float8_t": torch.randn(4, 2).to(torch.float8_e5m2).t(),
            "complex": torch.randn(3, dtype=torch.complex64),
            "coo": torch.eye(4).to_sparse(), "csr": csr,
            "quantized": quantized, "channels": channels}


# What torch.load(weights_only=True) admits.
SAFE = {"resnet": lambda: resnet().state_dict(),
        "resnet_with_momentum": resnet_with_momentum,
        "transformer_with_adamw": transformer_with_adamw,
        "tied_embedding": tied_embedding, "odd_tensors": odd_tensors}


def lightning_checkpoint(folder):
    """Of a trainer's own save_checkpoint; needs weights_only=False for the
    hyper-parameters."""
    import lightning

    class Model(lightning.LightningModule):
        def __init__(self, config, data):
            super().__init__()
            self.save_hyperparameters()
            self.layer = nn.Linear(4, 1)
            self.config, self.data = config, data

        def training_step(self, batch, _):
            return self.layer(batch[0]).square().sum()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.randn(4, 4)), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers
        trainer.fit(Model(argparse.Namespace(lr=0.1, layers=[1, 2]),
                          pathlib.PurePosixPath("some/where")), loader)
    trainer.save_checkpoint(folder / "lightning.ckpt")
    return torch.load(folder / "lightning.ckpt", weights_only=False)
