"""Exports golden training runs from an independent implementation of LATE in PyTorch.

    pip install torch numpy safetensors
    python data/generate/golden.py data/golden

For each case: three minibatches, initial parameters, the gradient of every parameter at step 0, and the
losses of 20 Adam steps (batches in turn, no dropout). tests/golden_training.rs compares late-fast with them.
The model is plain torch (nn.Linear, torch.optim.Adam): nothing is shared with the Rust code.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

N_FEATURES = 53
BATCHES = (17, 16, 5)
STEPS = 20
LEARNING_RATE = 3e-3

# name: hidden widths, loss, what the masked loss is divided by
CASES = {
    "three_layers": ([24], "masked-mse", "nonzero"),
    "five_layers": ([24, 10], "masked-mse", "nonzero"),
    "seven_layers": ([20, 12, 6], "masked-mse", "nonzero"),
    "five_layers_all": ([24, 10], "masked-mse", "all"),
    "five_layers_mse": ([24, 10], "mse", "nonzero"),
}


def batch(rng, n_samples):
    counts = rng.poisson(rng.gamma(0.5, 2.0, size=N_FEATURES), size=(n_samples, N_FEATURES))
    counts[:, 7] = 0  # a feature without entries
    counts[0] = 0  # a sample without entries
    return np.log10(counts + 1).astype(np.float32)


def loss_of(y, x, loss, norm):
    error = (y - x) ** 2
    if loss == "mse":
        return error.mean()
    observed = x != 0
    return (error * observed).sum() / (observed.sum() if norm == "nonzero" else x.numel())


def case(name, hidden, loss, norm):
    seed = sum(map(ord, name))
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    widths = [N_FEATURES, *hidden, *hidden[-2::-1], N_FEATURES]
    linears = [torch.nn.Linear(n_in, n_out) for n_in, n_out in zip(widths, widths[1:])]
    for linear in linears:
        torch.nn.init.normal_(linear.weight, 0.0, 0.15)
        torch.nn.init.normal_(linear.bias, 0.1, 0.01)
    layers = [part for linear in linears for part in (linear, torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers)
    batches = [torch.from_numpy(batch(rng, n)) for n in BATCHES]

    def stored(linear, tensor):
        """Ours are n_in x n_out, but for the last layer; torch's are n_out x n_in."""
        array = tensor.detach().numpy()
        return np.ascontiguousarray(array if linear is linears[-1] or array.ndim == 1 else array.T)

    out = {}
    for k, linear in enumerate(linears):
        out[f"init.layers.{k}.weight"] = stored(linear, linear.weight).copy()
        out[f"init.layers.{k}.bias"] = stored(linear, linear.bias).copy()
    for k, x in enumerate(batches):
        rows, cols = np.nonzero(x.numpy())
        out[f"batch.{k}.indptr"] = np.searchsorted(rows, np.arange(len(x) + 1)).astype(np.int64)
        out[f"batch.{k}.indices"] = cols.astype(np.int64)
        out[f"batch.{k}.data"] = x.numpy()[rows, cols]
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses = []
    for step in range(STEPS):
        x = batches[step % len(batches)]
        value = loss_of(model(x), x, loss, norm)
        adam.zero_grad()
        value.backward()
        if step == 0:
            for k, linear in enumerate(linears):
                out[f"grad.layers.{k}.weight"] = stored(linear, linear.weight.grad).copy()
                out[f"grad.layers.{k}.bias"] = stored(linear, linear.bias.grad).copy()
        adam.step()
        losses.append(value.item())
    out["losses"] = np.array(losses, dtype=np.float64)
    metadata = {
        "hidden": ",".join(map(str, hidden)),
        "loss": loss,
        "norm": norm,
        "learning_rate": str(LEARNING_RATE),
        "n_features": str(N_FEATURES),
        "torch": torch.__version__,
    }
    return out, metadata


def main():
    folder = Path(sys.argv[1])
    for name, settings in CASES.items():
        tensors, metadata = case(name, *settings)
        save_file(tensors, folder / f"{name}.safetensors", metadata)
        print(name, tensors["losses"][[0, -1]])


if __name__ == "__main__":
    main()
