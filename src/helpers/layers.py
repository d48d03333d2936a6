"""Hidden layers between pooling and the last unit: back-propagation as Keras does it.

The published head is "fully connected layers" without number or size. The book's default has
none hidden, which keeps class activation maps exact; this is for those who want to try.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]


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
