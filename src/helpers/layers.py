"""The head's arithmetic: loss, scaling, and hidden layers with back-propagation as in Keras.

The published head is "fully connected layers" without number or size. The book's default has
none hidden, which keeps class activation maps exact; this is for those who want to try.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]


def loss(logits: NDArray, labels: NDArray) -> NDArray[np.float64]:
    """Return the mean binary cross-entropy along the last axis, nats.

    Parameters
    ----------
    logits : ndarray, (..., n)
        Any real numbers.
    labels : ndarray, (n,)
        0 or 1.

    Returns
    -------
    ndarray, (...)

    Examples
    --------
    >>> float(loss(np.zeros(4), np.array([0, 1, 1, 0])).round(4))
    0.6931
    """
    return np.mean(np.logaddexp(0, logits) - labels * logits, axis=-1)


def standardised(x: NDArray, trains: NDArray) -> NDArray[np.float64]:
    """Return features scaled by :func:`scaling` of the images trained on.

    Parameters
    ----------
    x : ndarray, (n, channels)
        Features.
    trains : ndarray of bool, (n,)
        Images trained on.

    Returns
    -------
    ndarray, (n, channels)
    """
    mean, sd = scaling(x[trains])
    return (x - mean) / sd


def scaling(x: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel.

    Parameters
    ----------
    x : ndarray, (n, channels)
        Features of the images trained on.

    Returns
    -------
    mean, sd : ndarray, (channels,)
        A channel that never changes carries nothing: its scale is left, sd 1.

    Examples
    --------
    >>> [part.tolist() for part in scaling(np.array([[1.0, 5.0], [3.0, 5.0]]))]
    [[2.0, 5.0], [1.0, 1.0]]
    """
    sd = x.std(axis=0)
    return x.mean(axis=0), np.where(sd > 0, sd, 1.0)


@dataclass(frozen=True)
class Shape:
    """Sizes of a head: channels, hidden units of each layer, one.

    Attributes
    ----------
    sizes : tuple of int
        From the input to the output.

    Examples
    --------
    >>> Shape((3, 2, 1)).parameters
    11
    """

    sizes: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum((m + 1) * n for m, n in self._pairs)

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes, self.sizes[1:], strict=False))

    def layers(self, flat: NDArray) -> list[Layer]:
        """Return views of a flat vector of parameters as (kernel, bias) of each layer.

        Parameters
        ----------
        flat : ndarray, (parameters,)

        Returns
        -------
        list of tuple of ndarray
            Kernels (inputs, units) and biases (units,).
        """
        found, at = [], 0
        for m, n in self._pairs:
            kernel = flat[at : at + m * n].reshape(m, n)
            found.append((kernel, flat[at + m * n : at + (m + 1) * n]))
            at += (m + 1) * n
        return found

    def initial(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw parameters as Keras does: Glorot uniform kernels, biases of zero.

        Parameters
        ----------
        generator : numpy.random.Generator

        Returns
        -------
        ndarray, (parameters,)
        """
        flat = np.zeros(self.parameters)
        for kernel, _ in self.layers(flat):
            limit = np.sqrt(6 / sum(kernel.shape))
            kernel[:] = generator.uniform(-limit, limit, kernel.shape)
        return flat


def outputs(layers: list[Layer], x: NDArray) -> list[NDArray[np.float64]]:
    """Return what goes into each layer, and last the logits.

    Parameters
    ----------
    layers : list of tuple of ndarray
        From :meth:`Shape.layers`; all but the last are rectified.
    x : ndarray, (n, channels)

    Returns
    -------
    list of ndarray
        One more than there are layers.
    """
    found = [np.asarray(x, dtype=float)]
    for number, (kernel, bias) in enumerate(layers, start=1):
        z = found[-1] @ kernel + bias
        found.append(z if number == len(layers) else np.maximum(z, 0))
    return found


def gradient_descent(
    training: tuple[NDArray, NDArray],
    validation: tuple[NDArray, NDArray],
    *,
    shape: Shape,
    start: NDArray,
    order: Callable[[], NDArray],
    learning_rate: float,
    batch_size: int,
    momentum: float,
    weight: NDArray,
) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield the state of SGD before the first epoch and after each, without end.

    Parameters
    ----------
    training, validation : tuple of ndarray
        Features (n, channels) and labels (n,).
    shape : Shape
        Of the head.
    start : ndarray, (parameters,)
        Initial parameters.
    order : callable
        Returns the next epoch's order of the training images, (n,).
    learning_rate, batch_size, momentum : float, int, float
        Of SGD.
    weight : ndarray, (n,)
        Of each training image in the loss.

    Yields
    ------
    tuple of ndarray
        Parameters (1, parameters); logits (1, n + validation images).
    """
    (x, y), everyone = training, np.vstack([training[0], validation[0]])
    flat, velocity = start.copy(), np.zeros_like(start)
    gradient = np.zeros_like(start)
    layers, gradients = shape.layers(flat), shape.layers(gradient)
    while True:
        yield flat[None].copy(), outputs(layers, everyone)[-1].T
        shuffled = order()
        for first in range(0, len(x), batch_size):
            batch = shuffled[first : first + batch_size]
            inputs = outputs(layers, x[batch])
            back = ((expit(inputs[-1][:, 0]) - y[batch]) * weight[batch])[:, None] / len(batch)
            for (kernel, _), (d_kernel, d_bias), a in zip(
                reversed(layers), reversed(gradients), reversed(inputs[:-1]), strict=True
            ):
                d_kernel[:], d_bias[:] = a.T @ back, back.sum(axis=0)
                back = (back @ kernel.T) * (a > 0)
            velocity *= momentum
            velocity -= learning_rate * gradient
            flat += velocity
